--- Specs of projections: given what happened, these are the rows.
--
--     t.projection "balances.lua":given { { "Deposited", { amount = 5 }, stream = "account-ada" } }
--       :row("ada", { balance = 5, changes = 1 })
--
-- All is done in two states that live at once: one commits once, and the other, which has seen it
-- all before, after each event. Time is what the spec says it is.
-- @module moonlog.testing.projection
local diff = require "moonlog.testing.diff"
local moonlog = require "moonlog"
local packs = require "moonlog.testing.pack"

local spec -- what moonlog.testing has for all kinds: fail, open_unit, list_of, …

local projection = {}
local projection_meta = { __index = projection, __name = "moonlog.testing.projection" }

--- Does one thing that happened in one of the two: an event, or that time passes.
local function take_step(state, step)
  if not step.type then return state:pass(step.time) end
  return state:apply { step }
end

--- Does all of them, in one commit or in one for each; what is raised comes back with the number
-- of the step.
local function fold(state, steps, commit_each)
  assert(state:begin())
  for n, step in ipairs(steps) do
    local done, why, told = take_step(state, step)
    if not done then return nil, why, told, n end
    if commit_each then assert(state:commit()) end
  end
  assert(state:commit())
  return state:rows()
end

--- The rows by now, or nil, why, what is told, and the step.
local function fold_twice(self, steps)
  local one, two = self.pack:projections(self.name)
  fold(two, steps) -- what it raises is told below
  local rows, why, told, n = fold(one, steps)
  local again = fold(two, steps, true)
  if rows and moonlog.pack(rows) ~= moonlog.pack(again) then
    packs.forget()
    spec.fail("done twice, the same events give other rows: a handler may use its arguments only, "
      .. "and no table may be in a row under two names\n%s", diff.of(rows, again) or "")
  end
  return rows, why, told, n
end

local function rows_of(self)
  if self.known then return self.known end
  local rows, why, told = fold_twice(self, self.steps)
  if not rows then spec.fail_script(why, told) end
  self.known = rows
  return rows
end

--- Does the projection look at such an event? Fails if it has no handler for its type.
local function is_seen(self, event)
  local seen = self.pack:projections(self.name):sees(event)
  if seen ~= "no handler" then return seen == "yes" end
  spec.fail("%s has no handler for the event %s: misspelled? If it is to be ignored, say so there: "
    .. "%s = function() end", self.path, event.type, event.type)
end

--- An event at its place in the log.
local function placed(self, event)
  local count = self.count
  self.count = count + 1
  event.stream = event.stream or self.pack:projections(self.name):stream()
  event.position, event.revision = count + 1, count
  event.schema = event.schema or self.pack:latest(event.type)
  if event.time and event.time < self.now then
    spec.fail("%s was recorded before what comes before it", event.type)
  end
  self.now = event.time or self.now
  event.time = self.now
  return event
end

