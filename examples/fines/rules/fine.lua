--- A fine: how far the procedure has come, and what is owed. Amounts are cents.
local moonlog = require "moonlog"

--- What is still to be paid; less than zero if too much was.
local function settle(fine) fine.due = fine.amount + fine.expense - fine.paid end

return {
  aggregate = "fine",
  initial = { status = "none", amount = 0, expense = 0, paid = 0, payments = 0, due = 0 },

  on = {
    CreateFine = function(fine, d)
      fine.status, fine.amount, fine.article = "created", d.amount, d.article
      settle(fine)
    end,
    SendFine = function(fine, d)
      fine.status, fine.expense = "sent", fine.expense + d.expense
      settle(fine)
    end,
    InsertFineNotification = function(fine) fine.status = "notified" end,
    -- The penalty is the new amount of the fine, not something on top of it.
    AddPenalty = function(fine, d)
      fine.amount, fine.penalised = d.amount, true
      settle(fine)
    end,
    Payment = function(fine, d)
      fine.paid, fine.payments = fine.paid + d.amount, fine.payments + 1
      settle(fine)
    end,
    InsertDateAppealToPrefecture = function(fine) fine.status = "appealed" end,
    SendAppealToPrefecture = function(fine) fine.status = "appealed" end,
    AppealToJudge = function(fine) fine.status = "appealed" end,
    SendForCreditCollection = function(fine) fine.status = "collection" end,
  },

  commands = {
    pay = function(fine, c)
      if fine.status == "none" then return moonlog.refuse "NO_SUCH_FINE" end
      if math.type(c.amount) ~= "integer" or c.amount <= 0 then
        return moonlog.refuse "BAD_AMOUNT"
      end
      if c.amount > fine.due then return moonlog.refuse("TOO_MUCH", { due = fine.due }) end
      return moonlog.event("Payment", { amount = c.amount })
    end,

    collect = function(fine)
      if fine.status == "collection" then return end
      if fine.status ~= "notified" then
        return moonlog.refuse("NOT_NOTIFIED", { status = fine.status })
      end
      if fine.due <= 0 then return moonlog.refuse "PAID" end
      return moonlog.event "SendForCreditCollection"
    end,
  },

  snapshot = { every = 100 },
}
