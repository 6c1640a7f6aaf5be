-- Values of which only some fields are wanted: core/script/value_read.c.
local m = require "moonlog"
local script = require("coretest").script
local projections = require "spec.support.projections"

local function packed(names)
  local bytes = {}
  for n, name in ipairs(names) do bytes[n] = string.char(#name) .. name end
  return table.concat(bytes)
end

local function value(dice, deep)
  local roll = dice(deep > 0 and 9 or 7)
  if roll == 1 then return dice(1000) - 500 end
  if roll == 2 then return dice(100) / 8 end
  if roll == 3 then return dice(2) == 1 end
  if roll == 4 then return ("text"):rep(dice(20)) end
  if roll == 5 then return m.null end
  if roll == 6 then return m.bytes "\255\0" end
  if roll == 7 then return math.mininteger end
  local made = {}
  for n = 1, dice(4) do made[roll == 8 and n or "k" .. n] = value(dice, deep - 1) end
  return made
end

describe("script: some fields of a map", function()
  it("are what they are when all are read", function()
    local dice = projections.dice(1)
    for _ = 1, 2000 do
      local data, names = {}, {}
      for n = 1, dice(9) - 1 do
        local name = ("f"):rep(dice(3)) .. n
        data[name] = value(dice, 2)
        if dice(2) == 1 then names[#names + 1] = name end
      end
      names[#names + 1] = "none"
      local bytes = m.pack(data)
      local done, found, size = script.read(bytes, packed(names))
      local _, whole = script.read(bytes)
      assert.is_true(done)
      assert.equal(#bytes, size)
      for _, name in ipairs(names) do assert.same(whole[name], found[name], name) end
      for name, one in pairs(found) do assert.same(whole[name], one) end
    end
  end)

  it("leave out what nobody wants", function()
    local bytes = m.pack { amount = 5, note = ("x"):rep(5000), list = { 1 } }
    assert.same({ amount = 5, list = m.array { 1 } },
      select(2, script.read(bytes, packed { "amount" })))
    assert.same({ list = m.array { 1 } }, select(2, script.read(bytes, "")))
  end)

  it("take the last of two that have one name, as ever", function()
    assert.same({ a = 2 }, select(2, script.read("\x82\xa1a\x01\xa1a\x02", packed { "a" })))
  end)

  it("are whole where there is no map", function()
    for _, one in ipairs { 5, "x", true, m.array { 1, 2 }, 1.5 } do
      assert.same(one, select(2, script.read(m.pack(one), packed { "a" })))
    end
  end)

  it("are refused where the whole is", function()
    local big, nan = "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xcb\x7f\xf8\0\0\0\0\0\0"
    local maps = {
      "\x81\xa1x" .. big, "\x81\xa1x\x91" .. big, "\x81\xa1x\x81\xa1y" .. big,
      "\x81" .. big .. "\x01", "\x81" .. nan .. "\x01", "\x81\xa1x\x81" .. nan .. "\x01",
      "\x82\xa1a\x01\xa1x" .. big, "\x81\xa1x" .. ("\x91"):rep(100) .. "\x01",
    }
    for n, bytes in ipairs(maps) do
      assert.is_false(script.read(bytes), n)
      assert.is_false(script.read(bytes, packed { "a" }), n)
      assert.is_false(script.read(bytes, packed { "x" }), n)
    end
    local whole = m.pack { a = 1, b = "text", c = { 1, { d = 2.5 } }, e = m.bytes "x" }
    for size = 0, #whole - 1 do
      assert.is_false(script.read(whole:sub(1, size)), size)
      assert.is_false(script.read(whole:sub(1, size), packed { "b" }), size)
    end
  end)
end)
