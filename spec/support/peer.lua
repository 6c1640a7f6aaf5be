--- A client that speaks msgpack-rpc and nothing more: what is sent and what comes is seen as it
-- is, in the order in which it comes. Nothing waits longer than PATIENCE_MS.
local json = require "spec.support.json"
local moonlog = require "moonlog"
local program = require "spec.support.program"

local peer = {}
local meta = { __index = peer }
local PATIENCE_MS = 10000

--- Connects; an error if nobody answers.
function peer.connect(uri)
  local socket = assert(moonlog.socket(uri, PATIENCE_MS))
  return setmetatable({ socket = socket, last_id = 0, pushed = {} }, meta)
end

function peer:close() self.socket:close() end
meta.__close = peer.close

--- Sends any message.
function peer:send(message) assert(self.socket:send(message, PATIENCE_MS)) end

--- Asks without waiting for the answer; gives the msgid.
function peer:ask(method, params)
  self.last_id = self.last_id + 1
  self:send { 0, self.last_id, method, { params or {} } }
  return self.last_id
end

function peer:notify(method, params) self:send { 2, method, { params or {} } } end

--- The next message, whatever it is; nil and why if there is none.
function peer:receive(timeout_ms) return self.socket:receive(timeout_ms or PATIENCE_MS) end

--- The answer with this msgid: its result, or nil and its error. Pushes that come before it are
-- kept for `push`.
function peer:answer(id)
  while true do
    local message = assert(self:receive())
    if message[1] == 1 then
      assert(message[2] == id, "an answer to something else")
      if message[3] == moonlog.null then return message[4] end
      assert(message[4] == moonlog.null, "an error and a result")
      return nil, message[3]
    end
    self.pushed[#self.pushed + 1] = message
  end
end

--- Asks and waits: the result, or nil and the error, [number, "CODE: sentence"].
function peer:call(method, params) return self:answer(self:ask(method, params)) end

--- The sentence with which a call is refused; an error if it is not.
function peer:refused(method, params)
  local result, why = self:call(method, params)
  assert(result == nil, "it was not refused")
  return why[2]
end

--- The next push: its name and its map.
function peer:push(timeout_ms)
  local message = table.remove(self.pushed, 1) or assert(self:receive(timeout_ms))
  assert(message[1] == 2, "an answer, and no push")
  return message[2], message[3][1]
end

--- All that one turn pushes. A turn answers first and pushes then, so what the turn of the first
-- call pushes has come when the second is answered.
function peer:pushes()
  assert(self:call "head")
  assert(self:call "head")
  local list = self.pushed
  self.pushed = {}
  return list
end

--- Appends n events of a stream, numbered on from 1; gives the receipt.
function peer:fill(stream, n, more)
  local events = moonlog.array {}
  for i = 1, n do
    local event = { type = "T", data = i }
    for key, value in pairs(more or {}) do event[key] = value end
    events[i] = event
  end
  return assert(self:call("append", { stream = stream, events = events }))
end

--- True when the daemon has closed the connection.
function peer:is_closed()
  repeat
    local message, why = self:receive()
    if not message then return why:find "^UNREACHABLE" ~= nil end
  until false
end

-- Sends bytes and prints the messages that come, so many, or up to the end.
local RAW = [[
import json, msgpack, os, signal, socket, sys
path, count, stopped = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(20)
peer.connect(path)
peer.sendall(bytes.fromhex(sys.stdin.read()))
if stopped: os.kill(stopped, signal.SIGCONT)
unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
messages = []
try:
    while len(messages) < count:
        data = peer.recv(65536)
        if not data: break
        unpacker.feed(data)
        messages.extend(unpacker)
except ConnectionResetError:
    pass
print(json.dumps(messages))
]]

local function raw(served, bytes, count, stopped)
  local hex = bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  local out, err = program.shell(("env -u LD_PRELOAD /usr/bin/python3 -c %s %s %d %d"):format(
    program.quote(RAW), program.quote(served.socket), count, stopped), hex)
  assert(err == "", err)
  return json.read(out)
end

--- Sends bytes that need not be messages; gives the messages that come back: `count` of them, or
-- those that came before the daemon closed the connection.
function peer.raw(served, bytes, count) return raw(served, bytes, count, 0) end

--- The same, with a daemon that finds all the bytes there at once.
function peer.raw_at_once(served, bytes, count)
  served:signal "STOP"
  return raw(served, bytes, count, served.pid)
end

return peer
