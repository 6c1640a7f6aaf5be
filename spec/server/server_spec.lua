-- core/server/server.c from outside: how the daemon begins, drains and ends.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local peer = require "spec.support.peer"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local function exists(path)
  local _, _, status = program.shell("test -e " .. program.quote(path))
  return status == 0
end

describe("server/server", function()
  describe("begins", function()
    it("with a line that names every address, as it is bound", function()
      local served = daemon.start(nil, { "--listen", "tcp:127.0.0.1:0", "--listen", "tcp:[::1]:0" })
      local socket, four, six, pid =
        served.ready:match "^ready (%S+) tcp:127%.0%.0%.1:(%d+) tcp:%[::1%]:(%d+) pid (%d+)$"
      assert.same({ served.socket, served.pid }, { socket, pid })
      for _, uri in ipairs { "unix:" .. socket, "tcp:127.0.0.1:" .. four, "tcp:[::1]:" .. six } do
        local one <close> = peer.connect(uri)
        assert.equal(0, assert(one:call "head").position)
      end
      assert.equal(0, (served:stop()))
    end)

    it("where a killed daemon left its socket", function()
      local served = daemon.start()
      local one = peer.connect(served.uri)
      one:fill("a", 3)
      one:close()
      served:stop "KILL"
      assert.is_true(exists(served.socket))
      served = daemon.start(served.dir)
      one = peer.connect(served.uri)
      assert.equal(3, assert(one:call "head").position)
      one:close()
      assert.equal(0, (served:stop()))
    end)

    it("only where it can listen, and says where it cannot", function()
      local served = daemon.start_tcp()
      local err, status = daemon.refused(tmpdir.new() .. "/store", { "--listen", served.tcp })
      assert.equal(1, status)
      assert.match("moonlog: IO: listen on tcp:127.0.0.1:%d+: address already in use", err)
      assert.equal(0, (served:stop()))
      err, status = daemon.refused(tmpdir.new() .. "/" .. ("d"):rep(120))
      assert.equal(1, status)
      assert.match("moonlog: BAD_REQUEST: .*too long for a unix socket", err)
    end)
  end)

  describe("ends", function()
    local served, one
    before_each(function()
      served = daemon.start()
      one = peer.connect(served.uri)
    end)
    after_each(function() one:close() end)

    it("with an answer to every append that it had taken", function()
      for n = 1, 20 do one:fill("a", n) end
      served:signal "STOP"
      local ids = {}
      for n = 1, 20 do
        ids[n] = one:ask("append", { stream = "a", events = { { type = "T" } } })
      end
      assert.equal(0, (served:stop())) -- what was sent before the signal is read before it
      for n, id in ipairs(ids) do assert.equal(210 + n, assert(one:answer(id)).first) end
      assert.is_true(one:is_closed())
      assert.is_false(exists(served.socket))
    end)

    it("but not before output is fetched; until then it refuses appends and clients", function()
      local events = moonlog.array {}
      for n = 1, 6 do events[n] = { type = "T", data = ("x"):rep(1000000) } end
      assert(one:call("append", { stream = "a", events = events }))
      local slow = peer.connect(served.uri)
      local page = slow:ask("read", { stream = "a" })
      assert(one:call "head") -- a turn, so the page waits for the socket
      served:signal "TERM"
      repeat until not exists(served.socket)
      assert.match("^SHUTTING_DOWN: ",
        one:refused("append", { stream = "a", events = { { type = "T" } } }))
      assert.is_true(assert(one:call "status").draining)
      assert.equal(4, #assert(slow:answer(page)).events)
      assert.is_true(slow:is_closed())
      assert.equal(0, (served:wait()))
    end)
  end)
end)
