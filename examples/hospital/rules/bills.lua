--- Where each bill stands. Fields are sparse: an event says only what it changed, and many say no
--- state at all. A bill that is deleted goes, and what still comes for it begins a new row.
local moonlog = require "moonlog"

--- What an event may say about a bill, taken over as far as it does.
local FIELDS = { "state", "speciality", "casetype", "diagnosis", "closecode" }

local function take(row, d)
  row.events = row.events + 1
  for _, field in ipairs(FIELDS) do
    if d[field] ~= nil then row[field] = d[field] end
  end
end

---@type moonlog.Projection
return {
  projection = "bills",
  from = { category = "bill" },
  key = "id",
  row = { events = 0 },

  on = {
    New = take, ChangeDiagn = take, ChangeEnd = take, Fin = take, Release = take, CodeOk = take,
    CodeNok = take, CodeError = take, Billed = take, Manual = take, SetStatus = take,
    Reopen = take, Storno = take, Reject = take, JoinPat = take,
    Delete = function() return moonlog.delete end,
  },

  index = { "state", "speciality", "events" },
  sql = { table = "bills", columns = { state = "text", speciality = "text", casetype = "text",
    diagnosis = "text", closecode = "text", events = "integer" } },
}
