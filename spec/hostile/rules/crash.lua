-- Shapes that crash Lua 5.4.4, or bring it to its edges.
local GROW = "local function grow(n) if n > 0 then return 1 + grow(n - 1) end return 0 end\n"

return {
  { "a __concat that grows the stack", "raised", GROW .. [[
    local meta = {}
    local t = setmetatable({}, meta)
    meta.__concat = function() grow(150000) return "x" end
    return "a" .. "b" .. t .. "c"]] },
  { "a __concat on the metatable of a metatable", "raised", GROW .. [[
    local meta = setmetatable({}, { __index = { __concat = function() grow(150000) end } })
    return "a" .. setmetatable({}, meta) .. "c"]] },
  { "a __concat set raw", "raised", GROW .. [[
    local meta = {}
    rawset(meta, "__con" .. "cat", function() grow(150000) return "x" end)
    return "a" .. setmetatable({}, meta) .. "c"]] },
  { "a gmatch that is used again", "raised", [[
    local each = ("a"):rep(100000):gmatch(("a?"):rep(250))
    pcall(each) pcall(each) each()]] },
  { "a pattern of a megabyte", "raised", "return ('a'):find(('a?'):rep(1 << 19))" },
  { "captures in captures", "raised", "return ('a'):find(('('):rep(40))" },
  { "a pattern that nests", "raised", "return ('a'):find(('(a'):rep(200) .. (')'):rep(200))" },
  { "a pattern that ends in the middle", "raised", "return ('a'):find('[a-%')" },
  { "a weak table whose values go", "none", [[
    local meta = {}
    local t = setmetatable({}, meta)
    meta.__mode, meta.__newindex = "v", function(t, k, v) rawset(t, k, v) end
    for n = 1, 100000 do t[n % 100] = { n } end]] },
  { "a comparison as a key", "none", [[
    local a, b, t = 1, 2, { [true] = 5 }
    local function get() return t[a < b] end
    pcall(get)]] },
  { "a source that nests", "compile", "return " .. ("{"):rep(100000) .. ("}"):rep(100000) },
  { "a source that nests brackets", "compile", "return " .. ("("):rep(100000) .. "1" },
  { "a source of functions in functions", "compile",
    ("return function() "):rep(300) .. ("end "):rep(300) },
  { "a constructor of many values", "none", "return #{" .. ("1,"):rep(100000) .. "} > 0" },
  { "a line of a megabyte", "none", "local s = '" .. ("x"):rep((1 << 20) - 100) .. "'" },
  { "a thousand locals", "compile", ("local a\n"):rep(300) },
  { "a source with a zero byte", "compile", "local a = 1 \0 return a" },
  { "a source that is no UTF-8", "compile", "return '\xff\xfe'" },
  { "a long expression", "none", "return " .. ("1+"):rep(100000) .. "1" },
  { "a long chain of concats", "compile", "local a = 'x' return " .. ("a.."):rep(300) .. "a" },
  { "an __index chain", "raised", [[
    local meta = {} local t = setmetatable({}, meta) meta.__index = t return t.x]] },
  { "an __index that calls itself", "raised", [[
    local meta = {} local t = setmetatable({}, meta)
    meta.__index = function(_, k) return t[k] end return t.x]] },
  { "a __lt that calls itself", "raised", [[
    local meta = {} local t = setmetatable({}, meta)
    meta.__lt = function(a, b) return a < b end return t < t]] },
  { "a __eq between errors", "raised", [[
    local meta = { __eq = function() error "no" end }
    return setmetatable({}, meta) == setmetatable({}, meta)]] },
  { "a __close that raises in a raise", "raised", [[
    local function held(n) return setmetatable({}, { __close = function() error(n) end }) end
    local a <close>, b <const> = held(1), 2
    do local c <close> = held(3) error(4) end]] },
  { "a sort whose order is nonsense", "none", [[
    local t = {} for n = 1, 10000 do t[n] = n end
    table.sort(t, function() return true end)]] },
  { "a sort that changes its table", "none", [[
    local t = {} for n = 1, 50 do t[n] = n end
    table.sort(t, function(a, b)
      t[1], t[#t] = nil, nil
      for k in pairs(t) do t[k] = 1 end
      return a < b
    end)]] },
  { "a table that changes while it is walked", "none", [[
    local t = {} for n = 1, 1000 do t["k" .. n] = n end
    for k in pairs(t) do
      t[k] = nil
      for n = 1, 5 do t[k .. n] = n end
    end]] },
  { "utf8 at its edges", "none", [[
    for _, s in ipairs { "\xff", "\xfe\xbf\xbf\xbf\xbf\xbf\xbf", "\xed\xa0\x80", "\x80",
      "a\x80" } do
      pcall(utf8.codepoint, s, 1, -1, true) pcall(utf8.len, s, 1, -1, true)
      pcall(utf8.offset, s, -1) pcall(function() for _ in utf8.codes(s, true) do end end)
    end
    pcall(utf8.char, 0x7fffffff) pcall(utf8.char, -1)]] },
  { "pack at its edges", "none", [[
    for _, f in ipairs { "!16i16", "i17", "!3i4", "s1", "z", "Xi16", ("i16"):rep(1000), "c0",
      "i0", "!0", "<!16>=" } do
      pcall(string.pack, f, ("x"):rep(300)) pcall(string.pack, f, 1) pcall(string.unpack, f, "abc")
      pcall(string.packsize, f)
    end]] },
  { "string positions at their edges", "none", [[
    for _, n in ipairs { 0, -1, math.mininteger, math.maxinteger, 1 << 31, -(1 << 31) } do
      for _, k in ipairs { 0, -1, math.mininteger, math.maxinteger, 2 } do
        pcall(string.sub, "abc", n, k) pcall(string.byte, "abc", n, k)
        pcall(string.find, "abc", "b", n) pcall(string.gmatch, "abc", "b", n)
        pcall(string.gsub, "abc", "b", "c", n)
        pcall(table.unpack, {}, n, k) pcall(table.concat, {}, "", n, k)
        pcall(table.move, {}, n, k, 1)
        pcall(table.insert, {}, n, k) pcall(table.remove, {}, n) pcall(select, n, 1, 2)
        pcall(string.rep, "", n) pcall(string.char, n) pcall(tonumber, "10", n)
      end
    end]] },
  { "words with everything wrong", "none", [[
    local m = require "moonlog"
    local function no() error "no" end
    local odd = { 1, "x", {}, m.null, m.drop, no, setmetatable({}, { __len = no, __index = no }) }
    for _, f in pairs { m.event, m.refuse, m.split, m.array, m.map, m.bytes } do
      for _, a in pairs(odd) do
        for _, b in pairs(odd) do pcall(f, a, b, a) pcall(f, "E", a, b) end
      end
    end]] },
  { "a value that holds itself", "raised",
    "local t = {} t.t = t return { f = function() return t end }" },
  { "NaN for a key", "raised", "local t = {} t[0 / 0] = 1" },
  { "a function as the answer", "raised", "return { f = function() return pairs end }" },
}
