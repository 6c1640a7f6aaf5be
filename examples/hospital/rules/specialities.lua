--- How many bills each speciality has begun, and of which type of case. A bill can be begun again
--- without a word about it: such an event has no key, so it goes to no row.

---@type moonlog.Projection
return {
  projection = "specialities",
  from = { category = "bill", types = { "New" } },
  key = function(d) return d.speciality or {} end,
  row = { bills = 0, closed = 0, casetypes = {} },
  on = {
    New = function(row, d)
      row.bills = row.bills + 1
      if d.isclosed then row.closed = row.closed + 1 end
      if d.casetype then row.casetypes[d.casetype] = (row.casetypes[d.casetype] or 0) + 1 end
    end,
  },
  index = { "bills" },
}
