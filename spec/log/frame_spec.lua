-- The byte table and the contract in core/log/frame.h, and group.c that fills frames.
local core = require "coretest"
local crc32c, log = core.base.crc32c, core.log

local SALT <const> = 0x1234

local function made(more)
  local fields = { records = { "one", "twenty two", "" }, salt = SALT, sequence = 7, first = 100,
                   durable = 5, previous = 0xabcdef, time = 1700000000000001 }
  for key, value in pairs(more or {}) do fields[key] = value end
  return log.frame(fields)
end

local function patched(bytes, at, text)
  return bytes:sub(1, at) .. text .. bytes:sub(at + #text + 1)
end

-- The frame with a header field changed and its checksum made to fit.
local function forged(bytes, at, text)
  bytes = patched(bytes, at, text)
  return patched(bytes, 4, string.pack("<I4", crc32c(bytes:sub(9, 64), SALT)))
end

local function flipped(bytes, at)
  return patched(bytes, at, string.char(bytes:byte(at + 1) ~ 0x10))
end

describe("log/frame", function()
  it("lays its header out as the byte table says", function()
    local bytes = made()
    local magic, _, body, count, sequence, first, durable, _, previous, time, zero =
      string.unpack("<c4 I4 I4 I4 I8 I8 I8 I4 I4 i8 I8", bytes)
    assert.same({ "MLF1", 3, 7, 100, 5, 0xabcdef, 1700000000000001, 0 },
                { magic, count, sequence, first, durable, previous, time, zero })
    assert.equal(0, body % 8)
    assert.equal(64 + body + 8, #bytes)
    assert.equal(bytes:sub(9, 12) .. bytes:sub(5, 8), bytes:sub(-8))
    local size, _, stamp, position = string.unpack("<I4 I4 c2 >I8", bytes, 65)
    assert.same({ 13, "\x9b\xcf", 100 }, { size, stamp, position })
  end)

  it("gives back what was put in", function()
    local bytes = made()
    local frame = log.frame_decode(bytes, SALT)
    assert.same({ 7, 100, 5, 3, 0xabcdef, 1700000000000001, #bytes },
                { frame.sequence, frame.first, frame.durable, frame.count, frame.previous,
                  frame.time, frame.size })
    local without, with, offsets = log.frame_check(bytes, SALT)
    assert.same({ true, true, { 64, 64 + 21, 64 + 49 } }, { without, with, offsets })
    assert.equal("one", log.frame_record(bytes:sub(65), 100))
    assert.equal("twenty two", log.frame_record(bytes:sub(65 + 21), 101))
    assert.equal("", log.frame_record(bytes:sub(65 + 49), 102))
  end)

  it("holds with every amount of padding", function()
    for size = 0, 16 do
      local bytes = made { records = { ("x"):rep(size) } }
      assert.is_true(log.frame_check(bytes, SALT))
      assert.equal(0, #bytes % 8)
    end
  end)

  it("is refused with another salt: it is of another log or segment", function()
    assert.is_nil(log.frame_decode(made(), SALT + 1))
  end)

  it("is refused if any byte that is left is too few", function()
    local bytes = made()
    for size = 0, #bytes - 1 do assert.is_nil(log.frame_decode(bytes:sub(1, size), SALT)) end
    assert.is_table(log.frame_decode(bytes .. "more", SALT))
  end)

  it("is refused by its header or its check whichever bit is flipped", function()
    local bytes = made()
    for at = 0, #bytes - 1 do
      local damaged = flipped(bytes, at)
      if at < 64 then
        assert.is_nil(log.frame_decode(damaged, SALT), "byte " .. at)
      else
        local without, with = log.frame_check(damaged, SALT)
        assert.same({ false, false }, { without, with }, "byte " .. at)
      end
    end
  end)

  it("is refused with a header that contradicts itself, however it is signed", function()
    local bytes = made()
    local refused = {
      ["no records"] = forged(bytes, 12, "\0\0\0\0"),
      ["more records than fit"] = forged(bytes, 12, "\xff\xff\xff\xff"),
      ["a crooked body"] = forged(bytes, 8, "\1\0\0\0"),
      ["a body beyond the file"] = forged(bytes, 8, "\xf8\xff\xff\xff"),
      ["durable itself"] = forged(bytes, 32, string.pack("<I8", 7)),
    }
    for what, frame in pairs(refused) do assert.is_nil(log.frame_decode(frame, SALT), what) end
    assert.is_table(log.frame_decode(forged(bytes, 32, string.pack("<I8", 6)), SALT))
  end)

  it("tells which records of a damaged frame are whole", function()
    local bytes = made()
    local _, good, offsets = log.frame_check(flipped(bytes, 64 + 21 + 12), SALT)
    assert.same({ false, { 64, 0, 64 + 49 } }, { good, offsets })
    -- A size that is not true takes all records behind it along.
    _, good, offsets = log.frame_check(patched(bytes, 64 + 21, "\xff\xff\0\0"), SALT)
    assert.same({ false, { 64, 0, 0 } }, { good, offsets })
    _, good, offsets = log.frame_check(patched(bytes, 64, "\9\0\0\0"), SALT)
    assert.same({ false, { 0, 0, 0 } }, { good, offsets })
  end)

  it("finds more records than it counts, or fewer, damaged", function()
    assert.is_false(log.frame_check(forged(made(), 12, "\2\0\0\0"), SALT))
    assert.is_false(log.frame_check(forged(made(), 12, "\4\0\0\0"), SALT))
  end)

  it("gives a record only with its own position, its crc and all its bytes", function()
    local record = made():sub(65, 64 + 21)
    assert.equal("one", log.frame_record(record, 100))
    assert.is_nil(log.frame_record(record, 101))
    assert.is_nil(log.frame_record(record:sub(1, -2), 100))
    assert.is_nil(log.frame_record("", 100))
    for at = 0, #record - 1 do assert.is_nil(log.frame_record(flipped(record, at), 100)) end
    local other = "\x9a" .. record:sub(10)
    assert.is_nil(log.frame_record(string.pack("<I4 I4", 13, crc32c(other)) .. other, 100))
  end)
end)

describe("log/group", function()
  it("keeps records in order, whatever room was asked for", function()
    local group, tails = log.group(5), {}
    for n = 1, 300 do
      tails[n] = ("r"):rep(n % 70)
      group:add(tails[n], n % 3 * 100)
    end
    local payloads, _, first = group:payloads()
    assert.same(tails, payloads)
    assert.equal(5, first)
  end)

  it("takes the last records back", function()
    local group = log.group(1)
    local _, empty = group:payloads()
    for _, tail in ipairs { "a", "b", "c" } do group:add(tail) end
    group:cut(1)
    group:add "d"
    assert.same({ "a", "d" }, (group:payloads()))
    group:cut(0)
    local payloads, size = group:payloads()
    assert.same({ {}, empty }, { payloads, size })
  end)

  it("begins again at another position", function()
    local group = log.group(1)
    group:add "a"
    assert.is_true(group:begin(9))
    local payloads, _, first = group:payloads()
    assert.same({ {}, 9 }, { payloads, first })
  end)
end)
