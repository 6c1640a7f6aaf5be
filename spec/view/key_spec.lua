-- Keys sort as their values do, and are their values again.
local core = require "coretest"
local views = require "spec.support.views"
local base, view = core.base, core.view

local function int(n) return base.pack("i", n) end
local function float(n) return base.pack("d", n) end
local function str(text) return base.pack("s", text) end
local function bin(bytes) return base.pack("b", bytes) end
local function bool(flag) return flag and "\xc3" or "\xc2" end

-- A value, packed: {kind, content}
local packers = { boolean = bool, integer = int, float = float, string = str, bytes = bin }
local ranks = { boolean = 1, integer = 2, float = 2, string = 3, bytes = 4 }
local function packed(value) return packers[value[1]](value[2]) end

-- The order that keys must have; Lua compares integers and floats exactly.
local function before(a, b)
  if ranks[a[1]] ~= ranks[b[1]] then return ranks[a[1]] < ranks[b[1]] end
  if a[1] == "boolean" then return not a[2] and b[2] end
  if a[2] ~= b[2] or ranks[a[1]] ~= 2 then return a[2] < b[2] end
  return a[1] == "integer" and b[1] == "float"
end

local function random_float(dice)
  local kind = dice(4)
  if kind == 1 then return (dice(2001) - 1001) / 8 end
  if kind == 2 then return (2.0 ^ (dice(140) - 60)) * (dice(2) == 1 and 1 or -1) + dice(3) - 2 end
  if kind == 3 then return ({ math.huge, -math.huge, 0.0, 2.0 ^ 63, -2.0 ^ 63, 5e-324,
    2.0 ^ 53 })[dice(7)] end
  local number = string.unpack("<d", string.pack("<i8", dice(math.maxinteger) * 2 + dice(2)))
  return number == number and number or 1.5
end

local function random_integer(dice)
  local kind = dice(4)
  if kind == 1 then return dice(41) - 21 end
  if kind == 2 then return (1 << (dice(63) - 1)) * (dice(2) == 1 and 1 or -1) + dice(5) - 3 end
  if kind == 3 then return ({ math.maxinteger, math.mininteger, math.maxinteger - 1, 1 << 53,
    (1 << 53) + 1 })[dice(5)] end
  return dice(math.maxinteger) * (dice(2) == 1 and 1 or -1)
end

local function random_text(dice)
  local bytes = {}
  for n = 1, dice(9) - 1 do
    bytes[n] = string.char(({ 0, 0, 1, 255, 97, 98, 254, dice(256) - 1 })[dice(8)])
  end
  return table.concat(bytes)
end

local function random_value(dice)
  local kind = dice(9)
  if kind == 1 then return { "boolean", dice(2) == 1 } end
  if kind <= 3 then return { "integer", random_integer(dice) } end
  if kind <= 5 then return { "float", random_float(dice) } end
  return { kind <= 7 and "string" or "bytes", random_text(dice) }
end

