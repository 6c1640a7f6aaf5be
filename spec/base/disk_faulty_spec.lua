-- The contracts in core/base/disk_faulty.h and core/base/disk_recorder.h.
local disk = require("coretest").disk

describe("base/disk_faulty", function()
  local sim, faulty, file
  before_each(function()
    sim = assert(disk.sim())
    faulty = assert(disk.faulty(sim))
    file = assert(faulty:open("f", "create"))
  end)

  it("counts every call, from the first", function()
    assert.equal(1, faulty:calls())
    assert(faulty:write(file, "x", 0))
    assert(faulty:sync(file))
    assert.equal(3, faulty:calls())
    assert.is_false(faulty:hit())
  end)

  it("does not count the clock, the dice, and giving a map back", function()
    local map = assert(faulty:sys_map(file, 4096))
    local calls = faulty:calls()
    faulty:sys_now()
    faulty:sys_random(8)
    faulty:sys_unmap(map, 4096)
    assert.equal(calls, faulty:calls())
    faulty:fail(1, "EIO", true)
    assert.is_number(faulty:sys_now())
    assert.equal(8, #faulty:sys_random(8))
  end)

  it("fails the n-th call, once", function()
    faulty:fail(3, "EIO", false)
    assert.equal(1, faulty:sys_pwrite(file, "1", 0))
    assert.equal(1, faulty:sys_pwrite(file, "2", 0))
    assert.is_false(faulty:hit())
    assert.same({ nil, "EIO" }, { faulty:sys_pwrite(file, "3", 0) })
    assert.is_true(faulty:hit())
    assert.equal("2", sim:content "f")
    assert.equal(1, faulty:sys_pwrite(file, "4", 0))
    assert.equal("4", sim:content "f")
  end)

  it("fails the n-th call and all after it", function()
    faulty:fail(2, "ENOSPC", true)
    assert.equal(1, faulty:sys_pwrite(file, "1", 0))
    for _ = 1, 3 do assert.same({ nil, "ENOSPC" }, { faulty:sys_pwrite(file, "2", 0) }) end
    assert.same({ nil, "ENOSPC" }, { faulty:sys_sync(file) })
  end)

  it("counts and fails only the kinds it is told", function()
    faulty:fail(2, "EIO", false, "sync", "rename")
    for i = 1, 5 do assert(faulty:write(file, "x", i)) end
    assert.equal(0, faulty:sys_rename("f", "g"))
    assert(faulty:write(file, "x", 9))
    assert.same({ nil, "EIO" }, { faulty:sys_sync(file) })
    assert.equal(2, faulty:calls())
  end)

  it("does not make the call that fails", function()
    sim:settle()
    local made = {
      open = function() return faulty:sys_open("g", "create") end,
      pwrite = function() return faulty:sys_pwrite(file, "x", 0) end,
      allocate = function() return faulty:sys_allocate(file, 100) end,
      truncate = function() return faulty:sys_truncate(file, 100) end,
      rename = function() return faulty:sys_rename("f", "g") end,
      unlink = function() return faulty:sys_unlink "f" end,
      make_dir = function() return faulty:sys_make_dir "log" end,
      lock = function() return faulty:sys_lock(file) end,
      list = function() return faulty:sys_list "." end,
      map = function() return faulty:sys_map(file, 100) end,
      pread = function() return faulty:sys_pread(file, 1, 0) end,
    }
    for op, call in pairs(made) do
      faulty:fail(1, "EIO", false, op)
      assert.same({ nil, "EIO" }, { call() }, op)
      assert.same({ 0, 0 }, { sim:pending() }, op)
      assert.same({ "f" }, sim:list ".", op)
    end
  end)

  it("syncs nothing when a sync fails", function()
    assert(faulty:write(file, "x", 0))
    local units, dir_ops = sim:pending()
    faulty:fail(1, "EIO", true)
    assert.same({ nil, "EIO" }, { faulty:sys_sync(file) })
    assert.same({ nil, "EIO" }, { faulty:sys_sync_dir "." })
    assert.same({ units, dir_ops }, { sim:pending() })
  end)

  it("closes even when close fails", function()
    faulty:fail(1, "EIO", false)
    assert.same({ nil, "EIO" }, { faulty:sys_close(file) })
    assert.same({ nil, "EBADF" }, { faulty:sys_close(file) })
  end)

  it("moves half of the bytes when short, and counts only what moves bytes", function()
    faulty:fail(2, "short", false)
    assert.equal(0, faulty:sys_sync(file))
    assert.equal(10, faulty:sys_pwrite(file, "0123456789", 0))
    assert.equal("01234", faulty:sys_pread(file, 10, 0))
    assert.equal("0123456789", faulty:sys_pread(file, 10, 0))
    faulty:fail(1, "short", true)
    assert.equal(1, faulty:sys_pwrite(file, "xyz", 0))
    assert.equal(1, faulty:sys_pwrite(file, "x", 0))
  end)

  it("begins anew each time it is set", function()
    faulty:fail(1, "EIO", true)
    assert.is_nil(faulty:sys_sync(file))
    faulty:fail(0, "EIO", true)
    assert.is_false(faulty:hit())
    assert.equal(0, faulty:calls())
    assert.equal(0, faulty:sys_sync(file))
    assert.equal(1, faulty:calls())
  end)
end)

describe("base/disk_recorder", function()
  local sim, rec
  before_each(function()
    sim = assert(disk.sim())
    rec = assert(disk.recorder(sim))
  end)

  it("writes down every call, in order, with what came of it", function()
    assert.equal(0, rec:sys_make_dir "log")
    local file = assert(rec:open("log/a", "create"))
    local other = assert(rec:open("b", "create"))
    assert.equal(0, rec:sys_lock(other))
    assert.equal(0, rec:sys_allocate(file, 4096))
    assert(rec:write(file, "hello", 8))
    assert.equal("hello", rec:read(file, 5, 8))
    assert.equal(4096, rec:size(file))
    assert.equal(0, rec:sys_truncate(file, 100))
    local map = assert(rec:sys_map(file, 100))
    assert(rec:close(file))
    assert(rec:sync(other))
    rec:sys_unmap(map, 100)
    assert.equal(2, rec:sys_list ".")
    assert.equal(0, rec:sys_rename("b", "c"))
    assert.equal(0, rec:sys_unlink "c")
    assert.equal(0, rec:sys_sync_dir "log")
    rec:sys_now()
    rec:sys_random(4)
    assert.equal(table.concat({
      "make_dir log = 0", "open log/a = 0", "open b = 0", "lock b = 0",
      "allocate log/a 4096 = 0", "pwrite log/a 8+5 = 5", "pread log/a 8+5 = 5",
      "size log/a 4096 = 0", "truncate log/a 100 = 0", "map log/a 100 = 0", "close log/a = 0",
      "sync b = 0", "unmap log/a 100 = 0", "list . = 0", "rename b c = 0", "unlink c = 0",
      "sync_dir log = 0", "" }, "\n"), rec:trace())
  end)

  it("writes down failures by the name of their errno", function()
    assert.is_nil(rec:sys_open("absent", "r"))
    assert.is_nil(rec:sys_sync(99))
    assert.is_nil(rec:sys_pwrite(99, "x", 7))
    assert.equal("open absent = ENOENT\nsync ? = EBADF\npwrite ? 7+1 = EBADF\n", rec:trace())
  end)

  it("counts calls by kind, and forgets them when told", function()
    local file = assert(rec:open("f", "create"))
    for i = 1, 5 do assert(rec:write(file, "x", i)) end
    assert(rec:sync(file))
    assert.same({ 7, 5, 6, 0 }, { rec:count(), rec:count "pwrite", rec:count("pwrite", "sync"),
                                  rec:count "unlink" })
    rec:clear()
    assert.equal(0, rec:count())
    assert(rec:sync(file)) -- the name of the file is still known
    assert.equal("sync f = 0\n", rec:trace())
  end)

  it("stands before a faulty disk as before any other", function()
    local faulty = assert(disk.faulty(sim))
    local over = assert(disk.recorder(faulty))
    local file = assert(over:open("f", "create"))
    faulty:fail(1, "short", false)
    assert(over:write(file, "0123456789", 0))
    assert.equal("open f = 0\npwrite f 0+10 = 5\npwrite f 5+5 = 5\n", over:trace())
  end)
end)
