-- The contract in core/base/crc32c.h.
local base = require("coretest").base

local function bytes(count)
  local list = {}
  for i = 1, count do list[i] = string.char((i * 167 + i // 7 * 31) % 256) end
  return table.concat(list)
end

describe("base/crc32c", function()
  for _, name in ipairs { "crc32c", "crc32c_table" } do
    local crc = base[name]

    describe(name, function()
      it("gives the check value of the polynomial", function()
        assert.equal(0xe3069283, crc "123456789")
      end)

      it("gives the values of RFC 3720", function()
        assert.equal(0x8a9136aa, crc(("\0"):rep(32)))
        assert.equal(0x62a8ab43, crc(("\xff"):rep(32)))
        local up = {}
        for i = 0, 31 do up[#up + 1] = string.char(i) end
        assert.equal(0x46dd794e, crc(table.concat(up)))
        assert.equal(0x113fdb5c, crc(table.concat(up):reverse()))
      end)

      it("gives 0 for no bytes, and the seed for none more", function()
        assert.equal(0, crc "")
        assert.equal(0x12345678, crc("", 0x12345678))
      end)

      it("goes on from the result for the bytes before", function()
        local whole = bytes(5000)
        local wanted = crc(whole)
        for _, cut in ipairs { 0, 1, 7, 8, 95, 96, 97, 340, 3071, 3072, 3073, 4999, 5000 } do
          assert.equal(wanted, crc(whole:sub(cut + 1), crc(whole:sub(1, cut))))
        end
      end)

      it("sees every flipped bit of a record", function()
        local record = bytes(340)
        local sum = crc(record)
        for i = 1, #record do
          for bit = 0, 7 do
            local flipped = string.char(record:byte(i) ~ (1 << bit))
            assert.not_equal(sum, crc(record:sub(1, i - 1) .. flipped .. record:sub(i + 1)))
          end
        end
      end)
    end)
  end

  it("is the same by instruction and by table, for every size and alignment", function()
    assert.is_nil(base.crc32c_differs(bytes(1120), 1100))
  end)

  it("is the same for sizes around the largest part summed at once", function()
    local whole = bytes(10000)
    for _, size in ipairs { 3071, 3072, 3073, 3095, 3096, 6143, 6144, 6145, 9999, 10000 } do
      local part = whole:sub(1, size)
      assert.equal(base.crc32c_table(part), base.crc32c(part))
    end
  end)
end)
