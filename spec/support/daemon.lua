--- A running `moonlog serve`, for specs: started, waited for, stopped in order.
-- What `start` gives has the fields `dir`, `socket`, `uri`, `pid` and `ready` (the line it
-- printed), with `start_tcp` also `tcp` and `port`; every function here is a method of it, too.
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local daemon = {}
local meta = { __index = daemon }

--- Starts any verb whose output is read line by line while it runs.
function daemon.spawn(words)
  local err = tmpdir.new() .. "/err"
  local out = assert(io.popen(("echo $$; exec %s 2>%s"):format(program.command(words), err), "r"))
  return setmetatable({ out = out, err = err, pid = out:read "l" }, meta)
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
  return self.ready and self or error(self:said(), 2)
end

--- Starts a daemon that must refuse to.
-- @treturn string what it said on stderr
-- @treturn number its exit status
function daemon.refused(dir, words)
  local self = serve(dir, words)
  assert(not self.ready, "it serves")
  return self:said(), (self:wait())
end

--- Starts a daemon that also listens on a TCP port which was free.
function daemon.start_tcp(dir, words)
  for _ = 1, 20 do
    local port = math.random(20000, 60000)
    local all = { "--listen", "tcp:127.0.0.1:" .. port, table.unpack(words or {}) }
    local self = serve(dir or tmpdir.new() .. "/store", all)
    if self.ready then
      self.port, self.tcp = port, "tcp:127.0.0.1:" .. port
      return self
    end
    local said = self:said()
    self:wait()
    if not said:find("address already in use", 1, true) then error(said, 2) end
  end
  error("no TCP port is free", 2)
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
  return status, rest
end

--- Sends SIGTERM, or another signal, and waits for the end.
function daemon.stop(self, name)
  daemon.signal(self, name or "TERM")
  return daemon.wait(self)
end

--- What it said on stderr.
function daemon.said(self) return program.slurp(self.err) end

return daemon
