-- The guard of core/script/sandbox.h: whatever a rule loops in, it is stopped, and told where.
local boxes = require "spec.support.boxes"
local script = require("coretest").script

local LIMIT_MS = 4 -- of processor time, and the timer ticks at the next 4 or 5

-- Each is the body of a function that never ends by itself.
local LOOPS = {
  ["while"] = "while true do end",
  ["repeat"] = "repeat local x = 1 until x == 2",
  ["goto"] = "::again:: goto again",
  ["for"] = "for n = 1, math.huge do n = n + 1 end",
  ["tail call"] = "local function f() return f() end f()",
  ["pcall"] = "while true do pcall(function() while true do end end) end",
  ["pcall of pcall"] = "while true do pcall(pcall, pcall, error) end",
  ["pcall that begins again"] = "local function f() pcall(f) f() end f()",
  ["error caught"] = "while true do pcall(error, 'x') end",
  ["iterator"] = "for _ in function() return 1 end do end",
  ["iterator of pairs"] = "while true do for _ in pairs { a = 1, b = 2, c = 3 } do end end",
  ["__pairs"] = "for _ in pairs(setmetatable({}, { __pairs = function() "
    .. "return function() return 1 end end })) do end",
  ["__index"] = "local x = setmetatable({}, { __index = function() while true do end end }).y",
  ["__newindex"] = "setmetatable({}, { __newindex = function() while true do end end }).y = 1",
  ["__call"] = "setmetatable({}, { __call = function() while true do end end })()",
  ["__lt in sort"] = [[local meta = { __lt = function() while true do end end }
    table.sort { setmetatable({}, meta), setmetatable({}, meta) }]],
  ["__eq"] = [[local meta = { __eq = function() while true do end end }
    return setmetatable({}, meta) == setmetatable({}, meta)]],
  ["__len"] = "return #setmetatable({}, { __len = function() while true do end end })",
  ["__add again"] = [[local meta = {} local x = setmetatable({}, meta)
    meta.__add = function(a) return a end while true do x = x + 1 end]],
  ["__tostring"] = [[return tostring(setmetatable({},
    { __tostring = function() while true do end end }))]],
  ["__tostring in format"] = [[return ("%s"):format(setmetatable({},
    { __tostring = function() while true do end end }))]],
  ["__close"] = [[local a <close> = setmetatable({}, { __close = function() while true do end end })
    while true do end]],
  ["__close by an error"] = [[while true do pcall(function()
    local a <close> = setmetatable({}, { __close = function() while true do end end })
    error 'x' end) end]],
  ["sort"] = [[local t = {} for n = 1, 1000 do t[n] = -n end
    while true do table.sort(t, function(a, b) return a < b end) end]],
  ["sort without Lua"] = [[local t = {} for n = 1, 60000 do t[n] = n * 7919 % 60000 end
    for _ = 1, 1e9 do table.sort(t) end]],
  ["gsub's function"] = "return ('a'):gsub('a', function() while true do end end)",
  ["gsub's table"] = [[return ('a'):gsub('a',
    setmetatable({}, { __index = function() while true do end end }))]],
  ["gsub"] = "local s = ('a'):rep(1000) while true do s:gsub('a', 'b') end",
  ["a pattern"] = [[local s = ('a'):rep(50)
    while true do pcall(s.find, s, ('a-'):rep(6) .. 'b') end]],
  ["a long text"] = [[local s = ('a'):rep(1 << 20)
    while true do pcall(s.find, s, '(a*)%1b') end]],
  ["insert at the front"] = "local t = {} while true do table.insert(t, 1, 1) end",
  ["insert by a lying __len"] = [[table.insert(setmetatable({}, { __len = function()
    return 1 << 60 end }), 1, 1)]],
  ["concat of an endless list"] = [[table.concat(setmetatable({}, { __len = function()
    return 1 << 60 end, __index = function() return "" end }))]],
  ["garbage"] = "while true do local t = { {}, {} } end",
  ["strings"] = "local n = 0 while true do n = n + 1 local s = 'k' .. n end",
  ["next"] = "local t = {} for n = 1, 1000 do t['k' .. n] = n end while true do next(t) end",
  ["tostring"] = "while true do tostring(1.5) end",
  ["string.rep"] = "while true do ('x'):rep(1 << 16) end",
  ["format"] = "while true do ('%99.99f'):format(1e300) end",
  ["utf8"] = "local s = ('é'):rep(1 << 16) while true do utf8.len(s) end",
  ["select"] = "while true do select('#', table.unpack({}, 1, 10000)) end",
  ["gmatch"] = "while true do for w in ('a b c'):gmatch '%a' do local x = w end end",
}

