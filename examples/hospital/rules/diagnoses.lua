--- Which diagnoses were made how often, at first and later. `groups` is the same by the first
--- letter: one event goes to two rows, which are told apart by their keys.

local function keys(d)
  if not d.diagnosis then return {} end
  return { d.diagnosis, "group:" .. d.diagnosis:sub(1, 1) }
end

---@type moonlog.Projection
return {
  projection = "diagnoses",
  from = { category = "bill" },
  key = keys,
  row = { first = 0, changed = 0, total = 0 },
  on = {
    New = function(row) row.first, row.total = row.first + 1, row.total + 1 end,
    ChangeDiagn = function(row) row.changed, row.total = row.changed + 1, row.total + 1 end,
  },
  index = { "total" },
}
