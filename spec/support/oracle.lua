--- What whatif has to find, by brute force: both versions of a unit are told of one event after the
-- other, and all that they have is compared after each.
local m = require "moonlog"

local oracle = {}

--- A value as text, the same for the same value.
local function show(value)
  if type(value) ~= "table" then return math.type(value) == "float" and "f" .. value
    or type(value):sub(1, 1) .. tostring(value) end
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do parts[#parts + 1] = tostring(key) .. "=" .. show(value[key]) end
  return "{" .. table.concat(parts, ",") .. "}"
end
oracle.show = show

--- What names a row: its key, and its window if it has one.
function oracle.key(one)
  local window = one.window
  return show(one.key) .. (window and ("@%d-%d"):format(window.from, window.to) or "")
end

--- All events of a store, the system's left out.
function oracle.events(store)
  local events = {}
  for event in store:read() do events[#events + 1] = event end
  return events
end

--- A folder of one version: step(event) gives what there is now, {[key] = value}, or nil and why.
local folders = {}

function folders.aggregate(files, name)
  local engine, states = assert(m.engine {}), {}
  local report = assert(engine:stage(files))
  assert(report.ok, report.diagnostics[1] and report.diagnostics[1].message)
  assert(engine:activate())
  local dead = {}
  return function(event)
    if event.stream:match "^[^-]*" ~= name or dead[event.stream] then return states end
    local done, why = engine:admitted { event }
    if not done then
      dead[event.stream] = true
      return states, why, event.stream
    end
    states[event.stream] = assert(engine:state { aggregate = name,
      id = event.stream:sub(#name + 2) }).state
    return states
  end
end

function folders.projection(files, name)
  local fold = assert(m.projection { files = files, name = name })
  assert(fold:begin())
  return function(event)
    if fold:sees(event) ~= "yes" then return nil end
    local done, why = fold:apply { event }
    if not done then return nil, why end
    assert(fold:commit())
    local rows = {}
    for _, one in ipairs(assert(fold:rows())) do
      rows[oracle.key(one)] = one.row
    end
    return rows
  end
end

--- What one version has after each event, and the fault that stops it.
-- A projection stops as a whole, an aggregate's stream alone.
function oracle.run(files, kind, name, events)
  local step, all, shown = folders[kind](files, name), {}, {}
  for n, event in ipairs(events) do
    local found, why, stream = step(event)
    if why and kind == "projection" then
      all.fault = { position = event.position }
      return all
    end
    if why then shown[stream] = { fault = true, position = event.position } end
    if kind == "aggregate" and not shown[event.stream] and found[event.stream] then
      all[n] = { [event.stream] = show(found[event.stream]) }
    elseif kind == "aggregate" and shown[event.stream] then
      all[n] = { [event.stream] = shown[event.stream].position == event.position and "fault"
        or nil }
    elseif found then
      all[n] = {}
      for key, value in pairs(found) do all[n][key] = show(value) end
    end
  end
  return all
end

--- Holds two runs against each other: rows = {[key] = {first=, before=, after=}}; fault, the
-- position of one that only one of them has; dead, {[stream] = position} of such; and how many are
-- transient.
function oracle.compare(before, after, kind, events)
  local differing, now, last = {}, { {}, {} }, { {}, {} }
  local stop = math.min(before.fault and before.fault.position or math.maxinteger,
    after.fault and after.fault.position or math.maxinteger)
  local found = { rows = differing, transient = 0, dead = {} }
  for n, event in ipairs(events) do
    if event.position > stop then break end
    for side, run in ipairs { before, after } do
      if kind == "aggregate" then
        for key, value in pairs(run[n] or {}) do now[side][key] = value end
      else
        now[side] = run[n] or now[side]
      end
    end
    local keys = {}
    for side = 1, 2 do for key in pairs(now[side]) do keys[key] = true end end
    for key in pairs(differing) do keys[key] = true end
    for key in pairs(keys) do
      local one, other = now[1][key], now[2][key]
      local dead = one == "fault" or other == "fault"
      if dead and not found.dead[key] then
        found.dead[key] = one ~= other and event.position or 0
        differing[key] = nil
      elseif not dead and one ~= other then
        differing[key] = differing[key] or { first = event.position }
      elseif not dead and differing[key] then
        differing[key] = nil
        found.transient = found.transient + 1
      end
    end
    last = now
  end
  for key, one in pairs(differing) do one.before, one.after = last[1][key], last[2][key] end
  if stop < math.maxinteger and (before.fault or {}).position ~= (after.fault or {}).position then
    found.fault = stop
  end
  return found
end

return oracle
