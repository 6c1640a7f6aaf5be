--- What is promised of fines. Run it with `moonlog test examples/fines/rules`.
local t = require "moonlog.testing"

--- Events as the old system stored them.
local created = { "CreateFine", { resource = "501", amount = 36.0, article = 157, dismissal = "NIL",
  points = 0, totalpaymentamount = 0.0, vehicleclass = "A" }, schema = 1 }
local sent = { "SendFine", { expense = 13.5 }, schema = 1 }
local notified = { "InsertFineNotification", { notificationtype = "P", lastsent = "P" } }
local penalised = { "AddPenalty", { amount = 71.5 }, schema = 1 }
local function paid(tenths)
  return { "Payment", { paymentamount = tenths, totalpaymentamount = 0.0 }, schema = 1 }
end

--- What a fine is by now; what is not said is as it was after `created`.
local function fine(more)
  local state = { status = "created", amount = 3600, expense = 0, paid = 0, payments = 0,
    due = 3600, article = 157 }
  for name, value in pairs(more) do state[name] = value end
  return state
end

describe("fine", function()
  it("is its amount, its expenses, and what was paid", function()
    t.aggregate "fine.lua":given { created }:state(fine {})
      :given { sent }:state(fine { status = "sent", expense = 1350, due = 4950 })
      :given { paid(360) }
      :state(fine { status = "sent", expense = 1350, paid = 3600, payments = 1, due = 1350 })
  end)

  it("has the amount of its penalty, not one on top of it", function()
    t.aggregate "fine.lua":given { created, sent, notified, penalised }
      :state(fine { status = "notified", amount = 7150, expense = 1350, due = 8500,
        penalised = true })
  end)

  it("is paid in parts, and not beyond what is due", function()
    t.aggregate "fine.lua":given { created }
      :when("pay", { amount = 1000 }):emits { { "Payment", { amount = 1000 }, schema = 2 } }
      :when("pay", { amount = 2601 }):refuses("TOO_MUCH", { due = 2600 })
      :when("pay", { amount = 2600 })
      :state(fine { paid = 3600, payments = 2, due = 0 })
      :when("pay", { amount = 1 }):refuses("TOO_MUCH", { due = 0 })
  end)

  it("wants whole cents, of a fine that there is", function()
    t.aggregate "fine.lua":when("pay", { amount = 5 }):refuses "NO_SUCH_FINE"
    for _, amount in ipairs { 0, -5, 1.5, "10" } do
      t.aggregate "fine.lua":given { created }:when("pay", { amount = amount }):refuses "BAD_AMOUNT"
    end
  end)

  it("goes to collection once it was notified and not paid, and only once", function()
    t.aggregate "fine.lua":given { created, sent }:when "collect"
      :refuses("NOT_NOTIFIED", { status = "sent" })
    t.aggregate "fine.lua":given { created, sent, notified, paid(495) }:when "collect"
      :refuses "PAID"
    t.aggregate "fine.lua":given { created, sent, notified }
      :when "collect":emits { { "SendForCreditCollection" } }
      :when "collect":emits {}
  end)
end)

describe("the old system", function()
  it("stored payments in tenths, beside a running total", function()
    t.upcaster "upcast_payment.lua":from(1, { paymentamount = 355, totalpaymentamount = 35.5 })
      :to(2, { amount = 3550 })
  end)

  it("stored amounts as floats", function()
    t.upcaster "upcast_penalty.lua":from(1, { amount = 71.5 }):to(2, { amount = 7150 })
    t.upcaster "upcast_send.lua":from(1, { expense = 13.5 }):to(2, { expense = 1350 })
  end)

  it("changed its fines twice", function()
    local old = { amount = 22.5, totalpaymentamount = 0.0, vehicleclass = "A" }
    t.upcaster "upcast_create.lua":from(1, old):to(2, { amount = 22.5, vehicle_class = "A" })
    t.upcaster "upcast_create.lua":from(1, old):to(3, { amount = 2250, vehicle_class = "A" })
    t.upcaster "upcast_create.lua":from(2, { amount = 22.5 }):to(3, { amount = 2250 })
  end)
end)
