-- The contract in core/script/value.h, seen through moonlog.pack and moonlog.unpack.
local m = require "moonlog"

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function bytes(text)
  return (text:gsub("%s", ""):gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function packed(value) return hex(assert(m.pack(value))) end

local function refused(value)
  local result, sentence = m.pack(value)
  assert.is_nil(result)
  return sentence
end

--- Bytes as another client may have written them, read and written again.
local function again(text) return packed(assert(m.unpack(bytes(text)))) end

describe("lua/value", function()
  describe("scalars", function()
    it("keep integers integers and floats floats", function()
      assert.equal("05", packed(5))
      assert.equal("ff", packed(-1))
      assert.equal("d38000000000000000", packed(math.mininteger))
      assert.equal("cf7fffffffffffffff", packed(math.maxinteger))
      assert.equal("cb4014000000000000", packed(5.0))
      assert.equal("integer", math.type(m.unpack(bytes "05")))
      assert.equal("float", math.type(m.unpack(bytes "cb4014000000000000")))
    end)

    it("read float 32 as a float of the same value, written in 8 bytes", function()
      assert.equal(1.5, m.unpack(bytes "ca3fc00000"))
      assert.equal("cb3ff8000000000000", again "ca3fc00000")
    end)

    it("let NaN and the infinities through", function()
      local nan = m.unpack(m.pack(0 / 0))
      assert.is_true(nan ~= nan)
      assert.equal(math.huge, m.unpack(m.pack(math.huge)))
      assert.equal(-math.huge, m.unpack(m.pack(-math.huge)))
    end)

    it("are nil, true and false", function()
      assert.equal("c0", packed(nil))
      assert.equal("c0", packed(m.null))
      assert.is_nil(m.unpack(bytes "c0"))
      assert.equal("c3", packed(true))
      assert.equal("c2", packed(false))
      assert.is_false(m.unpack(bytes "c2"))
    end)
  end)

  describe("strings", function()
    it("are str when they are UTF-8 and bin when they are not", function()
      assert.equal("a3" .. hex "hé", packed "hé")
      assert.equal("a0", packed "")
      assert.equal("c402ff41", packed "\xffA")
      assert.equal("hé", m.unpack(m.pack "hé"))
    end)

    it("are bin when moonlog.bytes says so, and bin reads as moonlog.bytes", function()
      assert.equal("c4026869", packed(m.bytes "hi"))
      local read = m.unpack(bytes "c4026869")
      assert.equal("userdata", type(read))
      assert.equal("hi", tostring(read))
      assert.equal(2, #read)
      assert.is_true(read == m.bytes "hi")
      assert.is_true(read ~= m.bytes "ho")
      assert.is_true(m.bytes "" == m.bytes "")
      assert.equal("c4026869", packed(read))
    end)

    it("of bytes with a zero keep all of them", function()
      assert.equal("a3610062", packed "a\0b")
      assert.equal("a\0b", m.unpack(bytes "a3610062"))
    end)
  end)

  describe("ext", function()
    it("shows its type and bytes and is written back as it was", function()
      local ext = m.unpack(bytes "c7 03 05 616263")
      assert.equal(5, ext.type)
      assert.equal("abc", ext.bytes)
      assert.is_nil(ext.other)
      assert.equal("moonlog.ext 5 (3 bytes)", tostring(ext))
      assert.is_true(ext == m.unpack(bytes "c7 03 05 616263"))
      assert.is_true(ext ~= m.unpack(bytes "c7 03 06 616263"))
      assert.equal("c70305616263", packed(ext))
      assert.equal("d6ff00000001", again "d6ff00000001")
    end)
  end)

  describe("tables", function()
    it("with the keys 1..n are arrays", function()
      assert.equal("93010203", packed { 1, 2, 3 })
      local grown = {}
      for i = 5, 1, -1 do grown[i] = i end
      assert.equal("950102030405", packed(grown))
    end)

    it("that are empty are maps, unless moonlog.array says otherwise", function()
      assert.equal("80", packed {})
      assert.equal("90", packed(m.array {}))
      assert.equal("90", packed(m.array()))
      assert.equal("80", packed(m.map {}))
    end)

    it("round trip empty arrays and empty maps", function()
      assert.equal("82a16180a1629190", again "82a16180a1629190")
    end)

    it("tell absent from null", function()
      local read = m.unpack(bytes "82 a161 c0 a162 01")
      assert.equal(m.null, read.a)
      assert.is_nil(read.c)
      assert.equal("null", tostring(m.null))
      assert.equal("82a161c0a16201", packed(read))
      assert.same({ 1, m.null, 3 }, m.unpack(bytes "9301c003"))
    end)

    it("write their keys in one order: integers, then strings by their bytes", function()
      local expected = "86fe01" .. "0102" .. "a003" .. "a14204" .. "a16105" .. "a2616206"
      local keys = { { -2, 1 }, { 1, 2 }, { "", 3 }, { "B", 4 }, { "a", 5 }, { "ab", 6 } }
      for turn = 1, #keys do
        local map = m.map {}
        for i = 0, #keys - 1 do
          local key = keys[(turn + i) % #keys + 1]
          map[key[1]] = key[2]
        end
        assert.equal(expected, packed(map))
      end
    end)

    it("with 40 keys at two levels give the same bytes in whatever order they grew", function()
      local first, second = {}, {}
      for i = 1, 40 do first["k" .. i] = { x = i, ["y" .. i] = { i } } end
      for i = 40, 1, -1 do second["k" .. i] = { ["y" .. i] = { i }, x = i } end
      assert.equal(packed(first), packed(second))
      assert.same(first, m.unpack(m.pack(second)))
    end)

    it("keep maps with integer keys maps", function()
      assert.equal("8101a161", again "8101a161")
      assert.equal("8201a1620aa161", packed(m.map { [10] = "a", [1] = "b" }))
    end)

    it("read nil as a key as null, bin as a key as a string", function()
      assert.equal(1, m.unpack(bytes "81c001")[m.null])
      assert.equal(1, m.unpack(bytes "81c401ff01")["\xff"])
      assert.equal("81c401ff01", again "81c401ff01")
    end)

    it("are read without their metamethods", function()
      local calls = 0
      local hostile = setmetatable({ a = 1 }, {
        __index = function() calls = calls + 1 end,
        __len = function() calls = calls + 1; return 5 end,
        __pairs = function() calls = calls + 1 end,
        __tostring = function() calls = calls + 1 end,
      })
      assert.equal("81a16101", packed(hostile))
      assert.equal(0, calls)
    end)

    it("of 70,000 items and of 70,000 keys go through", function()
      local list, map = {}, {}
      for i = 1, 70000 do list[i], map["key" .. i] = i, i end
      assert.same(list, m.unpack(m.pack(list)))
      assert.same(map, m.unpack(m.pack(map)))
    end)

    it("given to moonlog.array and moonlog.map are given back", function()
      local list = { 1 }
      assert.equal(list, m.array(list))
      assert.equal(list, m.map(list))
      assert.equal("810101", packed(list))
      assert.has_error(function() m.array "x" end)
      assert.error_matches(function() m.map(setmetatable({}, {})) end, "metatable of its own")
    end)
  end)

  describe("refusals", function()
    it("name the way to what cannot be stored", function()
      assert.equal("BAD_REQUEST: value.items[3].f is a function, which cannot be stored; "
        .. "store what it stands for", refused { items = { 1, 2, { f = print } } })
      assert.match("^BAD_REQUEST: value is a thread", refused(coroutine.create(print)))
      assert.match("^BAD_REQUEST: value%.a is a userdata", refused { a = io.stdout })
      assert.match('value%["a b"%]%["%?%?"%] is a', refused { ["a b"] = { ["\xff\n"] = print } })
    end)

    it("meet holes and mixed keys", function()
      assert.match("value%[2%] is in a table with holes or mixed keys", refused { 1, nil, 3 })
      assert.match("value%.list%[5%] is in a table with holes", refused { list = { [5] = 1 } })
      assert.match("value%.a is in a table with holes or mixed keys", refused { 1, 2, a = 3 })
      assert.match("value%[0%] is in a table", refused { [0] = 1, 2 })
      assert.match("value%[2%] is in", refused(m.array { 1, nil, 3 }))
      assert.match("value%.n is in", refused(m.array { n = 1 }))
    end)

    it("meet keys that are neither strings nor integers", function()
      assert.match("value%.x has a float as a key", refused { x = { [1.5] = 1 } })
      assert.match("value has a boolean as a key", refused { [true] = 1 })
      assert.match("value has a table as a key", refused(m.map { [{}] = 1 }))
      assert.match("value has a userdata as a key", refused { [m.null] = 1 })
    end)

    it("meet depth 31 and tables that contain themselves", function()
      local deep = {}
      for _ = 1, 29 do deep = { deep } end
      assert.is_string(m.pack(deep))
      assert.same(deep, m.unpack(m.pack(deep)))
      assert.match("nested more than 30 levels deep", refused { deep })
      local loop = {}
      loop.loop = loop
      assert.match("^BAD_REQUEST: value%.loop%.loop.*30 levels", refused(loop))
    end)

    it("meet a small table that unfolds to a huge value", function()
      local bomb = {}
      for _ = 1, 29 do bomb = { bomb, bomb } end
      assert.match("^TOO_LARGE: value is over", refused(bomb))
      assert.match("^TOO_LARGE", refused(("x"):rep(9 << 20)))
      assert.match("^TOO_LARGE", refused(m.bytes(("x"):rep(9 << 20))))
      assert.match("^TOO_LARGE", refused { [("x"):rep(9 << 20)] = 1 })
    end)

    it("leave the next call as good as the first", function()
      refused { a = { b = { c = print } } }
      assert.equal("81a16101", packed { a = 1 })
    end)
  end)

  describe("unpack", function()
    local function sentence(text)
      local value, why = m.unpack(bytes(text))
      assert.is_nil(value)
      return why
    end

    it("refuses what is not one whole value", function()
      assert.match("^BAD_REQUEST: value is empty", sentence "")
      assert.match("^BAD_REQUEST: value is cut short", sentence "92 01")
      assert.match("^BAD_REQUEST: value is cut short", sentence "ddffffffff")
      assert.match("^BAD_REQUEST: value goes on", sentence "01 01")
      assert.match("^BAD_REQUEST: value holds the byte c1", sentence "c1")
      assert.match("^BAD_REQUEST", sentence "cfffffffffffffffff")
      assert.match("^BAD_REQUEST", sentence(("91"):rep(31) .. "01"))
    end)

    it("refuses NaN as a key, which no table can hold", function()
      assert.match("^UNSUPPORTED: ", sentence "81 cb7ff8000000000001 01")
      assert.match("^UNSUPPORTED: ", sentence "81 ca7fc00001 01")
    end)

    it("wants a string", function()
      assert.has_error(function() m.unpack(5) end)
      assert.has_error(function() m.unpack() end)
      assert.has_error(function() m.pack() end)
    end)

    it("survives every cut and every changed byte of a value", function()
      local whole = m.pack {
        a = { 1, 2.5, "x", m.null, m.bytes "y" }, b = m.array {}, c = { d = {} },
      }
      for i = 0, #whole - 1 do assert.is_nil((m.unpack(whole:sub(1, i)))) end
      for i = 1, #whole do
        for _, byte in ipairs { 0x00, 0x81, 0x9f, 0xc1, 0xc7, 0xd9, 0xdc, 0xdd, 0xdf, 0xff } do
          local value = m.unpack(whole:sub(1, i - 1) .. string.char(byte) .. whole:sub(i + 1))
          if value ~= nil then m.pack(value) end
        end
      end
    end)
  end)
end)
