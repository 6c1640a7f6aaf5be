-- Who may be a client, and how many. The numbers are those of the list of hostile inputs that
-- the daemon is held against; where it speaks of what there is not yet (SCRAM, roles, ACLs), the
-- name of the test says what is tested in its place.
local daemon = require "spec.support.daemon"
local hostile = require "spec.support.hostile"
local m = require "moonlog"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local TOKEN = "0123456789abcdef0123"

local function is_root() return (program.shell "id -u") == "0\n" end

describe("hostile strangers: where a token is wanted", function()
  local served
  setup(function()
    local file = program.write(tmpdir.new() .. "/token", TOKEN .. "\n")
    served = daemon.start_tcp(nil, { "--token-file", file })
  end)
  teardown(function() assert.equal(0, served:stop()) end)
  after_each(function() hostile.wait_alone(served) end)

  local function refused(bytes, sentence)
    local bad = hostile.connect(served.tcp)
    bad:send(bytes)
    local _, why = bad:answer()
    assert.equal(sentence, why)
    assert.is_true(bad:is_closed())
    bad:close()
  end

  it("35: a token that is almost right is wrong, and there is one try", function()
    local almost = { TOKEN:sub(1, -2) .. "4", TOKEN:sub(1, -2), TOKEN .. "0", TOKEN .. TOKEN,
      TOKEN:upper(), TOKEN .. "\n", "1" .. TOKEN:sub(2) }
    for _, token in ipairs(almost) do
      local right = hostile.request(2, "hello", { token = TOKEN })
      refused(hostile.request(1, "hello", { token = token }) .. right,
        "UNAUTHENTICATED: the token is not the daemon's")
    end
    for _, none in ipairs { {}, { token = "" } } do
      refused(hostile.request(1, "hello", none),
        "UNAUTHENTICATED: this daemon wants a token: --token-file or MOONLOG_TOKEN")
    end
    refused(hostile.request(1, "hello", hostile.map { "token", "\xc4\x14" .. TOKEN }),
      "BAD_REQUEST: token is no str")
  end)

  it("34: the token is a bearer's: who has it may use it again", function()
    for _ = 1, 3 do
      local good = hostile.connect(served.tcp)
      assert(good:call("hello", { token = TOKEN }))
      assert.equal(0, good:call("head").position)
      good:close()
    end
  end)

  it("35: nothing else is answered before, and a stranger is not told what there is", function()
    for _, method in ipairs { "head", "append", "api", "nothing", "helo" } do
      refused(hostile.request(1, method, {}),
        "UNAUTHENTICATED: call hello with the daemon's token first")
    end
    local bad = hostile.connect(served.tcp)
    bad:send("\x93\2\xa6append\x91\x80" .. hostile.request(1, "hello", { token = TOKEN }))
    assert(bad:answer())
    assert.equal(0, bad:call("head").position)
    bad:close()
  end)

  it("1, 4: a stranger's message is small and shallow", function()
    local sentence = "TOO_LARGE: the message is over 4096 bytes or 16 values; begin with hello"
    refused(hostile.request(1, "hello", { client = ("x"):rep(4096) }), sentence)
    refused("\xdb\0\0\x10\0", sentence)
    refused("\x94\0\1\xa5hello\x91\x8f", sentence)
    refused("\xdc\0\x10", sentence)
    refused(("\x91"):rep(5), "BAD_REQUEST: the message nests more than 4 levels deep; flatten it")
    local good = hostile.connect(served.tcp)
    assert(good:call("hello", { token = TOKEN, client = ("x"):rep(3900), events = "array" }))
    good:close()
  end)

  it("36: 64 of them at once, and not one more until some have gone or said hello", function()
    local strangers = {}
    for n = 1, 64 do strangers[n] = hostile.connect(served.tcp) end
    local sentence = "LIMIT: 64 connections have not said hello yet; try again in some seconds"
    refused("", sentence)
    assert(strangers[1]:call("hello", { token = TOKEN }))
    strangers[65] = hostile.connect(served.tcp)
    assert(strangers[65]:call("hello", { token = TOKEN }))
    strangers[66] = hostile.connect(served.tcp)
    refused("", sentence)
    strangers[2]:close()
    local stranger, why
    repeat -- the daemon has still to see that it has gone
      stranger = hostile.connect(served.tcp)
      local result
      result, why = stranger:call("hello", { token = TOKEN })
      stranger:close()
    until result
    assert.is_nil(why)
    for _, one in ipairs(strangers) do one:close() end
  end)
end)

