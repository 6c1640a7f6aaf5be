--- Specs of rules, in plain busted and without a daemon: given what happened, when a command
-- comes, then these are the events, or the refusal, or the state.
--
--     local t = require "moonlog.testing"
--     t.aggregate "account.lua"
--       :given { { "AccountOpened", { owner = "Ada" } }, { "Deposited", { amount = 50 } } }
--       :when("withdraw", { amount = 80 })
--       :refuses("INSUFFICIENT_FUNDS", { balance = 50 })
--
-- The rules run in the sandbox that the daemon's workers have, and twice: in two that live at
-- once, one of which has done it all before, and keeps its state as bytes between any two
-- events, as a snapshot does. If it comes out differently the test fails.
-- lua/README.md is the manual.
-- @module moonlog.testing
local diff = require "moonlog.testing.diff"
local fault = require "moonlog.repl.fault"
local moonlog = require "moonlog"
local packs = require "moonlog.testing.pack"

local testing = {}

-- What commands get where a spec does not say: always the same.
local NOW = moonlog.time "2026-01-01T12:00:00Z"
local DICE = "0123456789abcdef"
local ID = "test"
local OTHER = "-that the second engine has folded before"
local SHOWN = 95      -- bytes of a name that an engine tells at most

-- ---- failing ----------------------------------------------------------------------------------

--- The frame that a spec called us from, as seen by whoever calls this.
local function frame_of_spec()
  local level = 3
  while true do
    local about = debug.getinfo(level, "S")
    if not about then return 3 end
    local ours = about.source:match "moonlog/testing%.lua$" or about.source:match "moonlog/testing/"
    if about.what ~= "C" and not ours then return level end
    level = level + 1
  end
end

--- Fails the test, at the line of the spec.
local function fail(format, ...)
  local message, level = format:format(...), frame_of_spec()
  local busted = package.loaded.busted
  if type(busted) == "table" and busted.fail then busted.fail(message, level - 1) end
  error(message, level - 1)
end

--- Fails because of a script, with all that is known of it.
local function fail_script(why, told)
  packs.forget()
  fail("%s", told and fault.script(why, told) or why)
end

-- ---- files ------------------------------------------------------------------------------------

--- The folder of the spec that called; the first file that ends like one, else the nearest.
local function folder_of_spec()
  local nearest
  for level = 3, math.maxinteger do
    local about = debug.getinfo(level, "S")
    if not about then break end
    local path = about.source:match "^@(.*)$"
    if path and not path:match "moonlog/testing" then
      if path:match "_spec%.lua$" then return path:match "^(.*)/[^/]*$" or "." end
      nearest = nearest or path:match "^(.*)/[^/]*$" or "."
    end
  end
  return nearest or "."
end

local function split(path) return path:match "^(.*)/([^/]*)$" end