local REST = "return { f = f, g = function(x) return x + 1 end }"
local CAP = 32 << 20

local NAMES = {}
for name in pairs(LOOPS) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

--- In a process of its own, so that a guard that sleeps is a failure and not a hang.
local function apart(test)
  return function()
    local said, why = script.apart(function()
      test()
      return "came to its end"
    end, 60)
    assert.equal("came to its end", said or why)
  end
end

describe("script/guard", function()
  it("stops a loop wherever it is, and the sandbox goes on", apart(function()
    script.guard(LIMIT_MS)
    for _, name in ipairs(NAMES) do
      local box = boxes.run(("local function f()\n%s\nend " .. REST):format(LOOPS[name]), nil, CAP)
      local value, found = box:call("f", 1)
      assert.is_nil(value, name)
      assert.equal("overstay", found.kind, name .. ": " .. found.message)
      assert.equal("took longer than it may: 4 ms of processor time", found.message)
      assert.is_true(found.file == "t.lua" and found.line >= 2, name)
      assert.is_true(#found.source > 0 and #found.traceback > 0, name)
      assert.equal(8, box:call("g", 7), name)
      assert.equal(1, box:top())
      box:free()
    end
  end))

  it("stops the compiler too", apart(function()
    script.guard(LIMIT_MS)
    -- A name is looked for among the locals of every function around it.
    local parts, names = {}, {}
    for depth = 1, 150 do
      for n = 1, 198 do names[n] = ("v%d_%d"):format(depth, n) end
      parts[depth] = "local function f() local " .. table.concat(names, ",")
    end
    local source = ("%s\n%s%s"):format(table.concat(parts, "\n"), ("a=b;"):rep(100000),
      (" end"):rep(150))
    local found = boxes.fault(source)
    assert.same({ "overstay", "t.lua", 0 }, { found.kind, found.file, found.line })
    found = boxes.fault("pcall(require, 'big')", { ["big.lua"] = source })
    assert.same({ "overstay", "t.lua", 1 }, { found.kind, found.file, found.line })
  end))

  it("names the line that was running, behind any pcall", apart(function()
    script.guard(LIMIT_MS)
    local box = boxes.run [[
return { f = function()
  pcall(function()
    local n = 0
    while n >= 0 do n = n + 1 end
  end)
end }]]
    local _, found = box:call("f", 1)
    assert.equal(4, found.line)
    assert.equal("while n >= 0 do n = n + 1 end", found.source)
    assert.equal("t.lua:4: in the function of line 2\nt.lua:2: in the function of line 1",
      found.traceback)
  end))

  it("stops a loop three hundred times", apart(function()
    script.guard(LIMIT_MS)
    local kinds = { "while", "pcall", "__index", "__lt in sort", "gsub's function",
      "__close by an error", "iterator", "__add again", "garbage", "tail call" }
    for _, name in ipairs(kinds) do
      local box = boxes.run(("local function f() %s\nend " .. REST):format(LOOPS[name]), nil, CAP)
      assert.equal(30, assert(box:overstay("f", 30)), name)
      box:free()
    end
  end))

  it("leaves alone what takes no longer", apart(function()
    script.guard(60000)
    local box = boxes.run [[return { f = function()
      local sum = 0
      for n = 1, 3e6 do sum = sum + n end
      return sum
    end }]]
    assert.equal(4500001500000, box:call("f", 1))
  end))

  it("counts each call for itself", apart(function()
    script.guard(100)
    local box = boxes.run [[return { f = function()
      for _ = 1, 2e4 do local n = 1 end
      return 1
    end }]]
    for _ = 1, 2000 do assert.equal(1, box:call("f", 1)) end
  end))

  it("does not stop what runs while it is stopped", apart(function()
    script.guard(LIMIT_MS)
    script.stop()
    local box = boxes.run "return { f = function() for _ = 1, 3e6 do local x = 1 end return 1 end }"
    assert.equal(1, box:call("f", 1))
  end))

  it("stops a file that does not come to its end", apart(function()
    script.guard(LIMIT_MS)
    assert.equal("overstay", boxes.fault("while true do end").kind)
    local found = boxes.fault("require 'a'", { ["a.lua"] = "local x = 1\nrepeat until x == 2" })
    assert.same({ "overstay", "a.lua", 2 }, { found.kind, found.file, found.line })
  end))
end)
