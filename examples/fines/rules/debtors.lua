--- What is due of each fine, in cents. Who owes something is found by the index on `owes`, most
--- first; who has paid has no such field, and is not in the index.

--- As in fine.lua: a penalty is the new amount of the fine, and what was paid may be too much.
local function settle(row)
  local due = row.amount + row.expense - row.paid
  row.owes, row.overpaid = due > 0 and due or nil, due < 0 and -due or nil
end

---@type moonlog.Projection
return {
  projection = "debtors",
  from = { category = "fine" },
  key = "id",
  row = { amount = 0, expense = 0, paid = 0 },

  on = {
    CreateFine = function(row, d)
      row.amount, row.article = d.amount, d.article
      settle(row)
    end,
    SendFine = function(row, d)
      row.expense = row.expense + d.expense
      settle(row)
    end,
    AddPenalty = function(row, d)
      row.amount = d.amount
      settle(row)
    end,
    Payment = function(row, d)
      row.paid = row.paid + d.amount
      settle(row)
    end,
    SendForCreditCollection = function(row) row.collection = true end,
  },

  index = { "owes", "article" },
  sql = { table = "debtors", columns = { article = "integer", amount = "integer",
    expense = "integer", paid = "integer", owes = "integer", collection = "integer" } },
}
