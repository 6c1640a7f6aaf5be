--- The amount with the penalty was a float in units.
local money = require "lib.money"

return {
  upcast = "AddPenalty", latest = 2,
  [1] = function(d) return { amount = money.cents(d.amount) } end,
}
