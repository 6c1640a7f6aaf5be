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
