--- Histories of the examples for specs: what they ship, and how it might go on, in a store.
local m = require "moonlog"
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local histories = {}

--- The rule files of an example, {[path] = source}.
function histories.rules(name)
  local files, dir = {}, "examples/" .. name .. "/rules/"
  local pipe = assert(io.popen("cd " .. dir .. " && find . -name '*.lua' | sort"))
  for path in pipe:lines() do
    path = path:gsub("^%./", "")
    if not path:find "_spec%.lua$" then files[path] = program.slurp(dir .. path) end
  end
  pipe:close()
  return files
end

--- Dice that fall the same way each time.
function histories.dice(seed)
  local state = seed
  return function(most)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return (state >> 33) % most + 1
  end
end

local function micros(text)
  local y, mo, d, h, mi, s = text:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z$"
  local shifted = mo > "02" and y or y - 1
  local days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400
    + (153 * ((mo + 9) % 12) + 2) // 5 + d - 719469
  return math.tointeger(((days * 24 + h) * 60 + mi) * 60 + s) * 1000000
end

--- Empty maps are no lists.
local function plain(value)
  if value == json.null then return nil end
  if type(value) == "table" and next(value) == nil then return m.map and m.map {} or {} end
  return value
end

local function ship(store, path)
  local last
  for line in io.lines(path) do
    local event = json.read(line)
    last = micros(event.occurred)
    assert(store:append(event.stream, { { type = event.type, data = plain(event.data),
      schema = event.schema, occurred = last } }))
  end
  return last
end

local HOUR = 3600 * 1000000

--- Accounts that are used for some weeks; some of what happens is heard of days later.
local function bank(store, dice, count, time)
  local names = { "ada", "ben", "cy", "dee", "eve", "fay" }
  for _ = 1, count do
    time = time + dice(30) * HOUR
    local name, amount, kind = names[dice(#names)], dice(120), dice(14)
    local event = { type = "Deposited", data = { amount = amount } }
    if kind <= 3 then event.type = "Withdrawn"
    elseif kind <= 5 then event = { type = "MoneySent", data = { amount = amount, to = "x" } }
    elseif kind <= 7 then event = { type = "MoneyReceived", data = { amount = amount, from = "x" } }
    elseif kind == 8 then event = { type = "OverdraftGranted", data = { limit = amount } }
    elseif kind == 9 and name ~= "ada" then event = { type = "AccountClosed", data = {} }
    elseif kind == 10 then
      event = { type = "AccountOpened", data = { owner = name:upper(), currency = "EUR" } }
    end
    event.occurred = time - (dice(8) == 1 and 5 * 24 * HOUR or 0)
    assert(store:append("account-" .. name, { event }))
  end
end

--- Fines as the old system wrote them, in no sensible order.
local function fines(store, dice, count, time)
  local kinds = { "InsertFineNotification", "AppealToJudge", "SendAppealToPrefecture",
    "SendForCreditCollection" }
  for n = 1, count do
    time = time + dice(400) * HOUR
    local kind = dice(9)
    local event
    if n % 5 == 1 or kind == 1 then
      event = { type = "CreateFine", data = { resource = tostring(500 + dice(4)),
        amount = dice(90) + 0.5, article = dice(3) * 7, dismissal = "NIL", points = 0,
        totalpaymentamount = 0.0, vehicleclass = "A" } }
    elseif kind <= 3 then event = { type = "SendFine", data = { expense = dice(20) + 0.0 } }
    elseif kind <= 4 then event = { type = "AddPenalty", data = { amount = dice(190) + 0.5 } }
    elseif kind <= 7 then
      event = { type = "Payment", data = { paymentamount = dice(700), totalpaymentamount = 1.0 } }
    else
      event = { type = kinds[dice(#kinds)], data = {} }
    end
    event.occurred = time
    assert(store:append("fine-S" .. dice(15), { event }))
  end
end

local made = {
  bank = { path = "examples/bank/history.ndjson", go_on = bank },
  fines = { path = "examples/fines/sample.ndjson", go_on = fines },
}

--- A store with such a history, opened for writing.
function histories.store(name, count)
  local dir = tmpdir.new() .. "/store"
  local store = assert(m.open { dir = dir })
  local time = ship(store, made[name].path)
  made[name].go_on(store, histories.dice(20261121), count, time)
  return store, dir
end

return histories
