-- The two byte tables in core/log/segment.h, and the walk over frames.
local core = require "coretest"
local crc32c, log = core.base.crc32c, core.log

local fields = { log = ("L"):rep(16), number = 3, first = 1234, sequence = 99, previous = 0xfeed,
                 created = 1700000000000000 }
local page, SALT, path = log.segment(fields)
local HASH <const> = ("h"):rep(32)

local function patched(bytes, at, text)
  return bytes:sub(1, at) .. text .. bytes:sub(at + #text + 1)
end

local function signed(bytes)
  return bytes:sub(1, 4092) .. string.pack("<I4", crc32c(bytes:sub(1, 4092)))
end

local function flipped(bytes, at)
  return patched(bytes, at, string.char(bytes:byte(at + 1) ~ 1))
end

describe("log/segment: header", function()
  it("stands in a page of its own, named by its first position", function()
    assert.equal("log/00000000000000001234.seg", path)
    assert.equal(4096, #page)
    local magic, format, reader, zero, id, number, first, sequence, previous =
      string.unpack("<c8 I2 I2 I4 c16 I8 I8 I8 I4", page)
    assert.same({ "MOONLOG1", 1, 1, 0, fields.log, 3, 1234, 99, 0xfeed },
                { magic, format, reader, zero, id, number, first, sequence, previous })
    assert.equal(signed(page), page)
    local found = assert(log.segment_decode(page, path))
    for key, value in pairs(fields) do assert.equal(value, found[key], key) end
    assert.equal(SALT, found.salt)
  end)

  it("is refused whichever byte is damaged, by a sentence that names the file", function()
    for at = 0, 4095, 5 do
      local found, why = log.segment_decode(flipped(page, at), path)
      assert.is_nil(found)
      assert.matches("^CORRUPT: " .. path:gsub("%p", "%%%0"), why)
    end
  end)

  it("is refused under another name", function()
    local _, why = log.segment_decode(page, "log/00000000000000001235.seg")
    assert.matches("^CORRUPT: log/00000000000000001235.seg says that it is log/0+1234", why)
  end)

  it("of a newer format is unsupported; a newer one that this may read is not", function()
    local _, why = log.segment_decode(signed(patched(page, 8, "\2\0\2\0")), path)
    assert.matches("^UNSUPPORTED: .* log format 2.* up to format 1", why)
    assert.is_table(log.segment_decode(signed(patched(page, 8, "\2\0\1\0")), path))
  end)

  it("salts by log and first position", function()
    local function salt_of(more)
      local changed = {}
      for key, value in pairs(fields) do changed[key] = value end
      for key, value in pairs(more) do changed[key] = value end
      return (select(2, log.segment(changed)))
    end
    assert.equal(SALT, salt_of { number = 4, previous = 1 })
    assert.not_equal(SALT, salt_of { first = 1235 })
    assert.not_equal(SALT, salt_of { log = ("M"):rep(16) })
  end)
end)

describe("log/segment: footer", function()
  local footer = { count = 5, last = 1238, sequence = 101, ["end"] = 9000, previous = 0xbeef,
                   sha256 = HASH }
  local bytes = log.footer(footer, SALT)

  it("gives back what was put in", function()
    assert.equal(128, #bytes)
    assert.equal("MLE1", bytes:sub(1, 4))
    assert.same(footer, log.footer_decode(bytes, SALT))
  end)

  it("is refused with another salt or any byte damaged", function()
    assert.is_nil(log.footer_decode(bytes, SALT + 1))
    for at = 0, 127 do assert.is_nil(log.footer_decode(flipped(bytes, at), SALT), at) end
    assert.is_nil(log.footer_decode(("\0"):rep(128), SALT))
  end)
end)

describe("log/segment: the walk", function()
  -- A segment file of `count` frames of two records each; gives bytes and the frames' offsets.
  local function file(count, change)
    local bytes, offsets, previous = page, {}, fields.previous
    for n = 1, count do
      local frame = { records = { "a" .. n, "b" .. n }, salt = SALT, durable = 97 + n,
                      sequence = 98 + n, first = 1232 + 2 * n, previous = previous }
      if change then change(n, frame) end
      local made = log.frame(frame)
      offsets[n] = #bytes
      bytes = bytes .. made
      previous = string.unpack("<I4", made, 5)
    end
    return bytes .. ("\0"):rep(4096), offsets, #bytes
  end

  local function walked(bytes)
    local frames, stop = log.walk(bytes, fields)
    return #frames, stop
  end

  it("meets every frame and ends at the zeros", function()
    local bytes, _, stop = file(5)
    assert.same({ 5, stop }, { walked(bytes) })
    assert.same({ 0, 4096 }, { walked(page .. ("\0"):rep(100)) })
    assert.same({ 5, stop }, { walked(bytes:sub(1, stop)) })
    assert.same({ 4, 4096 + (stop - 4096) // 5 * 4 }, { walked(bytes:sub(1, stop - 1)) })
  end)

  it("ends before a frame that does not continue the chain", function()
    local breaks = {
      sequence = function(frame) frame.sequence = frame.sequence + 1 end,
      position = function(frame) frame.first = frame.first + 1 end,
      previous = function(frame) frame.previous = frame.previous ~ 1 end,
    }
    for what, change in pairs(breaks) do
      local bytes, offsets = file(5, function(n, frame) if n == 4 then change(frame) end end)
      assert.same({ 3, offsets[4] }, { walked(bytes) }, what)
    end
  end)

  it("ends before a damaged frame", function()
    local bytes, offsets, stop = file(5)
    for _, at in ipairs { offsets[3], offsets[3] + 70, offsets[4] - 1 } do
      assert.same({ 2, offsets[3] }, { walked(flipped(bytes, at)) })
    end
    assert.same({ 5, stop }, { walked(flipped(bytes, stop)) })
  end)

  it("finds the next good frame, whatever its place in the chain", function()
    local bytes, offsets = file(5)
    assert.equal(offsets[1], (log.find(bytes, SALT, 0)))
    assert.equal(offsets[2], (log.find(bytes, SALT, offsets[1] + 8)))
    local at, frame = log.find(flipped(bytes, offsets[2] + 80), SALT, offsets[1] + 8)
    assert.same({ offsets[3], 101 }, { at, frame.sequence })
    assert.is_nil(log.find(bytes, SALT, offsets[5] + 8))
    assert.is_nil(log.find(bytes, SALT + 1, 0))
    assert.is_nil(log.find("", SALT, 0))
  end)

  it("tells where content ends", function()
    for zeros = 0, 40 do
      assert.equal(13, log.content_end("some content\1" .. ("\0"):rep(zeros), 0))
      assert.equal(3, log.content_end("abc" .. ("\0"):rep(zeros), 3))
    end
    assert.equal(5, log.content_end("\0\0\0\0\1", 2))
  end)
end)
