--- Amounts were floats in units; the total paid is not the fine's to know.
local money = require "lib.money"

return {
  upcast = "CreateFine", latest = 3,
  [1] = { drop = { "totalpaymentamount" }, rename = { vehicleclass = "vehicle_class" } },
  [2] = function(d)
    d.amount = money.cents(d.amount)
    return d
  end,
}
