--- What was done on each day, by kind of event; of steps that close a bill also how they did.
local moonlog = require "moonlog"

---@type moonlog.Projection
return {
  projection = "per_day",
  from = { category = "bill" },
  key = "type",
  row = { count = 0 },
  window = moonlog.tumbling("1d", { time = "occurred", grace = "1m" }),
  on = {
    New = function(row) row.count = row.count + 1 end,
    Billed = function(row) row.count = row.count + 1 end,
    Delete = function(row) row.count = row.count + 1 end,
    Fin = function(row, d)
      row.count = row.count + 1
      if not d.closecode then return end
      row.codes = row.codes or {}
      row.codes[d.closecode] = (row.codes[d.closecode] or 0) + 1
    end,
  },
}
