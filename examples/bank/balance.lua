-- Folds the events of one account to its balance:
--   lua5.4 balance.lua account-ada [--at REVISION]
local moonlog = require "moonlog"

local account, at = arg[1] or "account-ada", arg[2] == "--at" and tonumber(arg[3])
local dir = os.getenv "MOONLOG_DATA" or "./moonlog-data"
local sign = { Deposited = 1, MoneyReceived = 1, Withdrawn = -1, MoneySent = -1 }

local store = assert(moonlog.open { dir = dir, read_only = true })
local balance = 0
for event in assert(store:read(account)) do
  if at and event.revision > at then break end
  balance = balance + (sign[event.type] or 0) * (event.data.amount or 0)
end
print(balance)
