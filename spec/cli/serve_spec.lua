-- moonlog serve, and how the verbs find it, or do without.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local peer = require "spec.support.peer"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local TOKEN = "0123456789abcdef0123"

local function exists(path)
  local _, _, status = program.shell("test -e " .. program.quote(path))
  return status == 0
end

describe("cli: serve", function()
  local dir, on, server
  before_each(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    server = daemon.start(dir)
  end)
  after_each(function()
    if server then assert.equal(0, (server:stop())) end
  end)

  it("prints one line when it serves, and exits 0 on SIGTERM", function()
    assert.equal(("ready %s/moonlog.sock pid %s"):format(dir, server.pid), server.ready)
    assert.equal("srw-rw----\n", (program.shell("stat -c %A " .. dir .. "/moonlog.sock")))
    assert.equal(0, (server:stop()))
    server = nil
    assert.is_false(exists(dir .. "/moonlog.sock"))
  end)

  it("names its directory from the root on, wherever it was started", function()
    local root = tmpdir.new()
    local path = program.shell("realpath " .. program.path):match "[^\n]+"
    local serve = "cd %s && echo $$ && exec %s serve --data here 2>/dev/null"
    local out = assert(io.popen(serve:format(root, path)))
    local pid, ready = out:read "l", out:read "l"
    local status = program.on(root .. "/here") { "status" }
    os.execute("kill " .. pid)
    assert.is_true(out:close())
    assert.equal(("ready %s/here/moonlog.sock pid %s"):format(root, pid), ready)
    assert.equal(root .. "/here", json.read(status).directory)
  end)

  it("exits 0 on SIGINT too", function()
    assert.equal(0, (server:stop "INT"))
    server = nil
  end)

  it("is what the verbs on its directory talk to", function()
    local pid = math.tointeger(tonumber(server.pid))
    local out, err, status = on { "append", "a", "T", "1" }
    assert.equal(0, status, err)
    assert.equal('{"position":1,"revision":0,"stream":"a"}\n', out)
    out, err, status = on({ "import" }, '{"stream":"b","type":"T"}\n{"stream":"a","type":"T"}\n')
    assert.equal(0, status, err)
    assert.equal(2, json.read(out).events)
    assert.equal(3, json.read((on { "head" })).position)
    assert.equal(3, #json.lines((on { "export" })))
    assert.equal(2, #json.lines((on { "read", "a" })))
    assert.equal(2, #json.lines((on { "streams" })))
    local said = json.read((on { "status" }))
    assert.equal(pid, said.pid)
    assert.equal(3, said.appended)
    assert.is_nil(said.read_only)
    local _, why, verified = on { "verify", "--deep" }
    assert.equal(0, verified, why)
  end)

  it("gives its own codes as exit statuses", function()
    local _, err, status = on { "append", "a", "T", "--expected", "5" }
    assert.equal(4, status)
    assert.truthy(err:match "^moonlog: WRONG_EXPECTED_REVISION: ")
    _, _, status = on { "read", "nobody" }
    assert.equal(3, status)
    _, _, status = on { "append", "", "T" }
    assert.equal(1, status)
  end)

  it("is the only one on its directory", function()
    local err, status = daemon.refused(dir)
    assert.equal(1, status)
    assert.truthy(err:find("open for writing in process " .. server.pid, 1, true), err)
    assert.truthy(err:find("; a daemon answers at unix:" .. server.socket .. "\n", 1, true), err)
    assert.equal(0, json.read((on { "head" })).position)
  end)

  it("is reached by its address, whatever the directory", function()
    local uri = "unix:" .. dir .. "/moonlog.sock"
    local words = { "append", "a", "T", "--connect", uri, "--data", "/nowhere" }
    local _, err, status = program.run(words)
    assert.equal(0, status, err)
    local out = program.shell("MOONLOG_CONNECT=" .. uri .. " " .. program.path .. " head")
    assert.equal(1, json.read(out).position)
  end)

  it("pages through many events and streams", function()
    local lines = {}
    local text = ("x"):rep(600)
    for i = 1, 4000 do lines[i] = ('{"stream":"s-%d","type":"T","data":"%s"}'):format(i, text) end
    local _, err, status = on({ "import" }, table.concat(lines, "\n"))
    assert.equal(0, status, err)
    local events = json.lines((on { "read", "$all" }))
    assert.equal(4000, #events)
    for i, event in ipairs(events) do assert.equal(i, event.position) end
    events = json.lines((on { "read", "$all", "--backward", "--limit", "3000" }))
    assert.equal(3000, #events)
    assert.equal(1001, events[3000].position)
    assert.equal(4000, #json.lines((on { "streams" })))
    assert.equal(1500, #json.lines((on { "streams", "--limit", "1500" })))
    assert.equal(2500, #json.lines((on { "export", "--from", "501", "--to", "3000" })))
  end)
end)

describe("cli: the daemon's messages", function()
  local function wait_for(path, text)
    local deadline = os.time() + 20
    repeat
      assert(os.time() < deadline, "not said: " .. text)
      local said = exists(path) and program.slurp(path) or ""
    until said:find(text, 1, true)
  end

  it("go to a file, which SIGHUP opens again", function()
    local dir = tmpdir.new()
    local file = dir .. "/messages"
    local server = daemon.start(nil, { "--messages-file", file })
    assert.equal("-rw-r-----\n", (program.shell("stat -c %A " .. file)))
    assert(os.rename(file, file .. ".1"))
    server:signal "HUP"
    wait_for(file, "hangup: messages go on")
    assert.is_nil(program.slurp(file .. ".1"):find("hangup", 1, true))
    assert.equal(0, (server:stop()))
    wait_for(file, "stopping: ")
    assert.equal("", server:said())
    server = daemon.start(nil, { "--messages-file", file }) -- goes on behind what is there
    assert.equal(0, (server:stop()))
    local _, stops = program.slurp(file):gsub("stopping: ", "")
    assert.equal(2, stops)
  end)

  it("go on where they went if the file cannot be opened again", function()
    local dir = tmpdir.new() .. "/messages"
    program.shell("mkdir " .. dir)
    local server = daemon.start(nil, { "--messages-file", dir .. "/now" })
    assert(os.rename(dir, dir .. ".1"))
    server:signal "HUP"
    wait_for(dir .. ".1/now", "hangup: messages go on here: ")
    assert.equal(0, (server:stop()))
    wait_for(dir .. ".1/now", "stopping: ")
  end)

  it("go on on stderr without one", function()
    local server = daemon.start(nil, { "--messages", "json" })
    server:signal "HUP"
    wait_for(server.err, "hangup: messages go on")
    assert.equal(0, (server:stop()))
    assert.equal(2, #json.lines(server:said()))
  end)

  it("have a file that can be opened, or nothing begins", function()
    local words = { "--messages-file", "/nowhere/x" }
    local err, status = daemon.refused(tmpdir.new() .. "/store", words)
    assert.equal(3, status)
    assert.truthy(err:match "^moonlog: NOT_FOUND: ", err)
  end)
end)

describe("cli: a daemon on TCP", function()
  it("needs no token on loopback", function()
    local server = daemon.start_tcp()
    local _, err, status = program.run { "append", "a", "T", "--connect", server.tcp }
    assert.equal(0, status, err)
    assert.equal(0, (server:stop()))
  end)

  it("wants the token it was given", function()
    local file = program.write(tmpdir.new() .. "/token", TOKEN .. "\n")
    local wrong = program.write(tmpdir.new() .. "/token", ("x"):rep(20) .. "\n")
    program.shell(("chmod 600 %s %s"):format(file, wrong))
    local dir = tmpdir.new() .. "/store"
    local server = daemon.start_tcp(dir, { "--token-file", file })
    local _, err, status = program.run { "head", "--connect", server.tcp }
    assert.equal(1, status)
    assert.equal("moonlog: UNAUTHENTICATED: this daemon wants a token: --token-file or "
      .. "MOONLOG_TOKEN\n", err)
    _, err, status = program.run { "head", "--connect", server.tcp, "--token-file", wrong }
    assert.equal(1, status)
    assert.equal("moonlog: UNAUTHENTICATED: the token is not the daemon's\n", err)
    local words = { "append", "a", "T", "--connect", server.tcp, "--token-file", file }
    _, err, status = program.run(words)
    assert.equal(0, status, err)
    local head = program.command { "head", "--connect", server.tcp }
    local out = program.shell(("MOONLOG_TOKEN=%s %s"):format(TOKEN, head))
    assert.equal(1, json.read(out).position)
    -- The unix socket has its mode instead.
    assert.equal(1, json.read((program.on(dir) { "head" })).position)
    assert.equal(0, (server:stop()))
  end)

  it("is not opened to other machines without a token", function()
    local words = { "--listen", "tcp:0.0.0.0:0" }
    local err, status = daemon.refused(tmpdir.new() .. "/store", words)
    assert.equal(1, status)
    assert.truthy(err:match "moonlog: FORBIDDEN: ", err)
  end)
end)

describe("cli: an address where nobody answers", function()
  it("is exit 6", function()
    local uris = { "unix:/nowhere/x.sock", "tcp:127.0.0.1:1", "tcp:nowhere.invalid:1", "pigeon:x" }
    for _, uri in ipairs(uris) do
      for _, verb in ipairs { { "head" }, { "append", "a", "T" }, { "tail" }, { "rpc", "api" } } do
        verb[#verb + 1] = "--connect=" .. uri
        local out, err, status = program.run(verb)
        assert.equal(6, status, uri)
        assert.equal("", out)
        assert.truthy(err:match "^moonlog: UNREACHABLE: [^\n]+\n$", err)
      end
    end
  end)

  it("is no matter for verbs that ask no daemon", function()
    local _, err, status = program.run { "verify", "--connect", "unix:/x" }
    assert.equal(2, status)
    assert.truthy(err:find("leave out --connect", 1, true), err)
    _, _, status = program.shell("MOONLOG_CONNECT=unix:/x " .. program.path .. " version")
    assert.equal(0, status)
  end)
end)

describe("cli: a verb without a daemon", function()
  local dir, on
  before_each(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
  end)

  it("leaves nothing behind but the store", function()
    local _, err, status = on { "append", "a", "T" }
    assert.equal(0, status, err)
    assert.is_false(exists(dir .. "/moonlog.sock"))
    local store = assert(require("moonlog").open { dir = dir }) -- takes the lock
    store:close()
  end)

  it("works when the path of its socket would be too long", function()
    local long = tmpdir.new() .. "/" .. ("d"):rep(120)
    local _, err, status = program.run { "append", "a", "T", "--data", long }
    assert.equal(0, status, err)
    assert.equal(1, json.read((program.run { "head", "--data", long })).position)
  end)

  it("shares the one that another command started, also beyond that command", function()
    local import = program.command { "import", "--batch", "1", "--data", dir }
    local writer = assert(io.popen(import .. " >/dev/null", "w"))
    writer:write '{"stream":"a","type":"T","data":1}\n'
    writer:flush()
    local _, status
    repeat _, _, status = on { "head", "a" } until status == 0
    local tail = daemon.spawn { "tail", "--from", "start", "--data", dir }
    assert.equal(1, json.read(tail:line()).position)
    assert.is_true(writer:close())
    on { "append", "a", "T", "2" }
    assert.equal(2, json.read(tail:line()).position)
    assert.equal(130, (tail:stop "INT"))
    local _, err, done = on { "append", "a", "T", "3" }
    assert.equal(0, done, err)
  end)

  it("ends when it has done, although others go on with its daemon and its workers", function()
    local import = "timeout 60 " .. program.command { "import", "--batch", "1", "--data", dir }
    local writer = assert(io.popen(import .. " >/dev/null", "w"))
    writer:write '{"stream":"a","type":"T","data":1}\n'
    writer:flush()
    local _, status
    repeat _, _, status = on { "head", "a" } until status == 0
    local other <close> = peer.connect("unix:" .. dir .. "/moonlog.sock")
    assert(other:call("rules.check", { files = { ["a.lua"] =
      "return { aggregate = 'a', initial = {}, on = {}, commands = {} }" } }))
    assert.is_true(writer:close())
    assert.equal(1, other:call("head").position)
  end)

  it("lets many begin at once", function()
    local command = program.command { "append", "a", "T", "--data", dir }
    local out, err, status = program.shell(
      ("for i in 1 2 3 4 5 6 7 8; do %s & done; wait"):format(command))
    assert.equal(0, status)
    assert.equal("", err)
    assert.equal(8, #json.lines(out))
    assert.equal(8, json.read((on { "head" })).position)
  end)

  it("reads beside a program that has the store open, and cannot write there", function()
    local store = assert(require("moonlog").open { dir = dir })
    assert(store:append("a", { { type = "T", data = 1 } }))
    assert.equal(1, json.read((on { "read", "a" })).data)
    assert.equal(1, json.read((on { "status" })).position)
    for _, words in ipairs { { "append", "a", "T", "--wait", "1" },
                             { "append", "a", "T", "--wait", "0" }, { "import", "--wait=0" } } do
      local out, err, status = on(words)
      assert.equal(1, status)
      assert.equal("", out)
      assert.truthy(err:match "^moonlog: LOCKED: [^\n]+\n$", err)
    end
    local _, err, status = on { "append", "a", "T", "-o", "json", "--wait", "0" }
    assert.equal(1, status)
    assert.is_true(json.read(err).error.retry)
    local tail = daemon.spawn { "tail", "--from", "start", "--data", dir }
    assert.equal(1, json.read(tail:line()).data)
    assert(store:append("a", { { type = "T", data = 2 } }))
    assert.equal(2, json.read(tail:line()).data)
    assert.equal(130, (tail:stop "INT"))
    store:close()
  end)

  it("waits to write until the program that has the store open is done", function()
    local store = assert(require("moonlog").open { dir = dir })
    local writer = daemon.spawn { "append", "a", "T", "1", "--wait", "30", "--data", dir }
    os.execute "sleep 0.5"
    assert.equal(0, store:head().position)
    store:close()
    assert.equal(1, json.read(writer:line()).position)
    assert.equal(0, (writer:wait()))
  end)
end)
