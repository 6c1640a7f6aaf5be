--- What the account promises. Run it with `moonlog test examples/bank/rules`.
local t = require "moonlog.testing"

local opened = { owner = { name = "Ada" }, currency = "EUR", overdraft = 0 }
local ada = { "AccountOpened", opened }

describe("account", function()
  local account = function() return t.aggregate "account.lua" end

  it("opens once", function()
    account():given {}:when("open", { owner = "Ada" })
      :emits { { "AccountOpened", opened, schema = 2 } }
    account():given { ada }:when("open", { owner = "Ada" }):refuses "ALREADY_OPEN"
    account():given {}:when("open", {}):refuses "NO_OWNER"
  end)

  it("adds up: +500, -200, +1000", function()
    account():given { ada, { "Deposited", { amount = 500 } }, { "Withdrawn", { amount = 200 } },
                      { "Deposited", { amount = 1000 } } }
      :state { open = true, owner = "Ada", balance = 1300, overdraft = 0 }
  end)

  it("refuses what is not there", function()
    account():given { ada, { "Deposited", { amount = 50 } } }
      :when("withdraw", { amount = 80 })
      :refuses("INSUFFICIENT_FUNDS", { balance = 50, short = 30 })
  end)

  it("lets an overdraft be used", function()
    account():given { ada, { "OverdraftGranted", { limit = 100 } } }
      :when("withdraw", { amount = 80 }):emits { { "Withdrawn", { amount = 80 } } }
      :when("withdraw", { amount = 21 })
      :refuses("INSUFFICIENT_FUNDS", { balance = -80, short = 1 })
  end)

  it("grants an overdraft once", function()
    account():given { ada }:when("grant_overdraft", { limit = 100 })
      :emits { { "OverdraftGranted", { limit = 100 } } }
      :when("grant_overdraft", { limit = 100 }):emits {}
      :when("grant_overdraft", { limit = "much" }):refuses "BAD_AMOUNT"
  end)

  it("wants whole euros", function()
    for _, amount in ipairs { 0, -1, 0.5, "5" } do
      account():given { ada }:when("deposit", { amount = amount }):refuses "BAD_AMOUNT"
    end
  end)

  it("is closed when it is empty, and then takes nothing", function()
    account():given { ada, { "Deposited", { amount = 5 } } }:when "close"
      :refuses("NOT_EMPTY", { balance = 5 })
      :when("withdraw", { amount = 5 }):when "close":emits { { "AccountClosed" } }
      :when("deposit", { amount = 5 }):refuses "NOT_OPEN"
  end)

  it("knows transfers", function()
    account():given { ada, { "MoneyReceived", { amount = 30, from = "account-ben" } },
                      { "MoneySent", { amount = 10, to = "account-cy" } } }
      :state { open = true, owner = "Ada", balance = 20, overdraft = 0 }
  end)
end)

describe("AccountOpened", function()
  it("of the first days becomes one of today", function()
    t.upcaster "upcast_opened.lua":from(1, { owner = "Ada", currency = "EUR" })
      :to(2, { owner = { name = "Ada" }, currency = "EUR", overdraft = 0 })
  end)
end)
