--- What the read models promise. Run it with `moonlog test examples/bank/rules`.
local t = require "moonlog.testing"

local function opened(who, name)
  return { "AccountOpened", { owner = { name = name }, currency = "EUR", overdraft = 0 },
    stream = "account-" .. who }
end
local function moved(who, kind, amount, more)
  local event = { kind, { amount = amount }, stream = "account-" .. who }
  for name, value in pairs(more or {}) do event[name] = value end
  return event
end

describe("balances", function()
  local balances = function() return t.projection "balances.lua" end

  it("add up, for each account", function()
    balances():given { opened("ada", "Ada"), opened("ben", "Ben"), moved("ada", "Deposited", 500),
      moved("ada", "Withdrawn", 200), moved("ben", "Deposited", 800) }
      :row("ada", { owner = "Ada", balance = 300, changes = 2 })
      :row("ben", { owner = "Ben", balance = 800, changes = 1 })
  end)

  it("follow money from one to the other", function()
    balances():given { opened("ada", "Ada"), opened("ben", "Ben"), moved("ada", "MoneySent", 30),
      moved("ben", "MoneyReceived", 30) }
      :rows { ada = { owner = "Ada", balance = -30, changes = 1 },
        ben = { owner = "Ben", balance = 30, changes = 1 } }
  end)

  it("know the owners of the first days", function()
    balances():given { { "AccountOpened", { owner = "Ada", currency = "EUR" }, schema = 1,
      stream = "account-ada" } }:row("ada", { owner = "Ada", balance = 0, changes = 0 })
  end)

  it("forget an account that is closed", function()
    balances():given { opened("ada", "Ada"), { "AccountClosed", stream = "account-ada" } }
      :row("ada", nil):rows {}
  end)
end)

describe("daily totals", function()
  local monday, tuesday = "2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"
  local totals = function()
    return t.projection "daily_totals.lua":given {
      moved("ada", "Deposited", 500, { occurred = "2026-01-05T09:02:00Z" }),
      moved("ben", "Deposited", 20, { occurred = "2026-01-05T23:59:59Z" }),
      moved("ben", "Deposited", 800, { occurred = "2026-01-06T00:00:00Z" }) }
  end

  it("are of the day on which it happened", function()
    totals():row("Deposited", { count = 2, amount = 520 }, monday)
      :row("Deposited", { count = 1, amount = 800 }, tuesday)
      :row("Withdrawn", nil, monday)
  end)

  it("close when the day is over, and are corrected then", function()
    totals():closed("Deposited", monday):open("Deposited", tuesday)
      :given { moved("cy", "Deposited", 7, { occurred = "2026-01-05T12:00:00Z" }) }
      :row("Deposited", { count = 3, amount = 527, corrected = 1 }, monday)
      :advance "1d":closed("Deposited", tuesday)
  end)
end)
