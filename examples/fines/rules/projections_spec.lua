--- What the read models of the fines promise. Run it with `moonlog test examples/fines/rules`.
local t = require "moonlog.testing"

--- An event of a fine, as the rules see it: in cents.
local function fine(id, kind, data, occurred)
  return { kind, data, stream = "fine-" .. id, occurred = occurred }
end
local function created(id, office, amount, occurred)
  return fine(id, "CreateFine", { resource = office, amount = amount, article = 157 }, occurred)
end

describe("debtors", function()
  local debtors = function() return t.projection "debtors.lua" end

  it("owe amount and expenses, less what they paid", function()
    debtors():given { created("A", "501", 3600) }
      :row("A", { amount = 3600, expense = 0, paid = 0, owes = 3600, article = 157 })
      :given { fine("A", "SendFine", { expense = 1350 }), fine("A", "Payment", { amount = 3600 }) }
      :row("A", { amount = 3600, expense = 1350, paid = 3600, owes = 1350, article = 157 })
  end)

  it("are no debtors when all is paid, and may have paid too much", function()
    debtors():given { created("A", "501", 3600), created("B", "501", 2200),
      fine("A", "Payment", { amount = 3600 }), fine("B", "Payment", { amount = 3600 }) }
      :rows { A = { amount = 3600, expense = 0, paid = 3600, article = 157 },
        B = { amount = 2200, expense = 0, paid = 3600, overpaid = 1400, article = 157 } }
  end)

  it("have the amount of a penalty instead, and may be collected from", function()
    debtors():given { created("A", "501", 3600), fine("A", "AddPenalty", { amount = 7150 }),
      fine("A", "SendForCreditCollection", {}) }
      :row("A", { amount = 7150, expense = 0, paid = 0, owes = 7150, article = 157,
        collection = true })
  end)

  it("are read as the old system stored them", function()
    debtors():given { { "CreateFine", { resource = "501", amount = 36.0, article = 157,
      totalpaymentamount = 0.0 }, schema = 1, stream = "fine-A" },
      { "Payment", { paymentamount = 100, totalpaymentamount = 10.0 }, schema = 1,
        stream = "fine-A" } }
      :row("A", { amount = 3600, expense = 0, paid = 1000, owes = 2600, article = 157 })
  end)
end)

describe("revenue", function()
  it("is of the month in which it was paid", function()
    t.projection "revenue_by_month.lua":given {
      fine("A", "Payment", { amount = 100 }, "2012-02-29T23:59:59Z"),
      fine("B", "Payment", { amount = 20 }, "2012-03-01T00:00:00Z"),
      fine("A", "Payment", { amount = 3 }, "2012-03-31T23:59:59Z"),
      fine("A", "Payment", { amount = 7 }, "1999-12-31T12:00:00Z"),
    }:rows { ["2012-02"] = { payments = 1, amount = 100 },
      ["2012-03"] = { payments = 2, amount = 23 }, ["1999-12"] = { payments = 1, amount = 7 } }
  end)
end)

describe("offices", function()
  it("are ranked by their fines", function()
    t.projection "offices.lua":given { created("A", "501", 3600), created("B", "502", 2200),
      created("C", "501", 2200) }
      :rows { ["501"] = { fines = 2, amount = 5800, articles = { ["157"] = 2 } },
        ["502"] = { fines = 1, amount = 2200, articles = { ["157"] = 1 } } }
  end)
end)

describe("the procedure", function()
  it("is summed up in one row", function()
    t.projection "procedure.lua":given { created("A", "501", 3600), created("B", "502", 2200),
      fine("A", "SendFine", { expense = 1350 }), fine("A", "Payment", { amount = 100 }),
      fine("A", "AppealToJudge", {}) }
      :row(nil, { fined = 5800, expenses = 1350, paid = 100,
        steps = { CreateFine = 2, SendFine = 1, Payment = 1, AppealToJudge = 1 } })
  end)
end)
