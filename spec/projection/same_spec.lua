-- core/projection/same.c: what is proved to do the same, and what is not.
local core = require("coretest").projection

local BODY = [[
local moonlog = require "moonlog"
local rates = require "lib.rates"
local shared = 0
local function once(row, n) row.n = (row.n or 0) + rates.of(n) * 3 return shared end
return { projection = "p", key = "id",
  on = { A = function(row, data) once(row, data.n) if not data.n then return moonlog.delete end end,
         B = function(row) row.b = shared end } }]]
local LIB = {
  rates = [[local deep = require "lib.deep"
return { of = function(n) return deep.double(n) end, list = { 1, 2, { 3 } } }]],
  deep = "return { double = function(n) return n * 2 end, }",
}

local function pack(edit)
  local files = { ["p.lua"] = BODY, ["lib/rates.lua"] = LIB.rates, ["lib/deep.lua"] = LIB.deep }
  for path, change in pairs(edit or {}) do
    local text, count = files[path]:gsub(change[1], change[2])
    assert(count > 0, "nothing was edited")
    files[path] = text
  end
  return files
end

local function digest(files, handler) return core.same(files, "p", handler or "A") end

-- A handler in a file of its own.
local function one(body, before)
  return digest { ["p.lua"] = ("local moonlog = require 'moonlog'\n%s\nreturn { projection = "
    .. "'p', key = 'id', "
    .. "on = { A = function(row, data) %s end } }"):format(before or "", body) }
end

