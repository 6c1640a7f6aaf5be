-- The contract in core/base/unpack.h, with msgpack-c as a second opinion.
local base = require("coretest").base
local check = base.unpack_check

local function refuses(bytes, sentence, what)
  local ok, why = check(bytes, what)
  assert.is_nil(ok)
  assert.equal("BAD_REQUEST: " .. sentence, why)
end

-- One of every form, with what unpack_next says of it.
local forms = {
  { "\xc0", "nil" },
  { "\xc2", "bool", false },
  { "\xc3", "bool", true },
  { "\x00", "int", 0 },
  { "\x7f", "int", 127 },
  { "\xe0", "int", -32 },
  { "\xff", "int", -1 },
  { "\xcc\xff", "int", 255 },
  { "\xcd\xff\xfe", "int", 65534 },
  { "\xce\xff\xff\xff\xfe", "int", 4294967294 },
  { "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", "int", math.maxinteger },
  { "\xcf\0\0\0\0\0\0\0\1", "int", 1 },
  { "\xd0\x80", "int", -128 },
  { "\xd1\x80\x00", "int", -32768 },
  { "\xd2\x80\0\0\0", "int", -2147483648 },
  { "\xd3\x80\0\0\0\0\0\0\0", "int", math.mininteger },
  { "\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", "int", math.maxinteger },
  { "\xca\x3f\xc0\0\0", "float", 1.5, true },
  { "\xcb\x3f\xf8\0\0\0\0\0\0", "float", 1.5, false },
  { "\xa0", "str", "" },
  { "\xbf" .. ("x"):rep(31), "str", ("x"):rep(31) },
  { "\xd9\x01x", "str", "x" },
  { "\xda\0\1x", "str", "x" },
  { "\xdb\0\0\0\1x", "str", "x" },
  { "\xc4\2\0\xff", "bin", "\0\xff" },
  { "\xc5\0\1\xff", "bin", "\xff" },
  { "\xc6\0\0\0\1\xff", "bin", "\xff" },
  { "\xc7\0\5", "ext", "", 5 },
  { "\xc8\0\1\xffx", "ext", "x", -1 },
  { "\xc9\0\0\0\1\x80x", "ext", "x", -128 },
  { "\xd4\x7fx", "ext", "x", 127 },
  { "\xd5\1xy", "ext", "xy", 1 },
  { "\xd6\1xyzw", "ext", "xyzw", 1 },
  { "\xd7\1" .. ("x"):rep(8), "ext", ("x"):rep(8), 1 },
  { "\xd8\1" .. ("x"):rep(16), "ext", ("x"):rep(16), 1 },
}

-- Containers and what follows their heads.
local containers = {
  { "\x90", "", "array", 0 },
  { "\x93", "\1\2\3", "array", 3 },
  { "\xdc\0\2", "\1\2", "array", 2 },
  { "\xdd\0\0\0\2", "\1\2", "array", 2 },
  { "\x80", "", "map", 0 },
  { "\x82", "\1\2\3\4", "map", 2 },
  { "\xde\0\1", "\1\2", "map", 1 },
  { "\xdf\0\0\0\1", "\1\2", "map", 1 },
}

local message = "\x83\xa4name\xa3ada\xa4list\x95\x01\xc0\xcb\x3f\xf8\0\0\0\0\0\0\xc4\x02hi\x90"
  .. "\xa3sub\x81\xd9\x02\xc3\xa9\xcd\x01\x00"

