-- moonlog config, and serve --config: a Lua table, and where each value comes from.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local function file(text) return program.write(tmpdir.new() .. "/moonlog.lua", text) end

describe("cli: config", function()
  local function show(text, ...)
    local words = { "config", "show", ... }
    if text then words[#words + 1] = "--config=" .. file(text) end
    local out, err, status = program.run(words)
    assert.equal(0, status, err)
    local said = {}
    for _, line in ipairs(json.lines(out)) do said[line.key] = line end
    return said
  end

  local function refused(code, sentence, text, wanted)
    for _, words in ipairs { { "config", "check" }, { "config", "show" }, { "serve" } } do
      words[#words + 1] = "--config=" .. file(text)
      local out, err, status = program.run(words)
      assert.equal(wanted or 1, status, words[1])
      assert.equal("", out)
      assert.truthy(err:match("^moonlog: " .. code .. ": [^\n]+\n$"), err)
      assert.truthy(err:find(sentence, 1, true), err)
    end
  end

  it("has defaults", function()
    local said = show()
    assert.same({ key = "data", value = "./moonlog-data", from = "default" }, said.data)
    assert.same({ key = "listen", value = {}, from = "default" }, said.listen)
    assert.same({ key = "token_file", value = json.null, from = "default" }, said.token_file)
    assert.same({ key = "messages", value = "text", from = "default" }, said.messages)
  end)

  it("takes options before the environment, that before the file, that before defaults", function()
    local text = [[
      local port = 7070
      local listen = { "tcp:127.0.0.1:" .. port, "tcp:[::1]:7070" }
      return { data = "/a", listen = listen, messages = "json" }
    ]]
    local said = show(text)
    assert.same({ key = "data", value = "/a", from = "file" }, said.data)
    assert.same({ "tcp:127.0.0.1:7070", "tcp:[::1]:7070" }, said.listen.value)
    assert.equal("json", said.messages.value)
    assert.equal("default", said.token_file.from)
    said = show(text, "--data", "/b", "--listen", "tcp:127.0.0.1:1", "--messages", "text")
    assert.same({ key = "data", value = "/b", from = "option" }, said.data)
    assert.same({ "tcp:127.0.0.1:1" }, said.listen.value)
    assert.equal("option", said.messages.from)
    local variables = "MOONLOG_DATA=/c MOONLOG_LISTEN=tcp:127.0.0.1:2,tcp:127.0.0.1:3"
    local out = program.shell(
      ("%s %s config show --config %s"):format(variables, program.path, file(text)))
    local lines = json.lines(out)
    assert.same({ key = "data", value = "/c", from = "environment" }, lines[1])
    assert.same({ "tcp:127.0.0.1:2", "tcp:127.0.0.1:3" }, lines[2].value)
  end)

  it("takes numbers, and only numbers, for connections", function()
    local said = show "return { connections = 10000, connections_per_address = '7' }"
    assert.same({ key = "connections", value = "10000", from = "file" }, said.connections)
    assert.equal("7", said.connections_per_address.value)
    assert.equal(json.null, show().connections.value)
    refused("BAD_REQUEST", "connections is a number from 1 to 1000000, and not '0'",
      "return { connections = 0 }")
    refused("BAD_REQUEST", "and not '1e3'", "return { connections = '1e3' }")
    refused("BAD_REQUEST", "connections is one number, and not a list",
      "return { connections = { '1' } }")
    refused("SCRIPT_ERROR", "'connections' is a number, and no string, whole number or",
      "return { connections = 1.5 }")
    local _, err, status = program.run { "config", "show", "--connections", "-1" }
    assert.equal(2, status)
    assert.truthy(err:find("--connections: connections is a number from 1", 1, true), err)
  end)

  it("takes a single string for a list", function()
    assert.same({ "tcp:127.0.0.1:9" }, show('return { listen = "tcp:127.0.0.1:9" }').listen.value)
  end)

  it("checks", function()
    local out, _, status = program.run { "config", "check", "--config", file "return {}" }
    assert.equal(0, status)
    assert.equal('{"ok":true}\n', out)
  end)

  it("names what is wrong", function()
    refused("BAD_REQUEST", "unknown key 'lisen'; did you mean listen?", 'return { lisen = "x" }')
    refused("BAD_REQUEST", "unknown key 'colour'; `moonlog help serve`", 'return { colour = "x" }')
    refused("BAD_REQUEST", "data is one string", 'return { data = { "x" } }')
    refused("BAD_REQUEST", "tcp:here is no address", 'return { listen = { "tcp:here" } }')
    refused("BAD_REQUEST", "messages is text or json", 'return { messages = "loud" }')
    refused("NOT_FOUND", "/nowhere/token", 'return { token_file = "/nowhere/token" }', 3)
    refused("BAD_REQUEST", "data is a string, and not a number", "return { data = 7 }")
    refused("SCRIPT_ERROR", "'data' is a boolean", "return { data = true }")
    refused("SCRIPT_ERROR", "'listen' holds a boolean", "return { listen = { true } }")
    refused("SCRIPT_ERROR", "'listen' is no list", 'return { listen = { x = "y" } }')
    refused("SCRIPT_ERROR", "a key is a number", 'return { "x" }')
    refused("SCRIPT_ERROR", "returns a nil, and not a table", "")
    refused("SCRIPT_ERROR", "moonlog.lua:2:", "return {\n data = }")
  end)

  it("runs with nothing in reach, and not for ever", function()
    refused("SCRIPT_ERROR", "global 'os'", "os.exit(0)")
    refused("SCRIPT_ERROR", "global 'require'", 'return require "x"')
    refused("SCRIPT_ERROR", "global 'print'", "print(1)")
    refused("SCRIPT_ERROR", "runs for too long", "while true do end")
    refused("SCRIPT_ERROR", "memory", "local t = {} for i = 1, 1e6 do t[i] = { i } end")
    refused("SCRIPT_ERROR", "", ("").dump(function() return {} end))
  end)

  it("refuses a file that is not there, and words it does not know", function()
    local _, err, status = program.run { "config", "check", "--config", "/nowhere/x.lua" }
    assert.equal(3, status)
    assert.truthy(err:match "^moonlog: NOT_FOUND: ", err)
    _, _, status = program.run { "config", "chekc" }
    assert.equal(2, status)
    _, _, status = program.run { "config", "show", "--messages", "loud" }
    assert.equal(2, status)
  end)

  it("is what serve --config takes", function()
    local dir = tmpdir.new() .. "/store"
    local text = ('return { data = %q, messages = "json" }'):format(dir)
    local server = daemon.spawn { "serve", "--config", file(text) }
    assert.equal(("ready %s/moonlog.sock pid %s"):format(dir, server.pid), server:line())
    local out = program.on(dir) { "head" }
    assert.equal(0, json.read(out).position)
    assert.equal(0, (server:stop()))
    assert.equal("info", json.read(server:said():match "[^\n]+").level)
  end)
end)
