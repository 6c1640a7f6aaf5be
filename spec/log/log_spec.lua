-- The contract in core/log/log.h on the simulated disk: records in, by position out.
local core = require "coretest"
local disk, log = core.disk, core.log
local tmpdir = require "spec.support.tmpdir"

local SMALL <const> = 16384

local function seg(first) return ("log/%020d.seg"):format(first) end
local function off(first) return ("index/%020d.off"):format(first) end

local function new_disk(options)
  local sim = assert(disk.sim(options))
  sim:sys_make_dir "log"
  sim:sys_make_dir "index"
  return sim
end

local function open(on, more)
  local options = { segment_bytes = SMALL }
  for key, value in pairs(more or {}) do options[key] = value end
  return log.open(on, options)
end

local function size_of(on, path)
  local file = assert(on:open(path))
  local size = assert(on:size(file))
  on:close(file)
  return size
end

local function tail(n) return ("record %d "):format(n) .. ("x"):rep(n * 37 % 200) end

-- Writes records n … m, one in a frame.
local function fill(one, from, to, sync)
  for n = from, to do assert.equal(n, one:write({ tail(n) }, sync)) end
end

local function check(one, from, to)
  for n = from, to do assert.equal(tail(n), (one:get(n))) end
end

-- What is on the disk after power is lost right now; `keep`: nothing pending is lost.
local function crash(sim, keep)
  return sim:crash(keep and ("1"):rep((sim:pending())) or "")
end

local function mark_of(on)
  local file = assert(on:open "WATERMARK")
  local mark = log.mark_read(on, file)
  on:close(file)
  return mark
end

