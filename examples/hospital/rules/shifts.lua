--- When somebody was at work: steps of one resource with less than half an hour from one to the
--- next are one session, which ends half an hour after the last of them.
local moonlog = require "moonlog"

local function step(row, d, event)
  row.steps = row.steps + 1
  if d.state == "Billed" then row.billed = (row.billed or 0) + 1 end
  row.first = math.min(row.first or event.occurred, event.occurred)
  row.last = math.max(row.last or event.occurred, event.occurred)
end

--- What comes between two sessions makes them one.
local function merge(row, other)
  row.steps = row.steps + other.steps
  if other.billed then row.billed = (row.billed or 0) + other.billed end
  row.first, row.last = math.min(row.first, other.first), math.max(row.last, other.last)
end

---@type moonlog.Projection
return {
  projection = "shifts",
  from = { category = "bill" },
  key = function(d) return d.resource or {} end,
  row = { steps = 0 },
  window = moonlog.session("30m", { time = "occurred", grace = "1m" }),
  merge = merge,
  on = {
    New = step, ChangeDiagn = step, ChangeEnd = step, Fin = step, Release = step, CodeOk = step,
    CodeNok = step, Billed = step, Manual = step, SetStatus = step, Reopen = step, Storno = step,
    Reject = step, JoinPat = step, Delete = step,
  },
}
