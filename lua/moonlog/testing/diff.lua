--- Values as text, and what is different between two of them, for people: keys are sorted, so that
-- equal values always look alike.
-- @module moonlog.testing.diff
local show = require "moonlog.repl.show"

local diff = {}

local LINE_MAX = 72 -- what is shorter stays on one line
local SAME_MAX = 6  -- fields in a row that are no different; more are counted
local DEPTH = 40    -- tables in tables: more than can be stored

-- ---- order ------------------------------------------------------------------------------------

local function before(a, b)
  local one, two = type(a), type(b)
  if one ~= two then return one < two end
  if one == "number" or one == "string" then return a < b end
  return tostring(a) < tostring(b)
end

--- The keys of one table or two, each once, in order.
local function keys_of(one, two)
  local list, seen = {}, {}
  for _, from in ipairs { one, two } do
    for key in next, from do
      if not seen[key] then seen[key], list[#list + 1] = true, key end
    end
  end
  table.sort(list, before)
  return list
end

-- ---- text -------------------------------------------------------------------------------------

--- A value on one line.
function diff.show(value) return show.value(value, { width = math.maxinteger, depth = DEPTH }) end

local function name_of(key)
  if type(key) == "string" and key:match "^[%a_][%w_]*$" then return key end
  return ("[%s]"):format(diff.show(key))
end

local function is_list(value)
  local count = #value
  for key in next, value do
    if math.type(key) ~= "integer" or key < 1 or key > count then return false end
  end
  return true
end

-- ---- comparing --------------------------------------------------------------------------------

--- Do both have the same bytes when they are stored? 1 and 1.0 have not; that {} may be a list or a
-- map does not matter, because nobody can see it in a rule.
function diff.same(one, two)
  if type(one) ~= "table" or type(two) ~= "table" then
    if one ~= one then return two ~= two end
    return one == two and math.type(one) == math.type(two)
  end
  for key, value in next, one do
    if not diff.same(value, two[key]) then return false end
  end
  for key in next, two do
    if one[key] == nil then return false end
  end
  return true
end

--- Lines of a value below `name`; on one line if it fits.
local function add_value(out, mark, indent, name, value)
  local whole = name .. diff.show(value)
  if type(value) ~= "table" or #indent + #whole <= LINE_MAX then
    out[#out + 1] = mark .. indent .. whole
    return
  end
  local list = is_list(value)
  out[#out + 1] = mark .. indent .. name .. "{"
  for _, key in ipairs(keys_of(value, {})) do
    add_value(out, mark, indent .. "  ", list and "" or name_of(key) .. " = ", value[key])
  end
  out[#out + 1] = mark .. indent .. "}"
end

local function add_same(out, indent, same)
  if #same > SAME_MAX then
    out[#out + 1] = ("  %s… %d more are the same"):format(indent, #same)
  else
    for _, line in ipairs(same) do out[#out + 1] = line end
  end
end

local function add_difference(out, indent, name, expected, got)
  if type(expected) ~= "table" or type(got) ~= "table" then
    if expected ~= nil then add_value(out, "- ", indent, name, expected) end
    if got ~= nil then add_value(out, "+ ", indent, name, got) end
    return
  end
  local list, same = is_list(expected) and is_list(got), {}
  out[#out + 1] = "  " .. indent .. name .. "{"
  for _, key in ipairs(keys_of(expected, got)) do
    local label = list and "" or name_of(key) .. " = "
    if diff.same(expected[key], got[key]) then
      add_value(same, "  ", indent .. "  ", label, got[key])
    else
      add_same(out, indent .. "  ", same)
      same = {}
      add_difference(out, indent .. "  ", label, expected[key], got[key])
    end
  end
  add_same(out, indent .. "  ", same)
  out[#out + 1] = "  " .. indent .. "}"
end

--- What is different, a line a field: "- " was expected, "+ " was got.
-- @treturn ?string nil if nothing is
function diff.of(expected, got)
  if diff.same(expected, got) then return nil end
  local out = {}
  add_difference(out, "", "", expected, got)
  return table.concat(out, "\n")
end

return diff