describe("view: keys", function()
  it("sort as their values do", function()
    os.setlocale "C" -- strings are compared as bytes
    local dice, less = views.dice(11), 0
    local last = { "integer", 0 }
    for n = 1, 60000 do
      local a = n % 3 == 0 and last or random_value(dice)
      local b = random_value(dice)
      last = b
      local left, right = assert(view.key(packed(a), true)), assert(view.key(packed(b), true))
      assert.equal(before(a, b), left < right)
      assert.equal(before(b, a), right < left)
      less = less + (before(a, b) and 1 or 0)
    end
    assert.is_true(less > 20000)
    for _, pair in ipairs {
      { int(-1), int(1) }, { int(1), float(1) }, { float(1), int(2) }, { int(1 << 53),
        int((1 << 53) + 1) },
      { int((1 << 53) - 1), float(2 ^ 53) }, { float(2 ^ 53), int((1 << 53) + 1) },
      { int(math.maxinteger), float(2 ^ 63) }, { float(-math.huge), int(math.mininteger) },
    } do
      assert.is_true(view.key(pair[1], true) < view.key(pair[2], true))
    end
  end)

  it("are their values again", function()
    local dice = views.dice(12)
    for _ = 1, 20000 do
      local value = random_value(dice)
      local key = assert(view.key(packed(value), true))
      assert.equal(packed(value[2] == 0 and value[1] == "float" and { "float", 0.0 } or value),
        view.value(key))
      assert.equal(#key, view.key_size(key .. random_text(dice):gsub("^\xff", "x")))
      local start, finish = dice(1 << 61) - (1 << 60), dice(1 << 61)
      local windowed = assert(view.window(key, start, finish))
      assert.same({ packed(value[2] == 0 and value[1] == "float" and { "float", 0.0 } or value),
        start, finish },
        { view.value(windowed) })
    end
    assert.equal(view.key(float(0.0), true), view.key(float(-0.0), true))
  end)

  it("of windows sort by key, start and end", function()
    local a = view.key(str "a")
    local list = {}
    for _, times in ipairs { { -(1 << 62), 0 }, { -5, -1 }, { -5, 3 }, { 0, 60 }, { 0, 61 }, { 60,
      61 },
                             { (1 << 62) - 2, (1 << 62) - 1 } } do
      list[#list + 1] = assert(view.window(a, times[1], times[2]))
    end
    list[#list + 1] = view.key(str "a\0")
    list[#list + 1] = view.key(str "ab")
    for n = 2, #list do assert.is_true(list[n - 1] < list[n]) end
    assert.is_true(a < list[1])
  end)

  it("say what cannot be one", function()
    for name, value in pairs {
      ["nil"] = "\xc0", ["a list"] = "\x90", ["a map"] = "\x80", ["an extension"] = "\xd4\x01x",
        ["no value"] = "",
      ["an integer over 9223372036854775807"] = "\xcf" .. ("\xff"):rep(8), ["a float"] = float(1.5),
    } do
      assert.matches("^BAD_REQUEST: " .. name ..
        " cannot be a key; a string, an integer or a boolean can",
        select(2, view.key(value)))
    end
    assert.matches("^BAD_REQUEST: NaN cannot", select(2, view.key(float(0 / 0), true)))
    assert.equal(250, #view.key(str(("k"):rep(248))))
    for _, long in ipairs { ("k"):rep(249), ("\0"):rep(125), ("k"):rep(5000000) } do
      assert.matches("^TOO_LARGE: a key takes over 250 bytes", select(2, view.key(str(long))))
    end
    assert.equal(248, #view.key(bin(("\0"):rep(123))))
    local long = view.key(str(("k"):rep(233)))
    assert.matches("^TOO_LARGE: ", select(2, view.window(long, 0, 1)))
    assert(view.window(long:sub(2, 2) and view.key(str(("k"):rep(232))), 0, 1))
    for _, times in ipairs { { -(1 << 62) - 1, 0 }, { 0, 1 << 62 }, { math.mininteger,
      math.maxinteger } } do
      assert.matches("^TOO_LARGE: a window", select(2, view.window(view.key "\x01", times[1],
        times[2])))
    end
  end)

  it("of strings that begin alike have a prefix", function()
    for _, start in ipairs { "", "a", "acc\0", "acc\0b", "\xff" } do
      local prefix = assert(view.prefix(start))
      for _, rest in ipairs { "", "\0", "\xff", "zzz" } do
        assert.equal(prefix, view.key(str(start .. rest)):sub(1, #prefix))
      end
    end
    assert.not_equal(view.prefix "acc", view.key(str "acd"):sub(1, 4))
    assert.matches("^TOO_LARGE: ", select(2, view.prefix(("x"):rep(250))))
  end)

  it("of an index are cut, and those of nothing are none", function()
    for _, none in ipairs { "\xc0", "\x90", "\x80", float(0 / 0), "", "\xd4\x01x" } do
      assert.is_nil(view.index(none))
    end
    local dice = views.dice(13)
    for _ = 1, 5000 do
      local value = random_value(dice)
      assert.equal(view.key(packed(value), true), view.index(packed(value)))
    end
    for _, text in ipairs { ("x"):rep(5000), ("\0"):rep(5000), "y" .. ("\0"):rep(5000) } do
      local key = view.index(str(text))
      assert.is_true(#key == 240 or #key == 239)
      assert.equal(#key, view.key_size(key .. view.key(str "a")))
    end
  end)

  it("that are none are not taken for one", function()
    local dice, good = views.dice(14), 0
    for _ = 1, 40000 do
      local bytes = ({ "\x08", "\x09", "\x10", "\x20", "\x30", "\x31", "" })[dice(7)] ..
        random_text(dice) ..
        random_text(dice) .. (dice(2) == 1 and random_text(dice) .. "\0" or "")
      local value, start, finish = view.value(bytes)
      if value then
        good = good + 1
        local again = assert(view.key(value, true))
        if start then again = assert(view.window(again, start, finish)) end
        assert.equal(bytes, again)
      end
    end
    assert.is_true(good > 500)
    for _, bytes in ipairs { "", "\x07", "\x08x", "\x20a", "\x20a\0\xff", "\x10" .. ("\0"):rep(17),
                             view.key(float(5.5), true):sub(1, 17) .. "\0", view.key(int(5)):sub(1,
                               17) .. "\2",
                             view.key(int(5)) .. ("\xff"):rep(16), view.key(int(5)) ..
                               ("\x90"):rep(15) } do
      assert.is_nil(view.value(bytes))
    end
  end)
end)

describe("view: sorting", function()
  it("is that of bytes, whatever they begin with and end in", function()
    local dice = views.dice(15)
    for _, count in ipairs { 0, 1, 2, 50, 64, 65, 1000, 5000 } do
      for _, start in ipairs { "", "account-", ("\0"):rep(20) } do
        local list = {}
        for n = 1, count do list[n] = start .. random_text(dice) .. random_text(dice) ..
          random_text(dice) end
        local sorted = view.sort(list)
        table.sort(list)
        assert.same(list, sorted)
      end
    end
  end)
end)
