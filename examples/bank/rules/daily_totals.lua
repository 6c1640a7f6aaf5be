--- How much was moved on each day, by kind: a row for each type of event and day on which it
--- happened. A day is closed when it is over; what is heard of it later corrects it, and shows.
local moonlog = require "moonlog"

local function add(row, d) row.count, row.amount = row.count + 1, row.amount + d.amount end

---@type moonlog.Projection
return {
  projection = "daily_totals",
  from = { category = "account" },
  key = "type",
  row = { count = 0, amount = 0 },
  window = moonlog.tumbling("1d", { time = "occurred" }),

  on = { Deposited = add, Withdrawn = add, MoneySent = add, MoneyReceived = add },

  late = function(row, d)
    add(row, d)
    row.corrected = (row.corrected or 0) + 1
  end,
}
