-- The contract of ml_open, ml_close and ml_get_stats in moonlog.h, and of damage.
local core = require "coretest"
local program = require "spec.support.program"
local stores = require "spec.support.stores"
local tmpdir = require "spec.support.tmpdir"
local append, event, id, positions = stores.append, stores.event, stores.id, stores.positions

local function seg(first) return ("log/%020d.seg"):format(first) end

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Every name below a real directory, with the content of the files.
local function snapshot(dir)
  local found = {}
  local pipe = assert(io.popen(("cd %s && find . -printf '%%y %%p\\n'"):format(dir)))
  for line in pipe:lines() do
    local kind, path = line:match "^(.) (.*)$"
    found[path] = kind == "f" and slurp(dir .. "/" .. path) or kind
  end
  pipe:close()
  return found
end

local function fill(store, from, to, more)
  for n = from, to do
    local options = { durability = "os" }
    for key, value in pairs(more or {}) do options[key] = value end
    assert(append(store, "s-" .. n % 7, { event("T" .. n % 5,
                                                { id = id(n), tags = { "by:" .. n % 11 } }) },
                                                options))
  end
end

local function every(step, to, at)
  local list = {}
  for n = at or step, to, step do list[#list + 1] = n end
  return list
end

-- That the events 1 … to are all there, by every way of looking.
local function check(store, to)
  assert.same(every(1, to), positions(store))
  for n = 0, 6 do
    assert.same(every(7, to, n > 0 and n or 7), positions(store, { stream = "s-" .. n }))
  end
  for n = 0, 10 do
    assert.same(every(11, to, n > 0 and n or 11),
                positions(store, { query = { { tags = { "by:" .. n } } } }))
  end
  for n = 0, 4 do
    assert.same(every(5, to, n > 0 and n or 5),
                positions(store, { query = { { types = { "T" .. n } } } }))
  end
end

describe("store: opening", function()
  local dir
  before_each(function() dir = tmpdir.new() end)

  it("makes a store in a directory that is absent or empty", function()
    for _, where in ipairs { dir, dir .. "/new" } do
      local store = stores.open(where)
      assert.equal(1, assert(append(store, "a", { "T" })).first)
      assert.is_true(store:close())
      store = stores.open(where, { must_exist = true })
      assert.equal(1, store:head().position)
      store:close()
    end
  end)

  it("says NOT_FOUND of what is absent, if it must exist or is only read", function()
    for _, options in ipairs { { must_exist = true }, { read_only = true } } do
      local store, why = stores.try(dir .. "/new", options)
      assert.is_nil(store)
      assert.matches("^NOT_FOUND: ", why)
      assert.is_nil(io.open(dir .. "/new/LOCK"))
    end
    assert.matches("^NOT_FOUND", select(2, stores.try(dir .. "/new/deeper")))
  end)

  it("says NOT_A_STORE of a directory with other files, and leaves it alone", function()
    write(dir .. "/notes.txt", "hello")
    local before = snapshot(dir)
    for _, options in ipairs { {}, { read_only = true }, { must_exist = true } } do
      local store, why = stores.try(dir, options)
      assert.is_nil(store)
      assert.matches("^NOT_A_STORE: " .. dir .. " holds other files", why)
    end
    assert.same(before, snapshot(dir))
  end)

  it("does not mind other files beside a store", function()
    stores.open(dir):close()
    write(dir .. "/notes.txt", "hello")
    stores.open(dir):close()
  end)

  it("is for one writer at a time, in this process or another", function()
    local store = stores.open(dir)
    local other, why = stores.try(dir)
    assert.is_nil(other)
    assert.matches("^LOCKED: " .. dir .. " is open for writing in process %d+; stop", why)
    assert.equal(why:match "process (%d+)", slurp("/proc/self/stat"):match "%d+")
    local script = ([[package.cpath = %q
                      local store, why = require("coretest").store.open(%q)
                      assert(not store and why:find "^LOCKED")]]):format(package.cpath, dir)
    assert.is_true(os.execute("lua5.4 -e " .. program.quote(script)))
    local reader = stores.open(dir, { read_only = true })
    store:close()
    stores.open(dir):close()
    reader:close()
  end)

  it("leaves a newer format untouched", function()
    local store = stores.open(dir)
    fill(store, 1, 300)
    store:close()
    local path = dir .. "/" .. seg(1)
    local bytes = slurp(path)
    local page = bytes:sub(1, 8) .. "\2\0\2\0" .. bytes:sub(13, 4092)
    write(path, page .. string.pack("<I4", core.base.crc32c(page)) .. bytes:sub(4097))
    local before = snapshot(dir)
    for _, read_only in ipairs { true, false } do
      local _, why = stores.try(dir, { read_only = read_only })
      assert.matches("^UNSUPPORTED: .*newer moonlog", why)
    end
    assert.same(before, snapshot(dir))
  end)

  it("checks its options", function()
    for _, bytes in ipairs { 1, 4096, 16383, 16385, 20000, (1 << 30) + 4096, -4096 } do
      assert.matches("^BAD_REQUEST: segment_bytes is ",
                     select(2, stores.try(dir, { segment_bytes = bytes })))
    end
    for _, bytes in ipairs { 0, 16384, 20480 } do
      stores.open(dir, { segment_bytes = bytes }):close()
    end
  end)

  it("may change every option from one time to the next", function()
    local on, at = stores.disk(), 0
    for round = 1, 12 do
      local store = stores.open(on, { segment_bytes = 16384 << round % 3,
                                      memory_events = 30 + round * 17 % 200,
                                      window_events = round * 10,
                                        heads_bytes = round % 2 * 1000 + 1 })
      fill(store, at + 1, at + 97)
      at = at + 97
      check(store, at)
      store:close()
    end
  end)
end)

describe("store: closing", function()
  it("writes, syncs and saves, so that opening reads nothing again", function()
    local store, disk = stores.new()
    fill(store, 1, 500)
    assert(append(store, "x", { "T" }, { durability = "memory" }))
    assert.is_true(store:close())
    local image = stores.crash(disk)
    local one = stores.open(image)
    assert.same({ 501, 501, 0 }, { one:stats().position, one:stats().durable,
                                   one:stats().torn_bytes })
  end)

  it("is the end of everything", function()
    local store = stores.new()
    assert.is_true(store:close())
    assert.has_error(function() store:head() end)
  end)
end)

describe("store: stats", function()
  it("count", function()
    local store, disk = stores.new()
    assert.same({ position = 0, durable = 0, segments = 1, log_bytes = 16384, used_bytes = 4096,
                  index_bytes = 0,
                  index_runs = 0, memory_events = 0, memory_bytes = 0, torn_bytes = 0,
                    read_only = false,
                    damaged = false },
                store:stats())
    fill(store, 1, 500)
    local stats, log_bytes, index_bytes, runs = store:stats(), 0, 0, 0
    for _, name in ipairs(disk:list("log", ".seg")) do
      log_bytes = log_bytes + #disk:content("log/" .. name)
    end
    for _, name in ipairs(disk:list("index", ".run")) do
      runs, index_bytes = runs + 1, index_bytes + #disk:content("index/" .. name)
    end
    assert.same({ 500, #disk:list("log", ".seg"), log_bytes, index_bytes, runs },
                { stats.position, stats.segments, stats.log_bytes, stats.index_bytes,
                  stats.index_runs })
    assert.is_true(stats.used_bytes <= log_bytes and stats.used_bytes > log_bytes - 16384)
    assert.is_true(stats.memory_events <= 128)
    assert.is_true(stores.open(disk, { read_only = true }):stats().read_only)
  end)
end)

describe("store: time", function()
  it("never decreases, whatever the clock does, reopened or not", function()
    local store, disk = stores.new()
    local last = 0
    local function check_time()
      local found = stores.all(store, { backward = true, limit = 1 })[1]
      assert.is_true(found.time >= last)
      last = found.time
    end
    for round = 1, 30 do
      disk:set_time(1700000000000000 + (round % 5 - 2) * 3600000000 * round)
      assert(append(store, "a", { "T", "T" }))
      check_time()
      if round % 4 == 0 then
        store:close()
        store = stores.open(disk)
      end
    end
    local before = last
    disk:set_time(last + 1000000)
    assert(append(store, "a", { "T" }))
    check_time()
    assert.is_true(last > before)
    local all = stores.all(store)
    for i = 2, #all do assert.is_true(all[i].time >= all[i - 1].time) end
  end)
end)

describe("store: for reading only", function()
  it("refuses to write, and writes nothing", function()
    local store, disk = stores.new()
    fill(store, 1, 300)
    local recorder = assert(core.disk.recorder(disk))
    local reader = stores.open(recorder, { read_only = true })
    for _, receipt in ipairs { { append(reader, "a", { "T" }) },
                               { reader:submit({ writes = { { stream = "a",
                               events = { { type = "T" } } } } }, print) } } do
      assert.is_nil(receipt[1])
      assert.matches("^READ_ONLY: ", receipt[2])
    end
    check(reader, 300)
    fill(store, 301, 900)
    check(reader, 900)
    assert.is_true(reader:flush "disk")
    assert.is_true(reader:close())
    assert.equal(0, recorder:count("pwrite", "sync", "rename", "unlink", "truncate", "allocate",
                                   "make_dir",
                                   "sync_dir", "lock"))
  end)

  it("keeps to few events in memory while it follows", function()
    local store, disk = stores.new()
    local reader = stores.open(disk, { read_only = true })
    for to = 100, 3000, 100 do
      fill(store, to - 99, to)
      assert.equal(to, reader:head().position)
      assert.is_true(reader:stats().memory_events <= 300, reader:stats().memory_events)
    end
    check(reader, 3000)
  end)

  it("sees what a writer with threads settles, live", function()
    local dir = tmpdir.new()
    local store = stores.open(dir, { no_threads = false })
    local reader = stores.open(dir, { read_only = true, no_threads = false })
    local cursor, seen = assert(reader:subscribe {}), 0
    for to = 20, 2000, 20 do
      fill(store, to - 19, to)
      for _, position in ipairs(cursor:positions(true)) do
        seen = seen + 1
        assert.equal(seen, position)
      end
      assert.equal(to, seen)
    end
    check(reader, 2000)
    store:close()
    reader:close()
  end)

  it("finds an empty directory empty, and follows who begins there", function()
    local disk = stores.disk()
    local reader = stores.open(disk, { read_only = true })
    assert.same({}, positions(reader))
    assert.matches("^NOT_FOUND", select(2, reader:head "s-1"))
    local all = assert(reader:subscribe {})
    local some = assert(reader:subscribe { query = { { tags = { "by:3" } } } })
    local one = assert(reader:subscribe { stream = "s-2" })
    local store = stores.open(disk)
    fill(store, 1, 500)
    check(reader, 500)
    assert.same(every(1, 500), all:positions(true))
    assert.same(every(11, 500, 3), some:positions(true))
    assert.same(every(7, 500, 2), one:positions(true))
  end)
end)

describe("store: an index that is lost, stale or wrong", function()
  local store, disk
  before_each(function()
    store, disk = stores.new()
    fill(store, 1, 700)
    store:close()
  end)

  local function same()
    for _, read_only in ipairs { true, false } do
      local one = stores.open(disk, { read_only = read_only })
      check(one, 700)
      one:close()
    end
    local one = stores.open(disk)
    fill(one, 701, 800)
    check(one, 800)
    for n = 700, 800 do
      local receipt = append(one, "s-" .. n % 7, { event("T" .. n % 5, { id = id(n) }) },
                             { expected = (n - 1) // 7 - 1 })
      if n % 7 ~= 0 then assert.same({ true, n }, { receipt.duplicate, receipt.first }) end
    end
    one:close()
  end

  it("is deleted, whole or in part", function()
    local names = disk:list("index", ".run")
    assert(disk:remove("index/" .. names[#names]))
    same()
    for _, name in ipairs(disk:list "index") do assert(disk:remove("index/" .. name)) end
    store = stores.open(disk)
    check(store, 800)
    fill(store, 801, 1000)
    check(store, 1000)
    assert.is_true(store:stats().index_runs > 0)
    assert.is_true(store:stats().memory_events <= 128)
  end)

  it("is of another log", function()
    local other, on = stores.new()
    on:sys_random(1)
    fill(other, 1, 700)
    other:close()
    for _, name in ipairs(disk:list("index", ".run")) do
      -- The same names, of a log with another id.
      local bytes = disk:content("index/" .. name)
      local head = bytes:sub(9, 128):gsub("^" .. ("."):rep(16), ("j"):rep(16), 1)
      local file = assert(disk:open("index/" .. name, "rw"))
      assert(disk:write(file, bytes:sub(1, 4) .. string.pack("<I4", core.base.crc32c(head)) ..
                        head, 0))
    end
    same()
  end)

  it("is ahead of the log", function()
    -- A log of fewer events, and other ones, under the runs of 700.
    local runs = {}
    for _, name in ipairs(disk:list("index", ".run")) do
      runs[name] = disk:content("index/" .. name)
    end
    local image = stores.disk()
    local one = stores.open(image)
    for n = 1, 100 do assert(append(one, "s-x", { "X" .. n }, { durability = "os" })) end
    one:close()
    for _, name in ipairs(image:list "index") do assert(image:remove("index/" .. name)) end
    for name, bytes in pairs(runs) do
      local file = assert(image:open("index/" .. name, "create"))
      assert(image:write(file, bytes, 0))
    end
    image:settle()
    one = stores.open(image)
    assert.same(every(1, 100), positions(one, { stream = "s-x" }))
    assert.same({ 50 }, positions(one, { query = { { types = { "X50" } } } }))
    for name in pairs(runs) do assert.is_nil(image:content("index/" .. name)) end
  end)

  it("is of this log, but of a history that was lost", function()
    -- As after power loss, when the index had what the log had not kept yet.
    local one = stores.open(disk)
    fill(one, 701, 705, { durability = "disk" })
    one:close()
    local image = stores.crash(disk)
    one = stores.open(image)
    for n = 706, 900 do assert(append(one, "lost-" .. n, { "Lost" }, { durability = "os" })) end
    local runs = {}
    for _, name in ipairs(image:list("index", ".run")) do
      runs[name] = image:content("index/" .. name)
    end
    local after = stores.crash(image)
    for name, bytes in pairs(runs) do
      local file = assert(after:open("index/" .. name, "create"))
      assert(after:write(file, bytes, 0))
    end
    after:settle()
    one = stores.open(after)
    local kept = one:head().position
    assert.is_true(kept >= 705 and kept < 900)
    fill(one, kept + 1, 900)
    if kept == 705 then check(one, 900) end
    assert.equal(kept - 705, #positions(one, { query = { { types = { "Lost" } } } }))
  end)

  it("is damaged anywhere", function()
    local names = disk:list("index", ".run")
    for i, name in ipairs(names) do
      local path, size = "index/" .. name, #disk:content("index/" .. name)
      for at = i, size - 1, math.max(1, size // 37) do
        local image = stores.crash(disk, true)
        image:flip(path, at * 8 + at % 8)
        check(stores.open(image, { read_only = at % 2 == 0 }), 700)
      end
    end
  end)

  it("is damaged while it is used", function()
    local one = stores.open(disk)
    check(one, 700)
    for _, name in ipairs(disk:list("index", ".run")) do
      for at = 128, #disk:content("index/" .. name) - 1, 64 do
        disk:flip("index/" .. name, at * 8)
      end
    end
    fill(one, 701, 710)
    check(one, 710)
    fill(one, 711, 1500)
    check(one, 1500)
    assert.equal(-1 + 1500 // 7, one:head("s-0").revision)
  end)
end)

describe("store: damaged", function()
  local function filled()
    local store, disk = stores.new { segment_bytes = 65536 }
    fill(store, 1, 300, { durability = "disk" })
    local at = 4096
    local image = stores.crash(disk, true)
    local bytes = image:content(seg(1))
    local starts = {}
    local header = assert(core.log.segment_decode(bytes:sub(1, 4096), seg(1)))
    for n, frame in ipairs(core.log.walk(bytes, header)) do
      starts[n] = at
      at = at + frame.size
    end
    assert.equal(300, #starts)
    return image, starts
  end

  it("opens for reading only, says where, and gives everything else", function()
    local image, starts = filled()
    image:flip(seg(1), (starts[200] + 100) * 8)
    local before = image:content(seg(1))
    for _, read_only in ipairs { false, true, false } do
      local store = stores.open(image, { segment_bytes = 65536, read_only = read_only })
      local stats = store:stats()
      assert.same({ true, true, 300 }, { stats.damaged, stats.read_only, stats.position })
      assert.matches("^CORRUPT: " .. seg(1) .. ", offset " .. starts[200] ..
                     ": .*positions from 200", store:why())
      local receipt, why = append(store, "a", { "T" })
      assert.is_nil(receipt)
      assert.matches("^CORRUPT: " .. seg(1), why)
      local cursor, seen = assert(store:read {}), {}
      for n = 1, 300 do
        local found, said = cursor:next()
        if n ~= 200 then seen[#seen + 1] = found.position
        else assert.matches("^CORRUPT: the event at position 200 cannot be read: ", said) end
      end
      assert.is_nil(cursor:next())
      assert.equal(299, #seen)
      assert.same({ 201, 202, 203 }, positions(store, { from = 201, limit = 3 }))
      assert.same({ 199, 198 }, positions(store, { from = 199, limit = 2, backward = true }))
      store:close()
    end
    assert.equal(before, image:content(seg(1)))
  end)

  it("never passes over an event of a stream without saying so", function()
    for _, hit in ipairs { 1, 8, 148, 295 } do -- first, second, one between, last but none of s-1
      local image, starts = filled()
      image:flip(seg(1), (starts[hit] + 100) * 8)
      for _, backward in ipairs { false, true } do
        local store = stores.open(image, { segment_bytes = 65536 })
        local cursor, said, seen = assert(store:read { stream = "s-1", backward = backward }), 0, 0
        repeat
          local found, why = cursor:next()
          if found then seen = seen + 1 end
          if why then
            assert.matches("^CORRUPT", why)
            said = said + 1
          end
        until not found and not why
        assert.equal(42, seen)
        assert.is_true(said >= 1, ("position %d, backward %s"):format(hit, backward))
        store:close()
      end
    end
  end)

  it("in what was not synced is a torn tail, which is cut and kept aside", function()
    local store, disk = stores.new { segment_bytes = 65536 }
    fill(store, 1, 10, { durability = "disk" })
    fill(store, 11, 20)
    local image = stores.crash(disk, true)
    local bytes = image:content(seg(1))
    local header = assert(core.log.segment_decode(bytes:sub(1, 4096), seg(1)))
    local frames, stop = core.log.walk(bytes, header)
    image:flip(seg(1), (stop - frames[20].size - frames[19].size + 100) * 8)
    local one = stores.open(image, { segment_bytes = 65536 })
    local stats = one:stats()
    assert.same({ 18, false, false }, { stats.position, stats.damaged, stats.read_only })
    assert.is_true(stats.torn_bytes > 0)
    assert.equal(1, #image:list("log", ".torn"))
    check(one, 18)
    fill(one, 19, 40)
    check(one, 40)
  end)

  it("in an event that is not looked at when opening is found by who reads it", function()
    local store, disk = stores.new { memory_events = 64 }
    fill(store, 1, 500)
    store:close()
    disk:flip(seg(1), (4096 + 64 + 40) * 8)
    local one = stores.open(disk, { window_events = 50 })
    assert.is_false(one:stats().damaged)
    local cursor = assert(one:read {})
    local found, why = cursor:next()
    assert.is_nil(found)
    assert.matches("^CORRUPT: the event at position 1 cannot be read: " .. seg(1), why)
    for n = 2, 500 do assert.equal(n, cursor:next().position) end
    assert.is_nil(cursor:next())
    fill(one, 501, 600)
    assert.same(every(1, 600, 2), positions(one, { from = 2 }))
  end)

  it("in an event that was to be indexed, or is in the window, is damage of the store", function()
    local store, disk = stores.new()
    fill(store, 1, 500)
    store:close()
    disk:flip(seg(1), (4096 + 64 + 40) * 8)
    for _, lost in ipairs { false, true } do
      if lost then
        for _, name in ipairs(disk:list "index") do assert(disk:remove("index/" .. name)) end
      end
      local one = stores.open(disk, { window_events = lost and 50 or 500 })
      assert.is_true(one:stats().damaged)
      assert.matches("^CORRUPT: the event at position 1 cannot be read",
                     select(2, append(one, "a", { "T" })))
      assert.same(every(1, 500, 2), positions(one, { from = 2 }))
      one:close()
    end
  end)
end)
