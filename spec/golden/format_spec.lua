-- core/FORMAT.md is held to its word: its example is taken from the document and checked.
local base = require("coretest").base
local moonlog = require "moonlog"
local program = require "spec.support.program"

local text = program.slurp "core/FORMAT.md"
local segment = program.slurp "spec/golden/v1/store/log/00000000000000000001.seg"

--- The lines of the example: offset -> { bytes, words }; and all bytes in order.
local function example()
  local lines, whole, first, next_offset = {}, {}, nil, nil
  for offset, hex, words in text:gmatch "\n(%x%x%x%x)  ([%x ]-)  +([^\n]+)" do
    local at = tonumber(offset, 16)
    local bytes = hex:gsub("(%x%x) ?", function(pair) return string.char(tonumber(pair, 16)) end)
    assert.equal(next_offset or at, at, "a gap before " .. offset)
    first, next_offset = first or at, at + #bytes
    lines[#lines + 1] = { at = at, bytes = bytes, words = words }
    whole[#whole + 1] = bytes
  end
  return lines, table.concat(whole), first
end

describe("core/FORMAT.md", function()
  local lines, frame, at = example()
  local function line(words)
    for _, l in ipairs(lines) do
      if l.words:sub(1, #words) == words then return l.bytes end
    end
    error("no line for " .. words)
  end
  local function u32(words) return (("<I4"):unpack(line(words))) end
  local function u64(words) return (("<I8"):unpack(line(words))) end
  local function said(words)
    for _, l in ipairs(lines) do
      local number = l.words:match("^" .. words .. ":?%D-(%-?%d+)")
      if number then return tonumber(number) end
    end
  end

  it("shows bytes that are in the golden store", function()
    assert.equal(28, #lines)
    assert.equal(segment:sub(at + 1, at + #frame), frame)
    local id = text:match "log's id is `([%x ]+)`":gsub(" ", "")
    local function hex(c) return ("%02x"):format(c:byte()) end
    assert.equal(id, (segment:sub(17, 32):gsub(".", hex)))
  end)

  it("shows a frame whose every checksum holds", function()
    local salt = base.crc32c(segment:sub(17, 32) .. ("<I8"):pack(1))
    assert.equal(text:match "the salt is `(%x+)`", ("%08x"):format(salt))
    assert.equal(u32 "crc of the next", base.crc32c(frame:sub(9, 64), salt))
    assert.equal(u32 "crc of the next", u32 "crc again")
    local body = u32 "body: "
    assert.equal(body, u32 "body again")
    assert.equal(64 + body + 8, #frame)
    local payload = frame:sub(73, 72 + u32 "payload")
    assert.equal(u32 "crc of 1120", base.crc32c(payload))
    assert.equal(u32 "body crc", base.crc32c(line "padding", base.crc32c(frame:sub(65, 72))))
    assert.equal(u32 "previous", (("<I4"):unpack(segment, 4096 + 4 + 1)))
  end)

  it("says of each number what its bytes say", function()
    for _, name in ipairs { "body", "count", "payload" } do
      assert.equal(said(name), u32(name .. ": "), name)
    end
    for _, name in ipairs { "sequence", "first", "durable", "time" } do
      assert.equal(said(name), u64(name .. ": "), name)
    end
    assert.equal(("\0"):rep(8), line "zero")
  end)

  it("shows an event that decodes to what it says", function()
    local event = moonlog.unpack(frame:sub(73, 72 + u32 "payload"))
    assert.equal(said "position", event[1])
    assert.equal(said "revision", event[2])
    assert.equal(said "time", event[3])
    assert.equal("account-bob", event[4])
    assert.equal("Born", event[5])
    assert.equal(said "schema", event[6])
    assert.equal(said "occurred", event[11])
  end)

  it("names every magic that the sources do", function()
    local pipe = assert(io.popen [[grep -rhoE '"M(L[A-Z]1|OONLOG1)"' core --include=*.[ch] ]])
    local seen = 0
    for magic in pipe:lines() do
      seen = seen + 1
      assert.truthy(text:find("`" .. magic:sub(2, -2) .. "`", 1, true), magic)
    end
    pipe:close()
    assert.is_true(seen >= 5)
  end)
end)
