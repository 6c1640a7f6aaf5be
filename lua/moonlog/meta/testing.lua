---@meta moonlog.testing
-- luacheck: no unused
-- For editors: the words of specs.

---@class moonlog.testing
local testing = {}

---A test of an aggregate. Its pack is the folder that the file is in.
---@param file string relative to the spec's folder
---@param id? string of the aggregate, "test"
---@return moonlog.testing.Aggregate
function testing.aggregate(file, id) end

---A test of a file of upcasters.
---@param file string relative to the spec's folder
---@return moonlog.testing.Upcaster
function testing.upcaster(file) end

---A test of a projection.
---@param file string relative to the spec's folder
---@return moonlog.testing.Projection
function testing.projection(file) end

---All of these, for a pack whose rule files are in folders.
---@param dir string relative to the spec's folder; files are relative to it
---@return moonlog.testing.Pack
function testing.pack(dir) end

---@class moonlog.testing.Pack
---@field aggregate fun(file: string, id?: string): moonlog.testing.Aggregate
---@field upcaster fun(file: string): moonlog.testing.Upcaster
---@field projection fun(file: string): moonlog.testing.Projection

---{ "Deposited", { amount = 5 }, occurred = "2026-01-05T09:00:00Z" }
---@class moonlog.testing.Event
---@field [1] string the type
---@field [2] any the data
---@field schema? integer
---@field tags? string[]
---@field meta? table
---@field occurred? integer|string
---@field time? integer|string
---@field id? string
---@field stream? string of a projection's event

---@class moonlog.testing.Aggregate
local aggregate = {}

---What happened before.
---@param events moonlog.testing.Event[]|moonlog.testing.Event
---@return moonlog.testing.Aggregate
function aggregate:given(events) end

---What time it is for the commands that come.
---@param time integer|string
---@return moonlog.testing.Aggregate
function aggregate:at(time) end

---A command comes. What it emits has then happened.
---@param name string
---@param args? table
---@param meta? table what comes with it: actor, …
---@return moonlog.testing.Aggregate
function aggregate:when(name, args, meta) end

---These events came of it; {} if none did.
---@param events moonlog.testing.Event[]|moonlog.testing.Event
---@return moonlog.testing.Aggregate
function aggregate:emits(events) end

---It was refused.
---@param code string
---@param detail? any
---@return moonlog.testing.Aggregate
function aggregate:refuses(code, detail) end

---The state is this, by now.
---@param expected table
---@return moonlog.testing.Aggregate
function aggregate:state(expected) end

---@class moonlog.testing.Upcaster
local upcaster = {}

---An event as it was stored.
---@param schema integer
---@param data any
---@param more? table its other fields
---@return moonlog.testing.Upcaster
function upcaster:from(schema, data, more) end

---It has become one event of this schema.
---@param schema integer
---@param data any
---@return moonlog.testing.Upcaster
function upcaster:to(schema, data) end

---Nothing is left of it.
---@return moonlog.testing.Upcaster
function upcaster:drops() end

---It has become several.
---@param events moonlog.testing.Event[]
---@return moonlog.testing.Upcaster
function upcaster:splits(events) end

---@class moonlog.testing.Projection
local projection = {}

---What happened, in the order of the log.
---@param events moonlog.testing.Event[]|moonlog.testing.Event
---@return moonlog.testing.Projection
function projection:given(events) end

---What time it is recorded from here on.
---@param time integer|string
---@return moonlog.testing.Projection
function projection:at(time) end

---Time passes, and nothing happens.
---@param duration string "1d", "1h30m"
---@return moonlog.testing.Projection
function projection:advance(duration) end

---The row of a key is this, by now; nil: there is none.
---@param key moonlog.RowKey? nil for a projection without keys
---@param expected table?
---@param window? integer|string a time in it
---@return moonlog.testing.Projection
function projection:row(key, expected, window) end

---These rows are there, and no others: {key = row}, or { {key, row, a time in its window}, … }.
---@param rows table
---@return moonlog.testing.Projection
function projection:rows(rows) end

---The window of a row is over.
---@param key moonlog.RowKey?
---@param window? integer|string a time in it
---@return moonlog.testing.Projection
function projection:closed(key, window) end

---It is not over yet.
---@param key moonlog.RowKey?
---@param window? integer|string a time in it
---@return moonlog.testing.Projection
function projection:open(key, window) end

---The last of these events stops the projection; it is as if it had not happened.
---@param events moonlog.testing.Event[]|moonlog.testing.Event
---@param text? string stands in what is raised
---@return moonlog.testing.Projection
function projection:raises(events, text) end

return testing
