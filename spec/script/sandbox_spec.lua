-- The contract in core/script/sandbox.h, but for the guard: see guard_spec.lua.
local boxes = require "spec.support.boxes"
local script = require("coretest").script

local eval, fault = boxes.eval, boxes.fault

describe("script/sandbox", function()
  describe("has", function()
    it("what is repeatable of Lua, and nothing else", function()
      local there = [[assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen
        rawset require select setmetatable tonumber tostring type math string table utf8]]
      local absent = [[xpcall load loadstring dofile loadfile collectgarbage print warn coroutine os
        io debug package _G unpack]]
      for name in there:gmatch "%S+" do
        assert.is_true(eval(("return %s ~= nil"):format(name)), name)
      end
      for name in absent:gmatch "%S+" do
        local found = fault(("return %s"):format(name))
        assert.equal("raised", found.kind)
        assert.truthy(found.message:find(name, 1, true), found.message)
      end
    end)

    it("no dice, no dump, and every other function of the libraries", function()
      local function names(library)
        return eval(([[local out = {} for name in pairs(%s) do out[#out + 1] = name end
          return table.concat(out, " ")]]):format(library))
      end
      assert.equal("byte char find format gmatch gsub len lower match pack packsize rep reverse "
        .. "sub unpack upper", names "string")
      assert.equal("concat insert move pack remove sort unpack", names "table")
      assert.equal("char charpattern codepoint codes len offset", names "utf8")
      assert.equal("abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min "
        .. "mininteger modf pi rad sin sqrt tan tointeger type ult", names "math")
    end)

    it("no way to bytecode", function()
      local found = fault(string.dump(function() return 1 end))
      assert.equal("compile", found.kind)
      assert.equal("SCRIPT_ERROR: t.lua: the file is compiled already; rules are text", found.told)
    end)
  end)

  describe("globals", function()
    it("that nobody declared are errors that name them", function()
      local found = fault "local total = 1\nreturn totl"
      assert.equal("t.lua", found.file)
      assert.equal(2, found.line)
      assert.truthy(found.message:find("'totl' is not defined", 1, true))
      assert.truthy(fault("return tostrin").message:find("did you mean 'tostring'", 1, true))
    end)

    it("may be declared while a file is loaded, and not later", function()
      assert.equal(3, eval "limit = 3 return limit")
      local box = boxes.run("limit = 3 return { set = function() limit = 4 return limit end, "
        .. "new = function() other = 1 end, get = function() return limit end }")
      assert.equal(4, box:call("set", 1))
      local _, found = box:call("new", 1)
      assert.truthy(found.message:find("'other' is not defined", 1, true))
      assert.equal(4, box:call("get", 1))
    end)

    it("have a metatable that stays", function()
      assert.equal("globals", eval "return getmetatable(_ENV)")
      assert.equal("raised", fault("setmetatable(_ENV, {})").kind)
      assert.equal("raised", fault("setmetatable(_ENV, nil)").kind)
    end)
  end)

  describe("pairs", function()
    it("goes in the order of the keys: numbers, strings, booleans", function()
      assert.equal("-inf -9223372036854775808 -1 0.5 1 2 2.5 9223372036854775807 1e+300 A a aa b "
        .. "false true", eval [[
        local t = { b = 1, a = 1, aa = 1, A = 1, [true] = 1, [false] = 1, [2] = 1, [1] = 1,
          [0.5] = 1, [2.5] = 1, [-1] = 1, [math.mininteger] = 1, [math.maxinteger] = 1,
          [1e300] = 1, [-math.huge] = 1 }
        local out = {}
        for key in pairs(t) do out[#out + 1] = tostring(key) end
        return table.concat(out, " ")]])
    end)

    it("tells whole numbers from floats beside them at the edge of what a float holds", function()
      assert.is_true(eval [[
        local keys = { -2^63 - 2048, math.mininteger, math.mininteger + 1, 2^51 // 1 | 0,
          2^51 + 0.5, (2^51 // 1 | 0) + 1, math.maxinteger - 1, math.maxinteger, 2^63, 2^63 + 2048 }
        local t, n = {}, 0
        for i = #keys, 1, -1 do t[keys[i] ] = i end
        for key, i in pairs(t) do
          n = n + 1
          if i ~= n or key ~= keys[n] then return false end
        end
        return n == #keys]])
    end)

    it("goes in the same order in a table that had a past", function()
      local walk = [[
        local function order(t)
          local out = {}
          for key in pairs(t) do out[#out + 1] = key end
          return table.concat(out, ",")
        end
      ]]
      assert.is_true(eval(walk .. [[
        local young, old = {}, {}
        for n = 1, 500 do old["k" .. n] = n end
        for n = 1, 500 do old["k" .. n] = nil end
        for n = 200, 1, -1 do old["x" .. n] = n end
        for n = 1, 200 do young["x" .. n] = n end
        return order(young) == order(old) and #order(young) > 500]]))
    end)

    it("walks lists, with values, until their end", function()
      assert.equal("1=a 2=b 3=c", eval [[
        local out = {}
        for n, v in pairs { "a", "b", "c" } do out[#out + 1] = n .. "=" .. v end
        return table.concat(out, " ")]])
      assert.equal(0, eval "local n = 0 for _ in pairs {} do n = n + 1 end return n")
    end)

    it("lets the table be changed meanwhile", function()
      assert.equal("a c", eval [[
        local t, out = { a = 1, b = 2, c = 3 }, {}
        for key in pairs(t) do
          out[#out + 1] = key
          t.b, t["new" .. key] = nil, true
        end
        return table.concat(out, " ")]])
      assert.equal("1 3", eval [[
        local t, out = { "a", "b", "c" }, {}
        for n in pairs(t) do
          out[#out + 1] = n
          t[2], t[4] = nil, "d"
        end
        return table.concat(out, " ")]])
    end)

    it("walks many keys", function()
      assert.equal(5000, eval [[
        local t, last, count = {}, "", 0
        for n = 1, 5000 do t["key" .. n] = n end
        for key, value in pairs(t) do
          assert(last < key and key == "key" .. value)
          last, count = key, count + 1
        end
        return count]])
    end)

    it("refuses keys that have no order", function()
      for _, key in ipairs { "{}", "print_", "function() end", "require'moonlog'.null" } do
        local found = fault("print_ = pairs for _ in pairs { a = 1, [" .. key .. "] = 2 } do end")
        assert.truthy(found.message:find("has no place in an order", 1, true), found.message)
      end
    end)

    it("asks __pairs", function()
      assert.equal(7, eval [[
        local t = setmetatable({}, { __pairs = function() return function(_, k)
          if not k then return 7 end end end })
        for n in pairs(t) do return n end]])
    end)

    it("has a next that gives the first key, and no second", function()
      assert.equal("a", eval "return (next { b = 1, a = 2, c = 3 })")
      assert.equal(2, eval "return select(2, next { b = 1, a = 2 })")
      assert.is_true(eval "return next {} == nil")
      assert.truthy(fault("next({ a = 1 }, 'a')").message:find("pairs", 1, true))
    end)
  end)

  describe("text", function()
    it("never shows an address", function()
      assert.equal("<table> <function> <function> <moonlog.null>", eval [[
        return ("%s %s "):format({}, pairs) .. tostring(function() end) .. " <moonlog." ..
          tostring(require "moonlog".null) .. ">"]])
      for _, source in ipairs { "('%p'):format({})", "('%5p'):format('a')" } do
        assert.truthy(fault("return " .. source).message:find("address", 1, true))
      end
      for _, source in ipairs { "{} .. 'a'", "{} < {}", "#nil", "('a'):rep({})", "require({})",
        "error({})", "setmetatable(1, 2)", "({})()", "_ENV[{}]", "ipairs()" } do
        assert.is_nil(fault("return " .. source).message:find "0x")
      end
    end)

    it("asks __tostring and __name", function()
      assert.equal("T <N> T", eval [[
        local t = setmetatable({}, { __tostring = function() return "T" end })
        local n = setmetatable({}, { __name = "N" })
        return ("%s %s "):format(t, n) .. tostring(t)]])
      assert.equal("raised", fault("return tostring(setmetatable({}, "
        .. "{ __tostring = function() return {} end }))").kind)
    end)

    it("is formatted as Lua formats it", function()
      for _, call in ipairs { "('%5.1f|%-4d|%%|%x'):format(3.14159, 7, 255)",
        "('%q'):format('a\\n\\0b\"')", "('%q'):format(1/3)", "('%s'):format(nil)",
        "('%10.2s|'):format('abc')",
        "('%c%i%g'):format(65, 3, 1e20)", "('%a'):format(0.5)", "('%s %s'):format(1, 2.0)" } do
        assert.equal(load("return " .. call)(), eval("return " .. call))
      end
      for _, call in ipairs { "('%'):format(1)", "('%d'):format()", "('%d'):format('x')",
        "('%y'):format(1)", "('%123d'):format(1)", "('%d'):format(1.5)" } do
        assert.equal("raised", fault("return " .. call).kind)
      end
    end)

    it("is repeated as Lua repeats it, up to a mebibyte", function()
      for _, call in ipairs { "('ab'):rep(3)", "('ab'):rep(3, ',')", "('ab'):rep(0)",
        "('ab'):rep(-1)", "(''):rep(1e9)", "('a'):rep(1, 'x')", "(''):rep(3, '-')" } do
        assert.equal(load("return " .. call)(), eval("return " .. call))
      end
      assert.equal(1 << 20, eval "return #('a'):rep(1 << 20)")
      for _, call in ipairs { "('a'):rep((1 << 20) + 1)", "('a'):rep(1 << 62)",
        "('ab'):rep(1 << 63 - 1)", "('a'):rep(2, ('x'):rep(1 << 20))",
        "('%s%s'):format(('a'):rep(1 << 20), 'b')", "table.concat({ ('a'):rep(1 << 20), 'b' })",
        "table.concat({ 'a', 'a' }, ('a'):rep(1 << 20))" } do
        local found = fault("return " .. call)
        assert.equal("raised", found.kind)
        assert.truthy(found.message:find("would make more than 1048576 bytes", 1, true), call)
      end
    end)

    it("has a metatable that stays", function()
      assert.equal("string", eval "return getmetatable('')")
      assert.equal("raised", fault("getmetatable('').__index = nil").kind)
      assert.equal("raised", fault("setmetatable('', {})").kind)
    end)
  end)

  describe("metatables", function()
    it("refuse finalizers, weak tables and __concat, with the reason", function()
      for _, event in ipairs { "__gc", "__mode", "__concat" } do
        local found = fault(("setmetatable({}, { %s = 'k' })"):format(event))
        assert.truthy(found.message:find(event .. " is not for rules", 1, true))
      end
    end)

    it("do not know the three when they come later", function()
      assert.is_true(eval [[
        local meta, ran = {}, false
        local weak = setmetatable({}, meta)
        meta.__mode = "kv"
        meta.__gc = function() ran = true end
        meta.__concat = function() ran = true return "" end
        for n = 1, 20 do weak[n] = {} end
        do local gone = setmetatable({}, {}) end
        for _ = 1, 300000 do local garbage = {} end
        for n = 1, 20 do if not weak[n] then return false end end
        return not ran and not pcall(function() return "a" .. weak .. "b" end) and not ran]])
    end)

    it("work otherwise as in Lua", function()
      assert.equal("7 5 called -1 true false x", eval [[
        local meta = { __add = function(a, b) return 7 end, __len = function() return 5 end,
          __call = function() return "called" end, __unm = function() return -1 end,
          __eq = function() return true end, __lt = function() return false end,
          __index = function(_, key) return key end }
        local a, b = setmetatable({}, meta), setmetatable({}, meta)
        return table.concat({ a + b, #a, a(), -a, tostring(a == b), tostring(a < b), a.x }, " ")]])
      assert.is_true(eval "local m = {} return getmetatable(setmetatable({}, m)) == m")
      assert.equal("mine", eval "return getmetatable(setmetatable({}, { __metatable = 'mine' }))")
      assert.equal("raised", fault("setmetatable(setmetatable({}, { __metatable = 1 }), {})").kind)
    end)

    it("of moonlog's own values stay", function()
      for _, value in ipairs { "array()", "map()", "null", "bytes 'a'", "drop", "event 'E'",
        "refuse 'R'", "split {}" } do
        local kind = eval(("return type(getmetatable(require 'moonlog'.%s))"):format(value))
        assert.equal("string", kind, value)
      end
    end)
  end)

  describe("tables", function()
    it("sort, whatever is equal in its order", function()
      assert.equal("a1 a2 b1 b2 b3 c1", eval [[
        local t = { "b1", "c1", "a1", "b2", "a2", "b3" }
        table.sort(t, function(x, y) return x:sub(1, 1) < y:sub(1, 1) end)
        return table.concat(t, " ")]])
      assert.is_true(eval [[
        local t, x = {}, 12345
        for n = 1, 3000 do x = (x * 1103515245 + 12345) % 2147483648 t[n] = x end
        table.sort(t)
        for n = 2, #t do if t[n - 1] > t[n] then return false end end
        table.sort(t, function(a, b) return a > b end)
        for n = 2, #t do if t[n - 1] < t[n] then return false end end
        return #t == 3000]])
    end)

    it("sort by an order that contradicts itself, and lose nothing", function()
      for _, order in ipairs { "true", "false", "a >= b", "a % 7 < b % 3" } do
        assert.is_true(eval(([[
          local t, sum = {}, 0
          for n = 1, 200 do t[n] = n end
          table.sort(t, function(a, b) return %s end)
          for n = 1, 200 do sum = sum + t[n] end
          return sum == 20100 and #t == 200]]):format(order)))
      end
      assert.truthy(fault("table.sort { 1, 'a' }").message:find("attempt to compare", 1, true))
      assert.equal("raised", fault("table.sort({ 1, 2 }, 1)").kind)
    end)

    it("insert, remove, move, pack, unpack and concat as in Lua", function()
      local source = [[
        local t, out = { 1, 2, 3 }, {}
        local function note(...) out[#out + 1] = table.concat({ ... }, ",") end
        table.insert(t, 4) table.insert(t, 1, 0) note(table.unpack(t))
        note(table.remove(t), table.remove(t, 1), #t) note(tostring(table.remove({})))
        note(tostring(table.remove({}, 0)), tostring(table.remove({ 1 }, 2)))
        note(table.unpack(table.move({ 1, 2, 3, 4 }, 2, 4, 1)))
        note(table.unpack(table.move({ 1, 2, 3, 4 }, 1, 3, 2)))
        note(table.unpack(table.move({ 1, 2 }, 1, 2, 3, { 8, 9 })))
        note(table.pack(nil, 2, nil).n, table.pack().n, select("#", table.unpack({ n = 3 }, 1, 3)))
        note(table.concat({ 1, 2.5, "x" }, "-"), table.concat({}, "x"))
        note(table.concat({ 1, 2, 3 }, "", 2, 3))
        for _, bad in ipairs { function() table.insert(t, 9, 1) end,
          function() table.insert(t, 0, 1) end, function() table.insert(t) end,
          function() table.insert(1, 2) end,
          function() table.remove(t, 7) end, function() table.concat({ {} }) end,
          function() table.move({}, 1, 2) end, function() table.unpack() end } do
          note((pcall(bad)))
        end
        return table.concat(out, ";")]]
      source = source:gsub("note%(%(pcall%(bad%)%)%)", "note(tostring((pcall(bad))))")
      assert.equal(load(source)(), eval(source))
    end)

    it("move and unpack 65,536 elements, and not more", function()
      assert.equal(65536, eval "return select('#', table.unpack({}, 1, 65536))")
      assert.equal(65536, eval [[
        local t = {} for n = 1, 65536 do t[n] = n end
        return #table.move(t, 1, 65536, 1, {})]])
      for _, call in ipairs { "table.unpack({}, 1, 65537)", "table.unpack({}, 0, 1 << 62)",
        "table.move({}, 1, 65537, 2)", "table.move({}, 1, math.maxinteger - 1, 2)",
        "table.unpack({}, math.mininteger, math.maxinteger)" } do
        assert.truthy(fault("return " .. call).message:find("65536 elements", 1, true))
      end
    end)
  end)

  describe("require", function()
    it("finds files of the pack, once, by dots or slashes", function()
      local files = {
        ["lib/money.lua"] = "count = (rawget(_ENV, 'count') or 0) + 1 return { n = count }",
        ["other.lua"] = "return require 'lib.money'" }
      local source = [[local a, b, c = require "lib.money", require "lib/money", require "other"
        return a == b and b == c and a.n]]
      assert.equal(1, eval(source, files))
    end)

    it("knows which files were run", function()
      local files = { ["a.lua"] = "return 1", ["b.lua"] = "return 2" }
      local box = boxes.run("return require 'a'", files)
      assert.is_true(box:loaded "t.lua")
      assert.is_true(box:loaded "a.lua")
      assert.is_false(box:loaded "b.lua")
    end)

    it("belongs at the top of a file", function()
      local files = { ["a.lua"] = "return 1" }
      local box = boxes.run("return { f = function() return require 'a' end }", files)
      local _, found = box:call("f", 1)
      assert.truthy(found.message:find("belongs at the top", 1, true))
    end)

    it("says what is not there, and what goes in a circle", function()
      local missing = fault("require 'lib.mony'").message
      assert.truthy(missing:find("there is no file lib/mony.lua", 1, true))
      assert.equal("raised", fault("require '../t'").kind)
      local found = fault("require 'a'", { ["a.lua"] = "require 'b'", ["b.lua"] = "require 'a'" })
      assert.equal("b.lua", found.file)
      assert.truthy(found.message:find("circle", 1, true))
      assert.equal("raised", fault("require 't'").kind)
    end)

    it("tells where a file that is required is no Lua", function()
      local found = fault("return require 'a'", { ["a.lua"] = "local x = 1\nreturn x +" })
      assert.same({ "compile", "a.lua", 2 }, { found.kind, found.file, found.line })
    end)
  end)

  describe("a fault", function()
    it("of an error has message, place, source line and Lua frames", function()
      local box = boxes.run [[
local function total(order)
  return order.sum + order.tax
end
return { withdraw = function(order)
  local function inner() return 1 + total(order) end
  return 1 + inner()
end }]]
      local _, found = box:call("withdraw", { sum = 1 })
      assert.equal("raised", found.kind)
      assert.equal("attempt to perform arithmetic on a nil value (field 'tax')", found.message)
      assert.same({ "t.lua", 2 }, { found.file, found.line })
      assert.equal("return order.sum + order.tax", found.source)
      assert.equal("t.lua:2: in total\nt.lua:5: in inner\nt.lua:6: in the function of line 4",
        found.traceback)
      assert.equal("SCRIPT_ERROR: t.lua:2: " .. found.message, found.told)
    end)

    it("is where error() says, and else where it was raised", function()
      local source = "local function check() error(%s) end\nlocal x = 1\ncheck()"
      for given, line in pairs { ["'no'"] = 1, ["'no', 2"] = 3, ["'no', 0"] = 1 } do
        local found = fault(source:format(given))
        assert.same({ line, "no" }, { found.line, found.message })
      end
      local again = fault "local _, why = pcall(function()\nerror 'deep'\nend)\nerror(why, 0)"
      assert.same({ 2, "deep" }, { again.line, again.message })
    end)

    it("blames no file that is not running, whatever its text says", function()
      local files = { ["lib/other.lua"] = "return { fail = function()\nerror 'deep'\nend }" }
      for _, raise in ipairs { "error('lib/other.lua:1: no', 0)",
        "error { message = 'lib/other.lua:1: no' }", "error('lib/other.lua: no', 0)" } do
        local found = fault("local x\n" .. raise, files)
        assert.same({ "t.lua", 2 }, { found.file, found.line })
        assert.match("^lib/other%.lua", found.message)
      end
      local found = fault("require 'lib.other'.fail()", files)
      assert.same({ "lib/other.lua", 2, "deep" }, { found.file, found.line, found.message })
    end)

    it("shows a value that is no string without asking it", function()
      local shown = {
        ["nil"] = "error(nil)", ["true"] = "error(true)", ["12"] = "12",
        ["{ message = 'm' }"] = "m", ["{ code = 'C' }"] = "C",
        ["{}"] = "a table was raised as an error",
        ["pairs"] = "a function was raised as an error",
        ["require 'moonlog'.null"] = "a userdata was raised as an error",
      }
      for _, event in ipairs { "__tostring", "__index", "__name" } do
        local hostile = "setmetatable({}, { %s = function() while true do end end })"
        shown[hostile:format(event)] = "a table was raised as an error"
      end
      for value, message in pairs(shown) do
        assert.equal(message, fault(("error(%s)"):format(value)).message)
      end
    end)

    it("holds text only: UTF-8, no control characters, cut to its size", function()
      local found = fault [[error("a\27[31m\n\0b\xff\u{9b}é" .. ("ü"):rep(1000), 0)]]
      assert.equal("a?[31m ?b???é", found.message:sub(1, 14))
      assert.is_true(#found.message < 512 and #found.message > 500)
      assert.is_truthy(utf8.len(found.message))
      found = fault("return " .. ("x"):rep(3000) .. ".y")
      assert.is_true(#found.source < 160)
    end)

    it("of a compiler has the place", function()
      local found = fault "local x = 1\nlocal = 2\n"
      assert.same({ "compile", "t.lua", 2 }, { found.kind, found.file, found.line })
      assert.equal("local = 2", found.source)
      assert.equal("compile", fault("return " .. ("("):rep(300) .. "1" .. (")"):rep(300)).kind)
      assert.equal("compile", fault("x = '\xff'").kind)
      assert.equal("compile", fault(("-"):rep((1 << 20) + 1)).kind)
      assert.truthy(boxes.make("return 1"):run "t.lua")
      assert.equal("raised", select(2, boxes.make("return 1"):run "u.lua").kind)
    end)

    it("that was caught is forgotten", function()
      local files = { ["bad.lua"] = "x = = 1" }
      local box = boxes.run([[
        pcall(require, "bad")
        return { raise = function() error "no" end, set = function() late = 1 end,
          catch = function() return (pcall(error, "x")) end,
          fill = function() local s = "x" while true do s = s .. s end end }]], files)
      assert.equal("raised", select(2, box:call("raise", 1)).kind)
      assert.truthy(select(2, box:call("set", 1)).message:find("'late' is not defined", 1, true))
      assert.equal("memory", select(2, box:call("fill", 1)).kind)
      assert.is_false(box:call("catch", 1))
      assert.equal("raised", select(2, box:call("raise", 1)).kind)
    end)

    it("of a file with a long path still has its place", function()
      local path = ("deep/"):rep(30) .. "x.lua"
      local files = { [path] = "local a\nerror 'no'" }
      local found = fault(("require '%s'"):format(path:sub(1, -5)), files)
      assert.same({ path, 2, "no" }, { found.file, found.line, found.message })
    end)

    it("leaves the state as it was, for the next call", function()
      local box = boxes.run "return { f = function(x) if x == 1 then error 'no' end return x end }"
      for _ = 1, 300 do
        assert.is_nil((box:call("f", 1)))
        assert.equal(2, box:call("f", 2))
      end
      assert.equal(1, box:top())
    end)
  end)

  describe("memory", function()
    local bombs = {
      "local t = {} while true do t[#t + 1] = { 1, 2, 3 } end",
      "local s = ('x'):rep(1000) while true do s = s .. s end",
      "local t = {} for n = 1, 1e9 do t['k' .. n] = n end",
      "local t = {} while true do t[#t + 1] = function() return t end end",
      "local s = ('a'):rep(1 << 20) return s:gsub('.', ('x'):rep(1000))",
      "local t = {} while true do pcall(function() while true do t = { t } end end) end",
    }
    it("has a cap, which no pcall holds", function()
      for _, bomb in ipairs(bombs) do
        local source = "return { f = function() %s end, g = function() return 7 end }"
        local box = boxes.run(source:format(bomb), nil, 8 << 20)
        local _, found = box:call("f", 1)
        assert.equal("memory", found.kind, bomb)
        assert.equal(1, found.line)
        assert.truthy(found.message:find("a rule may have 8 MiB", 1, true))
        assert.equal(7, box:call("g", 1), bomb)
        assert.is_true(box:used() <= 8 << 20)
        box:free()
      end
    end)

    it("has a cap on one block", function()
      local found = fault "local s = ('x'):rep(1 << 20) for _ = 1, 4 do s = s .. s end"
      assert.equal("memory", found.kind)
    end)

    it("runs out at every point without harm", function()
      local source = [[
        local money = require "lib.money"
        local out = {}
        for key, value in pairs { a = 1, b = { 2 }, c = "x" } do
          out[#out + 1] = ("%s %s"):format(key, value):gsub("%w", string.upper)
        end
        table.sort(out, function(a, b) return a > b end)
        local ok, why = pcall(error, { code = "C" })
        out[#out + 1] = tostring(ok) .. why.code .. money.name .. table.concat(out, ";")
        error(out[#out], 0)]]
      local files = { ["t.lua"] = source, ["lib/money.lua"] = "return { name = 'money' }" }
      local seen = {}
      for bytes = 64, 60000, 40 do
        local box = script.box(files, bytes)
        if box then
          local _, found = box:run "t.lua"
          seen[found.kind] = (seen[found.kind] or 0) + 1
          box:free()
        else
          seen.none = (seen.none or 0) + 1
        end
      end
      assert.is_true(seen.none > 10 and seen.memory > 10 and seen.raised > 10)
      assert.is_nil(seen.compile)
    end)

    it("of a fresh sandbox is small", function()
      assert.is_true(boxes.make("return 1"):used() < 40000)
    end)
  end)

  describe("recursion", function()
    it("ends, wherever it goes round", function()
      local mine = "local meta = {} local t = setmetatable({}, meta) "
      local round = {
        ["stack overflow"] = { "local function f() return 1 + f() end f()",
          "local function f() local ok, why = pcall(f) error(why, 0) end f()" },
        ["not enough memory"] = { "local function f(...) return f(1, ...) .. '' end f()" },
        ["C stack overflow"] = { mine .. "meta.__index = function(_, k) return t[k] end return t.x",
          "local function f() return (('a'):gsub('a', f)) end f()",
          "local function f() table.sort({ 1, 2 }, f) end f()",
          mine .. "meta.__tostring = function() return tostring(t) end tostring(t)" },
        ["possible loop"] = { mine .. "meta.__index = t return t.x",
          mine .. "meta.__newindex = t t.x = 1" },
      }
      for words, sources in pairs(round) do
        for _, source in ipairs(sources) do
          local found = fault(source)
          assert.truthy(found.message:find(words, 1, true), source .. ": " .. found.message)
        end
      end
    end)

    it("may be 5,000 deep", function()
      assert.equal(5000, eval [[
        local function f(n) if n == 0 then return 0 end return 1 + f(n - 1) end
        return f(5000)]])
    end)
  end)

end)
