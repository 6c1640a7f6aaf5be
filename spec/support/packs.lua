--- Packs of rules for specs of the daemon: as it takes them, and as directories.
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local packs = {}

--- The account of the founding story, with some ways to go wrong.
packs.ACCOUNT = [[
local moonlog = require "moonlog"
return {
  aggregate = "account",
  initial = { open = false, balance = 0 },
  on = {
    AccountOpened = function(s, d) s.open, s.owner = true, d.owner end,
    Deposited = function(s, d) s.balance = s.balance + d.amount end,
    Withdrawn = function(s, d) s.balance = s.balance - d.amount end,
    Trapped = function() while true do end end,
  },
  commands = {
    open = function(s, c)
      if s.open then return moonlog.refuse "ALREADY_OPEN" end
      return moonlog.event("AccountOpened", { owner = c.owner })
    end,
    deposit = function(_, c) return moonlog.event("Deposited", { amount = c.amount }) end,
    withdraw = function(s, c)
      if c.amount > s.balance then
        return moonlog.refuse("INSUFFICIENT_FUNDS", { balance = s.balance })
      end
      return moonlog.event("Withdrawn", { amount = c.amount })
    end,
    look = function() end,
    when = function(_, _, ctx) return moonlog.event("Seen", { at = ctx.now, id = ctx.id }) end,
    twice = function(_, c)
      return { moonlog.event("Deposited", { amount = c.amount }, { tags = { "twice" } }),
        moonlog.event("Withdrawn", { amount = c.amount }, { meta = { why = "back" } }) }
    end,
    fail = function(_, c) return moonlog.event("Deposited", { amount = c.nothing.at_all }) end,
    hang = function() while true do end end,
  },
}
]]

--- Another version of it: every deposit counts double.
packs.DOUBLE = packs.ACCOUNT:gsub("s.balance %+ d.amount", "s.balance + 2 * d.amount")

--- A unit that has no fault.
packs.COUNTER = [[
local moonlog = require "moonlog"
return {
  aggregate = "counter",
  initial = { n = 0 },
  on = { Counted = function(s) s.n = s.n + 1 end },
  commands = { count = function() return moonlog.event("Counted", {}) end },
}
]]

--- What is in the accounts, by owner too.
packs.BALANCES = [[
return {
  projection = "balances", from = { category = "account" }, key = "stream",
  row = { balance = 0, n = 0 }, index = { "owner" },
  on = {
    AccountOpened = function(row, d) row.owner = d.owner end,
    Deposited = function(row, d) row.balance, row.n = row.balance + d.amount, row.n + 1 end,
    Withdrawn = function(row, d) row.balance, row.n = row.balance - d.amount, row.n + 1 end,
  },
}
]]

--- Payments had a sum, and have an amount and a currency by now; those of nothing are dropped.
packs.PAYMENT = [[
local moonlog = require "moonlog"
return {
  upcast = "Payment", latest = 3,
  [1] = { rename = { sum = "amount" }, default = { currency = "EUR" } },
  [2] = function(data) return data.amount == 0 and moonlog.drop or data end,
}
]]

--- A unit that raises nothing and cannot even be loaded: an unknown key.
packs.WRONG = packs.COUNTER:gsub("commands", "comands")

--- Writes the files into a fresh directory; gives its path.
function packs.directory(files)
  local dir = tmpdir.new()
  for path, text in pairs(files) do
    local folder = path:match "^(.*)/"
    if folder then assert(os.execute("mkdir -p " .. program.quote(dir .. "/" .. folder))) end
    program.write(dir .. "/" .. path, text)
  end
  return dir
end

return packs
