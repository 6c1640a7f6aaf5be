--- Histories of real systems, and what they add up to: read models made here in plain Lua, straight
-- from the lines, to be held against those that the rules of the examples make.
local json = require "spec.support.json"
local program = require "spec.support.program"

local history = {}

local folder = os.getenv "MOONLOG_TEST_DATA" or "../shared/data"

-- ---- events -----------------------------------------------------------------------------------

local MONTHS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_leap(year) return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) end

--- Microseconds of "2012-12-13T10:13:18Z", counted day by day.
local days_of = {}
function history.time(text)
  local date, hour, minute, second = text:match "^(%d+%-%d%d%-%d%d)T(%d%d):(%d%d):(%d%d)Z$"
  assert(date, text)
  if not days_of[date] then
    local year, month, day = date:match "^(%d+)-(%d+)-(%d+)$"
    local days = day - 1
    for before = 1970, year - 1 do days = days + (is_leap(before) and 366 or 365) end
    for before = 1, month - 1 do
      days = days + MONTHS[before] + (before == 2 and is_leap(math.tointeger(year)) and 1 or 0)
    end
    days_of[date] = math.tointeger(days)
  end
  local minutes = (days_of[date] * 24 + hour) * 60 + minute
  return math.tointeger((minutes * 60 + second) * 1000000)
end

--- Every line, taken apart: stream, id, type, occurred (as text), time, data.
local function events_of(lines)
  local events = {}
  for n, line in ipairs(lines) do
    local event = json.read(line)
    event.time, event.id = history.time(event.occurred), event.stream:match "%-(.*)$"
    events[n] = event
  end
  return events
end

