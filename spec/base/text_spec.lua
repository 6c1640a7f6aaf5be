-- The contract in core/base/text.h.
local base = require("coretest").base

describe("base/text: uuids", function()
  local text = "01932f0a-7c4e-7abc-9def-0123456789ab"
  local id = text:gsub("-", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end)

  it("are written and read in their 36 characters", function()
    assert.equal(text, base.uuid_write(id))
    assert.equal(id, base.uuid_read(text))
    assert.equal(id, base.uuid_read(text:upper()))
    assert.equal(("\0"):rep(16), base.uuid_read "00000000-0000-0000-0000-000000000000")
    assert.equal(("\xff"):rep(16), base.uuid_read "FFFFFFFF-ffff-ffff-ffff-ffffffffffff")
  end)

  it("are refused with any character missing, too much, or wrong", function()
    for size = 0, #text - 1 do assert.is_nil(base.uuid_read(text:sub(1, size))) end
    assert.is_nil(base.uuid_read(text .. "0"))
    assert.is_nil(base.uuid_read("{" .. text .. "}"))
    assert.is_nil(base.uuid_read((text:gsub("-", ""))))
    for at = 1, #text do
      for _, wrong in ipairs { "g", " ", "\0", "\xff", "/", ":", "@", "`" } do
        assert.is_nil(base.uuid_read(text:sub(1, at - 1) .. wrong .. text:sub(at + 1)))
      end
    end
    for _, at in ipairs { 9, 14, 19, 24 } do
      assert.is_nil(base.uuid_read(text:sub(1, at - 1) .. "0" .. text:sub(at + 1)))
    end
  end)

  it("are made with milliseconds in front, version 7, and the variant", function()
    local made = base.uuid_make(0x0123456789ab * 1000 + 999, ("\xff"):rep(10))
    assert.equal("01234567-89ab-7fff-bfff-ffffffffffff", base.uuid_write(made))
    made = base.uuid_make(0, ("\0"):rep(10))
    assert.equal("00000000-0000-7000-8000-000000000000", base.uuid_write(made))
  end)
end)

describe("base/text: times", function()
  local write, read = base.time_write, base.time_read
  local known = {
    ["1970-01-01T00:00:00.000000Z"] = 0,
    ["1969-12-31T23:59:59.999999Z"] = -1,
    ["2026-11-21T13:40:46.000001Z"] = 1795268446000001,
    ["2000-02-29T12:00:00.500000Z"] = 951825600500000,
    ["0000-01-01T00:00:00.000000Z"] = -62167219200000000,
    ["9999-12-31T23:59:59.999999Z"] = 253402300799999999,
  }

  it("are written in UTC with microseconds, and read back", function()
    for text, time in pairs(known) do
      assert.equal(text, write(time))
      assert.equal(time, read(text))
    end
  end)

  it("agree with the C library's calendar", function()
    assert.is_nil(base.time_differs(-62167219200, 86399 * 7, 450000))
    assert.is_nil(base.time_differs(-86400 * 800, 3601, 40000))
  end)

  it("outside the years 0 to 9999 are plain integers", function()
    for _, time in ipairs { math.mininteger, math.maxinteger, -62167219200000001,
      253402300800000000 } do
      assert.equal(("%d"):format(time), write(time))
      assert.equal(time, read(write(time)))
    end
  end)

  it("are read with any offset, a space, lower case, and 1 to 9 digits of fraction", function()
    local noon = read "2026-11-21T12:00:00Z"
    for _, text in ipairs { "2026-11-21t12:00:00z", "2026-11-21 12:00:00Z",
      "2026-11-21T14:30:00+02:30", "2026-11-21T00:00:00-12:00", "2026-11-22T11:59:00+23:59",
      "2026-11-21T12:00:00-00:00", "2026-11-21T12:00:00.0Z", "2026-11-21T12:00:00.0000009Z",
      "2026-11-21T12:00:00.000000999Z", ("%d"):format(noon) } do
      assert.equal(noon, read(text))
    end
    assert.equal(noon + 123456, read "2026-11-21T12:00:00.123456789Z")
    assert.equal(noon + 100000, read "2026-11-21T12:00:00.1Z")
    assert.equal(write(-62167219200000000 - 3600000000), "-62167222800000000")
    assert.equal(-62167222800000000, read "0000-01-01T00:00:00+01:00")
  end)

  it("are plain integers from the least to the largest", function()
    for text, time in pairs { ["0"] = 0, ["-0"] = 0, ["-1"] = -1, ["2026"] = 2026, ["007"] = 7,
      ["9223372036854775807"] = math.maxinteger, ["-9223372036854775808"] = math.mininteger } do
      assert.equal(time, read(text))
    end
    for _, text in ipairs { "9223372036854775808", "-9223372036854775809", "18446744073709551616",
      "", "-", "+1", "1.5", "1e3", " 1", "1 ", "0x10", "--1", "1\0" } do
      assert.is_nil(read(text))
    end
  end)

  it("are refused cut short anywhere, or with anything behind", function()
    local text = "2026-11-21T13:40:46.123456+01:00"
    for size = 5, #text - 1 do assert.is_nil(read(text:sub(1, size))) end -- "2026" is an integer
    assert.is_nil(read(text .. "0"))
    assert.is_nil(read(text .. " "))
    assert.is_nil(read("2026-11-21T13:40:46ZZ"))
  end)

  it("are refused when the calendar or the clock has no such moment", function()
    for _, text in ipairs { "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z",
      "2026-01-32T00:00:00Z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
      "2024-02-30T00:00:00Z", "2026-04-31T00:00:00Z", "2026-06-31T00:00:00Z",
      "2026-09-31T00:00:00Z", "2026-11-31T00:00:00Z", "2026-01-01T24:00:00Z",
      "2026-01-01T00:60:00Z", "2026-12-31T23:59:60Z", "2026-01-01T00:00:61Z",
      "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60" } do
      assert.is_nil(read(text))
    end
    assert.is_number(read "2000-02-29T00:00:00Z")
    assert.is_number(read "2024-02-29T00:00:00Z")
  end)

  it("are refused in other people's forms", function()
    for _, text in ipairs { "2026-11-21", "2026-11-21T13:40", "2026-11-21T13:40:46",
      "2026-11-21T13:40:46.Z", "2026-11-21T13:40:46.1234567890Z", "2026-11-21T13:40:46,5Z",
      "26-11-21T13:40:46Z", "2026-1-21T13:40:46Z", "2026/11/21T13:40:46Z", "20261121T134046Z",
      "2026-11-21T13:40:46+0100", "2026-11-21T13:40:46+01", "2026-11-21_13:40:46Z",
      "-2026-11-21T13:40:46Z", "2026-11-21T13:40:46\0Z", "tomorrow" } do
      assert.is_nil(read(text))
    end
  end)
end)
