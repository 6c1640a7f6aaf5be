-- The contract in core/base/disk.h: the real disk, and what the house does with any disk.
local disk = require("coretest").disk

local function shell(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local said = pipe:read "a"
  local ok = pipe:close()
  return ok, (said:gsub("%s+$", ""))
end

local function run(command) assert(shell(command)) end

local function spit(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

-- A real disk on an empty directory, gone after the test.
local root, real
local function fresh()
  local _, made = shell "mktemp -d"
  root, real = made, assert(disk.real(made))
end
local function gone()
  real:free()
  run("rm -rf " .. root)
end

describe("base/disk: the directory", function()
  before_each(fresh)
  after_each(gone)

  it("is made, for its owner alone, if it is asked for and its parent is there", function()
    local path = root .. "/new"
    assert(disk.real(path, true))
    assert.equal("700", select(2, shell("stat -c %a " .. path)))
    assert(disk.real(path, true))
    assert(disk.real(root .. "/another/", true))
  end)

  it("is not made unasked", function()
    local made, why = disk.real(root .. "/new")
    assert.is_nil(made)
    assert.match("^NOT_FOUND: there is no directory .*/new", why)
  end)

  it("names the parent that is missing", function()
    local made, why = disk.real(root .. "/a/b", true)
    assert.is_nil(made)
    assert.match("^NOT_FOUND: cannot make .*/a/b: its parent .*/a/ does not exist", why)
  end)

  it("cannot be a file, nor lie below one", function()
    spit(root .. "/file", "")
    for _, path in ipairs { "/file", "/file/below" } do
      local made, why = disk.real(root .. path)
      assert.is_nil(made)
      assert.match("^NOT_A_STORE: .* is not a directory", why)
    end
  end)

  it("cannot be nothing", function()
    assert.match("^BAD_REQUEST: .*empty", select(2, disk.real ""))
  end)

  it("is held: moved away, it is still the one", function()
    run(("mv %s %s.moved && mkdir %s"):format(root, root, root))
    assert(real:save("f", "here"))
    assert.equal("here", slurp(root .. ".moved/f"))
    run(("rm -rf %s && mv %s.moved %s"):format(root, root, root))
  end)
end)

describe("base/disk: opening", function()
  before_each(fresh)
  after_each(gone)

  it("makes a file for its owner alone, and empties one that is there", function()
    spit(root .. "/f", "old")
    local file = assert(real:open("f", "create"))
    assert.equal(0, real:size(file))
    assert(real:close(file))
    assert(real:open("g", "create"))
    assert.equal("600", select(2, shell("stat -c %a " .. root .. "/g")))
  end)

  it("says NOT_FOUND, with the whole path", function()
    for _, how in ipairs { "r", "rw" } do
      local file, why = real:open("f", how)
      assert.is_nil(file)
      assert.equal("NOT_FOUND: open " .. root .. "/f: No such file or directory", why)
    end
  end)

  it("refuses to write through a handle for reading", function()
    spit(root .. "/f", "old")
    local file = assert(real:open("f", "r"))
    assert.match("^IO: write ", select(2, real:write(file, "new", 0)))
    assert.equal("old", slurp(root .. "/f"))
  end)

  for _, how in ipairs { "r", "rw", "create" } do
    describe("for " .. how, function()
      it("never follows a symbolic link", function()
        spit(root .. "/target", "kept")
        run(("ln -s target %s/link && ln -s absent %s/dangling"):format(root, root))
        for _, name in ipairs { "link", "dangling" } do
          assert.same({ nil, "ELOOP" }, { real:sys_open(name, how) })
        end
        assert.match("^IO: open .*/link: it is a symbolic link", select(2, real:open("link", how)))
        assert.equal("kept", slurp(root .. "/target"))
        assert.equal(2, #assert(real:list(".", "k")) + #assert(real:list(".", "g")))
      end)

      it("follows no link among the directories of a path either", function()
        run(("mkdir %s/real && ln -s real %s/link"):format(root, root))
        spit(root .. "/real/f", "kept")
        assert.same({ nil, "ENOTDIR" }, { real:sys_open("link/f", how) })
        assert.equal("kept", slurp(root .. "/real/f"))
      end)

      it("refuses a FIFO at once", function()
        run("mkfifo " .. root .. "/fifo")
        assert.same({ nil, "EINVAL" }, { real:sys_open("fifo", how) })
        assert.match("^IO: open .*/fifo: it is not a regular", select(2, real:open("fifo", how)))
      end)

      it("refuses a directory", function()
        run("mkdir " .. root .. "/dir")
        assert.same({ nil, "EISDIR" }, { real:sys_open("dir", how) })
        assert.match("^IO: open .*/dir: it is a directory", select(2, real:open("dir", how)))
      end)

      it("refuses a path that leads outside", function()
        for _, path in ipairs { "../f", "/etc/passwd", "a/../../f", "", "a/" } do
          run("mkdir -p " .. root .. "/a")
          assert.same({ nil, "EINVAL" }, { real:sys_open(path, how) }, path)
        end
      end)
    end)
  end

  it("refuses names that are too long", function()
    assert.same({ nil, "ENAMETOOLONG" }, { real:sys_open(("n"):rep(256), "create") })
    assert.same({ nil, "ENAMETOOLONG" }, { real:sys_open(("n"):rep(256) .. "/f", "create") })
  end)
end)

describe("base/disk: a real file", function()
  local file
  before_each(function()
    fresh()
    file = assert(real:open("f", "create"))
  end)
  after_each(gone)

  it("gives back what was written", function()
    assert(real:write(file, "hello", 0))
    assert(real:write(file, "world", 1000))
    assert(real:sync(file))
    assert.equal(1005, real:size(file))
    assert.equal("hello\0", real:read(file, 6, 0))
    assert.equal("world", real:read(file, 5, 1000))
    assert.equal("", real:read(file, 0, 5000))
  end)

  it("is CORRUPT when it ends before what is to be read", function()
    assert(real:write(file, "hello", 0))
    local read, why = real:read(file, 6, 0)
    assert.is_nil(read)
    assert.match("^CORRUPT: .* ends at byte 5, though bytes up to 6", why)
  end)

  it("grows by allocate, reads as zeros there, and never shrinks by it", function()
    assert(real:write(file, "hello", 0))
    assert.equal(0, real:sys_allocate(file, 8192))
    assert.equal(8192, real:size(file))
    assert.equal("hello" .. ("\0"):rep(8187), real:read(file, 8192, 0))
    assert.equal(0, real:sys_allocate(file, 10))
    assert.equal(8192, real:size(file))
  end)

  it("is cut by truncate", function()
    assert(real:write(file, "hello", 0))
    assert.equal(0, real:sys_truncate(file, 2))
    assert.equal(0, real:sys_truncate(file, 4))
    assert.equal("he\0\0", slurp(root .. "/f"))
  end)

  it("is locked for one handle at a time, in one process too, until that is closed", function()
    local other = assert(real:open("f", "rw"))
    assert.equal(0, real:sys_lock(file))
    assert.equal(0, real:sys_lock(file))
    assert.same({ nil, "EAGAIN" }, { real:sys_lock(other) })
    local third = assert(real:open("f", "rw"))
    assert(real:close(third)) -- a classic POSIX lock would be gone now
    assert.same({ nil, "EAGAIN" }, { real:sys_lock(other) })
    assert(real:close(file))
    assert.equal(0, real:sys_lock(other))
  end)

  it("is an error to close twice", function()
    assert(real:close(file))
    assert.match("^IO: close ", select(2, real:close(file, "f")))
  end)
end)

describe("base/disk: a real map", function()
  local PAGE <const> = 4096
  local file
  before_each(function()
    fresh()
    file = assert(real:open("f", "create"))
  end)
  after_each(gone)

  it("shows the file, and what is written later", function()
    assert(real:write(file, ("x"):rep(PAGE), 0))
    local map = assert(real:sys_map(file, PAGE))
    assert.equal("xxx", disk.peek(map, 0, 3))
    assert(real:write(file, "y", 1))
    assert.equal("xyx", disk.peek(map, 0, 3))
    real:sys_unmap(map, PAGE)
  end)

  it("shows zeros where the file was cut, and goes on", function()
    assert(real:write(file, ("x"):rep(8 * PAGE), 0))
    local map = assert(real:sys_map(file, 8 * PAGE))
    assert.equal("x", disk.peek(map, 5 * PAGE, 1))
    assert.equal(0, real:sys_truncate(file, 3 * PAGE + 10))
    assert.equal(("x"):rep(10) .. ("\0"):rep(10), disk.peek(map, 3 * PAGE, 20))
    for page = 7, 4, -1 do
      assert.equal(("\0"):rep(PAGE), disk.peek(map, page * PAGE, PAGE))
    end
    assert.equal(("x"):rep(PAGE), disk.peek(map, 0, PAGE))
    real:sys_unmap(map, 8 * PAGE)
  end)

  it("shows zeros in its last page when the size is no whole number of pages", function()
    assert(real:write(file, ("x"):rep(2 * PAGE), 0))
    local map = assert(real:sys_map(file, PAGE + 1))
    assert.equal(0, real:sys_truncate(file, 0))
    assert.equal("\0\0", disk.peek(map, PAGE - 1, 2))
    real:sys_unmap(map, PAGE + 1)
  end)

  it("can be had of many files at once, and again when they are given back", function()
    assert(real:write(file, ("x"):rep(PAGE), 0))
    for _ = 1, 2 do
      local maps = {}
      local map, why = real:sys_map(file, PAGE)
      while map do
        maps[#maps + 1] = map
        map, why = real:sys_map(file, PAGE)
      end
      assert.equal("ENOMEM", why)
      assert.is_true(#maps >= 8000)
      for _, each in ipairs(maps) do real:sys_unmap(each, PAGE) end
    end
  end)

  it("refuses to be empty", function()
    assert.same({ nil, "EINVAL" }, { real:sys_map(file, 0) })
  end)

  -- In a process of its own: true if it came to its end, and its exit status.
  local function fault_outside(catch)
    assert(real:write(file, ("x"):rep(PAGE), 0))
    local script = ("package.cpath = %q; local d = require('coretest').disk.real(%q); " ..
                    "print(d:fault_outside(%q, %s))")
                   :format(package.cpath, root, root .. "/f", catch)
    spit(root .. "/script.lua", script)
    local _, said = shell(("lua5.4 %s/script.lua >/dev/null 2>&1; echo $?"):format(root))
    return tonumber(said:match "%d+$")
  end

  it("leaves faults outside of it to the handler that was there", function()
    assert.equal(42, fault_outside(true))
  end)

  it("lets faults outside of it end the process when there was no handler", function()
    assert.not_equal(0, fault_outside(false))
  end)
end)

describe("base/disk: real names", function()
  before_each(fresh)
  after_each(gone)

  it("makes a directory for its owner alone, and is content with one that is there", function()
    assert.equal(0, real:sys_make_dir "log")
    assert.equal("700", select(2, shell("stat -c %a " .. root .. "/log")))
    assert.equal(0, real:sys_make_dir "log")
    assert.equal(0, real:sys_sync_dir ".")
    assert.equal(0, real:sys_sync_dir "log")
  end)

  it("does not take a file or a link for a directory", function()
    spit(root .. "/file", "")
    run(("mkdir %s/dir && ln -s dir %s/link"):format(root, root))
    for _, name in ipairs { "file", "link" } do
      assert.same({ nil, "ENOTDIR" }, { real:sys_make_dir(name) })
      assert.same({ nil, "ENOTDIR" }, { real:sys_sync_dir(name) })
      assert.same({ nil, "ENOTDIR" }, { real:sys_list(name) })
    end
  end)

  it("does not make parents", function()
    assert.same({ nil, "ENOENT" }, { real:sys_make_dir "a/b" })
  end)

  it("removes a file, and does not mind one that is not there", function()
    spit(root .. "/f", "")
    assert(real:remove "f")
    assert(real:remove "f")
    assert.same({ nil, "ENOENT" }, { real:sys_unlink "f" })
    assert.same({}, real:list ".")
  end)

  it("gives a file a new name, in place of another", function()
    spit(root .. "/new", "new")
    spit(root .. "/name", "old")
    assert(real:adopt("new", "name"))
    assert.equal("new", slurp(root .. "/name"))
    assert.same({ "name" }, real:list ".")
    assert.match("^NOT_FOUND: rename to .*/name", select(2, real:adopt("new", "name")))
  end)

  it("lists by the end of the name, sorted, from the start each time", function()
    assert.equal(0, real:sys_make_dir "log")
    for _, name in ipairs { "2.seg", "10.seg", "1.seg", "seg", "1.segment" } do
      spit(root .. "/log/" .. name, "")
    end
    for _ = 1, 2 do
      assert.same({ "1.seg", "10.seg", "2.seg" }, real:list("log", ".seg"))
    end
    assert.equal(5, #real:list "log")
  end)

  it("finds nothing in a directory that is not there", function()
    assert.same({}, real:list("log", ".seg"))
  end)

  it("saves a small file whole", function()
    for _, text in ipairs { "one", "", "three" } do
      assert(real:save("f", text))
      assert.equal(text, slurp(root .. "/f"))
      assert.same({ "f" }, real:list ".")
    end
  end)
end)

describe("base/disk: clock and dice", function()
  before_each(fresh)
  after_each(gone)

  it("tells the time in microseconds", function()
    local now = real:sys_now() / 1e6
    assert.is_true(math.abs(now - os.time()) < 2)
  end)

  it("fills any size with bytes that differ", function()
    assert.equal("", real:sys_random(0))
    assert.equal(100000, #real:sys_random(100000))
    assert.not_equal(real:sys_random(16), real:sys_random(16))
  end)
end)

-- What the house does, seen on a disk that fails at will.
describe("base/disk: whole reads and writes", function()
  local sim, faulty, rec, file
  before_each(function()
    sim = assert(disk.sim())
    faulty = assert(disk.faulty(sim))
    rec = assert(disk.recorder(faulty))
    file = assert(rec:open("f", "create"))
    rec:clear()
  end)

  it("continues short writes", function()
    faulty:fail(1, "short", true)
    assert(rec:write(file, "0123456789", 7))
    assert.equal(table.concat({ "pwrite f 7+10 = 5", "pwrite f 12+5 = 2", "pwrite f 14+3 = 1",
                                "pwrite f 15+2 = 1", "pwrite f 16+1 = 1", "" }, "\n"), rec:trace())
    assert.equal(("\0"):rep(7) .. "0123456789", sim:content "f")
  end)

  it("continues short reads", function()
    assert(rec:write(file, "0123456789", 0))
    faulty:fail(1, "short", true)
    assert.equal("23456789", rec:read(file, 8, 2))
    assert.equal(4, rec:count "pread")
  end)

  it("tries an interrupted write or read again", function()
    faulty:fail(1, "EINTR", false)
    assert(rec:write(file, "0123456789", 0))
    assert.equal(2, rec:count "pwrite")
    faulty:fail(1, "EINTR", false)
    assert.equal("0123", rec:read(file, 4, 0))
    assert.equal(2, rec:count "pread")
  end)

  it("gives up on a call that is interrupted for ever", function()
    faulty:fail(1, "EINTR", true)
    assert.match("^IO: write sim/f: Interrupted", select(2, rec:write(file, "0", 0)))
    assert.match("^IO: read sim/f: Interrupted", select(2, rec:read(file, 1, 0)))
  end)

  for errno, code in pairs { EIO = "IO", ENOSPC = "NO_SPACE", EDQUOT = "NO_SPACE",
                             EROFS = "READ_ONLY", EACCES = "FORBIDDEN", ENOMEM = "NO_MEMORY" } do
    it("tries nothing again after " .. errno .. ", which is " .. code, function()
      faulty:fail(1, errno, false)
      assert.match("^" .. code .. ": write sim/f: ", select(2, rec:write(file, "0", 0)))
      assert.equal(1, rec:count "pwrite")
    end)
  end

  it("syncs once: interrupted is failed", function()
    for _, errno in ipairs { "EINTR", "EIO" } do
      rec:clear()
      assert(rec:write(file, errno, 0))
      local units = sim:pending()
      faulty:fail(1, errno, false)
      assert.match("^IO: sync sim/f: ", select(2, rec:sync(file)))
      assert.equal(1, rec:count "sync")
      assert.equal(units, (sim:pending()))
    end
  end)

  it("reports a close that fails", function()
    faulty:fail(1, "EIO", false)
    assert.equal("IO: close sim/f: Input/output error", select(2, rec:close(file, "f")))
  end)

  it("gives the errors of size, list, remove, rename and directory sync", function()
    faulty:fail(1, "EIO", true)
    assert.match("^IO: size of sim/f", select(2, rec:size(file)))
    assert.match("^IO: list sim: ", select(2, rec:list("."))) -- the directory itself: no "/."
    assert.match("^IO: remove sim/f", select(2, rec:remove "f"))
    assert.match("^IO: rename to sim/g", select(2, rec:adopt("f", "g")))
    faulty:fail(1, "EIO", false, "sync_dir")
    assert.match("^IO: sync directory sim: ", select(2, rec:adopt("f", "g")))
  end)
end)

describe("base/disk: saving a file", function()
  it("writes aside, syncs, closes, renames, syncs the directory", function()
    local rec = assert(disk.recorder(assert(disk.sim())))
    assert(rec:save("META", "content"))
    assert.equal(table.concat({ "open META~ = 0", "pwrite META~ 0+7 = 7", "sync META~ = 0",
                                "close META~ = 0", "rename META~ META = 0", "sync_dir . = 0",
                                "" }, "\n"), rec:trace())
  end)

  it("leaves the old content or the new, whichever call fails, and nothing else", function()
    local nth, hit = 0
    repeat
      nth = nth + 1
      local sim = assert(disk.sim())
      local faulty = assert(disk.faulty(sim))
      assert(faulty:save("META", "old"))
      faulty:fail(nth, "EIO", false)
      local saved = faulty:save("META", "new")
      hit = faulty:hit()
      assert.equal(not hit, saved == true)
      local found = sim:content "META"
      assert.is_true(found == "new" or hit and found == "old")
      assert.same({}, sim:list(".", "~"))
    until not hit
    assert.equal(7, nth)
  end)

  it("leaves the old content or the new, whenever the power fails", function()
    local sim = assert(disk.sim())
    assert(sim:save("META", "old"))
    local states = 0
    local function check()
      local units, dir_ops = sim:pending()
      for bits = 0, (1 << units) - 1 do
        local kept = {}
        for i = 1, units do kept[i] = (bits >> (i - 1)) & 1 end
        for k = 0, dir_ops do
          local found = sim:crash(table.concat(kept), k):content "META"
          assert.is_true(found == "old" or found == "new")
          states = states + 1
        end
      end
    end
    sim:on_op(check)
    assert(sim:save("META", "new"))
    assert.is_true(states > 10)
    assert.equal("new", sim:crash(""):content "META")
  end)
end)
