--- Money is counted in cents, as integers: floats would make two machines disagree.
local money = {}

--- Cents of an amount in units, as the old system stored it: 42.5 -> 4250.
function money.cents(units)
  local cents = math.tointeger((units * 100 + 0.5) // 1)
  if not cents or units < 0 then error(("%s is no amount of money"):format(units), 2) end
  return cents
end

return money
