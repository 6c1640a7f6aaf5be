--- A running Redis with an append-only file, for what is measured beside it.
-- The server is the program that Debian's redis-tools has under another name, so that no service
-- is installed or started.
local running = require "spec.support.running"

local redis = {}
local meta = { __index = redis }

local PROGRAM = "/usr/bin/redis-check-rdb"

--- Is it installed?
function redis.known()
  local file = io.open(PROGRAM, "rb")
  if file then file:close() end
  return file ~= nil
end

local function start_on(dir, port)
  local words = ("%s/redis-server --port %d --bind 127.0.0.1 --dir %s --save '' --appendonly yes "
    .. "--auto-aof-rewrite-percentage 0 2>&1"):format(dir, port, dir)
  local self = { out = assert(io.popen("echo $$; exec " .. words)), words = "redis-server" }
  local said = {}
  self.pid = self.out:read "l"
  self.uri = "redis:127.0.0.1:" .. port
  for line in self.out:lines() do
    if line:find("Ready to accept connections", 1, true) then
      running.add(self)
      return setmetatable(self, meta)
    end
    said[#said + 1] = line
  end
  self.out:close()
  return nil, table.concat(said, "\n")
end

--- Starts one on a free port of this machine and waits until it serves.
-- @tparam string dir an empty directory
-- @treturn table with `uri` and `pid`
function redis.start(dir)
  assert(os.execute(("ln -s %s '%s/redis-server'"):format(PROGRAM, dir)))
  for _ = 1, 20 do
    local self, why = start_on(dir, math.random(20000, 60000))
    if self then return self end
    if not why:find("Address already in use", 1, true) then error("Redis: " .. why, 0) end
  end
  error("no TCP port is free for Redis", 0)
end

function redis.stop(self)
  os.execute("kill " .. self.pid)
  self.out:read "a"
  self.out:close()
  running.remove(self)
end

return redis
