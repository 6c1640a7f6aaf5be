-- Rules that would run for ever. Each is a file; f is called if the file returns it.
return {
  { "a loop at the top of the file", "overstay", "while true do end" },
  { "a loop in a handler", "overstay", "return { f = function() while true do end end }" },
  { "a loop in a file that is required", "overstay", "require 'lib.loop'" },
  { "a loop behind a thousand pcalls", "overstay", [[
    local function deep(n) if n == 0 then while true do end end return pcall(deep, n - 1) end
    while true do deep(150) end]] },
  { "a pcall that begins again and again", "overstay", "local function f() pcall(f) f() end f()" },
  { "pcalls side by side", "overstay", [[
    local function f() pcall(f) pcall(f) pcall(f) end
    while true do f() end]] },
  { "errors that raise errors when they are closed", "overstay", [[
    local function held() return setmetatable({}, { __close = function() error "again" end }) end
    while true do pcall(function() local a <close>, b = held(), held() error "x" end) end]] },
  { "a close that never ends, on the way out of an overstay", "overstay", [[
    local forever = { __close = function() while true do end end }
    local function f(n) local x <close> = setmetatable({}, forever)
      if n > 0 then f(n - 1) end while true do end end
    f(100)]] },
  { "a loop in __index of the environment", "overstay", [[
    local _ENV = setmetatable({}, { __index = function() while true do end end })
    return nothing]] },
  { "a comparison that never ends, in a sort", "overstay", [[
    local t = {} for n = 1, 100 do t[n] = n end
    table.sort(t, function() while true do end end)]] },
  { "sorting for ever", "overstay", [[
    local t = {} for n = 1, 100000 do t[n] = n * 7919 % 100003 end
    while true do table.sort(t) table.sort(t, function(a, b) return a > b end) end]] },
  { "gsub in gsub in gsub", "overstay", [[
    local s = ("a"):rep(1000)
    local function inner() return (s:gsub("a", "b")) end
    return s:gsub("a", function() return (s:gsub("a", inner)) end)]] },
  { "a chain of tail calls", "overstay", "local function f(...) return f(...) end f(1, 2, 3)" },
  { "two that call each other", "overstay", [[
    local a, b
    function a(n) return b(n + 1) end
    function b(n) return a(n + 1) end
    a(0)]] },
  { "a for over all integers", "overstay",
    "for n = math.mininteger, math.maxinteger do local x = n end" },
  { "a list that says it is endless", "overstay", [[
    local t = setmetatable({}, { __index = function(_, n) return n end })
    for _ in ipairs(t) do end]] },
  { "a concat of a list that says it is endless", "overstay", [[
    table.concat(setmetatable({}, { __len = function() return math.maxinteger end,
      __index = function() return "" end }))]] },
  { "a remove from a list that says it is endless", "overstay", [[
    table.remove(setmetatable({}, { __len = function() return math.maxinteger end }), 1)]] },
  { "an insert into a list that says it is endless", "overstay", [[
    table.insert(setmetatable({}, { __len = function() return 1 << 62 end }), 1, 0)]] },
  { "catching what cannot be caught", "overstay", [[
    local n = 0
    local function again() n = n + 1 local done, why = pcall(function() while true do end end)
      return again() end
    again()]] },
  { "a refusal that takes its time", "overstay", [[
    local m = require "moonlog"
    return { f = function() while true do m.refuse("NO", { m.event("E", {}) }) end end }]] },
  { "numbers as text", "overstay", "while true do tonumber(('9'):rep(10000)) tostring(1 / 3) end" },
  { "text that is looked through again and again", "overstay", [[
    local s = ("x"):rep(1 << 20)
    while true do s:find("y", 1, true) s:upper() s:reverse() end]] },
}