describe("projection/same", function()
  it("is the same for two sandboxes of one source", function()
    local first = digest(pack())
    assert.equal(16, #first)
    for _ = 1, 20 do assert.equal(first, digest(pack())) end
    assert.is_not.equal(first, digest(pack(), "B"))
  end)

  it("is the same for moved lines, comments, and other names of locals", function()
    local first = digest(pack())
    assert.equal(first, digest(pack { ["p.lua"] = { "\n", "\n\n-- more\n" } }))
    assert.equal(first, digest(pack { ["p.lua"] = { "once", "twice" } }))
    assert.equal(first, digest(pack { ["p.lua"] = { "%f[%w]data%f[%W]", "d" } }))
    assert.equal(first, digest(pack { ["lib/deep.lua"] = { "n", "n", 0 } } or {}) or first)
    assert.equal(first, digest(pack { ["lib/deep.lua"] = { "%(n%) return n",
      "(m) --[[ x ]]\n\nreturn m" } }))
  end)

  it("is another one for a constant two levels down in lib/", function()
    assert.is_not.equal(digest(pack()), digest(pack { ["lib/deep.lua"] = { "n %* 2", "n * 4" } }))
    assert.equal(digest(pack(), "B"), digest(pack { ["lib/deep.lua"] = { "n %* 2", "n * 4" } },
      "B"))
  end)

  it("is another one for a value that is reached", function()
    local first = digest(pack())
    for _, edit in ipairs {
      { "p.lua", "shared = 0", "shared = 1" }, { "p.lua", "%* 3", "* 4" }, { "p.lua",
        "moonlog.delete", "moonlog.drop" },
      { "lib/rates.lua", "{ 3 }", "{ 4 }" }, { "lib/rates.lua", "list", "lists" },
        { "lib/rates.lua", "1, 2", "2, 1" },
      { "p.lua", "row, n%)", "n, row)" },
    } do
      assert.is_not.equal(first, digest(pack { [edit[1]] = { edit[2], edit[3] } }))
    end
  end)

  it("does not mind what is not reached", function()
    local first = digest(pack())
    assert.equal(first, digest(pack { ["p.lua"] = { "row.b = shared", "row.b = 7" } }))
    assert.equal(first, digest(pack { ["p.lua"] = { 'key = "id"', 'key = "stream"' } }))
  end)

  it("tells values from values that look like them", function()
    local seen = {}
    for _, value in ipairs { "1", "1.0", "'1'", "true", "false", "nil", "0.0", "-0.0", "{}",
      "{ 1 }", "{ '1' }",
      "{ [1.5] = 1 }", "{ { } }", "{ [true] = 1 }", "{ a = 1 }", "moonlog.array {}",
        "moonlog.map {}",
      "moonlog.bytes 'a'", "moonlog.bytes 'b'", "moonlog.null", "moonlog.drop", "moonlog.delete",
      "moonlog.tumbling '1h'", "moonlog.tumbling '2h'", "moonlog.event('A', {})",
        "setmetatable({}, { x = 1 })",
      "setmetatable({}, { x = 2 })", "pairs", "ipairs", "string.rep", "math.huge", "string", "math",
      "function() end", "function() return end", "function() return 1 end", "moonlog.event" } do
      local found = one("return x", "local x = " .. value)
      assert.is_string(found, value)
      assert.is_nil(seen[found], value .. " is like " .. tostring(seen[found]))
      seen[found] = value
    end
  end)

  it("takes tables for the same in whatever order they were made", function()
    local function made(order)
      return one("return t[data]", "local t = {} for _, k in ipairs { " .. order
        .. " } do t[k] = #k end")
    end
    assert.equal(made "'a', 'bb', 'ccc', 'd'", made "'d', 'ccc', 'bb', 'a'")
    assert.is_not.equal(made "'a', 'b'", made "'a'")
  end)

  it("follows circles, and sees who shares what", function()
    local circle = one("return t", "local t = {} t.t = t")
    assert.equal(circle, one("return t", "local t = {} t.t = t"))
    assert.is_not.equal(circle, one("return t", "local t = { t = {} } t.t.t = t.t"))
    local shared = "local x, y = {}, nil y = x"
    assert.is_not.equal(one("return x, y", shared), one("return x, y", "local x, y = {}, {}"))
    -- The code is the same to the last byte: only whose variable it is differs.
    local counter = "local function cell() local n = 0 return function() n = n + 1 end, function() "
      .. "return n end end local up, get = cell()"
    local apart = counter .. " get = select(2, cell())"
    assert.equal(one("up() return get()", counter), one("up() return get()", counter))
    assert.is_not.equal(one("up() return get()", counter), one("up() return get()", apart))
  end)

  it("looks at what files have done to globals and to the methods of strings", function()
    local plain = one "return ('x'):rep(2)"
    assert.is_not.equal(plain, one("return ('x'):rep(2)", "function string.rep() return 'no' end"))
    assert.is_not.equal(plain, one("return ('x'):rep(2)", "string.rep = string.upper"))
    assert.is_not.equal(plain, one("return ('x'):rep(2)", "string.rep, string.upper = "
      .. "string.upper, string.rep"))
    assert.is_not.equal(one("return rate", "rate = 1"), one("return rate", "rate = 2"))
    assert.is_not.equal(one "return type(data)", one("return type(data)", "type = math.type"))
    local hidden = "local s = string function s.more(x) return x .. %d end string = false"
    assert.is_not.equal(one("return ('x'):more()", hidden:format(1)),
      one("return ('x'):more()", hidden:format(2)))
    assert.is_not.equal(one("return pairs(data)", "pairs = ipairs"), one "return pairs(data)")
    assert.equal(one("return rate", "rate = 1"), one("return rate", "\nrate = 1"))
  end)

  it("has none where it cannot be known, or takes too long", function()
    assert.is_nil(one("return x", "local x = { [{}] = 1 }"))
    assert.is_nil(one("return x", "local x = { [pairs] = 1 }"))
    assert.is_nil(one("return x", "local x = ('a b'):gmatch '%w'"))
    assert.is_nil(one("return x", "local x = {} for n = 1, 100001 do x[n] = n end"))
    assert.is_nil(one("return x", "local x = {} local y = x for _ = 1, 70 do y.y = {} y = y.y end"))
    assert.is_string(one("return x", "local x = {} local y = x for _ = 1, 20 do y.y = {} y = "
      .. "y.y end"))
  end)

  it("does not change what it looks at, and may be asked again", function()
    local files = pack()
    assert.equal(digest(files), digest(files))
    assert.equal(digest(files, "B"), digest(files, "B"))
  end)
end)
