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

---Windows that follow each other: moonlog.tumbling "1d".
---@param size string "15s", "30m", "1h30m", "1d"
---@param more? moonlog.WindowOptions
---@return moonlog.Window
function moonlog.tumbling(size, more) end

---Windows that overlap: moonlog.hopping("1h", "5m") begins one each five minutes.
---@param size string
---@param hop string
---@param more? moonlog.WindowOptions
---@return moonlog.Window
function moonlog.hopping(size, hop, more) end

---Windows that end when nothing has happened for so long: moonlog.session "30m".
---@param gap string
---@param more? moonlog.WindowOptions
---@return moonlog.Window
function moonlog.session(gap, more) end

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

---A projection in this process: its view follows the store. For programs and specs.
---@param options moonlog.ProjectorOptions
---@return moonlog.Projector? projector
---@return string? why
---@return table[]? diagnostics
function moonlog.projector(options) end

---A projection that is told of events, at any time. moonlog.testing stands on it.
---@param options { files: table<string, string>, name: string }
---@return moonlog.ToldProjection? projection
---@return string? why
function moonlog.projection(options) end

---History through other rules, in this process: what would be different.
---@param options moonlog.WhatifOptions
---@return table? result differences, units, position
---@return string? why
---@return table[]? diagnostics
function moonlog.whatif(options) end

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

---@class moonlog.ProjectorOptions
---@field store moonlog.Store the log
---@field files table<string, string> the pack, {path = source}
---@field name string of the projection
---@field view string a directory to keep it in
---@field base? string view of a version before, to begin with
---@field base_files? table<string, string>
---@field start? integer
---@field skips? integer[] positions to pass over
---@field paused? boolean
---@field log? string
---@field boot? string
---@field fold_ms? integer
---@field past? string view of this version, whose kept copies an empty one may begin with
---@field past_at? integer of up to this position

---@class moonlog.WhatifOptions
---@field store moonlog.Store the log
---@field before table<string, string> a pack, {path = source}
---@field after table<string, string> and the other
---@field unit? string only this one: "projection/balances"
---@field from? integer differences that begin before this position are not told
---@field limit? integer of each unit
---@field scratch? string a directory to work in
---@field progress? fun(unit: string, position: integer, head: integer): boolean? false ends it

---@class moonlog.WindowOptions
---@field time? "log"|"occurred" when it was recorded (the default), or when it happened
---@field grace? string how long a window stays open after its end
---@field offset? string where windows begin, from 1970 UTC on

---@class moonlog.Window
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
---@class moonlog.Projector
---@class moonlog.ToldProjection

return moonlog
