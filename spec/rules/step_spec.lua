-- The contract in core/rules/upcast_step.h and upcast_cast.h: declarative steps, bytes to bytes.
local upcast = require "coretest".upcast
local m = require "moonlog"

local function bytes(text)
  return (text:gsub("%s", ""):gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function make(wishes) return assert(upcast.step(wishes)) end

local function refused(wishes)
  local step, why = upcast.step(wishes)
  assert.is_nil(step)
  return why
end

--- What the step makes of a Lua value, as a Lua value.
local function apply(wishes, value)
  return m.unpack(assert(make(wishes):apply(m.pack(value))))
end

local function fails(wishes, value)
  local result, why = make(wishes):apply(m.pack(value))
  assert.is_nil(result)
  return why
end

--- Equal as values: types of numbers and null count.
local function same(expected, actual)
  assert.equal(m.pack(expected), m.pack(actual))
end

describe("rules/step: a rename", function()
  it("gives a field another name, in its place", function()
    local data = bytes "83 a16101 a373756d05 a17a02"
    assert.equal(bytes "83 a16101 a6616d6f756e7405 a17a02",
      make { { "rename", "sum", "amount" } }:apply(data))
  end)

  it("does nothing where the field is not there", function()
    same({ a = 1 }, apply({ { "rename", "sum", "amount" } }, { a = 1 }))
  end)

  it("onto a field that is there is refused", function()
    assert.equal("SCRIPT_ERROR: field 'amount' would be there twice: something is renamed or "
      .. "moved onto it, or the data has it twice",
      fails({ { "rename", "sum", "amount" } }, { amount = 1, sum = 2 }))
    fails({ { "rename", "sum", "amount" } }, { amount = m.null, sum = 2 })
    fails({ { "rename", "a", "c" }, { "rename", "b", "c" } }, { a = 1, b = 2 })
  end)

  it("of one field or another to the same name is fine while only one is there", function()
    local wishes = { { "rename", "a", "c" }, { "rename", "b", "c" } }
    same({ c = 1 }, apply(wishes, { a = 1 }))
    same({ c = 2 }, apply(wishes, { b = 2 }))
  end)

  it("can swap two fields: all happen at once", function()
    same({ a = 2, b = 1 }, apply({ { "rename", "a", "b" }, { "rename", "b", "a" } },
      { a = 1, b = 2 }))
    same({ b = 1, c = 2 }, apply({ { "rename", "a", "b" }, { "rename", "b", "c" } },
      { a = 1, b = 2 }))
  end)

  it("takes fields of the data itself, and says so", function()
    assert.equal("BAD_REQUEST: rename takes fields of the data itself; move 'a.b' to 'c' instead",
      refused { { "rename", "a.b", "c" } })
    refused { { "rename", "c", "a.b" } }
    refused { { "rename", "a", "a" } }
    refused { { "rename", "", "a" } }
    refused { { "rename", "a", "" } }
    refused { { "rename", "a", ("x"):rep(257) } }
    refused { { "rename", "a", "\xff" } }
    make { { "rename", ("x"):rep(256), "a" } }
  end)

  it("keeps keys that are no strings, and values of every kind", function()
    local data = "\x8c\x05\x01\xa1a\xc0\xa1b\xc3\xa1c\xcb" .. ("\0"):rep(8) .. "\xa1d\xc4\x02hi"
      .. "\xa1e\xc7\x03\x07abc\xa1f\x92\x01\x91\x02\xa1g\x81\xa1h\x80\xa1i\xd9\x02hi"
      .. "\xc4\x02qq\xcd\xff\xff\xc3\x07\xa3sum\xd3" .. ("\xff"):rep(8)
    assert.equal((data:gsub("\xa3sum", "\xa3SUM")), make { { "rename", "sum", "SUM" } }:apply(data))
  end)

  it("finds a field whose key is bin, as Lua does", function()
    assert.equal("\x81\xa1b\x05", make { { "rename", "a", "b" } }:apply "\x81\xc4\x01a\x05")
  end)
end)

describe("rules/step: a move", function()
  it("takes a value from path to path and makes the maps on the way", function()
    same({ a = {}, c = { d = 5 } }, apply({ { "move", "a.b", "c.d" } }, { a = { b = 5 } }))
    same({ x = { y = { z = "v" } } }, apply({ { "move", "v", "x.y.z" } }, { v = "v" }))
    same({ a = { c = 2 }, b = 1 }, apply({ { "move", "a.b", "b" } }, { a = { b = 1, c = 2 } }))
  end)

  it("adds to maps that are there", function()
    same({ c = { d = 5, e = 6 } }, apply({ { "move", "a", "c.d" } }, { a = 5, c = { e = 6 } }))
    same({ c = { d = 5 } }, apply({ { "move", "a", "c.d" } }, { a = 5, c = m.null }))
  end)

  it("does nothing where there is nothing to move", function()
    same({ x = 1 }, apply({ { "move", "a.b", "c.d" } }, { x = 1 }))
    same({ a = {} }, apply({ { "move", "a.b", "c.d" } }, { a = {} }))
    same({ a = m.null }, apply({ { "move", "a.b", "c.d" } }, { a = m.null }))
  end)

  it("onto what is there is refused", function()
    assert.truthy(fails({ { "move", "a", "c.d" } }, { a = 5, c = { d = 6 } }):find "'c.d'")
    fails({ { "move", "a.b", "c" } }, { a = { b = 5 }, c = 1 })
    fails({ { "move", "a.b", "x" }, { "move", "a.c", "x" } }, { a = { b = 1, c = 2 } })
  end)

  it("through what is no map is refused", function()
    assert.equal("SCRIPT_ERROR: field 'c' is 7, and the step needs a map",
      fails({ { "move", "a", "c.d" } }, { a = 5, c = 7 }))
    assert.equal("SCRIPT_ERROR: field 'a' is a list, and the step needs a map",
      fails({ { "move", "a.b", "c" } }, { a = { 1 } }))
    same({ c = 7 }, apply({ { "move", "a", "c.d" } }, { c = 7 })) -- nothing goes through
  end)

  it("happens at once: values may change places", function()
    same({ a = { x = 2, y = 1 } },
      apply({ { "move", "a.x", "a.y" }, { "move", "a.y", "a.x" } }, { a = { x = 1, y = 2 } }))
    same({ x = 1, a = { q = 2 } }, apply({ { "move", "a", "x" }, { "move", "b", "a.q" } },
      { a = 1, b = 2 }))
    same({ a = 1, b = { c = 2 } }, apply({ { "move", "x", "a" }, { "move", "a", "b.c" } },
      { x = 1, a = 2 }))
    same({ a = { b = 2 }, c = 1 }, apply({ { "move", "a.b", "c" }, { "move", "c", "a.b" } },
      { a = { b = 1 }, c = 2 }))
  end)

  it("sees the names that rename made", function()
    same({ b = { c = 1 } }, apply({ { "move", "b", "b.c" }, { "rename", "a", "b" } }, { a = 1 }))
    same({ c = 1 }, apply({ { "move", "b", "c" }, { "rename", "a", "b" } }, { a = 1 }))
    same({ c = 1, b = {} }, apply({ { "move", "b.x", "c" }, { "rename", "a", "b" } },
      { a = { x = 1 } }))
  end)

  it("does not go with another inside it", function()
    assert.truthy(refused { { "move", "a", "x.y" }, { "move", "a.b", "z" } }:find "inside it")
    refused { { "move", "a", "x" }, { "move", "a.b", "z" } }
    refused { { "move", "a", "x.y" }, { "move", "b", "x.y.z" } }
    refused { { "move", "a", "x" }, { "move", "x.b", "z" } }
    refused { { "move", "a.b", "a.b" } }
    refused { { "move", "a..b", "c" } }
    refused { { "move", ".a", "c" } }
    refused { { "move", "a.", "c" } }
    refused { { "move", ("a."):rep(30) .. "a", "c" } }
  end)

  it("may not nest data deeper than it may be", function()
    local deep = 1
    for _ = 1, 29 do deep = { a = deep } end
    local wishes = { { "move", "v", "x.y" } }
    assert.truthy(fails(wishes, { v = deep }):find "nests more than 30 levels")
    same({ x = { y = deep.a } }, apply(wishes, { v = deep.a }))
  end)
end)

describe("rules/step: a drop", function()
  it("leaves fields out, at any depth", function()
    same({ b = 2 }, apply({ { "drop", "a" } }, { a = 1, b = 2 }))
    same({ a = { c = 2 } }, apply({ { "drop", "a.b" } }, { a = { b = 1, c = 2 } }))
    same({}, apply({ { "drop", "a" }, { "drop", "b" } }, { a = { 1, 2 }, b = {} }))
    same({ b = 2 }, apply({ { "drop", "a" }, { "drop", "c.d" } }, { b = 2 }))
  end)

  it("comes after moves: what was moved out stays", function()
    same({ b = 1 }, apply({ { "move", "a.b", "b" }, { "drop", "a" } }, { a = { b = 1, c = 2 } }))
  end)

  it("does not go with what is made inside", function()
    refused { { "drop", "a" }, { "default", "a.b", "\x01" } }
    refused { { "drop", "a" }, { "move", "x", "a.b" } }
    refused { { "drop", "a" }, { "cast", "a.b", "float" } }
  end)

  it("shortens the head of a map that had more than fifteen fields", function()
    local data = {}
    for n = 1, 17 do data["f" .. n] = n end
    local result = apply({ { "drop", "f1" }, { "drop", "f2" }, { "drop", "f3" } }, data)
    data.f1, data.f2, data.f3 = nil, nil, nil
    same(data, result)
  end)
end)

describe("rules/step: a cast", function()
  local function cast(kind, value) return apply({ { "cast", "v", kind } }, { v = value }).v end
  local function cannot(kind, value)
    local why = fails({ { "cast", "v", kind } }, { v = value })
    return assert.truthy(why:match "^SCRIPT_ERROR: (.*)")
  end
  local function is(expected, actual) same({ expected }, { actual }) end

  it("to integer takes floats without fraction and decimal strings", function()
    is(5, cast("integer", 5))
    is(5, cast("integer", 5.0))
    is(-3, cast("integer", -3.0))
    is(12, cast("integer", "12"))
    is(-12, cast("integer", "-12"))
    is(12, cast("integer", "+0012"))
    is(math.maxinteger, cast("integer", "9223372036854775807"))
    is(math.mininteger, cast("integer", "-9223372036854775808"))
    is(math.mininteger, cast("integer", -0x1p63))
  end)

  it("to integer refuses all else, naming field and value", function()
    assert.equal("field 'v' is 1.5, which cannot be cast to integer", cannot("integer", 1.5))
    assert.equal("field 'v' is \"1.0\", which cannot be cast to integer", cannot("integer", "1.0"))
    for _, value in ipairs { "", "-", "+", " 1", "1 ", "0x10", "1e3", "9223372036854775808",
      "-9223372036854775809", 0x1p63, 1e300, 0 / 0, 1 / 0, true, false, {}, { 1 },
      m.bytes "1" } do
      cannot("integer", value)
    end
  end)

  it("to float takes integers that it can hold and decimal strings", function()
    is(5.0, cast("float", 5))
    is(1.5, cast("float", 1.5))
    is(1.5, cast("float", "1.5"))
    is(-1500.0, cast("float", "-1.5e3"))
    is(0x1p53, cast("float", 1 << 53))
    is(-0x1p63, cast("float", math.mininteger))
    for _, value in ipairs { "", "abc", "nan", "inf", "0x10", " 1", "1 ", "1e999", "--1",
      ("1"):rep(65), (1 << 53) + 1, math.maxinteger, true, {}, m.bytes "1" } do
      cannot("float", value)
    end
  end)

  it("to string takes numbers and booleans", function()
    is("12", cast("string", 12))
    is("-9223372036854775808", cast("string", math.mininteger))
    is("1.5", cast("string", 1.5))
    is("2.0", cast("string", 2.0))
    is("0.1", cast("string", 0.1))
    is("true", cast("string", true))
    is("false", cast("string", false))
    is("x", cast("string", "x"))
    for _, value in ipairs { 0 / 0, 1 / 0, {}, { 1 }, m.bytes "x" } do cannot("string", value) end
  end)

  it("to boolean takes 0 and 1, \"true\" and \"false\"", function()
    is(true, cast("boolean", true))
    is(false, cast("boolean", false))
    is(true, cast("boolean", 1))
    is(false, cast("boolean", 0))
    is(true, cast("boolean", "true"))
    is(false, cast("boolean", "false"))
    for _, value in ipairs { 2, -1, 1.0, 0.0, "yes", "True", "", {} } do
      cannot("boolean", value)
    end
  end)

  it("leaves null and what is not there", function()
    same({ v = m.null }, apply({ { "cast", "v", "integer" } }, { v = m.null }))
    same({}, apply({ { "cast", "v", "integer" }, { "cast", "w.x", "float" } }, {}))
  end)

  it("reaches into maps, and speaks of the path", function()
    same({ a = { b = 1 } }, apply({ { "cast", "a.b", "integer" } }, { a = { b = "1" } }))
    assert.equal("SCRIPT_ERROR: field 'a.b' is \"x\", which cannot be cast to integer",
      fails({ { "cast", "a.b", "integer" } }, { a = { b = "x" } }))
  end)

  it("shows only so much of a value, and nothing that a terminal obeys", function()
    local why = cannot("integer", "\27[2J" .. ("y"):rep(100))
    assert.equal('field \'v\' is "?[2J' .. ("y"):rep(36) .. '...", which cannot be cast to integer',
      why)
  end)

  it("comes after renames and moves", function()
    same({ b = 1 }, apply({ { "cast", "b", "integer" }, { "rename", "a", "b" } }, { a = "1" }))
    same({ b = { c = 1 } }, apply({ { "cast", "b.c", "integer" }, { "move", "a", "b.c" } },
      { a = "1" }))
    same({ b = "x" }, apply({ { "cast", "a", "integer" }, { "rename", "a", "b" } }, { a = "x" }))
  end)
end)

describe("rules/step: a default", function()
  local eur = "\xa3EUR"

  it("fills in what is null or not there, behind the rest", function()
    assert.equal("\x82\xa1a\x01\xa1c" .. eur,
      make { { "default", "c", eur } }:apply "\x81\xa1a\x01")
    assert.equal("\x82\xa1c" .. eur .. "\xa1a\x01",
      make { { "default", "c", eur } }:apply "\x82\xa1c\xc0\xa1a\x01")
    same({ c = "USD" }, apply({ { "default", "c", eur } }, { c = "USD" }))
    same({ c = false }, apply({ { "default", "c", eur } }, { c = false }))
  end)

  it("makes maps on the way", function()
    same({ a = { b = "EUR" } }, apply({ { "default", "a.b", eur } }, {}))
    same({ a = { b = "EUR" } }, apply({ { "default", "a.b", eur } }, { a = m.null }))
    same({ a = { b = "EUR", c = 1 } }, apply({ { "default", "a.b", eur } }, { a = { c = 1 } }))
    assert.truthy(fails({ { "default", "a.b", eur } }, { a = 1 }):find "'a' is 1")
  end)

  it("comes last: after rename, move, drop and cast", function()
    same({ c = "x" }, apply({ { "default", "c", eur }, { "rename", "b", "c" } }, { b = "x" }))
    same({ c = "EUR" }, apply({ { "default", "c", eur }, { "drop", "c" } }, { c = "x" }))
    same({ c = "EUR" }, apply({ { "default", "c", eur }, { "rename", "b", "c" } }, { b = m.null }))
    same({ b = "EUR", c = 1 },
      apply({ { "default", "b", eur }, { "rename", "b", "c" } }, { b = 1 }))
    same({ c = "EUR" }, apply({ { "default", "c", eur }, { "cast", "c", "integer" } }, {}))
  end)

  it("makes the head of a map longer where it has to be", function()
    local data, expected = {}, {}
    for n = 1, 15 do data["f" .. n], expected["f" .. n] = n, n end
    expected.c = "EUR"
    same(expected, apply({ { "default", "c", eur } }, data))
  end)

  it("may not nest deeper than data may", function()
    assert.truthy(refused { { "default", "a.b", ("\x91"):rep(29) .. "\x01" } }:find "nests")
    make { { "default", "a.b", ("\x91"):rep(28) .. "\x01" } }
    refused { { "default", "a", "\x01" }, { "default", "a.b", "\x01" } }
    refused { { "default", "a", "\xc1" } }
  end)
end)

describe("rules/step", function()
  it("without wishes lets everything through", function()
    local step = make {}
    for _, data in ipairs { "\xc0", "\x05", "\x80", "\x93\x01\x02\x03", "\xa1x" } do
      assert.equal(data, step:apply(data))
    end
  end)

  it("with wishes needs a map", function()
    local wishes = { { "default", "a", "\x01" } }
    assert.equal("SCRIPT_ERROR: data is null, and the step needs a map", fails(wishes, nil))
    assert.equal("SCRIPT_ERROR: data is a list, and the step needs a map", fails(wishes, { 1 }))
    assert.equal('SCRIPT_ERROR: data is "x", and the step needs a map', fails(wishes, "x"))
    assert.equal("SCRIPT_ERROR: data is cut short, and the step needs a map",
      select(2, make(wishes):apply ""))
  end)

  it("refuses data in which a field that it speaks of stands twice", function()
    local data = "\x82\xa1a\x01\xa1a\x02"
    for _, wish in ipairs { { "rename", "a", "b" }, { "cast", "a", "float" },
      { "default", "a", "\x01" }, { "drop", "a" }, { "move", "a", "b.c" } } do
      local result, why = make({ wish }):apply(data)
      assert.is_nil(result, wish[1])
      assert.truthy(why:find "twice")
    end
    assert.equal(data, make({ { "drop", "b" } }):apply(data))
  end)

  it("never reads behind data that is cut short", function()
    local whole = m.pack { a = { b = "text", c = 1.5 }, d = { 1, 2, 3 }, e = ("x"):rep(40) }
    local step = make { { "move", "a.b", "f.g" }, { "cast", "a.c", "string" }, { "drop", "d" } }
    assert(step:apply(whole))
    for size = 0, #whole - 1 do
      local result, why = step:apply(whole:sub(1, size))
      assert.is_nil(result, size)
      assert.truthy(why:find "SCRIPT_ERROR")
    end
  end)

  it("speaks of 64 fields at most", function()
    local wishes = {}
    for n = 1, 64 do wishes[n] = { "drop", "f" .. n } end
    make(wishes)
    wishes[65] = { "drop", "f65" }
    assert.truthy(refused(wishes):find "LIMIT: the step speaks of more than 64 fields")
    wishes = {}
    for n = 1, 64 do wishes[n] = { "rename", "f" .. n, "g" .. n } end
    make(wishes)
    wishes[65] = { "rename", "f65", "g65" }
    refused(wishes)
  end)

  it("does all of it at once", function()
    same({ amount = 5, currency = "EUR", who = { name = "ann", id = "7" } }, apply({
      { "rename", "sum", "amount" }, { "move", "name", "who.name" }, { "move", "id", "who.id" },
      { "drop", "note" }, { "cast", "amount", "integer" }, { "cast", "who.id", "string" },
      { "default", "currency", "\xa3EUR" },
    }, { sum = "5", name = "ann", id = 7, note = "gone" }))
  end)
end)
