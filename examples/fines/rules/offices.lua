--- Which office has made how many fines, and for how much. A ranking is a scan of an index.

---@type moonlog.Projection
return {
  projection = "offices",
  from = { category = "fine", types = { "CreateFine" } },
  key = "data.resource",
  row = { fines = 0, amount = 0, articles = {} },
  on = {
    CreateFine = function(row, d)
      local article = tostring(d.article)
      row.fines, row.amount = row.fines + 1, row.amount + d.amount
      row.articles[article] = (row.articles[article] or 0) + 1
    end,
  },
  index = { "fines", "amount" },
}
