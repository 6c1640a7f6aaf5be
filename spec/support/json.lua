--- A small JSON reader for specs: slow, strict enough, and not the one under test.
-- Integers stay integers, floats floats; null is json.null.
local json = { null = setmetatable({}, { __tostring = function() return "null" end }) }

local escapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/",
  b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}
local words = { ["true"] = true, ["false"] = false, null = json.null }

local value -- forward

local function fail(text, at, what)
  error(("byte %d: %s in %q"):format(at, what, text:sub(at, at + 40)), 0)
end

local function space(text, at) return text:find("[^ \t\r\n]", at) or #text + 1 end

local function string_at(text, at)
  local parts = {}
  at = at + 1
  while true do
    local plain, stop = text:match('^([^"\\]*)()', at)
    parts[#parts + 1] = plain
    at = stop
    local c = text:sub(at, at)
    if c == '"' then return table.concat(parts), at + 1 end
    if c ~= "\\" then fail(text, at, "unended string") end
    local letter = text:sub(at + 1, at + 1)
    if letter == "u" then
      parts[#parts + 1] = utf8.char(tonumber(text:sub(at + 2, at + 5), 16))
      at = at + 6
    else
      parts[#parts + 1] = escapes[letter] or fail(text, at, "unknown escape")
      at = at + 2
    end
  end
end

local function array_at(text, at)
  local list = {}
  at = space(text, at + 1)
  if text:sub(at, at) == "]" then return list, at + 1 end
  while true do
    list[#list + 1], at = value(text, at)
    at = space(text, at)
    local c = text:sub(at, at)
    if c == "]" then return list, at + 1 end
    if c ~= "," then fail(text, at, "no , or ]") end
    at = at + 1
  end
end

local function object_at(text, at)
  local map = {}
  at = space(text, at + 1)
  if text:sub(at, at) == "}" then return map, at + 1 end
  while true do
    local key
    key, at = string_at(text, space(text, at))
    at = space(text, at)
    if text:sub(at, at) ~= ":" then fail(text, at, "no :") end
    map[key], at = value(text, at + 1)
    at = space(text, at)
    local c = text:sub(at, at)
    if c == "}" then return map, at + 1 end
    if c ~= "," then fail(text, at, "no , or }") end
    at = at + 1
  end
end

function value(text, at)
  at = space(text, at)
  local c = text:sub(at, at)
  if c == "{" then return object_at(text, at) end
  if c == "[" then return array_at(text, at) end
  if c == '"' then return string_at(text, at) end
  local word = text:match("^%a+", at)
  if word and words[word] ~= nil then return words[word], at + #word end
  local number = text:match("^-?%d+%.?%d*[eE]?[-+]?%d*", at)
  if not number then fail(text, at, "no value") end
  return tonumber(number), at + #number
end

--- Reads one JSON text; raises a string if it is none.
function json.read(text)
  local result, at = value(text, 1)
  at = space(text, at)
  if at <= #text then fail(text, at, "more") end
  return result
end

--- Reads NDJSON to a list.
function json.lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = json.read(line) end
  return list
end

return json
