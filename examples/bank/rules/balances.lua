--- What everybody has: a row for each account, and a table that any SQL tool can open.
local moonlog = require "moonlog"

local function add(row, amount) row.balance, row.changes = row.balance + amount, row.changes + 1 end

---@type moonlog.Projection
return {
  projection = "balances",
  from = { category = "account" },
  key = "id", -- "ada" of account-ada
  row = { balance = 0, changes = 0 },

  on = {
    AccountOpened = function(row, d) row.owner = d.owner.name end,
    Deposited = function(row, d) add(row, d.amount) end,
    Withdrawn = function(row, d) add(row, -d.amount) end,
    MoneySent = function(row, d) add(row, -d.amount) end,
    MoneyReceived = function(row, d) add(row, d.amount) end,
    AccountClosed = function() return moonlog.delete end,
  },

  index = { "owner", "balance" },
  sql = { table = "balances",
    columns = { owner = "text", balance = "integer", changes = "integer" } },
}