--- The lines of the real file if it is at hand, else of the example's sample.
-- @treturn table {lines =, events =, real = is it the real file?, import = a shell command's input}
function history.read(name, sample)
  local path = ("%s/%s.ndjson.gz"):format(folder, name)
  local file = io.open(path, "rb")
  if file then file:close() end
  local source = file and "zcat " .. program.quote(path) or "cat " .. sample
  local lines, pipe = {}, assert(io.popen(source))
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  assert(#lines > 0, source)
  return { lines = lines, events = events_of(lines), real = file ~= nil, source = source }
end

-- ---- rows -------------------------------------------------------------------------------------

--- What a row is found by: its key, and where its window begins and ends.
function history.place(key, window)
  local text = math.type(key) == "integer" and "#" .. key or tostring(key)
  return window and ("%s [%d, %d)"):format(text, window.from, window.to) or text
end

--- The table of a place in a map of rows, made if it is not there.
local function at(rows, place, begin)
  rows[place] = rows[place] or begin()
  return rows[place]
end

local function add(map, key, amount) map[key] = (map[key] or 0) + (amount or 1) end

-- ---- fines ------------------------------------------------------------------------------------

--- Cents of a float that has at most two places.
local function cents(units) return math.tointeger(("%.0f"):format(units * 100)) end

local function debtors(events)
  local rows = {}
  for _, event in ipairs(events) do
    local row = at(rows, event.id, function() return { amount = 0, expense = 0, paid = 0 } end)
    local d = event.data
    if event.type == "CreateFine" then row.amount, row.article = cents(d.amount), d.article end
    if event.type == "AddPenalty" then row.amount = cents(d.amount) end
    if event.type == "SendFine" then row.expense = row.expense + cents(d.expense) end
    if event.type == "Payment" then row.paid = row.paid + d.paymentamount * 10 end
    if event.type == "SendForCreditCollection" then row.collection = true end
  end
  for _, row in pairs(rows) do
    local due = row.amount + row.expense - row.paid
    if due > 0 then row.owes = due elseif due < 0 then row.overpaid = -due end
  end
  return rows
end

local function revenue_by_month(events)
  local rows = {}
  for _, event in ipairs(events) do
    if event.type == "Payment" then
      local row = at(rows, event.occurred:sub(1, 7), function()
        return { payments = 0, amount = 0 }
      end)
      add(row, "payments")
      add(row, "amount", event.data.paymentamount * 10)
    end
  end
  return rows
end

local function offices(events)
  local rows = {}
  for _, event in ipairs(events) do
    if event.type == "CreateFine" then
      local row = at(rows, event.data.resource, function()
        return { fines = 0, amount = 0, articles = {} }
      end)
      add(row, "fines")
      add(row, "amount", cents(event.data.amount))
      add(row.articles, tostring(event.data.article))
    end
  end
  return rows
end

local function procedure(events)
  local row = { steps = {}, fined = 0, expenses = 0, paid = 0 }
  for _, event in ipairs(events) do
    add(row.steps, event.type)
    if event.type == "CreateFine" then add(row, "fined", cents(event.data.amount)) end
    if event.type == "SendFine" then add(row, "expenses", cents(event.data.expense)) end
    if event.type == "Payment" then add(row, "paid", event.data.paymentamount * 10) end
  end
  return { [""] = row }
end

-- ---- bills ------------------------------------------------------------------------------------

local function bills(events)
  local rows = {}
  for _, event in ipairs(events) do
    if event.type == "Delete" then
      rows[event.id] = nil
    else
      local row = at(rows, event.id, function() return { events = 0 } end)
      add(row, "events")
      for name, value in pairs(event.data) do
        if name == "state" or name == "speciality" or name == "casetype" or name == "diagnosis"
          or name == "closecode" then
          row[name] = value
        end
      end
    end
  end
  return rows
end

local function specialities(events)
  local rows = {}
  for _, event in ipairs(events) do
    local d = event.data
    if event.type == "New" and d.speciality then
      local row = at(rows, d.speciality, function()
        return { bills = 0, closed = 0, casetypes = {} }
      end)
      add(row, "bills")
      add(row, "closed", d.isclosed and 1 or 0)
      if d.casetype then add(row.casetypes, d.casetype) end
    end
  end
  return rows
end

local function diagnoses(events)
  local rows, counter = {}, { New = "first", ChangeDiagn = "changed" }
  for _, event in ipairs(events) do
    local name, of = event.data.diagnosis, counter[event.type]
    for _, key in ipairs(name and of and { name, "group:" .. name:sub(1, 1) } or {}) do
      local row = at(rows, key, function() return { first = 0, changed = 0, total = 0 } end)
      add(row, of)
      add(row, "total")
    end
  end
  return rows
end

local REWORK = { Reopen = true, Storno = true, Reject = true, CodeNok = true, CodeError = true }

local function rework(events)
  local rows = {}
  for _, event in ipairs(events) do
    if REWORK[event.type] then
      local row = at(rows, event.id, function() return { times = 0, kinds = {} } end)
      add(row, "times")
      add(row.kinds, event.type)
      row.last, row.state = event.time, event.data.state or row.state
    end
  end
  return rows
end

local DAY = 86400000000
local COUNTED = { New = true, Billed = true, Delete = true, Fin = true }

local function per_day(events)
  local rows = {}
  for _, event in ipairs(events) do
    if COUNTED[event.type] then
      local from = history.time(event.occurred:sub(1, 10) .. "T00:00:00Z")
      local place = history.place(event.type, { from = from, to = from + DAY })
      local row = at(rows, place, function() return { count = 0 } end)
      add(row, "count")
      local code = event.type == "Fin" and event.data.closecode
      if code then
        row.codes = row.codes or {}
        add(row.codes, code)
      end
    end
  end
  return rows
end

local GAP = 30 * 60 * 1000000

--- Each with the times of its steps, which come in their order.
local function shifts(events)
  local rows, open = {}, {}
  for _, event in ipairs(events) do
    local who = event.data.resource
    if who and event.type ~= "CodeError" then
      local row = open[who]
      if not row or event.time - row.last >= GAP then
        row = { steps = 0, first = event.time }
        open[who] = row
        rows[#rows + 1] = { who, row }
      end
      row.last = event.time
      add(row, "steps")
      if event.data.state == "Billed" then add(row, "billed") end
    end
  end
  local placed = {}
  for _, one in ipairs(rows) do
    local who, row = one[1], one[2]
    placed[history.place(who, { from = row.first, to = row.last + GAP })] = row
  end
  return placed
end

-- ---- the two ----------------------------------------------------------------------------------

history.sets = {
  { name = "traffic_fines", dir = "examples/fines",
    models = { debtors = debtors, revenue_by_month = revenue_by_month, offices = offices,
      procedure = procedure } },
  { name = "hospital_billing", dir = "examples/hospital",
    models = { bills = bills, specialities = specialities, diagnoses = diagnoses, rework = rework,
      per_day = per_day, shifts = shifts } },
}

-- ---- comparing --------------------------------------------------------------------------------

local function show(value)
  if type(value) ~= "table" then
    return math.type(value) == "float" and "float " .. value or tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. show(item) end
  table.sort(parts)
  return "{" .. table.concat(parts, " ") .. "}"
end

--- Fails at the first row that is not the same in both; gives how many there are.
function history.compare(what, expected, got)
  local count = 0
  for place, row in pairs(expected) do
    count = count + 1
    if show(row) ~= show(got[place]) then
      error(("%s %q: %s, and not %s"):format(what, place, show(got[place]), show(row)), 2)
    end
  end
  for place, row in pairs(got) do
    if expected[place] == nil then
      error(("%s has a row too many, %q: %s"):format(what, place, show(row)), 2)
    end
  end
  return count
end

return history
