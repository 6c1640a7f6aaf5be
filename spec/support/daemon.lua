--- A running `moonlog serve`, for specs: started, waited for, stopped in order.
-- What `start` gives has the fields `dir`, `socket`, `uri`, `pid` and `ready` (the line it
-- printed), with `start_tcp` also `tcp` and `port`; every function here is a method of it, too.
-- Whoever starts one waits for its end; what a failing spec leaves behind, running.lua kills.
local program = require "spec.support.program"
local running = require "spec.support.running"
local tmpdir = require "spec.support.tmpdir"

local daemon = {}
local meta = { __index = daemon }

--- Starts any verb whose output is read line by line while it runs.
function daemon.spawn(words)
  local err = tmpdir.new() .. "/err"
  local out = assert(io.popen(("echo $$; exec %s 2>%s"):format(program.command(words), err), "r"))
  local self = setmetatable({ out = out, err = err, pid = out:read "l" }, meta)
  self.words = table.concat(words, " ")
  running.add(self)
  return self
end

local function serve(dir, words)
  local all = { "serve", "--data", dir }
  for _, word in ipairs(words or {}) do all[#all + 1] = word end
  local self = daemon.spawn(all)
  self.dir = dir
  self.socket = dir .. "/moonlog.sock"
  self.uri = "unix:" .. self.socket
  self.ready = self:line()
  return self
end

--- Starts a daemon and waits until it serves.
-- @tparam ?string dir a fresh one if nil
-- @tparam ?table words further options
function daemon.start(dir, words)
  local self = serve(dir or tmpdir.new() .. "/store", words)
  if self.ready then return self end
  self:wait()
  error(self:said(), 2)
end

--- Starts a daemon that must refuse to.
-- @treturn string what it said on stderr
-- @treturn number its exit status
function daemon.refused(dir, words)
  local self = serve(dir, words)
  assert(not self.ready, "it serves")
  return self:said(), (self:wait())
end

--- Starts a daemon that also listens on a TCP port, one that was free.
function daemon.start_tcp(dir, words)
  local self = daemon.start(dir, { "--listen", "tcp:127.0.0.1:0", table.unpack(words or {}) })
  self.tcp = self.ready:match " (tcp:%S+)"
  self.port = math.tointeger(tonumber(self.tcp:match "(%d+)$"))
  return self
end

--- Sends a signal: "INT", "STOP", …
function daemon.signal(self, name) os.execute(("kill -%s %s"):format(name, self.pid)) end

--- The next line it prints; nil at its end.
function daemon.line(self) return self.out:read "l" end

--- Waits for the end.
-- @treturn number the exit status
-- @treturn string what it printed since
function daemon.wait(self)
  local rest = self.out:read "a"
  local _, _, status = self.out:close()
  running.remove(self)
  return status, rest
end

--- Sends SIGTERM, or another signal, and waits for the end. One that SIGSTOP has stopped goes on
-- to its end.
function daemon.stop(self, name)
  daemon.signal(self, name or "TERM")
  daemon.signal(self, "CONT")
  return daemon.wait(self)
end

--- What it said on stderr.
function daemon.said(self) return program.slurp(self.err) end

return daemon
