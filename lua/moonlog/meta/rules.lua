---@meta
-- For editors: the tables that rule files return, and what their functions are given. Say which one
-- it is, and the editor completes its words:
--
--     ---@type moonlog.Aggregate
--     return { aggregate = "account", … }

---What a type of event does to a state.
---@alias moonlog.Handler fun(state: table, data: any, event: moonlog.Event)

---What a command decides. The state may be read only.
---@alias moonlog.Decided moonlog.NewEvent|moonlog.NewEvent[]|moonlog.Refusal|nil
---@alias moonlog.Command fun(state: table, args: table, ctx: moonlog.Ctx): moonlog.Decided

---What happens, and what is decided. Its streams are NAME-ID.
---@class moonlog.Aggregate
---@field aggregate string its name, and the category of its streams
---@field initial? table what an aggregate is before anything happened; copied for each
---@field on table<string, moonlog.Handler> by type of event
---@field commands? table<string, moonlog.Command> by name
---@field snapshot? moonlog.Snapshot
---@field record? boolean commands are kept beside what they decide, for `moonlog whatif`

---@class moonlog.Snapshot
---@field every integer events from one to the next, 10 at least

---Old shapes of events of a type become the latest: step [n] makes schema n + 1 of schema n.
---@class moonlog.Upcaster
---@field upcast string the type
---@field latest integer the schema that the last step gives
---@field [integer] moonlog.Step|fun(data: any, event: moonlog.Event): any

---A step without Lua, done in this order. Fields in fields are written "a.b".
---@class moonlog.Step
---@field rename? table<string, string> old name = new name, beside it
---@field move? table<string, string> old path = new path
---@field drop? string[]
---@field cast? table<string, "integer"|"float"|"string"|"boolean">
---@field default? table<string, any> where the field is absent

---A read model: rows that are kept up with the log, one for each key.
---@class moonlog.Projection
---@field projection string its name
---@field from? string|moonlog.From which events; a text is a category
---@field key? string|moonlog.Key "id", "stream", "type", "category", "data.a.b", "meta.actor", …
---@field row? table what a row begins as; copied for each
---@field init? fun(): table instead of key and row: makes the only row
---@field on table<string, moonlog.RowHandler> by type of event
---@field index? string[] fields of the row that it can be found by: {"owner", "address.city"}
---@field window? moonlog.Window a row for each span of time
---@field late? moonlog.RowHandler for events of a closed window; without it they are counted
---@field merge? fun(row: table, other: table) for sessions by occurred: two that became one
---@field ttl? string how long a row stays that nothing changes: "90d"
---@field start? "beginning"|"now"|integer events before it do not count
---@field fault? "stop"|"hold" what a handler that raises stops: all, or its row alone
---@field sql? moonlog.Sql
---@field snapshot? moonlog.Snapshot copies of the view, for looks at the past

---What a type of event does to a row; moonlog.delete takes it away.
---@alias moonlog.RowHandler fun(row: table, data: any, event: moonlog.Event): moonlog.Delete?

---Which row an event goes to, or which rows; {} is none.
---@alias moonlog.RowKey string|integer|boolean
---@alias moonlog.Key fun(data: any, event: moonlog.Event): moonlog.RowKey|moonlog.RowKey[]

---@class moonlog.From
---@field category? string
---@field stream? string
---@field types? string[] those of `on` if they are not said
---@field tags? string[] events that have all of them

---@alias moonlog.SqlType "integer"|"real"|"text"|"blob"|"json"

---The rows as a table in rows.sqlite; columns by fields of the row.
---@class moonlog.Sql
---@field table? string the projection's name if it is not said
---@field columns table<string, moonlog.SqlType|{ type: moonlog.SqlType, path?: string }>

---The event around the data; read when asked for, and over when the handler returns.
---@class moonlog.Event
---@field position integer place in the whole log, from 1
---@field revision integer place in its stream, from 0
---@field time integer when it was recorded: microseconds since 1970 UTC
---@field stream string
---@field category string the stream's name up to the first "-"
---@field type string
---@field schema integer as it was stored
---@field id string a UUID
---@field tags string[]
---@field meta? table
---@field occurred? integer when it happened, if that was said

---What a command may know besides the state.
---@class moonlog.Ctx
---@field now integer microseconds since 1970 UTC: the only clock there is
---@field id string of the aggregate: "ada" of account-ada
---@field meta table what came with the command
---@field actor? string who asked, of meta
---@field uuid fun(): string a new id, the same one if the command is decided again
