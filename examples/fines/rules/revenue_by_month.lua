--- What came in, by the month in which it was paid: "2012-09". Months are not of one length, so
--- they are keys and no windows.
local calendar = require "lib.calendar"

---@type moonlog.Projection
return {
  projection = "revenue_by_month",
  from = { category = "fine" },
  key = function(_, event) return calendar.month(event.occurred or event.time) end,
  row = { payments = 0, amount = 0 },
  on = {
    Payment = function(row, d)
      row.payments, row.amount = row.payments + 1, row.amount + d.amount
    end,
  },
}
