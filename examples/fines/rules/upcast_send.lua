--- The expense of sending was a float in units.
local money = require "lib.money"

return {
  upcast = "SendFine", latest = 2,
  [1] = function(d) return { expense = money.cents(d.expense) } end,
}