describe("log: writing", function()
  it("gives every record by its position, across segments and openings", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 400, false)
    check(one, 1, 400)
    local state = one:state()
    assert.equal(400, state.position)
    assert.is_true(state.segments > 4)
    assert.is_true(one:close())
    one = assert(open(sim))
    assert.same(state.segments, one:state().segments)
    assert.same({ 400, 400 }, { one:state().position, one:state().durable })
    check(one, 1, 400)
    fill(one, 401, 450, true)
    check(one, 380, 450)
  end)

  it("keeps a group whole, and positions dense", function()
    local one = assert(open(new_disk()))
    assert.equal(1, one:write({ "a", "b", "c" }, true))
    assert.equal(4, one:write({ "d" }, true))
    for n, text in ipairs { "a", "b", "c", "d" } do assert.equal(text, one:get(n)) end
  end)

  it("takes one write, one sync and the WATERMARK for a synced group", function()
    local recorder = assert(disk.recorder(new_disk()))
    local one = assert(open(recorder))
    one:write({ "a" }, true)
    recorder:clear()
    one:write({ "b" }, true)
    local lines = {}
    for line in recorder:trace():gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(3, #lines, recorder:trace())
    -- The recorder knows a file by the name it was opened under.
    assert.matches("^pwrite log/new %d", lines[1])
    assert.equal("sync log/new = 0", lines[2])
    assert.matches("^pwrite WATERMARK ", lines[3])
    recorder:clear()
    one:write({ "c" }, false)
    assert.equal(0, recorder:count "sync")
    assert.equal(2, recorder:count())
  end)

  it("says what is known to be synced", function()
    local one = assert(open(new_disk()))
    fill(one, 1, 3, false)
    assert.same({ 3, 0 }, { one:state().position, one:state().durable })
    fill(one, 4, 4, true)
    assert.equal(4, one:state().durable)
    fill(one, 5, 6, false)
    assert.equal(6, one:sync())
    assert.equal(6, one:state().durable)
  end)

  it("syncs the segments it has left before a frame that wants to be durable", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 200, false)
    fill(one, 201, 201, true)
    local again = assert(open(crash(sim)))
    assert.equal(201, again:state().position)
    check(again, 1, 201)
    -- The same, where the group that wants it is the first in the second segment.
    local second = math.tointeger(sim:list("log", ".seg")[2]:match "%d+")
    local recorder = assert(disk.recorder(new_disk()))
    one = assert(open(recorder))
    fill(one, 1, second - 1, false)
    recorder:clear()
    fill(one, second, second, true)
    local calls = recorder:trace():match "sync_dir log = 0\n(.-)pwrite WATERMARK"
    assert.matches("^pwrite log/next [^\n]+\nsync log/new = 0\n.*sync log/next = 0\n$", calls)
  end)

  it("makes segments of 1 MiB that double up to segment_bytes", function()
    local sim = new_disk { file_bytes = 16 << 20 }
    local one = assert(open(sim, { segment_bytes = 4 << 20 }))
    local big, sizes, firsts = ("b"):rep(500 << 10), {}, { 1 }
    for _ = 1, 30 do
      one:write({ big }, false)
      local first = one:state().position
      if sim:open(seg(first)) and first > 1 then firsts[#firsts + 1] = first end
      sizes[#firsts] = size_of(sim, seg(firsts[#firsts])) >> 20
    end
    assert.same({ 1, 2, 4, 4, 4 }, { table.unpack(sizes, 1, 5) })
  end)

  it("gives a group that is larger than a segment one of its own", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 1, true)
    assert.equal(2, one:write({ ("y"):rep(3 * SMALL) }, true))
    assert.equal(3, one:write({ "z" }, true))
    assert.same({ 3 }, { one:state().segments })
    assert.equal(3 * SMALL, #one:get(2))
    assert.is_true(size_of(sim, seg(2)) > 3 * SMALL)
    assert.equal(SMALL, size_of(sim, seg(3)))
    local again = assert(open(crash(sim)))
    assert.equal(3 * SMALL, #again:get(2))
    assert.equal("z", again:get(3))
  end)

  it("binds an index to this very history by the checksum of a record", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 2, true)
    local anchor = one:anchor(2)
    assert.not_equal(0, anchor)
    assert.not_equal(anchor, one:anchor(1))
    assert.same({ 0, 0 }, { one:anchor(0), one:anchor(3) })
    one:close()
    assert.equal(anchor, assert(open(sim)):anchor(2))
  end)
end)

describe("log: a segment that was left", function()
  local function sealed()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 300, false)
    local second = 2
    while not sim:open(seg(second)) do second = second + 1 end
    return sim, one, second
  end

  it("has a footer with its hash at its end, and no byte behind it", function()
    local sim, one, second = sealed()
    local bytes = sim:content(seg(1))
    local header = assert(log.segment_decode(bytes:sub(1, 4096), seg(1)))
    local footer = assert(log.footer_decode(bytes:sub(-128), header.salt))
    assert.same({ second - 1, second - 1, #bytes - 128 },
                { footer.count, footer.last, footer["end"] })
    local frames, stop = log.walk(bytes, header)
    assert.same({ footer.sequence, footer.previous, footer["end"] },
                { frames[#frames].sequence, frames[#frames].crc, stop })
    local path = tmpdir.new() .. "/content"
    local file = assert(io.open(path, "wb"))
    file:write(bytes:sub(1, footer["end"]))
    file:close()
    local pipe = assert(io.popen("sha256sum " .. path))
    local hex = pipe:read(64)
    pipe:close()
    assert.equal(hex, (footer.sha256:gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
    one:close()
  end)

  it("is sealed by the next opening if a crash came before", function()
    local sim, _, second = sealed()
    local image = crash(sim, true)
    -- As if the footer had not been written yet.
    assert(image:cut(seg(1), size_of(image, seg(1)) - 128))
    assert(image:cut(seg(1), SMALL))
    local mark = assert(image:open("WATERMARK", "create"))
    image:close(mark)
    local again = assert(open(image))
    check(again, 1, 300)
    local bytes = image:content(seg(1))
    local header = assert(log.segment_decode(bytes:sub(1, 4096), seg(1)))
    assert.equal(second - 1, assert(log.footer_decode(bytes:sub(-128), header.salt)).last)
  end)

  it("has a table of offsets beside the index, that is used", function()
    local sim, one, second = sealed()
    assert.equal(24 + 4 * (second - 1), size_of(sim, off(1)))
    one:close()
    local recorder = assert(disk.recorder(sim))
    one = assert(open(recorder))
    recorder:clear()
    check(one, 1, 1)
    assert.matches("map " .. off(1), recorder:trace())
    assert.equal(0, recorder:count("pwrite", "rename"))
  end)

  for what, change in pairs {
    deleted = function(sim) assert(sim:remove(off(1))) end,
    damaged = function(sim) sim:flip(off(1), 200) end,
    ["cut short"] = function(sim) assert(sim:cut(off(1), 40)) end,
    emptied = function(sim) assert(sim:cut(off(1), 0)) end,
    ["another's"] = function(sim)
      local bytes = sim:content(off(1))
      local file = assert(sim:open(off(1), "create"))
      assert(sim:write(file, bytes:sub(1, 8) .. string.pack("<I8", 2) .. bytes:sub(17), 0))
    end,
  } do
    it("has its table made again when it was " .. what, function()
      local sim, one, second = sealed()
      local good = sim:content(off(1))
      one:close()
      change(sim)
      local reader = assert(open(sim, { read_only = true }))
      check(reader, 1, second)
      assert.not_equal(good, sim:content(off(1)) or "")
      one = assert(open(sim))
      check(one, 1, 300)
      assert.equal(good, sim:content(off(1)))
    end)
  end

  it("gives right records where a table that is signed tells lies", function()
    local sim, one, second = sealed()
    one:close()
    local bytes = sim:content(off(1))
    local header = assert(log.segment_decode(sim:content(seg(1)):sub(1, 4096), seg(1)))
    local first, next_one = bytes:sub(25, 28), bytes:sub(29, 32)
    local lie = bytes:sub(9, 24) .. next_one .. first .. bytes:sub(33)
    local crc = core.base.crc32c(lie, header.salt)
    local file = assert(sim:open(off(1), "create"))
    assert(sim:write(file, bytes:sub(1, 4) .. string.pack("<I4", crc) .. lie, 0))
    one = assert(open(sim))
    check(one, 1, second)
  end)
end)

describe("log: closing and opening", function()
  it("marks a clean stop, and takes the mark back when it is opened", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 5, false)
    assert.equal(0, mark_of(sim).flags)
    assert.is_true(one:close())
    local image = crash(sim)
    local mark = mark_of(image)
    assert.same({ 1, 5, 5 }, { mark.flags, mark.durable_position, mark.settled_position })
    one = assert(open(image))
    assert.equal(0, mark_of(crash(image)).flags)
    assert.same({ 5, 0 }, { one:state().position, one:state().torn_bytes })
    check(one, 1, 5)
  end)

  it("writes nothing of the log when it was closed cleanly", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 200, true)
    one:close()
    local before = sim:content(seg(1))
    local recorder = assert(disk.recorder(sim))
    one = assert(open(recorder))
    for line in recorder:trace():gmatch "[^\n]+" do
      if line:match "^pwrite" then assert.matches("^pwrite WATERMARK", line) end
    end
    assert.equal(0, recorder:count("rename", "truncate", "unlink") -
                    recorder:count "unlink") -- log/next and log/new are not there
    assert.equal(before, sim:content(seg(1)))
    one:close()
  end)

  it("has all synced groups after a crash, and a prefix of the others", function()
    for kept = 0, 3 do
      local sim = new_disk()
      local one = assert(open(sim))
      fill(one, 1, 20, true)
      fill(one, 21, 40, false)
      local units = sim:pending()
      local some = units * kept // 3
      local again = assert(open(sim:crash(("1"):rep(some) .. ("0"):rep(units - some))))
      local position = again:state().position
      assert.is_true(position >= 20 and position <= 40)
      check(again, 1, position)
      fill(again, position + 1, position + 5, true)
      check(again, 1, position + 5)
    end
  end)

  it("keeps a torn tail aside and cuts it", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 3, true)
    fill(one, 4, 5, false)
    local image = crash(sim, true)
    local bytes = image:content(seg(1))
    local frames, stop = log.walk(bytes, assert(log.segment_decode(bytes:sub(1, 4096), seg(1))))
    local from = stop - frames[5].size
    image:flip(seg(1), (from + 70) * 8)
    local torn = image:content(seg(1)):sub(from + 1, stop)
    local again = assert(open(image))
    assert.same({ 4, false }, { again:state().position, again:state().damaged })
    local kept = torn:gsub("\0*$", "")
    assert.equal(#kept, again:state().torn_bytes)
    local names = image:list("log", ".torn")
    assert.equal(1, #names)
    assert.matches(("^%020d%%-%d"):format(1, from), names[1])
    assert.equal(kept, image:content("log/" .. names[1]))
    assert.equal(from, log.content_end(image:content(seg(1)), from))
    fill(again, 5, 6, true)
    check(again, 1, 6)
    again:close()
    again = assert(open(image))
    assert.same({ 6, 0 }, { again:state().position, again:state().torn_bytes })
  end)

  it("starts on a full disk: the torn bytes are let go", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 3, true)
    fill(one, 4, 5, false)
    local image = crash(sim, true)
    local bytes = image:content(seg(1))
    local frames, stop = log.walk(bytes, assert(log.segment_decode(bytes:sub(1, 4096), seg(1))))
    image:flip(seg(1), (stop - frames[5].size + 70) * 8)
    image:set_space(0)
    local again = assert(open(image))
    assert.equal(4, again:state().position)
    assert.same({}, image:list("log", ".torn"))
  end)

  it("goes on without a WATERMARK", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 200, true)
    one:close()
    assert(sim:remove "WATERMARK")
    one = assert(open(sim))
    assert.equal(200, one:state().position)
    check(one, 1, 200)
  end)

  it("removes what an earlier writer was still making", function()
    local sim = new_disk()
    assert(open(sim)):close()
    for _, path in ipairs { "log/new", "log/next" } do assert(sim:open(path, "create")) end
    assert(open(sim)):close()
    assert.same({ seg(1):sub(5) }, sim:list "log")
  end)
end)

describe("log: what cannot be opened", function()
  local sim, firsts
  before_each(function()
    sim, firsts = new_disk(), {}
    local one = assert(open(sim))
    fill(one, 1, 300, true)
    one:close()
    for i, name in ipairs(sim:list("log", ".seg")) do
      firsts[i] = math.tointeger(name:match "%d+")
    end
  end)

  local function refused(pattern)
    local names, before = sim:list "log", {}
    for i, name in ipairs(names) do before[i] = sim:content("log/" .. name) end
    for _, read_only in ipairs { false, true } do
      local one, why = open(sim, { read_only = read_only })
      assert.is_nil(one)
      assert.matches(pattern, why)
    end
    assert.same(names, sim:list "log")
    for i, name in ipairs(names) do assert.equal(before[i], sim:content("log/" .. name)) end
  end

  it("a segment is missing in the middle", function()
    assert(sim:remove(seg(firsts[3])))
    refused("^CORRUPT: between " .. seg(firsts[2]) .. " %(segment 1%) and " .. seg(firsts[4]))
  end)

  it("the first segment is missing", function()
    assert(sim:remove(seg(1)))
    refused("^CORRUPT: the log begins with " .. seg(firsts[2]))
  end)

  it("all segments are missing, and the WATERMARK knows of events", function()
    for _, first in ipairs(firsts) do assert(sim:remove(seg(first))) end
    refused "^CORRUPT: WATERMARK tells of 300 events"
  end)

  it("a header is damaged", function()
    sim:flip(seg(firsts[2]), 8 * 100)
    refused("^CORRUPT: " .. seg(firsts[2]))
  end)

  it("a file is cut within its header", function()
    assert(sim:cut(seg(firsts[2]), 4000))
    refused("^CORRUPT: sim/" .. seg(firsts[2]))
  end)

  it("a segment is of another log", function()
    local other = new_disk()
    local one = assert(open(other))
    fill(one, 1, 300, true)
    one:close()
    local stranger = other:sys_random(16) -- other dice, so another id, from here on
    assert.equal(16, #stranger)
    local id = ("?"):rep(16)
    local bytes = sim:content(seg(firsts[2]))
    local header = assert(log.segment_decode(bytes:sub(1, 4096), seg(firsts[2])))
    header.log = id
    local file = assert(sim:open(seg(firsts[2]), "rw"))
    assert(sim:write(file, (log.segment(header)), 0))
    refused("^CORRUPT: " .. seg(1) .. " and " .. seg(firsts[2]) .. " are of different logs")
  end)

  it("a segment is of a newer format", function()
    local bytes = sim:content(seg(firsts[2])):sub(1, 4092)
    bytes = bytes:sub(1, 8) .. "\2\0\2\0" .. bytes:sub(13)
    local file = assert(sim:open(seg(firsts[2]), "rw"))
    assert(sim:write(file, bytes .. string.pack("<I4", core.base.crc32c(bytes)), 0))
    refused "^UNSUPPORTED"
  end)
end)

describe("log: damage to what was synced", function()
  -- Opens after the file was damaged; gives the log, damaged and for reading only.
  local function damaged(sim, pattern)
    local before = sim:content(seg(1))
    local one = assert(open(sim))
    local state = one:state()
    assert.is_true(state.damaged)
    assert.matches(pattern, state.damage)
    assert.matches("offset %d+: .*positions from %d+", state.damage)
    assert.equal(before, sim:content(seg(1)))
    return one
  end

  local function filled()
    local sim = new_disk()
    local one = assert(open(sim, { segment_bytes = 2 * SMALL }))
    for n = 1, 30 do one:write({ tail(3 * n - 2), tail(3 * n - 1), tail(3 * n) }, true) end
    local bytes = sim:content(seg(1))
    local frames = log.walk(bytes, assert(log.segment_decode(bytes:sub(1, 4096), seg(1))))
    local image, at, starts = crash(sim, true), 4096, {}
    for n, frame in ipairs(frames) do
      starts[n] = at
      at = at + frame.size
    end
    return image, starts
  end

  it("gives every record but those that are hit", function()
    local sim, starts = filled()
    sim:flip(seg(1), (starts[10] + 64 + 20) * 8) -- the first record of frame 10: position 28
    local one = damaged(sim, seg(1))
    assert.equal(90, one:state().position)
    for n = 1, 90 do
      local text, why = one:get(n)
      if n ~= 28 then assert.equal(tail(n), text)
      else assert.matches("^CORRUPT: the event at position 28 cannot be read: " .. seg(1), why) end
    end
  end)

  it("gives what is behind a frame whose header is lost", function()
    local sim, starts = filled()
    sim:flip(seg(1), (starts[10] + 20) * 8)
    local one = damaged(sim, seg(1))
    for n = 1, 90 do
      if n < 28 or n > 30 then assert.equal(tail(n), one:get(n))
      else assert.is_nil(one:get(n)) end
    end
  end)

  it("finds it in the last frame too, by what the WATERMARK knows", function()
    local sim, starts = filled()
    sim:flip(seg(1), (starts[30] + 70) * 8)
    local one = damaged(sim, seg(1))
    check(one, 1, 87)
  end)

  it("does not write, and is found again", function()
    local sim, starts = filled()
    sim:flip(seg(1), (starts[10] + 20) * 8)
    damaged(sim, seg(1)):close()
    damaged(sim, seg(1)):close()
    local reader = assert(open(sim, { read_only = true }))
    assert.is_true(reader:state().damaged)
  end)

  it("is the loss of the last segment, if the one before was sealed", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 300, true)
    one:close()
    local names = sim:list("log", ".seg")
    assert(sim:remove("log/" .. names[#names]))
    one = assert(open(sim))
    assert.is_true(one:state().damaged)
    assert.equal(math.tointeger(names[#names]:match "%d+") - 1, one:state().position)
  end)
end)

describe("log: a disk that fails", function()
  it("when it is full takes nothing, and goes on when there is room", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 100, true)
    sim:set_space(0)
    local n, why = 100
    repeat
      n = n + 1
      local first
      first, why = one:write({ tail(n) }, true)
    until not first
    assert.matches("^NO_SPACE", why)
    assert.equal(n - 1, one:state().position)
    assert.matches("^NO_SPACE", select(2, one:write({ tail(n) }, true)))
    sim:set_space(10 * SMALL)
    fill(one, n, n + 50, true)
    check(one, 1, n + 50)
    check(assert(open(crash(sim))), 1, n + 50)
  end)

  it("when it is full takes no group that the prepared segment has no room for", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 100, true)
    local n = 101
    while not sim:open "log/next" do -- the next one is made when this one is half full
      fill(one, n, n, true)
      n = n + 1
    end
    sim:set_space(0)
    local large = ("y"):rep(2 * SMALL)
    assert.matches("^NO_SPACE", select(2, one:write({ large }, true)))
    fill(one, n, n, true)
    sim:set_space(10 * SMALL)
    assert.equal(n + 1, one:write({ large }, true))
    check(one, 1, n)
    assert.equal(large, one:get(n + 1))
  end)

  it("when a write has no room counts no byte of it", function()
    local sim = new_disk()
    local faulty = assert(disk.faulty(sim))
    local one = assert(open(faulty))
    fill(one, 1, 10, true)
    faulty:fail(1, "ENOSPC", false, "pwrite")
    assert.matches("^NO_SPACE", select(2, one:write({ "other" }, true)))
    fill(one, 11, 20, true)
    check(one, 1, 20)
    check(assert(open(crash(sim))), 1, 20)
  end)

  it("in a sync is never asked again", function()
    for _, op in ipairs { "sync", "pwrite" } do
      local sim = new_disk()
      local faulty = assert(disk.faulty(sim))
      local one = assert(open(faulty))
      fill(one, 1, 10, true)
      faulty:fail(1, "EIO", false, op)
      local _, why = one:write({ tail(11) }, true)
      assert.matches("^STORE_FAILED: .*unknown", why)
      local calls = faulty:calls()
      assert.matches("^STORE_FAILED", select(2, one:write({ tail(11) }, true)))
      assert.matches("^STORE_FAILED", select(2, one:sync()))
      assert.equal(calls, faulty:calls())
      check(one, 1, 10)
      one:close()
      local again = assert(open(sim))
      check(again, 1, again:state().position)
      assert.is_true(again:state().position >= 10)
    end
  end)
end)

describe("log: following a writer", function()
  it("reads on across segments, as far as the writer has settled", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 3, true)
    local reader = assert(open(sim, { read_only = true }))
    assert.equal(3, reader:state().position)
    for n = 4, 300, 8 do
      fill(one, n, n + 7, false)
      assert.equal(n - 1, reader:state().position)
      assert.equal(n + 7, reader:follow())
      check(reader, n, n + 7)
    end
    assert.equal(one:state().segments, reader:state().segments)
    check(reader, 1, 300)
  end)

  it("does not see what is written and not settled", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 3, true)
    local reader = assert(open(sim, { read_only = true }))
    local file = assert(sim:open("WATERMARK", "rw"))
    local marks = { [3] = sim:content "WATERMARK" }
    for n = 4, 7 do
      fill(one, n, n, true)
      marks[n] = sim:content "WATERMARK"
    end
    for _, settled in ipairs { 3, 5, 7 } do
      assert(sim:write(file, marks[settled], 0))
      assert.equal(settled, reader:follow())
      assert.equal(settled, assert(open(sim, { read_only = true })):state().position)
    end
  end)

  it("sees a group that is larger than a segment", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 1, true)
    local reader = assert(open(sim, { read_only = true }))
    one:write({ ("y"):rep(3 * SMALL) }, true)
    fill(one, 3, 3, true)
    assert.equal(3, reader:follow())
    assert.equal(3 * SMALL, #reader:get(2))
    check(reader, 3, 3)
  end)

  it("may begin before the writer does", function()
    local sim = new_disk()
    local reader = assert(open(sim, { read_only = true }))
    assert.equal(0, reader:follow())
    local one = assert(open(sim))
    fill(one, 1, 200, true)
    assert.equal(200, reader:follow())
    check(reader, 1, 200)
    assert.equal(one:state().id, reader:state().id)
  end)

  it("writes nothing", function()
    local sim = new_disk()
    local one = assert(open(sim))
    fill(one, 1, 200, true)
    local recorder = assert(disk.recorder(crash(sim, true)))
    local reader = assert(open(recorder, { read_only = true }))
    reader:follow()
    check(reader, 1, 200)
    reader:close()
    assert.equal(0, recorder:count("pwrite", "sync", "rename", "unlink", "truncate", "allocate",
                                   "make_dir", "sync_dir", "lock"))
  end)
end)