describe("base/unpack", function()
  describe("unpack_next", function()
    it("reads one of every form", function()
      for _, form in ipairs(forms) do
        local said = { base.unpack_next(form[1]) }
        assert.same({ #form[1], table.unpack(form, 2) }, said)
      end
    end)

    it("reads the head of a container and stops before its items", function()
      for _, c in ipairs(containers) do
        assert.same({ #c[1], c[3], c[4] }, { base.unpack_next(c[1] .. c[2]) })
      end
    end)

    it("tells integers over 2^63-1 apart", function()
      assert.same({ 9, "uint", "9223372036854775808" },
        { base.unpack_next "\xcf\x80\0\0\0\0\0\0\0" })
      assert.same({ 9, "uint", "18446744073709551615" },
        { base.unpack_next "\xcf\xff\xff\xff\xff\xff\xff\xff\xff" })
    end)

    it("keeps infinities, NaN and negative zero", function()
      local _, _, number = base.unpack_next "\xcb\x7f\xf0\0\0\0\0\0\0"
      assert.equal(math.huge, number)
      _, _, number = base.unpack_next "\xcb\x7f\xf8\0\0\0\0\0\0"
      assert.not_equal(number, number)
      _, _, number = base.unpack_next "\xcb\x80\0\0\0\0\0\0\0"
      assert.equal(-math.huge, 1 / number)
    end)

    it("moves nothing for no bytes, the reserved byte, and every form cut short", function()
      assert.same({ 0, "none" }, { base.unpack_next "" })
      assert.same({ 0, "none" }, { base.unpack_next "\xc1" })
      assert.same({ 0, "none" }, { base.unpack_next "\xc1\xc0" })
      for _, form in ipairs(forms) do
        for size = 0, #form[1] - 1 do
          assert.same({ 0, "none" }, { base.unpack_next(form[1]:sub(1, size)) })
        end
      end
    end)

    it("holds a count against the bytes that are left", function()
      for _, c in ipairs(containers) do
        local whole = c[1] .. c[2]
        for size = 0, #whole - 1 do
          assert.same({ 0, "none" }, { base.unpack_next(whole:sub(1, size)) })
        end
      end
      assert.same({ 0, "none" }, { base.unpack_next "\xdd\xff\xff\xff\xff" })
      assert.same({ 0, "none" }, { base.unpack_next "\xdf\x80\0\0\0\1\2" })
      assert.same({ 0, "none" }, { base.unpack_next "\xdf\xff\xff\xff\xff\1\2" })
    end)
  end)

  describe("the wishes", function()
    it("give what was wished for", function()
      assert.same({ "ada", 4 }, { base.unpack_wish("str", "\xa3ada\1") })
      assert.same({ 2, 1 }, { base.unpack_wish("array", "\x92\1\2") })
      assert.same({ 1, 1 }, { base.unpack_wish("map", "\x81\1\2") })
      assert.same({ -5, 1 }, { base.unpack_wish("int", "\xfb") })
    end)

    it("leave the cursor alone at anything else", function()
      local others = { str = "\xc4\1x", array = "\x81\1\2", map = "\x92\1\2", int = "\xca\0\0\0\0" }
      for wish, bytes in pairs(others) do
        for _, given in ipairs { bytes, "", "\xc0", "\xc1", "\xcf\xff\0\0\0\0\0\0\0" } do
          assert.same({ nil, 0 }, { base.unpack_wish(wish, given) })
        end
      end
    end)
  end)

  describe("unpack_skip", function()
    it("moves behind one value, whatever follows", function()
      for _, form in ipairs(forms) do
        assert.equal(#form[1], base.unpack_skip(form[1] .. "\xc1"))
      end
      for _, c in ipairs(containers) do
        assert.equal(#c[1] + #c[2], base.unpack_skip(c[1] .. c[2] .. "\xc1"))
      end
      assert.equal(#message, base.unpack_skip(message .. message))
    end)

    it("does not mind strings and integers that check refuses", function()
      assert.equal(2, base.unpack_skip "\xa1\xff")
      assert.equal(9, base.unpack_skip "\xcf\xff\0\0\0\0\0\0\0")
    end)

    it("refuses every prefix of a message", function()
      for size = 0, #message - 1 do assert.is_nil(base.unpack_skip(message:sub(1, size))) end
    end)

    it("does not mind how deep a value nests", function()
      assert.equal(31, base.unpack_skip(("\x91"):rep(30) .. "\1"))
      assert.equal(10001, base.unpack_skip(("\x91"):rep(10000) .. "\1"))
    end)
  end)

  describe("unpack_check", function()
    it("takes one of every form", function()
      for _, form in ipairs(forms) do assert.is_true(check(form[1])) end
      for _, c in ipairs(containers) do assert.is_true(check(c[1] .. c[2])) end
      assert.is_true(check(message))
    end)

    it("takes nothing that msgpack-c refuses", function()
      if not base.oracle then return pending "the module was linked without msgpack-c" end
      math.randomseed(20261121)
      local taken = 0
      for round = 1, 20000 do
        local bytes
        if round % 2 == 0 then
          local at = math.random(#message)
          local byte = string.char(math.random(0, 255))
          bytes = message:sub(1, at - 1) .. byte .. message:sub(at + 1)
        else
          local list = {}
          for i = 1, math.random(12) do
            list[i] = forms[math.random(#forms)][1]:sub(1, math.random(4))
          end
          bytes = string.char(0x90 | math.random(0, 9)) .. table.concat(list)
        end
        if check(bytes) then
          taken = taken + 1
          assert.is_true(base.oracle(bytes))
        end
      end
      assert.is_true(taken > 1000)
    end)

    it("refuses every prefix of a message", function()
      for size = 1, #message - 1 do
        local ok, why = check(message:sub(1, size), "meta")
        assert.is_nil(ok)
        assert.matches("^BAD_REQUEST: meta is cut short: the value at offset %d+ needs", why)
      end
    end)

    it("refuses no bytes at all", function()
      refuses("", "data is empty; send one MessagePack value, nil (c0) for nothing")
    end)

    it("refuses what goes on behind its value", function()
      refuses("\1\1", "data goes on behind its value, at offset 1; "
        .. "send exactly one MessagePack value")
      refuses(message .. "\xc1", "meta goes on behind its value, at offset " .. #message
        .. "; send exactly one MessagePack value", "meta")
    end)

    it("refuses the reserved byte", function()
      refuses("\x92\1\xc1", "data holds the byte c1 at offset 2, which MessagePack does not use; "
        .. "check the encoder")
    end)

    it("refuses sizes beyond the end without believing them", function()
      local huge = { "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\xc9\xff\xff\xff\xff\1",
        "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdf\x80\0\0\0",
        "\xdc\0\2\1", "\xde\0\1\1" }
      for _, bytes in ipairs(huge) do
        refuses(bytes, "data is cut short: the value at offset 0 needs more bytes than there are; "
          .. "send one whole MessagePack value")
      end
    end)

    it("takes 30 levels and refuses 31", function()
      assert.is_true(check(("\x91"):rep(30) .. "\1"))
      assert.is_true(check(("\x91"):rep(29) .. "\x90"))
      assert.is_true(check(("\x81\1"):rep(30) .. "\1"))
      local sentence = "data nests more than 30 levels deep; flatten it"
      refuses(("\x91"):rep(31) .. "\1", sentence)
      refuses(("\x91"):rep(30) .. "\x90", sentence)
      refuses(("\x91"):rep(30) .. "\x80", sentence)
      refuses(("\x81\1"):rep(31) .. "\1", sentence)
      refuses(("\x91"):rep(100000), sentence)
    end)

    it("counts depth, not containers", function()
      assert.is_true(check("\xdc\x01\x00" .. ("\x91\x90"):rep(256)))
      assert.is_true(check("\x92" .. ("\x91"):rep(28) .. "\x90" .. ("\x91"):rep(28) .. "\x90"))
    end)

    it("refuses integers over 2^63-1, in every place", function()
      local sentence = "data holds the integer 18446744073709551615, over 2^63-1, which Lua cannot "
        .. "hold; send it as a float or a string"
      local big = "\xcf" .. ("\xff"):rep(8)
      for _, bytes in ipairs { big, "\x91" .. big, "\x81" .. big .. "\1", "\x81\1" .. big } do
        refuses(bytes, sentence)
      end
      refuses("\xcf\x80\0\0\0\0\0\0\0", (sentence:gsub("%d+,", "9223372036854775808,", 1)))
    end)

    it("refuses strings that are not UTF-8, keys too, and takes such bytes as bin", function()
      local sentence = "data holds a string that is not UTF-8, at offset %d; send such bytes as bin"
      refuses("\xa1\xff", sentence:format(0))
      refuses("\x81\xa1\xff\1", sentence:format(1))
      refuses("\x81\1\xd9\1\x80", sentence:format(2))
      assert.is_true(check "\xc4\1\xff")
      assert.is_true(check "\xc7\1\5\xff")
    end)
  end)

  describe("unpack_utf8", function()
    -- Lua's decoder is the second opinion: strict from the first to the last position.
    local function agrees(text)
      assert.equal(utf8.len(text) ~= nil, base.unpack_utf8(text))
    end

    it("takes what Lua takes and refuses what it refuses, one and two bytes", function()
      for a = 0, 255 do
        agrees(string.char(a))
        for b = 0, 255 do agrees(string.char(a, b)) end
      end
    end)

    it("agrees on every first three bytes of longer sequences", function()
      for a = 0xe0, 0xff do
        for b = 0x7e, 0xc2 do
          for _, c in ipairs { 0, 0x7f, 0x80, 0xbf, 0xc0, 0xff } do
            agrees(string.char(a, b, c))
            agrees(string.char(a, b, c, 0x80))
            agrees(string.char(a, b, 0x80, c))
          end
        end
      end
    end)

    it("takes the first and last code point of each size", function()
      for _, point in ipairs { 0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000,
        0x10ffff } do
        assert.is_true(base.unpack_utf8(utf8.char(point)))
      end
    end)

    it("refuses surrogates, over-long forms, and what is over U+10FFFF", function()
      for _, text in ipairs { "\xed\xa0\x80", "\xed\xbf\xbf", "\xc0\x80", "\xc1\xbf",
        "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff" } do
        assert.is_false(base.unpack_utf8(text))
      end
    end)

    it("sees a bad byte, and a sequence cut short, anywhere in a long text", function()
      for size = 1, 40 do
        local text = ("a"):rep(size)
        assert.is_true(base.unpack_utf8(text))
        for at = 1, size do
          local before, after = text:sub(1, at - 1), text:sub(at + 1)
          assert.is_false(base.unpack_utf8(before .. "\x80" .. after))
          assert.is_false(base.unpack_utf8(before .. "\xe2\x82" .. after))
          assert.is_true(base.unpack_utf8(before .. "\xe2\x82\xac" .. after))
        end
      end
    end)
  end)
end)
