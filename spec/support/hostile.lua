--- Clients of the daemon that misbehave, for spec/hostile: any bytes, and what is said to them.
local coretest = require "coretest"
local m = require "moonlog"

local hostile = {}
local client = {}
local meta = { __index = client }

local PATIENCE_MS = 20000 -- for what must come
local NEAR = 4096         -- most messages are shorter, and found without looking at the rest

--- Does the memory that the daemon says it has mean anything in this build?
hostile.measures = not (os.getenv "MOONLOG_BUILD" or ""):find "san"

-- ---- bytes ----------------------------------------------------------------------------------

--- A request; `params` is packed, or bytes already if it is a string.
function hostile.request(id, method, params)
  if type(params) ~= "string" then params = m.pack(params or {}) end
  return "\x94\0" .. m.pack(id) .. m.pack(method) .. "\x91" .. params
end

--- A map of packed pairs, in this order and with repeats: { "stream", m.pack "a", … }.
function hostile.map(pairs_)
  local out = { string.char(0x80 + #pairs_ // 2) }
  for i = 1, #pairs_, 2 do
    out[#out + 1] = m.pack(pairs_[i])
    out[#out + 1] = pairs_[i + 1]
  end
  return table.concat(out)
end

--- Bytes that look random and are the same each time.
function hostile.noise(size, seed)
  local out, state = {}, seed or 1
  for i = 1, size // 8 do
    state = state ~ (state << 13)
    state = state ~ (state >> 7)
    state = state ~ (state << 17)
    out[i] = ("<i8"):pack(state)
  end
  return table.concat(out)
end

-- ---- a client ---------------------------------------------------------------------------------

--- Connects to a uri, from an address of this machine if one is given.
function hostile.connect(uri, from)
  local socket, why = coretest.socket.connect(uri, from)
  if not socket then error(("%s: %s"):format(uri, why), 2) end
  return setmetatable({ socket = socket, bytes = "", at = 1 }, meta)
end

--- Sends all of it; false if the daemon has closed before.
function client:send(bytes) return self.socket:send(bytes, PATIENCE_MS) == #bytes end

--- Sends a request and waits for its answer.
function client:call(method, params, id)
  self:send(hostile.request(id or 1, method, params))
  return self:answer()
end

--- The whole message at the front of what came, if it is there.
local function take(self)
  local near = self.bytes:sub(self.at, self.at + NEAR - 1)
  local size = coretest.base.unpack_skip(near)
  if not size and #near == NEAR then
    size = coretest.base.unpack_skip(self.bytes:sub(self.at))
  end
  if not size then return nil end
  local message = assert(m.unpack(self.bytes:sub(self.at, self.at + size - 1)))
  self.at = self.at + size
  return message
end

--- The next message, as a table; nil and "timeout" or "closed".
function client:message(timeout_ms)
  while true do
    local message = take(self)
    if message then return message end
    local more, why = self.socket:receive(timeout_ms or PATIENCE_MS)
    if not more then return nil, why end
    self.bytes, self.at = self.bytes:sub(self.at) .. more, 1
  end
end

--- The next answer: its result, or nil, "CODE: sentence" and the number; and its msgid.
function client:answer(timeout_ms)
  local message, why = self:message(timeout_ms)
  if not message then return nil, why end
  assert(message[1] == 1, "no answer")
  if rawequal(message[3], m.null) then return message[4], nil, nil, message[2] end
  return nil, message[3][2], message[3][1], message[2]
end

--- Has the daemon closed, with nothing more to say?
function client:is_closed()
  local message, why = self:message()
  return message == nil and why == "closed"
end

--- Waits until these bytes have come, within whatever message; forgets what came.
function client:wait_for(bytes)
  while not self.bytes:find(bytes, self.at, true) do
    local more = self.socket:receive(PATIENCE_MS)
    if not more then return false end
    self.bytes = self.bytes .. more
  end
  while take(self) do end
  return true
end

--- Sends all of it, and gives each answer that comes meanwhile to a function.
function client:pump(bytes, heard)
  while #bytes > 0 do
    local sent = assert(self.socket:send(bytes, 0))
    bytes = bytes:sub(sent + 1)
    if sent == 0 then
      assert(self:answer())
      heard()
      while take(self) do heard() end
    end
  end
end

function client:finish() return self.socket:finish() end
function client:close() self.socket:close() end

-- ---- a daemon ---------------------------------------------------------------------------------

--- What a client that is no fool sees now.
function hostile.status(served)
  local good <close> = assert(m.connect(served.uri))
  return assert(good:status())
end

--- Sends bytes on a new connection, and takes the one answer.
function hostile.ask(served, bytes)
  local bad = hostile.connect(served.uri)
  bad:send(bytes)
  local result, why, number, id = bad:answer()
  bad:close()
  return result, why, number, id
end

--- Waits until the daemon has so many connections, one of them that which asks.
function hostile.wait_for(served, count)
  local deadline = os.time() + PATIENCE_MS // 1000
  local status
  repeat
    local good <close> = m.connect(served.uri) -- refused while there is a crowd
    status = good and good:status()
    assert(os.time() <= deadline, "connections stay")
  until status and status.connections == count
  return status
end

function hostile.wait_alone(served) return hostile.wait_for(served, 1) end

--- Repeats what bad clients do until memory is as it stays, then measures one more time.
-- @treturn number bytes that the last round took
function hostile.growth(served, round)
  round(1)
  local before = hostile.wait_alone(served).memory_bytes
  round(2)
  return hostile.wait_alone(served).memory_bytes - before
end

return hostile
