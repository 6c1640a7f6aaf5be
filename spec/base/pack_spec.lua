-- The contract in core/base/pack.h.
local base = require("coretest").base
local pack = base.pack

describe("base/pack", function()
  it("packs integers in their shortest form", function()
    local forms = {
      [0] = "\x00", [127] = "\x7f", [128] = "\xcc\x80", [255] = "\xcc\xff",
      [256] = "\xcd\x01\x00", [65535] = "\xcd\xff\xff", [65536] = "\xce\0\1\0\0",
      [4294967295] = "\xce\xff\xff\xff\xff", [4294967296] = "\xcf\0\0\0\1\0\0\0\0",
      [math.maxinteger] = "\xcf\x7f" .. ("\xff"):rep(7),
      [-1] = "\xff", [-32] = "\xe0", [-33] = "\xd0\xdf", [-128] = "\xd0\x80",
      [-129] = "\xd1\xff\x7f", [-32768] = "\xd1\x80\x00", [-32769] = "\xd2\xff\xff\x7f\xff",
      [-2147483648] = "\xd2\x80\0\0\0", [-2147483649] = "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff",
      [math.mininteger] = "\xd3\x80\0\0\0\0\0\0\0",
    }
    for value, bytes in pairs(forms) do
      assert.equal(bytes, pack("i", value))
      assert.same({ #bytes, "int", value }, { base.unpack_next(bytes) })
    end
  end)

  it("packs nil, booleans and floats, and a whole float stays a float", function()
    assert.equal("\xc0", pack "n")
    assert.equal("\xc3", pack "y")
    assert.equal("\xc2", pack "f")
    for _, value in ipairs { 35.0, 0.1, -0.0, math.huge, 5e-324, 1e300 } do
      assert.equal("\xcb" .. (">d"):pack(value), pack("d", value))
    end
  end)

  it("packs strings, bin and ext at every change of form", function()
    for _, size in ipairs { 0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 255, 256, 65535, 65536 } do
      local text = ("x"):rep(size)
      for word, kind in pairs { s = "str", b = "bin" } do
        local bytes = pack(word, text)
        assert.same({ #bytes, kind, text }, { base.unpack_next(bytes) })
      end
      local ext = pack("E", text)
      assert.same({ #ext, "ext", text, 69 }, { base.unpack_next(ext) })
    end
    assert.equal("\xbf" .. ("x"):rep(31), pack("s", ("x"):rep(31)))
    assert.equal("\xd9\x20" .. ("x"):rep(32), pack("s", ("x"):rep(32)))
    assert.equal("\xc4\0", pack("b", ""))
    assert.equal("\xd4Ex", pack("E", "x"))
    assert.equal("\xc7\3Exyz", pack("E", "xyz"))
    assert.equal("\xa3ada", pack("t", "ada"))
  end)

  it("packs heads at every change of form, at once or at the end", function()
    local heads = { [0] = "\x90", [15] = "\x9f", [16] = "\xdc\0\x10", [65535] = "\xdc\xff\xff",
      [65536] = "\xdd\0\1\0\0" }
    for count, head in pairs(heads) do
      assert.equal(head, pack("a", count))
      local content = ("\7"):rep(count)
      assert.equal("abc" .. head .. content, base.pack_counted("a", content, count))
    end
    heads = { [0] = "\x80", [15] = "\x8f", [16] = "\xde\0\x10", [65535] = "\xde\xff\xff",
      [65536] = "\xdf\0\1\0\0" }
    for count, head in pairs(heads) do
      assert.equal(head, pack("m", count))
      local content = ("\7\8"):rep(count)
      assert.equal("abc" .. head .. content, base.pack_counted("m", content, count))
    end
  end)
end)
