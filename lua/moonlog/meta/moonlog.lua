---@meta moonlog
-- luacheck: no unused args
-- For editors: what `require "moonlog"` gives. In rule files it is the first part; in programs all
-- of it. Nobody loads this file. lua/README.md is the manual.

---@class moonlog
local moonlog = {}

-- ---- words of rules ---------------------------------------------------------------------------

---An event to be appended, as commands return them.
---@param type string its type: "Deposited"
---@param data? any
---@param more? { tags?: string[], meta?: table, schema?: integer } schema: the latest if not said
---@return moonlog.NewEvent
function moonlog.event(type, data, more) end

---Business says no: nothing is written, and who asked gets the code.
---@param code string "INSUFFICIENT_FUNDS"
---@param detail? any
---@return moonlog.Refusal
function moonlog.refuse(code, detail) end

---From an upcaster: one stored event is several by now, with one position. What is no event is
---data of the same type.
---@param parts (moonlog.NewEvent|table)[]
---@return moonlog.Split
function moonlog.split(parts) end

---From an upcaster: the event is none any more.
---@type moonlog.Drop
moonlog.drop = nil

---For projections: the row goes.
---@type moonlog.Delete
moonlog.delete = nil

-- ---- values that Lua lacks --------------------------------------------------------------------

---Null inside a list or a map, where nil would be nothing.
---@type moonlog.Null
moonlog.null = nil

---Marks a table as a list: `moonlog.array {}` is [] and not {}.
---@generic T
---@param list? T[]
---@return T[]
function moonlog.array(list) end

---Marks a table as a map, which may then have integers for keys.
---@param map? table
---@return table
function moonlog.map(map) end

---Bytes that are no text.
---@param content string
---@return moonlog.Bytes
function moonlog.bytes(content) end

-- ---- programs ---------------------------------------------------------------------------------

---@type string
moonlog.version = nil

---Opens a store in this process.
---@param options moonlog.OpenOptions
---@return moonlog.Store? store
---@return string? why
function moonlog.open(options) end

---Connects to a daemon: "unix:PATH" or "tcp:HOST:PORT".
---@param uri string
---@param options? { timeout_ms?: integer, token?: string, client?: string }
---@return moonlog.Connection? connection
---@return string? why
function moonlog.connect(uri, options) end

---Checks every stored byte.
---@param dir string
---@param options? { deep?: boolean }
---@return table? report
---@return string? why
function moonlog.verify(dir, options) end

---A value as MessagePack; equal values give equal bytes.
---@param value any
---@return string? bytes
---@return string? why
function moonlog.pack(value) end

---@param bytes string
---@return any value
---@return string? why
function moonlog.unpack(bytes) end

---@return string uuid a new UUIDv7
function moonlog.uuid() end

---RFC 3339 text to microseconds since 1970 UTC, and back.
---@overload fun(text: string): integer?, string?
---@param microseconds integer
---@return string
function moonlog.time(microseconds) end

---Rules in this process: what a worker of the daemon has. moonlog.testing stands on it.
---@param options? moonlog.EngineOptions
---@return moonlog.Engine? engine
---@return string? why
function moonlog.engine(options) end

---A socket, for the client in moonlog.client.
---@param uri string
---@param timeout_ms? integer
---@return userdata? socket
---@return string? why
function moonlog.socket(uri, timeout_ms) end

---@class moonlog.OpenOptions
---@field dir string
---@field read_only? boolean
---@field must_exist? boolean
---@field segment_bytes? integer
---@field memory_events? integer
---@field window_events? integer
---@field heads_bytes? integer

---@class moonlog.EngineOptions
---@field store? moonlog.Store the log; none: states are of what :admitted told
---@field snapshots? string a directory to keep them in
---@field states_bytes? integer
---@field fold_ms? integer
---@field command_ms? integer

---@class moonlog.NewEvent
---@class moonlog.Refusal
---@class moonlog.Split
---@class moonlog.Drop
---@class moonlog.Delete
---@class moonlog.Null
---@class moonlog.Bytes
---@class moonlog.Store
---@class moonlog.Connection
---@class moonlog.Engine

return moonlog