--- Where a rule file is: the folder of its pack, and its path in there.
local function place_of(file, root)
  if file:sub(1, 1) ~= "/" then file = (root or folder_of_spec()) .. "/" .. file end
  if root then return root, file:sub(#root + 2) end
  return split(file)
end

local function open(files)
  local opened, pack = pcall(packs.open, files)
  if not opened then fail("%s", pack) end
  return pack
end

--- The pack that a rule file is of, the file's path in it, and its unit's name.
local function open_unit(kind, file, root)
  local dir, path = place_of(file, root)
  local read, files = pcall(packs.read, dir)
  if not read then fail("%s", files) end
  if not files[path] then fail("there is no rule file %s in %s", path, dir) end
  local pack = open(files)
  local name, why = pack:unit(kind, path)
  if not name then fail("%s", why) end
  return pack, path, name
end

-- ---- events -----------------------------------------------------------------------------------

local event_keys = { [1] = "type", [2] = "data", type = "type", data = "data", schema = "schema",
  tags = "tags", meta = "meta", occurred = "occurred", time = "time", id = "id",
  stream = "stream" }

local function time_of(value, what)
  if type(value) ~= "string" then return value end
  local time, why = moonlog.time(value)
  if not time then fail("%s: %s", what, why) end
  return time
end

--- {"Deposited", {amount = 5}, schema = 2} or {type = …, data = …} as a table with names.
local function named(event)
  if type(event) ~= "table" then fail("an event is a table {type, data}, not a %s", type(event)) end
  local all = {}
  for key, value in next, event do
    local name = event_keys[key]
    if not name then fail("an event has no field %s", diff.show(key)) end
    all[name] = value
  end
  if type(all.type) ~= "string" then fail("an event begins with its type: {\"Deposited\", {…}}") end
  all.time, all.occurred = time_of(all.time, "time"), time_of(all.occurred, "occurred")
  return all
end

--- One event, or a list of them, as a list.
local function list_of(events)
  if type(events) ~= "table" then fail("events are a list { {type, data}, … }") end
  if type(events[1]) == "string" or events.type then return { named(events) } end
  local list = {}
  for n, event in ipairs(events) do list[n] = named(event) end
  return list
end

--- What was expected of an event, and the same fields of what came.
local function comparable(expected, got)
  local one, two = {}, {}
  for name in next, expected do
    one[name], two[name] = expected[name], got[name]
  end
  one.type, two.type, two.data = expected.type, got.type, got.data
  if expected.meta and got.meta then
    two.meta = {}
    for key in next, expected.meta do two.meta[key] = got.meta[key] end
  end
  return one, two
end

--- Fails unless these events came, as far as `expected` says what they are.
local function compare_events(expected, got, what)
  local one, two = {}, {}
  for n = 1, math.max(#expected, #got) do
    if expected[n] and got[n] then
      one[n], two[n] = comparable(expected[n], got[n])
    else
      local only = expected[n] or { type = got[n].type, data = got[n].data }
      one[n], two[n] = expected[n] and only, got[n] and only
    end
  end
  local different = diff.of(one, two)
  if different then fail("%s are others (- expected, + got)\n%s", what, different) end
end

local function is_null(value) return value == nil or value == moonlog.null end

--- As an engine gives them: absent is absent.
local function plain(events)
  for _, event in ipairs(events) do
    if is_null(event.data) then event.data = nil end
  end
  return events
end

-- ---- aggregates -------------------------------------------------------------------------------

local aggregate = {}
local aggregate_meta = { __index = aggregate, __name = "moonlog.testing.aggregate" }

--- An aggregate that nothing has happened to.
local function new_aggregate(root, file, id)
  local pack, path, name = open_unit("aggregate", file, root)
  return setmetatable({ pack = pack, path = path, name = name, id = id or ID, events = {},
    now = NOW }, aggregate_meta)
end

--- The first n events as they are stored, in a stream.
local function stored(self, id, first, last)
  local list = {}
  for n = first, last do
    local event = {}
    for key, value in next, self.events[n] do event[key] = value end
    event.given = nil
    event.stream, event.position, event.revision = self.name .. "-" .. id, n, n - 1
    event.time = event.time or NOW
    list[#list + 1] = event
  end
  return list
end

local function state_of(self, engine)
  local answer, why, told = engine:state { aggregate = self.name, id = self.id }
  if not answer then fail_script(why, told) end
  return answer.state
end

--- In one go: from event to event the state is a Lua table.
local function fold_whole(self, engine, id, count)
  engine:forget(self.name .. "-" .. id)
  return engine:admitted(stored(self, id, 1, count))
end

--- Fails unless a handler has just seen the nth event, or an upcaster may have found it none. Which
-- handler it was counts too: the engine has seen an nth event in the tests before, perhaps.
local function check_handled(self, engine, n)
  local event, doing = self.events[n], engine:doing()
  local handler = ("on " .. event.type):sub(1, SHOWN)
  local unit = ("aggregate/" .. self.name):sub(1, SHOWN)
  local seen = doing.position == n and doing.handler == handler and doing.unit == unit
  if seen or engine:upcasts(event.type, event.schema) then return end
  fail("%s has no handler for the event %s: misspelled? If it is to be ignored, say so there: "
    .. "%s = function() end", self.path, event.type, event.type)
end

--- One by one: between any two the state is bytes.
local function fold_cut(self, engine, count)
  engine:forget(self.name .. "-" .. self.id)
  for n = 1, count do
    local done, why, told = engine:admitted(stored(self, self.id, n, n))
    if not done then fail_script(why, told) end
    if self.events[n].given then check_handled(self, engine, n) end
  end
end

--- Folds in both engines; the two states.
local function fold(self, count)
  fold_whole(self, self.pack.two, self.id .. OTHER, count) -- what it raises is told below
  local done, why, told = fold_whole(self, self.pack.one, self.id, count)
  if not done then fail_script(why, told) end
  fold_cut(self, self.pack.two, count)
  return state_of(self, self.pack.one), state_of(self, self.pack.two)
end

--- The event that the two part at.
local function blame_twin(self, count)
  for n = 1, count do
    local one, two = fold(self, n)
    if moonlog.pack(one) ~= moonlog.pack(two) then
      packs.forget()
      fail("folded twice, event %d, %s, gives two states: a handler may use its arguments only, "
        .. "and no table may be in the state under two names\n%s", n, self.events[n].type,
        diff.of(one, two) or diff.show(one))
    end
  end
  packs.forget()
  fail("folded again and again, the same events give other states")
end

--- The state now.
local function current(self)
  local count = #self.events
  if count == 0 then -- nothing has begun, and no handler sees this
    self.events[1] = { type = "moonlog.testing" }
    local state = fold(self, 1)
    self.events[1] = nil
    return state
  end
  local one, two = fold(self, count)
  if moonlog.pack(one) ~= moonlog.pack(two) then blame_twin(self, count) end
  return one
end

--- What happened before, to this aggregate. An event that says no schema has the latest.
-- @tparam table events { {type, data, schema =, tags =, meta =, occurred =, time =, id =}, … }
function aggregate:given(events)
  for _, event in ipairs(list_of(events)) do
    if event.stream then fail "the stream is that of the aggregate; leave it out" end
    self.events[#self.events + 1] = event
    event.given, event.schema = true, event.schema or self.pack:latest(event.type)
  end
  current(self)
  return self
end

--- What time it is for the commands that come: ctx.now.
-- @param time microseconds since 1970, or RFC 3339 text
function aggregate:at(time)
  self.now = time_of(time, "at")
  return self
end

local function decide(engine, request)
  local answer, why, told = engine:command(request)
  if not answer then fail_script(why, told) end
  return answer
end

--- Both engines decide, one of them twice.
local function decide_twice(self, request)
  local answer = decide(self.pack.one, request)
  for _ = 1, 2 do
    local again = decide(self.pack.two, request)
    if moonlog.pack(answer) ~= moonlog.pack(again) then
      packs.forget()
      fail("decided twice, %s has two results: a command may use its arguments only\n%s",
        request.name, diff.of(answer, again) or "")
    end
  end
  return answer
end

--- Events of an old schema would be upcast as if they were old.
local function check_schemas(self, events)
  for _, event in ipairs(events) do
    local latest = self.pack:latest(event.type)
    if event.schema < latest then
      fail("%s is emitted with schema %d, and upcasters would take it for an old one; leave the "
        .. "schema out, and it is %d", event.type, event.schema, latest)
    end
  end
end

local function take(self, decided)
  for _, event in ipairs(decided.events) do
    local tags = #event.tags > 0 and event.tags or nil
    self.events[#self.events + 1] = { type = event.type, data = event.data, meta = event.meta,
      tags = tags, schema = event.schema, time = self.now }
  end
  if #decided.events > 0 then current(self) end
end

--- A command comes. What it emits has then happened: the next one decides on it.
-- @tparam string name
-- @tparam ?table args
-- @tparam ?table meta what comes with the command: actor, correlation_id, …
function aggregate:when(name, args, meta)
  current(self)
  local answer = decide_twice(self, { aggregate = self.name, id = self.id, name = name,
    args = args or {}, meta = meta, now = self.now, dice = DICE })
  self.asked, self.refused, self.emitted = name, answer.refused, nil
  if answer.decided then
    self.emitted = plain(answer.decided.events)
    check_schemas(self, self.emitted)
    take(self, answer.decided)
  end
  return self
end

local function check_asked(self, verb)
  if not self.asked then fail("ask with :when(command, args) before :%s", verb) end
end

--- These events came of the command, in this order; {} if none did. Fields that are not named
-- (schema, tags, meta) are not looked at.
function aggregate:emits(events)
  check_asked(self, "emits")
  local expected = list_of(events)
  if self.refused then
    fail("%s was refused: %s %s", self.asked, self.refused.code,
      is_null(self.refused.detail) and "" or diff.show(self.refused.detail))
  end
  compare_events(expected, self.emitted, "the events of " .. self.asked)
  return self
end

--- The command was refused.
-- @tparam string code
-- @param detail if given, compared
function aggregate:refuses(code, detail)
  check_asked(self, "refuses")
  local got = self.refused
  if not got then
    fail("%s was not refused; it emitted %s", self.asked, diff.show(self.emitted))
  end
  if got.code ~= code then fail("%s refused with %s, not %s", self.asked, got.code, code) end
  local different = detail ~= nil and diff.of(detail, got.detail)
  if different then fail("the detail of %s is another (- expected, + got)\n%s", code, different) end
  return self
end

--- The state is this, by now.
function aggregate:state(expected)
  local different = diff.of(expected, current(self))
  if different then fail("the state is another (- expected, + got)\n%s", different) end
  return self
end

-- ---- upcasters --------------------------------------------------------------------------------

local upcaster = {}
local upcaster_meta = { __index = upcaster, __name = "moonlog.testing.upcaster" }

local function new_upcaster(root, file)
  local pack, path, name = open_unit("upcast", file, root)
  return setmetatable({ pack = pack, path = path, type = name }, upcaster_meta)
end

--- An event as it was stored.
-- @tparam integer schema
-- @param data
-- @tparam ?table more its other fields: stream, tags, meta, occurred, time, id
function upcaster:from(schema, data, more)
  if math.type(schema) ~= "integer" or schema < 1 then fail("a schema is a number from 1") end
  self.event = { stream = "test-1", position = 1, revision = 0, time = NOW }
  for key, value in next, more or {} do self.event[key] = value end
  self.event.type, self.event.schema, self.event.data = self.type, schema, data
  return self
end

--- The pack with the chain cut off behind a schema.
local function cut(self, schema)
  local files = {}
  for path, text in next, self.pack.files do files[path] = text end
  local aside = "lib/whole/" .. self.path
  files[aside] = files[self.path]
  files[self.path] = ([[
local whole, part = require "%s", { upcast = "%s", latest = %d }
for schema = 1, %d do part[schema] = whole[schema] end
return part
]]):format(aside:gsub("%.lua$", ""):gsub("/", "."), self.type, schema, schema - 1)
  return open(files)
end

--- What has become of the event, in both engines, twice in one of them.
local function upcast(self, pack)
  if not self.event then fail("say :from(schema, data) first") end
  local function run(engine)
    local events, why, told = engine:upcast { self.event }
    if not events then fail_script(why, told) end
    return plain(events)
  end
  local events = run(pack.one)
  for _ = 1, 2 do
    local again = run(pack.two)
    if moonlog.pack(events) ~= moonlog.pack(again) then
      packs.forget()
      fail("upcast twice, %s gives two results: a step may use its arguments only\n%s", self.type,
        diff.of(events, again) or "")
    end
  end
  return events
end

--- It has become one event of this schema, with this data.
function upcaster:to(schema, data)
  local latest = self.pack:latest(self.type)
  if schema > latest then fail("the chain of %s ends at schema %d", self.type, latest) end
  if schema < 2 then fail("a chain goes to schema 2 at least") end
  local events = upcast(self, schema < latest and cut(self, schema) or self.pack)
  compare_events({ { type = self.type, schema = schema, data = data } }, events, "the events")
  return self
end

--- Nothing is left of it.
function upcaster:drops()
  compare_events({}, upcast(self, self.pack), "the events")
  return self
end

--- It has become several events.
-- @tparam table events { {type, data}, … }
function upcaster:splits(events)
  compare_events(list_of(events), upcast(self, self.pack), "the events")
  return self
end

-- ---- the door ---------------------------------------------------------------------------------

local new_projection = require "moonlog.testing.projection" { now = NOW, fail = fail,
  fail_script = fail_script, open_unit = open_unit, list_of = list_of, time_of = time_of }

--- A test of an aggregate. Its pack is the folder that the file is in.
-- @tparam string file relative to the spec's folder
-- @tparam ?string id of the aggregate: "test"
function testing.aggregate(file, id) return new_aggregate(nil, file, id) end

--- A test of a file of upcasters.
function testing.upcaster(file) return new_upcaster(nil, file) end

--- A test of a projection.
function testing.projection(file) return new_projection(nil, file) end

--- The same for the pack in a folder, which files are then relative to: for rule files that
-- are in folders of their pack.
-- @tparam string dir relative to the spec's folder
function testing.pack(dir)
  local root = dir:sub(1, 1) == "/" and dir or folder_of_spec() .. "/" .. dir
  root = root:gsub("/+$", "")
  return {
    aggregate = function(file, id) return new_aggregate(root, file, id) end,
    upcaster = function(file) return new_upcaster(root, file) end,
    projection = function(file) return new_projection(root, file) end,
  }
end

return testing