--- What it does not see only takes time.
local function add_events(self, steps, events)
  self.known = nil
  for _, event in ipairs(spec.list_of(events)) do
    placed(self, event)
    steps[#steps + 1] = is_seen(self, event) and event or { time = event.time }
  end
end

--- What happened, in the order of the log. An event that says no stream is of one that the
-- projection looks at; one that says no schema has the latest.
-- @tparam table events { {type, data, stream =, schema =, tags =, meta =, occurred =, time =}, … }
function projection:given(events)
  add_events(self, self.steps, events)
  rows_of(self)
  return self
end

--- What time it is recorded from here on. It never moves by itself.
function projection:at(time)
  local now = spec.time_of(time, "at")
  if now < self.now then spec.fail "time does not go back" end
  self.now, self.known = now, nil
  self.steps[#self.steps + 1] = { time = now }
  return self
end

local UNITS = { d = 86400000000, h = 3600000000, m = 60000000, s = 1000000, ms = 1000 }

--- Time passes, and nothing happens.
-- @tparam string duration "1d", "1h30m", "250ms"
function projection:advance(duration)
  local sum, rest = 0, tostring(duration):gsub("(%d+)(%a+)", function(count, unit)
    return UNITS[unit] and ("%d;"):format(count * UNITS[unit])
  end)
  if not rest:match "^[%d;]+$" then spec.fail('"%s" is no span of time like "1h30m"', duration) end
  for part in rest:gmatch "%d+" do sum = sum + math.tointeger(part) end
  return self:at(self.now + sum)
end

local function window_text(window)
  return window and (" in the window from %s to %s"):format(moonlog.time(window.from),
    moonlog.time(window.to)) or ""
end

--- The rows of a key, in the window that a time is in if one is given.
local function find(rows, key, at)
  local found = {}
  for _, one in ipairs(rows) do
    local inside = not at or one.window and one.window.from <= at and at < one.window.to
    if inside and (key == nil or one.key == key) then found[#found + 1] = one end
  end
  return found
end

local function find_one(self, key, window)
  local found = find(rows_of(self), key, window and spec.time_of(window, "the window"))
  if #found > 1 then
    spec.fail("%s has %d rows here; say of which window, by a time in it", diff.show(key), #found)
  end
  return found[1]
end

--- The row of a key is this, by now; nil: there is none.
-- @param key nil for a projection without keys
-- @param expected
-- @param window a time in it, for one with windows
function projection:row(key, expected, window)
  local one = find_one(self, key, window)
  local different = diff.of(expected, one and one.row)
  if different then
    spec.fail("the row %s%s is another (- expected, + got)\n%s", diff.show(key),
      window_text(one and one.window), different)
  end
  return self
end

--- {key = row}, or { {key, row, a time in its window}, … } as a list that can be compared.
local function expected_rows(rows, got)
  local list = {}
  for key, row in next, rows do
    local one = { key = key, row = row }
    if type(row) == "table" and row[1] ~= nil and row[2] ~= nil then
      one = { key = row[1], row = row[2] }
      local twin = find(got, one.key, row[3] and spec.time_of(row[3], "the window"))[1]
      one.window = row[3] and (twin and twin.window or { at = row[3] })
    end
    list[#list + 1] = one
  end
  return list
end

local function by_key(list)
  local map = {}
  for _, one in ipairs(list) do
    local from = one.window and (one.window.from and moonlog.time(one.window.from)
      or one.window.at)
    map[from and ("%s from %s"):format(diff.show(one.key), from) or one.key] = one.row
  end
  return map
end

--- These rows are there by now, and no others.
-- @tparam table rows {key = row}; with windows { {key, row, a time in the window}, … }
function projection:rows(rows)
  local got = rows_of(self)
  local different = diff.of(by_key(expected_rows(rows, got)), by_key(got))
  if different then spec.fail("the rows are others (- expected, + got)\n%s", different) end
  return self
end

local function check_closed(self, key, window, closed)
  local one = find_one(self, key, window)
  if not one then spec.fail("there is no row %s", diff.show(key)) end
  if not one.window then spec.fail("%s has no windows", self.path) end
  if one.window.closed == closed then return self end
  spec.fail("%s%s is %s", diff.show(key), window_text(one.window), closed and "open" or "closed")
end

--- The window of a row is over: what comes for it is late.
function projection:closed(key, window) return check_closed(self, key, window, true) end

--- It is not over.
function projection:open(key, window) return check_closed(self, key, window, false) end

--- The last of these events stops the projection: its handler, or its key, raises. It is as if it
-- had not happened.
-- @tparam table events
-- @tparam ?string text that stands in what is raised
function projection:raises(events, text)
  local now, count, steps = self.now, self.count, table.move(self.steps, 1, #self.steps, 1, {})
  add_events(self, steps, events)
  local rows, why, _, n = fold_twice(self, steps)
  if rows then spec.fail "nothing was raised" end
  if n < #steps then
    spec.fail("not the last event raised, but %s: %s", steps[n].type or "time", why)
  elseif text and not why:find(text, 1, true) then
    spec.fail("%s\nwas raised, and not\n%s", why, text)
  end
  self.now, self.count = now, count
  return self
end

--- A projection that has seen nothing.
local function new(root, file)
  local pack, path, name = spec.open_unit("projection", file, root)
  return setmetatable({ pack = pack, path = path, name = name, steps = {}, count = 0,
    now = spec.now }, projection_meta)
end

return function(shared)
  spec = shared
  return new
end
