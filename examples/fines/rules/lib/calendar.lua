--- Dates of times: microseconds since 1970, UTC.
local calendar = {}

local DAY = 86400 * 1000000

--- Year, month and day. Years are counted from March here, so that a leap day is the last one, and
--- eras of 400 years have 146097 days each.
function calendar.date(time)
  local days = time // DAY + 719468 -- since the first of March of the year 0
  local era = days // 146097
  local of_era = days - era * 146097
  local year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * year + year // 4 - year // 100)
  local month = (5 * of_year + 2) // 153 -- from March, 0
  local day = of_year - (153 * month + 2) // 5 + 1
  month = month < 10 and month + 3 or month - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  return year, month, day
end

--- "2012-09"
function calendar.month(time) return ("%04d-%02d"):format(calendar.date(time)) end

return calendar
