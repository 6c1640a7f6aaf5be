-- The contract in core/base/json.h.
local base = require("coretest").base
local read, write = base.json_to_msgpack, base.msgpack_to_json
local pack = base.pack

local function reads(bytes, text)
  local got, why = read(text)
  assert.is_nil(why)
  assert.equal(bytes, got, text)
end

local function refuses(text, sentence)
  local got, why = read(text)
  assert.is_nil(got, text)
  assert.equal("BAD_REQUEST: " .. sentence, why)
end

-- Value for value: the text is written from the bytes, and the bytes are read from the text.
local function both(bytes, text)
  reads(bytes, text)
  assert.same({ text, #bytes }, { write(bytes) })
end

describe("base/json, both ways", function()
  it("keeps nil, booleans, strings, arrays and maps", function()
    both("\xc0", "null")
    both("\xc2", "false")
    both("\xc3", "true")
    both("\xa0", '""')
    both("\xa3ada", '"ada"')
    both("\x90", "[]")
    both("\x80", "{}")
    both("\x93\1\x91\2\x80", "[1,[2],{}]")
    both("\x82\xa1b\1\xa1a\x91\xc0", '{"b":1,"a":[null]}')
  end)

  it("keeps duplicate keys and their order", function()
    both("\x83\xa1a\1\xa1b\2\xa1a\3", '{"a":1,"b":2,"a":3}')
  end)

  it("keeps integers from the least to the largest", function()
    for _, value in ipairs { 0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 31, 1 << 32, 1 << 53,
      999999999999999999, 1000000000000000000, math.maxinteger, -1, -32, -33, -128, -129, -32769,
      -(1 << 31) - 1, math.mininteger } do
      both(pack("i", value), ("%d"):format(value))
    end
  end)

  it("keeps floats floats", function()
    for text, value in pairs { ["35.0"] = 35.0, ["1.5"] = 1.5, ["-0.0"] = -0.0, ["0.0"] = 0.0,
      ["0.1"] = 0.1, ["0.3"] = 0.3, ["1e300"] = 1e300, ["1.5e-7"] = 1.5e-7, ["5e-324"] = 5e-324,
      ["2.2250738585072014e-308"] = 2.2250738585072014e-308, ["0.001"] = 0.001,
      ["0.0001"] = 0.0001, ["1e-5"] = 0.00001, ["-123.456"] = -123.456,
      ["1.7976931348623157e308"] = 1.7976931348623157e308, ["9007199254740992.0"] = 2.0 ^ 53,
      ["1e16"] = 1e16, ["1000000000000000.0"] = 1e15, ["1e23"] = 1e23, ["0.000123"] = 0.000123,
      ["7.120236347223045e-307"] = 2.0 ^ -1017, ["123456789.123456"] = 123456789.123456,
      ["999999999.999999"] = 999999999.999999, ["1000000000.5"] = 1000000000.5 } do
      both(pack("d", value), text)
      assert.equal(text, base.json_double(value))
    end
  end)

  it("keeps infinities and NaN", function()
    both(pack("d", math.huge), '{"$float":"inf"}')
    both(pack("d", -math.huge), '{"$float":"-inf"}')
    assert.same('{"$float":"nan"}', (write(pack("d", 0 / 0))))
    local _, kind, number = base.unpack_next(read '{"$float":"nan"}')
    assert.equal("float", kind)
    assert.not_equal(number, number)
  end)

  it("keeps bin of every length", function()
    both("\xc4\0", '{"$bin":""}')
    both("\xc4\1f", '{"$bin":"Zg=="}')
    both("\xc4\2fo", '{"$bin":"Zm8="}')
    both("\xc4\3foo", '{"$bin":"Zm9v"}')
    both("\xc4\6foobar", '{"$bin":"Zm9vYmFy"}')
    both("\xc4\3\xfb\xff\xbf", '{"$bin":"+/+/"}')
    for size = 0, 300 do
      local bytes = {}
      for i = 1, size do bytes[i] = string.char((i * 97 + size) % 256) end
      local packed = pack("b", table.concat(bytes))
      reads(packed, (write(packed)))
    end
  end)

  it("keeps ext of every type", function()
    both("\xd4\5x", '{"$ext":[5,"eA=="]}')
    both("\xc7\0\xff", '{"$ext":[-1,""]}')
    both("\xc7\3\x80abc", '{"$ext":[-128,"YWJj"]}')
    both("\xd8\x7f" .. ("a"):rep(16), '{"$ext":[127,"YWFhYWFhYWFhYWFhYWFhYQ=="]}')
  end)

  it("keeps maps whose keys are not all strings", function()
    both("\x81\1\2", '{"$map":[[1,2]]}')
    both("\x82\xa1a\1\x90\xc0", '{"$map":[["a",1],[[],null]]}')
    both("\x81\x81\1\2\x81\xc0\xc0", '{"$map":[[{"$map":[[1,2]]},{"$map":[[null,null]]}]]}')
    both("\x81\xc4\1x\xc4\1y", '{"$map":[[{"$bin":"eA=="},{"$bin":"eQ=="}]]}')
    reads("\x80", '{"$map":[]}')
    reads("\x81\xa1a\1", '{"$map":[["a",1]]}')
    local pairs_of_16 = {}
    for i = 1, 16 do pairs_of_16[i] = ("[%d,%d]"):format(i, i) end
    local bytes = read('{"$map":[' .. table.concat(pairs_of_16, ",") .. "]}")
    assert.equal("\xde\0\x10", bytes:sub(1, 3))
    assert.is_true(base.unpack_check(bytes))
  end)

  it("keeps maps whose only key is a special word", function()
    for _, word in ipairs { "$bin", "$float", "$ext", "$map" } do
      both("\x81" .. pack("s", word) .. "\1", '{"$map":[["' .. word .. '",1]]}')
      both("\x82" .. pack("s", word) .. "\1\xa1a\2", '{"' .. word .. '":1,"a":2}')
    end
    both("\x82\xa4$bin\xa4Zg==\xa4$bin\xa4Zg==", '{"$bin":"Zg==","$bin":"Zg=="}')
    both("\x81\xa5$bins\1", '{"$bins":1}')
    both("\x81\xa1$\1", '{"$":1}')
  end)

  it("keeps special objects inside one another and among others", function()
    both("\x82\xa1a\xc4\1f\xa1b\x93\xcb\x7f\xf0\0\0\0\0\0\0\xd4\5x\1",
      '{"a":{"$bin":"Zg=="},"b":[{"$float":"inf"},{"$ext":[5,"eA=="]},1]}')
  end)

  it("keeps random doubles byte for byte", function()
    math.randomseed(4711)
    for round = 1, 100000 do
      local bytes = "\xcb" .. ("<i8"):pack(math.random(0))
      if round % 4 == 1 then bytes = pack("d", math.random(-1000000, 1000000) / 100) end
      if round % 4 == 2 then
        bytes = pack("d", (math.random() - 0.5) * 10 ^ math.random(-12, 20))
      end
      local _, _, number = base.unpack_next(bytes)
      if number == number then
        local text = write(bytes)
        assert.equal(bytes, read(text))
        if number - number == 0 then assert.equal(number, tonumber(text)) end
      end
    end
  end)

  it("writes no float longer than it must be", function()
    math.randomseed(4712)
    for _ = 1, 20000 do
      local digits = math.random(15)
      local text = ("%." .. digits - 1 .. "e"):format(math.random() * 10 ^ math.random(-200, 200))
      local number = tonumber(text)
      local wanted = text:gsub("e.*", ""):gsub("%.", ""):gsub("0+$", "")
      local got = base.json_double(number):gsub("e.*", ""):gsub("%.", ""):gsub("0+$", "")
      assert.equal(wanted, (got:gsub("^0+", "")))
    end
  end)
end)

describe("base/json, reading", function()
  it("takes space where JSON allows it, and nowhere else", function()
    reads("\x92\1\x81\xa1a\2", ' \t\r\n[ 1 ,\n{ "a" : 2 } ] \n')
    reads("\x90", "[ ]")
    reads("\x80", "{\n}")
    refuses("\v1", "column 1: a JSON value must come here")
    refuses("1\f", "column 2: the text goes on behind its one value")
    refuses("\xef\xbb\xbf1", "column 1: a JSON value must come here")
    refuses("- 1", "column 2: a digit must follow the '-'")
  end)

  it("reads every escape", function()
    reads("\xa8\"\\/\b\f\n\r\t", [["\"\\\/\b\f\n\r\t"]])
    reads("\xa3aAb", [["a\u0041b"]])
    reads("\xa1\0", [["\u0000"]])
    reads("\xa2é", [["\u00e9"]])
    reads("\xa3€", [["\u20AC"]])
    reads("\xa4😀", [["\ud83d\ude00"]])
    reads("\xa4\u{10ffff}", [["\uDBFF\uDFFF"]])
    reads("\xa4\u{10000}", [["\ud800\udc00"]])
    reads("\xa3\u{ffff}", [["\uffff"]])
    reads("\x81\xa3a\nb\1", [[{"a\nb":1}]])
    reads(pack("s", ("x"):rep(100) .. "\n" .. ("y"):rep(100)),
      '"' .. ("x"):rep(100) .. "\\n" .. ("y"):rep(100) .. '"')
  end)

  it("sees a mark at every place of a long string", function()
    for size = 0, 40 do
      for at = 0, size do
        local before, after = ("a"):rep(at), ("é"):rep((size - at) // 2)
        reads(pack("s", before .. "\n" .. after), '"' .. before .. "\\n" .. after .. '"')
        reads(pack("s", before .. "!" .. after), '"' .. before .. "!" .. after .. '"')
        refuses('"' .. before .. "\31" .. after .. '"', "column " .. at + 2
          .. ": a control character stands in a string; write it as an escape")
      end
    end
  end)

  it("refuses escapes that JSON does not know", function()
    for _, text in ipairs { [["\a"]], [["\v"]], [["\0"]], [["\'"]], [["\x41"]], [["\U0041"]],
      '"\\\0"', '"\\\xff"', '"\\\n"' } do
      refuses(text, "column 2: the backslash begins no escape that JSON knows; double it")
    end
    for _, text in ipairs { [["\u"]], [["\u1"]], [["\u12"]], [["\u123"]], [["\u123g"]],
      [["\u 123"]], [["\u+123"]], [["\u-123"]], [["\u00é"]], [["\u]] } do
      refuses(text, "column 2: \\u must be followed by four hex digits")
    end
  end)

  it("refuses half a surrogate pair", function()
    for _, text in ipairs { [["\ud800"]], [["\udbff"]], [["\udc00"]], [["\udfff"]],
      [["\ud800\ud800"]], [["\udc00\ud800"]], [["\ud800x"]], [["\ud800\n"]], [["\ud800\u0041"]],
      [["\ud800\u12"]] } do
      refuses(text, "column 2: half of a surrogate pair stands alone; write both halves, "
        .. "high before low")
    end
  end)

  it("refuses strings that are not UTF-8, not ended, or with a control character", function()
    for _, text in ipairs { '"\xff"', '"\xc3"', '"\xed\xa0\x80"', '"\xc0\x80"', '"a\xe2\x82"',
      '"\\n\xff"' } do
      refuses(text, "column 1: the string is not UTF-8")
    end
    for _, text in ipairs { '"', '"abc', '"abc\\n', [["abc\"]] } do
      refuses(text, "column 1: the string is not ended by a quote")
    end
    refuses('["a\nb"]', "column 4: a control character stands in a string; write it as an escape")
    refuses('"\0"', "column 2: a control character stands in a string; write it as an escape")
    reads("\xa1\x7f", '"\x7f"')
  end)

  it("refuses numbers that are none", function()
    refuses("-", "column 2: a digit must follow the '-'")
    refuses("-a", "column 2: a digit must follow the '-'")
    refuses("01", "column 1: a number must not begin with 0; leave the zero out")
    refuses("-012", "column 2: a number must not begin with 0; leave the zero out")
    refuses("1.", "column 3: a digit must follow the '.'")
    refuses("1.e5", "column 3: a digit must follow the '.'")
    refuses("1e", "column 3: the exponent has no digit")
    refuses("1e+", "column 4: the exponent has no digit")
    refuses("1.5E-x", "column 6: the exponent has no digit")
    for _, text in ipairs { "+1", ".5", "NaN", "nan", "Infinity", "inf", "-Infinity", "e5" } do
      assert.is_nil(read(text))
    end
    for _, text in ipairs { "0x10", "1_000", "1,000", "1.5.5", "1e5.5", "1e5e5", "--1" } do
      assert.is_nil(read(text))
    end
  end)

  it("refuses integers that do not fit, and takes them as floats", function()
    for _, text in ipairs { "9223372036854775808", "-9223372036854775809", "18446744073709551615",
      "18446744073709551616", "99999999999999999999", ("9"):rep(400) } do
      refuses(text, "column 1: the integer does not fit 64 bits with a sign; write it as a float "
        .. "(with .0 behind it) or as a string")
    end
    reads(pack("d", 2.0 ^ 63), "9223372036854775808.0")
    reads(pack("d", -2.0 ^ 64), "-18446744073709551616.0")
    reads(pack("i", 0), "-0")
  end)

  it("refuses floats that are too large", function()
    for _, text in ipairs { "1e400", "-1e309", "1.8e308", "1e99999999999999999999",
      ("9"):rep(310) .. ".0" } do
      refuses(text, "column 1: the number is too large for a 64-bit float; write it as a string")
    end
  end)

  it("rounds floats as the C library does", function()
    for _, text in ipairs { "1e22", "1e23", "123456789012345678901234567890.0", "0.1", "1e-22",
      "1e-23", "9007199254740993.0", "9007199254740992.9999", "2.2250738585072011e-308",
      "1.7976931348623157e308", "1.7976931348623158e308", "4.9e-324", "1e-400", "0e999999", "0.0e1",
      "100000000000000000000000000.00e-26", "0.30000000000000004",
      "1.00000000000000011102230246251565", "6.02214076E+23", "1e+2", "1E2",
      "0." .. ("0"):rep(400) .. "1e401",
      "1" .. ("0"):rep(400) .. "e-400", "8.5e0", "179.76931348623157e+306" } do
      reads(pack("d", tonumber(text) + 0.0), text)
    end
    math.randomseed(4713)
    for _ = 1, 20000 do
      local text = ("%d.%de%d"):format(math.random(0, 10 ^ math.random(0, 18) // 1 | 0),
        math.random(0, 10 ^ math.random(0, 18) // 1 | 0), math.random(-40, 40))
      reads(pack("d", tonumber(text)), text)
    end
  end)

  it("refuses every prefix of a text", function()
    local text = '{"name":"a\\u00e9b","list":[1,-2.5e3,true,false,null,{"$bin":"Zg=="}],"x":{}}'
    assert.is_string(read(text))
    for size = 0, #text - 1 do
      local got, why = read(text:sub(1, size))
      assert.is_nil(got)
      assert.matches("^BAD_REQUEST: column %d+: ", why)
    end
  end)

  it("refuses what no grammar has", function()
    refuses("", "column 1: 0 bytes of text; send one JSON value")
    refuses("  ", "column 3: the text ends too early")
    refuses("1 2", "column 3: the text goes on behind its one value")
    refuses("[1,]", "column 4: a JSON value must come here")
    refuses("[,1]", "column 2: a JSON value must come here")
    refuses("[1 2]", "column 4: a ',' or a ']' must come here")
    refuses("[1}", "column 3: a ',' or a ']' must come here")
    refuses("]", "column 1: a JSON value must come here")
    refuses('{"a":1,}', "column 8: a key must come here, a string in double quotes")
    refuses("{a:1}", "column 2: a key must come here, a string in double quotes")
    refuses("{1:1}", "column 2: a key must come here, a string in double quotes")
    refuses('{"a" 1}', "column 6: a ':' must come between key and value")
    refuses('{"a":}', "column 6: a JSON value must come here")
    refuses('{"a":1 "b":2}', "column 8: a ',' or a '}' must come here")
    refuses("[1]x", "column 4: the text goes on behind its one value")
    for _, text in ipairs { "True", "nul", "nulL", "tru", "'a'", "/* */ 1", "1 // one", "\0",
      "undefined", "[1\0]", "truee", "nullx" } do
      assert.is_nil(read(text))
    end
  end)

  it("takes 30 levels of the result and refuses 31", function()
    local sentence = "the value nests more than 30 levels deep; flatten it"
    local function nested(left, depth, middle, right)
      return left:rep(depth) .. middle .. right:rep(depth)
    end
    assert.is_true(base.unpack_check(read(nested("[", 30, "1", "]"))))
    assert.is_true(base.unpack_check(read(nested('{"a":', 30, "1", "}"))))
    assert.is_true(base.unpack_check(read(nested('{"$map":[[1,', 30, "1", "]]}"))))
    assert.is_true(base.unpack_check(read(nested("[", 29, '{"$map":[]}', "]"))))
    assert.is_true(base.unpack_check(read(nested("[", 30, '{"$bin":"Zg=="}', "]"))))
    assert.is_true(base.unpack_check(read(nested("[", 30, '{"$ext":[1,"Zg=="]}', "]"))))
    refuses(nested("[", 31, "1", "]"), "column 1: " .. sentence)
    refuses(nested("[", 30, "{}", "]"), "column 1: " .. sentence)
    refuses(nested('{"a":', 31, "1", "}"), "column 1: " .. sentence)
    refuses(nested('{"$map":[[1,', 31, "1", "]]}"), "column 1: " .. sentence)
    refuses(nested("[", 30, '{"$map":[]}', "]"), "column 1: " .. sentence)
    for _, left in ipairs { "[", '{"a":', '{"$map":[[', '{"$bin":', '{"$ext":[1,' } do
      local got, why = read(left:rep(100000))
      assert.is_nil(got)
      assert.matches(sentence, why, 1, true)
    end
  end)

  it("refuses a special word with the wrong value, if it stands alone", function()
    local forms = {
      ["$bin"] = '"$bin" must hold base64 with its padding, as a string',
      ["$float"] = '"$float" must hold "nan", "inf" or "-inf"',
      ["$ext"] = '"$ext" must hold [type, base64], the type from -128 to 127',
      ["$map"] = '"$map" must hold an array of [key, value] pairs',
    }
    local wrong = {
      ["$bin"] = { "1", "null", "[]", '"Zg"', '"Zg="', '"Zg==="', '"Z==="', '"===="', '"Zh=="',
        '"Zm9="', '"Zm9v="', '"Zm 9"', '"Zm9v\\n"', '"Zm-_"', '"=Zg="', '"Zg==Zg=="', '"é9"',
        '{"$bin":"Zg=="}' },
      ["$float"] = { "1", '"NaN"', '"infinity"', '"+inf"', '""', "[]", "1.5", '"nan "' },
      ["$ext"] = { "1", "[]", "[1]", '["Zg==",1]', '[1,"Zg"]', '[128,"Zg=="]', '[-129,"Zg=="]',
        '[1.0,"Zg=="]', '[1,"Zg==",1]', '{"a":1}', '[1,1]' },
      ["$map"] = { "1", "{}", "[1]", "[[1]]", "[[1,2],[1]]", "[[1,2,3]]", '[{"a":1}]', "null",
        '"x"' },
    }
    for word, values in pairs(wrong) do
      for _, value in ipairs(values) do
        refuses(('["",{"%s":%s}]'):format(word, value), "column 5: " .. forms[word])
        assert.is_string(read(('{"%s":%s,"other":1}'):format(word, value)))
      end
    end
  end)
end)

describe("base/json, writing", function()
  it("escapes quotes, backslashes and control characters, and nothing else", function()
    assert.equal([["\"\\/\b\f\n\r\t"]], base.json_string "\"\\/\b\f\n\r\t")
    assert.equal([["\u0000\u0001\u001f]] .. '\x7f"', base.json_string "\0\1\31\x7f")
    assert.equal('"é€😀"', base.json_string "é€😀")
    assert.equal('""', base.json_string "")
    for byte = 0, 255 do
      local text = utf8.char(byte)
      reads(pack("s", text), base.json_string(text))
    end
  end)

  it("writes a string that is no UTF-8 as bin", function()
    assert.equal('{"$bin":"/w=="}', (write "\xa1\xff"))
    assert.equal('{"$map":[[{"$bin":"/w=="},1]]}', (write "\x81\xa1\xff\1"))
  end)

  it("writes float 32 as its value", function()
    assert.equal("1.5", (write "\xca\x3f\xc0\0\0"))
    assert.equal("0.10000000149011612", (write "\xca\x3d\xcc\xcc\xcd"))
  end)

  it("writes integers over 2^63-1, which reading refuses", function()
    local text = write("\xcf" .. ("\xff"):rep(8))
    assert.equal("18446744073709551615", text)
    assert.is_nil(read(text))
  end)

  it("writes one value and stops behind it", function()
    assert.same({ "[1,2]", 3 }, { write "\x92\1\2\xc0\xc1" })
    assert.same({ '{"$map":[[1,2]]}', 3 }, { write "\x81\1\2\xc0" })
  end)

  it("refuses what is not whole, at every cut", function()
    local bytes = "\x83\xa1a\x92\1\xc4\2xy\xa1b\x81\1\xd4\5x\xa1c\xcb\x3f\xf8\0\0\0\0\0\0"
    assert.is_string((write(bytes)))
    for size = 0, #bytes - 1 do assert.is_nil(write(bytes:sub(1, size))) end
    for _, wrong in ipairs { "", "\xc1", "\x91\xc1", "\x81\1", "\xdd\xff\xff\xff\xff",
      "\xdf\x80\0\0\0\1\1", "\xdb\xff\xff\xff\xff" } do
      assert.is_nil(write(wrong))
    end
  end)

  it("takes 30 levels and refuses 31", function()
    assert.is_string((write(("\x91"):rep(30) .. "\1")))
    assert.is_string((write(("\x81\1"):rep(30) .. "\1")))
    assert.is_nil(write(("\x91"):rep(31) .. "\1"))
    assert.is_nil(write(("\x91"):rep(30) .. "\x80"))
    assert.is_nil(write(("\x81\1"):rep(31) .. "\1"))
    assert.is_nil(write(("\x81\xa1a"):rep(31) .. "\1"))
    assert.is_nil(write(("\x91"):rep(100000)))
  end)
end)
