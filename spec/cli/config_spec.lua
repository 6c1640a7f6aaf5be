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
    assert.same({ key = "connections", value = 1024, from = "default" }, said.connections)
    assert.equal(64, said.connections_per_address.value)
    assert.is_true(said.workers.value > 0)
    assert.same({ key = "token", value = "none", from = "default" }, said.token)
  end)

  it("says that there is a token, and not what it is", function()
    local token = program.write(tmpdir.new() .. "/token", ("s"):rep(20))
    program.shell("chmod 600 " .. token)
    local out, err = program.run { "config", "show", "--token-file", token }
    assert.equal("", err)
    assert.truthy(out:find('{"key":"token","value":"set","from":"option"}', 1, true), out)
    assert.is_nil(out:find("ssss", 1, true))
  end)

  it("warns of a token that everyone can read", function()
    local token = program.write(tmpdir.new() .. "/token", ("s"):rep(20))
    program.shell("chmod 644 " .. token)
    local words = { "config", "check", "--data", tmpdir.new(), "--token-file", token }
    local _, err, status = program.run(words)
    assert.equal(0, status)
    assert.truthy(err:find("^moonlog: warning: everyone on this machine can read the token"), err)
    words[1], words[2] = "head", "--connect=unix:/nowhere"
    _, err = program.run(words)
    assert.truthy(err:find("^moonlog: warning: everyone"), err)
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
    assert.same({ key = "connections", value = 10000, from = "file" }, said.connections)
    assert.equal(7, said.connections_per_address.value)
    local out = program.shell("MOONLOG_CONNECTIONS=12 " .. program.path .. " config show")
    assert.truthy(out:find('{"key":"connections","value":12,"from":"environment"}', 1, true), out)
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
    local dir = tmpdir.new() .. "/store"
    local words = { "config", "check", "--config", file "return {}", "--data", dir,
      "--messages-file", dir .. "-messages" }
    local out, err, status = program.run(words)
    assert.equal(0, status, err)
    assert.equal('{"ok":true}\n', out)
    assert.equal("", (program.shell("ls -d " .. dir .. "* 2>/dev/null"))) -- and leaves nothing
    local server = daemon.start(dir) -- which it may be asked beside
    out, err, status = program.run(words)
    assert.equal('{"ok":true}\n', out)
    assert.equal(0, status, err)
    assert.equal(0, (server:stop()))
    assert.equal(0, select(3, program.run(words)))
  end)

  it("refuses what serve refuses", function()
    local function both(code, status, ...)
      local said
      for _, verb in ipairs { "check", "serve" } do
        local words = verb == "serve" and { "serve", ... } or { "config", "check", ... }
        local out, err, exit = program.run(words)
        assert.equal("", out)
        assert.equal(status, exit, err)
        assert.truthy(err:find("moonlog: " .. code .. ": ", 1, true), err)
        assert.equal(said or err, err)
        said = err
      end
    end
    local dir = tmpdir.new()
    both("FORBIDDEN", 1, "--data", dir .. "/store", "--listen", "tcp:0.0.0.0:0")
    assert.equal("", (program.shell("ls " .. dir))) -- serve has not begun a store either
    both("NOT_FOUND", 3, "--data", dir .. "/none/store")
    both("NOT_A_STORE", 1, "--data", program.write(dir .. "/file", "x"))
    both("NOT_A_STORE", 1, "--data", dir)
    both("FORBIDDEN", 1, "--data", "/proc/store")
    both("NOT_FOUND", 3, "--data", dir .. "/store", "--messages-file", dir .. "/none/x")
    both("NOT_FOUND", 3, "--data", dir .. "/store", "--rules", dir .. "/none")
    local long = dir .. "/" .. ("d"):rep(120)
    both("BAD_REQUEST", 1, "--data", long)
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
