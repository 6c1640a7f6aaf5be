--- An account. Amounts are whole euros here; examples/fines shows cents.
local moonlog = require "moonlog"

local function is_amount(value) return math.type(value) == "integer" and value > 0 end

--- What may still be taken out.
local function available(account) return account.balance + account.overdraft end

return {
  aggregate = "account",
  initial = { open = false, balance = 0, overdraft = 0 },

  on = {
    AccountOpened = function(account, d)
      account.open, account.owner, account.overdraft = true, d.owner.name, d.overdraft
    end,
    Deposited = function(account, d) account.balance = account.balance + d.amount end,
    Withdrawn = function(account, d) account.balance = account.balance - d.amount end,
    MoneySent = function(account, d) account.balance = account.balance - d.amount end,
    MoneyReceived = function(account, d) account.balance = account.balance + d.amount end,
    OverdraftGranted = function(account, d) account.overdraft = d.limit end,
    AccountClosed = function(account) account.open = false end,
  },

  commands = {
    open = function(account, c)
      if account.open then return moonlog.refuse "ALREADY_OPEN" end
      if type(c.owner) ~= "string" or c.owner == "" then return moonlog.refuse "NO_OWNER" end
      local opened = { owner = { name = c.owner }, currency = "EUR", overdraft = 0 }
      return moonlog.event("AccountOpened", opened)
    end,

    deposit = function(account, c)
      if not account.open then return moonlog.refuse "NOT_OPEN" end
      if not is_amount(c.amount) then return moonlog.refuse "BAD_AMOUNT" end
      return moonlog.event("Deposited", { amount = c.amount })
    end,

    withdraw = function(account, c)
      if not account.open then return moonlog.refuse "NOT_OPEN" end
      if not is_amount(c.amount) then return moonlog.refuse "BAD_AMOUNT" end
      if c.amount > available(account) then
        local short = c.amount - available(account)
        return moonlog.refuse("INSUFFICIENT_FUNDS", { balance = account.balance, short = short })
      end
      return moonlog.event("Withdrawn", { amount = c.amount })
    end,

    grant_overdraft = function(account, c)
      if not account.open then return moonlog.refuse "NOT_OPEN" end
      if c.limit ~= 0 and not is_amount(c.limit) then return moonlog.refuse "BAD_AMOUNT" end
      if account.overdraft == c.limit then return end -- nothing to do is no refusal
      return moonlog.event("OverdraftGranted", { limit = c.limit })
    end,

    close = function(account)
      if not account.open then return moonlog.refuse "NOT_OPEN" end
      if account.balance ~= 0 then
        return moonlog.refuse("NOT_EMPTY", { balance = account.balance })
      end
      return moonlog.event "AccountClosed"
    end,
  },

  snapshot = { every = 1000 },
}
