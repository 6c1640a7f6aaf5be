--- All fines in one row: how many steps of each kind, and all the money. Small enough to be one
--- table, so it has no keys: a free fold.

local function step(sums, _, event) sums.steps[event.type] = (sums.steps[event.type] or 0) + 1 end

--- A step that adds a field of its data to a sum.
local function adding(sum, field)
  return function(sums, d, event)
    step(sums, d, event)
    sums[sum] = sums[sum] + d[field]
  end
end

---@type moonlog.Projection
return {
  projection = "procedure",
  from = { category = "fine" },
  init = function() return { steps = {}, fined = 0, expenses = 0, paid = 0 } end,
  on = {
    CreateFine = adding("fined", "amount"),
    SendFine = adding("expenses", "expense"),
    Payment = adding("paid", "amount"),
    InsertFineNotification = step,
    AddPenalty = step,
    SendForCreditCollection = step,
    InsertDateAppealToPrefecture = step,
    SendAppealToPrefecture = step,
    ReceiveResultAppealFromPrefecture = step,
    NotifyResultAppealToOffender = step,
    AppealToJudge = step,
  },
}
