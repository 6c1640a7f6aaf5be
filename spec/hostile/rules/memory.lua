-- Rules that would take all there is.
return {
  { "a list without end", "memory", "local t = {} while true do t[#t + 1] = #t end" },
  { "doubled text", "memory", "local s = 'xy' while true do s = s .. s end" },
  { "doubled text, caught", "memory", [[
    while true do pcall(function() local s = 'xy' while true do s = s .. s end end) end]] },
  { "a table of a thousand million", "memory", "local t = {} for n = 1, 1e9 do t[n] = n end" },
  { "keys without end", "memory", "local t = {} for n = 1, 1e9 do t['k' .. n] = true end" },
  { "tables in tables", "memory", "local t = {} while true do t = { t } end" },
  { "closures", "memory", [[
    local f = function() end
    while true do local g = f f = function() return g end end]] },
  { "keeping what was caught", "memory", [[
    local kept = {}
    while true do kept[#kept + 1] = { pcall(error, { #kept }) } end]] },
  { "a gsub that multiplies", "memory", [[
    local s = ("a"):rep(1 << 20)
    return #s:gsub("a", ("b"):rep(1 << 10))]] },
  { "a gsub that doubles", "memory", [[
    local s = ("a"):rep(1 << 10)
    for _ = 1, 60 do s = s:gsub("a", "aa") end]] },
  { "a megabyte of format, kept", "memory", [[
    local t, s = {}, ("x"):rep(1 << 19)
    for n = 1, 1e9 do t[n] = ("%s%d"):format(s, n) end]] },
  { "a rep of a gigabyte", "raised", "return ('x'):rep(1 << 30)" },
  { "a rep of more than there is", "raised", "return ('x'):rep(math.maxinteger, 'y')" },
  { "a rep of nothing, for ever", "none", "return ('').rep('', math.maxinteger)" },
  { "a concat of a gigabyte", "raised", [[
    local t, s = {}, ("x"):rep(1 << 20)
    for n = 1, 1024 do t[n] = s end
    return table.concat(t)]] },
  { "a format of many megabytes", "raised", [[
    local s = ("x"):rep(1 << 20)
    return ("%s%s%s%s"):format(s, s, s, s)]] },
  { "a quote that is four times as long", "raised", [[
    return ("%q"):format(("\1"):rep(1 << 20))]] },
  { "a million values", "raised", "return table.unpack({}, 1, 1000000)" },
  { "a million bytes as values", "raised", "return ('x'):rep(1 << 20):byte(1, -1)" },
  { "a move to the end of the world", "raised",
    "return table.move({}, 1, math.maxinteger - 1, 2)" },
  { "arguments that grow", "memory", "local function f(...) return f(1, ...) .. '' end f()" },
  { "recursion without end", "memory", "local function f() return 1 + f() end f()" },
  { "recursion through an error value", "raised", [[
    local function f() local ok, why = pcall(f) error(why, 0) end f()]] },
  { "recursion in C", "raised", "local function f() return (('a'):gsub('a', f)) end f()" },
  { "a pack of two gigabytes", "memory", "return ('c2147483647'):pack 'a'" },
  { "a million upvalues", "memory", [[
    local fs = {}
    for n = 1, 1e9 do local a, b, c = n, n, n fs[n] = function() return a, b, c end end]] },
}