describe("hostile crowds", function()
  local function start(...) return daemon.start_tcp(nil, { ... }) end

  --- Connections of which the daemon takes the first `most`, and then none with this sentence.
  local function crowd(uri, most, sentence, from)
    local clients = {}
    for n = 1, most do
      clients[n] = hostile.connect(uri, from)
      assert(clients[n]:call "head")
    end
    for _ = 1, sentence and 3 or 0 do
      local bad = hostile.connect(uri, from)
      local _, why, number, id = bad:answer()
      assert.equal(sentence, why)
      assert.equal(9, number)
      assert.equal(0, id)
      assert.is_true(bad:is_closed())
      bad:close()
    end
    return clients
  end

  local function leave(clients)
    for _, one in ipairs(clients) do one:close() end
  end

  it("36: as many connections as serve is told, and a place kept for who runs it", function()
    local served = start("--connections", "16")
    local sentence = "LIMIT: %d connections are open; close some, or let serve have more with "
      .. "--connections"
    local clients = crowd(served.tcp, 14, sentence:format(14))
    local own = crowd(served.uri, 2, sentence:format(16))
    assert.equal(16, own[1]:call("status").connections)
    assert.equal(16, own[1]:call("hello").limits.connections)
    local none, why = m.connect(served.uri)
    assert.is_nil(none)
    assert.equal(sentence:format(16), why)
    local _, err, status = program.run { "head", "--connect", served.uri }
    assert.equal(1, status)
    assert.equal("moonlog: " .. sentence:format(16) .. "\n", err)
    leave(clients)
    leave(own)
    hostile.wait_alone(served)
    assert.equal(0, served:stop())
    assert.truthy(served:said():find("connections refused; the last: LIMIT: 1", 1, true))
  end)

  it("36: as many from one address as serve is told", function()
    local served = start("--connections-per-address", "3")
    local sentence = "LIMIT: 3 connections are open from this address; close some, or let serve "
      .. "have more with --connections-per-address"
    local here = crowd(served.tcp, 3, sentence, "127.0.0.1")
    local there = crowd(served.tcp, 3, sentence, "127.0.0.2")
    leave(here)
    hostile.wait_for(served, 4)
    here = crowd(served.tcp, 3, sentence, "127.0.0.1")
    leave(here)
    leave(there)
    hostile.wait_alone(served)
    assert.equal(0, served:stop())
  end)

  it("36: never so many that the store has no descriptors left", function()
    local path = program.path
    program.path = "prlimit --nofile=552:552 " .. path
    local served = start("--connections", "5000")
    program.path = path
    local sentence = "LIMIT: 296 connections are open; close some, or let serve have more with "
      .. "--connections"
    local own = crowd(served.uri, 296, sentence)
    local data = m.bytes(("x"):rep(500000))
    for n = 1, 40 do -- through several segments
      local params = { stream = "s-1", events = m.array { { type = "T", data = data } } }
      assert.equal(n, own[1]:call("append", params).last)
    end
    assert.is_true(own[1]:call("status").segments > 3)
    leave(own)
    hostile.wait_alone(served)
    assert.equal(0, served:stop())
    assert.truthy(served:said():find("296 connections instead of 5000", 1, true))
  end)

  it("36: an idle connection costs little memory", function()
    local served = start()
    local before = hostile.status(served).memory_bytes
    local clients = crowd(served.uri, 500)
    local grown = hostile.status(served).memory_bytes - before
    if hostile.measures then assert.is_true(grown / 500 < 8192, grown / 500) end
    leave(clients)
    assert.equal(0, served:stop())
  end)
end)

describe("hostile users", function()
  --- What a user of the system is told on the unix socket.
  local function told(served, group)
    local script = [[
import os, socket, sys
os.setgroups([int(sys.argv[2])] if sys.argv[2] else [])
os.setgid(65534)
os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(20)
peer.connect(sys.argv[1])
try:
    peer.sendall(b"\x94\0\1\xa4head\x91\x80")
except BrokenPipeError:
    pass  # refused already, and told why
print(peer.recv(4096))]]
    local python = "env -u LD_PRELOAD /usr/bin/python3 - "
    local words = python .. program.quote(served.socket) .. " " .. program.quote(group or "")
    local said, failed, status = program.shell(words, script)
    assert.equal(0, status, failed)
    return said
  end

  it("39: a user who is not in the socket's group is refused, whatever the mode of the socket",
    function()
      if not is_root() then pending "needs root, to be somebody else" end
      local dir = tmpdir.new()
      program.shell("chmod 755 " .. dir)
      local served = daemon.start(dir .. "/store")
      program.shell(("chmod 755 %s/store; chmod 666 %s"):format(dir, served.socket))
      local said = told(served)
      local refused = "FORBIDDEN: user 65534 is neither the daemon's nor in the group"
      assert.truthy(said:find(refused, 1, true), said)
      assert.is_nil(said:find("position", 1, true))
      program.shell(("chgrp 54321 %s; chmod 660 %s"):format(served.socket, served.socket))
      said = told(served, "54321")
      assert.truthy(said:find("position", 1, true), said)
      assert.equal(0, served:stop())
    end)

  it("40: there are no ACLs yet; names that look alike are different streams all the same",
    function()
      local served = daemon.start()
      local bad = hostile.connect(served.uri)
      local names = { "a", "ab", "A", "\u{e9}-1", "e\u{301}-1", "\u{c9}-1" }
      for _, name in ipairs(names) do
        local events = m.array { { type = "T" } }
        assert(bad:call("append", { stream = name, events = events, expected = "no_stream" }))
      end
      for n, name in ipairs(names) do
        assert.equal(n, bad:call("head", { stream = name }).first)
        assert.equal(1, #bad:call("read", { stream = name }).events)
      end
      assert.equal(1, #bad:call("streams", { category = "a" }).streams)
      assert.equal(2, #bad:call("streams", { prefix = "a" }).streams)
      bad:close()
      assert.equal(0, served:stop())
    end)
end)
