--- Bills that had to be touched again, and how often. Old troubles are of no interest: a row goes
--- when nothing has been recorded for it for 90 days. If one row goes wrong only that one is held.

local function count(row, d, event)
  row.times = row.times + 1
  row.kinds[event.type] = (row.kinds[event.type] or 0) + 1
  row.last, row.state = event.occurred, d.state or row.state
end

---@type moonlog.Projection
return {
  projection = "rework",
  from = { category = "bill" },
  key = "id",
  row = { times = 0, kinds = {} },
  on = { Reopen = count, Storno = count, Reject = count, CodeNok = count, CodeError = count },
  index = { "times" },
  ttl = "90d",
  fault = "hold",
}
