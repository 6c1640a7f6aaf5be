-- The contract in core/base/disk_sim.h: what a crash may leave, and nothing else.
local disk = require("coretest").disk

local SECTOR <const> = 512

-- A disk with file `f`, durable, holding `text`.
local function with_file(text, options)
  local sim = assert(disk.sim(options))
  local file = assert(sim:open("f", "create"))
  assert(sim:write(file, text, 0))
  sim:settle()
  return sim, file
end

-- Every content of `path` that some crash leaves ("absent" where it is not there), sorted.
local function outcomes(sim, path)
  local found, list = {}, {}
  local units, dir_ops = sim:pending()
  for bits = 0, (1 << units) - 1 do
    local kept = {}
    for i = 1, units do kept[i] = (bits >> (i - 1)) & 1 end
    for k = 0, dir_ops do
      found[sim:crash(table.concat(kept), k):content(path) or "absent"] = true
    end
  end
  for text in pairs(found) do list[#list + 1] = text end
  table.sort(list)
  return list
end

local function sectors(letters)
  return (letters:gsub(".", function(letter) return letter:rep(SECTOR) end))
end

describe("base/disk_sim: content", function()
  it("is lost or kept sector by sector, in any combination", function()
    local sim, file = with_file(sectors "ab")
    assert(sim:write(file, sectors "xy", 0))
    assert.same({ 2, 0 }, { sim:pending() })
    assert.same({ sectors "ab", sectors "ay", sectors "xb", sectors "xy" }, outcomes(sim, "f"))
    assert.equal(sectors "xb", sim:crash("10"):content "f")
    assert.equal(sectors "ay", sim:crash("01"):content "f")
  end)

  it("is torn inside a write that covers parts of sectors", function()
    local sim, file = with_file(("."):rep(1024))
    assert(sim:write(file, ("x"):rep(100), 462))
    local left, right = ("."):rep(462), ("."):rep(462)
    assert.same({ left .. ("."):rep(100) .. right, left .. ("."):rep(50) .. ("x"):rep(50) .. right,
                  left .. ("x"):rep(50) .. ("."):rep(50) .. right,
                  left .. ("x"):rep(100) .. right }, outcomes(sim, "f"))
  end)

  it("is durable after sync", function()
    local sim, file = with_file(sectors "ab")
    assert(sim:write(file, sectors "xyz", 0))
    assert(sim:sync(file))
    assert.same({ 0, 0 }, { sim:pending() })
    assert.same({ sectors "xyz" }, outcomes(sim, "f"))
  end)

  it("is made durable by the sync of its own file only", function()
    local sim, file = with_file "old"
    local other = assert(sim:open("g", "create"))
    assert(sim:write(file, "new", 0))
    assert(sim:sync(other))
    assert.same({ "new", "old" }, outcomes(sim, "f"))
  end)

  it("goes back to what was durable, not to what was written between", function()
    local sim, file = with_file "1"
    assert(sim:write(file, "2", 0))
    assert(sim:write(file, "3", 0))
    assert.same({ 1, 0 }, { sim:pending() })
    assert.same({ "1", "3" }, outcomes(sim, "f"))
  end)

  it("is not pending where a write changes nothing", function()
    local sim, file = with_file(sectors "ab")
    assert(sim:write(file, sectors "ax", 0))
    assert.same({ 1, 0 }, { sim:pending() })
  end)

  it("stays pending for a sector when another file is synced between", function()
    local sim, file = with_file(sectors "abc")
    local other = assert(sim:open("g", "create"))
    assert(sim:write(other, "g", 0))
    assert(sim:write(file, sectors "x", 0))
    assert(sim:write(other, "h", 600))
    assert(sim:write(file, sectors "z", 2 * SECTOR))
    assert(sim:sync(other))
    assert.same({ 2, 1 }, { sim:pending() })
    assert(sim:write(file, sectors "X", 0)) -- the place of its unit has moved
    assert.same({ 2, 1 }, { sim:pending() })
    assert.same({ sectors "Xbc", sectors "Xbz", sectors "abc", sectors "abz" }, outcomes(sim, "f"))
  end)
end)

describe("base/disk_sim: size", function()
  it("lags, taking new sectors with it; alone it shows zeros", function()
    local sim, file = with_file(sectors "a")
    assert(sim:write(file, sectors "b", SECTOR))
    assert.same({ 2, 0 }, { sim:pending() })
    assert.same({ sectors "a", sectors "a\0", sectors "ab" }, outcomes(sim, "f"))
  end)

  it("lags inside a sector too, which is not left behind the end", function()
    local sim, file = with_file "abc"
    assert(sim:write(file, "def", 3))
    assert.same({ "abc", "abc\0\0\0", "abcdef" }, outcomes(sim, "f"))
    local image = sim:crash "01" -- the sector, not the size
    local again = assert(image:open("f", "rw"))
    assert.equal("abc", image:content "f")
    assert.equal(0, image:sys_truncate(again, 6))
    assert.equal("abc\0\0\0", image:content "f")
  end)

  it("is durable after a sync that follows its growth", function()
    local sim, file = with_file "a"
    assert.equal(0, sim:sys_allocate(file, 2000))
    assert.same({ 1, 0 }, { sim:pending() })
    assert(sim:sync(file))
    assert.same({ "a" .. ("\0"):rep(1999) }, outcomes(sim, "f"))
  end)

  it("may come back after a cut, with old bytes or zeros", function()
    local sim, file = with_file(sectors "abc")
    assert.equal(0, sim:sys_truncate(file, SECTOR))
    assert.same({ sectors "a", sectors "a\0\0", sectors "a\0c", sectors "ab\0", sectors "abc" },
                outcomes(sim, "f"))
    assert(sim:sync(file))
    assert.same({ sectors "a" }, outcomes(sim, "f"))
  end)

  it("may come back even after sync, when asked to lag as POSIX allows", function()
    local sim, file = with_file(sectors "abc", { lazy_shrink = true })
    assert.equal(0, sim:sys_truncate(file, 100))
    assert(sim:write(file, "x", 0))
    assert(sim:sync(file))
    local kept = "x" .. ("a"):rep(99)
    local zeros = ("\0"):rep(412)
    assert.same({ kept, kept .. zeros .. sectors "\0\0", kept .. zeros .. sectors "\0c",
                  kept .. zeros .. sectors "b\0", kept .. zeros .. sectors "bc" },
                outcomes(sim, "f"))
    assert(sim:write(file, sectors "xyzt", 0))
    assert(sim:sync(file))
    assert.same({ sectors "xyzt" }, outcomes(sim, "f"))
  end)

  it("of a file emptied by create lags as well", function()
    local sim = with_file "old"
    assert(sim:open("f", "create"))
    assert.same({ "", "\0\0\0", "old" }, outcomes(sim, "f"))
  end)
end)

describe("base/disk_sim: names", function()
  it("are gone until their directory is synced, however well the file is", function()
    local sim = assert(disk.sim())
    local file = assert(sim:open("f", "create"))
    assert(sim:write(file, "text", 0))
    assert(sim:sync(file))
    assert.same({ 0, 1 }, { sim:pending() })
    assert.same({ "absent", "text" }, outcomes(sim, "f"))
    assert.equal(0, sim:sys_sync_dir ".")
    assert.same({ "text" }, outcomes(sim, "f"))
  end)

  it("may be durable before what is in the file", function()
    local sim = assert(disk.sim())
    local file = assert(sim:open("f", "create"))
    assert(sim:write(file, "text", 0))
    assert.equal(0, sim:sys_sync_dir ".")
    assert.same({ "", "\0\0\0\0", "text" }, outcomes(sim, "f"))
  end)

  it("come and go in order", function()
    local sim = assert(disk.sim())
    for _, name in ipairs { "a", "b", "c" } do assert(sim:open(name, "create")) end
    assert(sim:remove "b")
    local function names(k) return table.concat(sim:crash("", k):list ".", " ") end
    assert.same({ "", "a", "a b", "a b c", "a c" },
                { names(0), names(1), names(2), names(3), names(4) })
  end)

  it("are replaced in one step", function()
    local sim = with_file "old"
    local file = assert(sim:open("f~", "create"))
    assert(sim:write(file, "new", 0))
    assert(sim:sync(file))
    assert.equal(0, sim:sys_rename("f~", "f"))
    assert.same({ "new", "old" }, outcomes(sim, "f"))
    assert.same({ "absent", "new" }, outcomes(sim, "f~")) -- created, and not yet renamed
    assert.equal(0, sim:sys_sync_dir ".")
    assert.same({ "new" }, outcomes(sim, "f"))
    assert.same({ "absent" }, outcomes(sim, "f~"))
  end)

  it("come back after an un-synced removal, with what was in the file", function()
    local sim, file = with_file "text"
    assert(sim:close(file))
    assert(sim:remove "f")
    assert.is_nil(sim:content "f")
    assert.same({ "absent", "text" }, outcomes(sim, "f"))
    assert.equal(0, sim:sys_sync_dir ".")
    assert.same({ "absent" }, outcomes(sim, "f"))
  end)

  it("are made durable by the sync of their own directory only", function()
    local sim = assert(disk.sim())
    assert.equal(0, sim:sys_make_dir "log")
    assert.equal(0, sim:sys_sync_dir ".")
    assert(sim:open("log/a", "create"))
    assert(sim:open("b", "create"))
    assert.equal(0, sim:sys_sync_dir ".")
    assert.same({ "absent", "" }, (function(list) table.sort(list, function(a, b) return a > b end)
      return list end)(outcomes(sim, "log/a")))
    assert.same({ "" }, outcomes(sim, "b"))
  end)

  it("are gone with their directory", function()
    local sim = assert(disk.sim())
    assert.equal(0, sim:sys_make_dir "log")
    assert.equal(0, sim:sys_make_dir "log/old")
    for _, name in ipairs { "log/a", "log/b", "log/old/c", "d" } do
      assert(sim:open(name, "create"))
    end
    assert.equal(0, sim:sys_sync_dir "log")
    assert.equal(0, sim:sys_sync_dir "log/old")
    assert.same({ "", "absent" }, outcomes(sim, "log/a"))
    local image = sim:crash("", 0)
    for _, name in ipairs { "log/a", "log/b", "log/old/c", "d" } do
      assert.is_nil(image:content(name), name)
    end
    assert.same({}, image:list ".")
    assert.same({ nil, "ENOENT" }, { image:sys_list "log" })
    assert.same({ nil, "ENOENT" }, { image:sys_open("log/a", "create") })
  end)
end)

describe("base/disk_sim: as a disk", function()
  local sim
  before_each(function() sim = assert(disk.sim { files = 4, file_bytes = 8192, seed = 7 }) end)

  it("refuses what a real one does", function()
    assert.equal(0, sim:sys_make_dir "log")
    assert(sim:open("f", "create"))
    for _, case in ipairs {
      { "ENOENT", sim:sys_open("g", "r") }, { "ENOENT", sim:sys_open("g", "rw") },
      { "ENOENT", sim:sys_open("no/g", "create") }, { "EISDIR", sim:sys_open("log", "r") },
      { "EINVAL", sim:sys_open("", "create") }, { "EINVAL", sim:sys_open("/f", "r") },
      { "ENAMETOOLONG", sim:sys_open(("n"):rep(200), "create") },
      { "EBADF", sim:sys_close(77) }, { "EBADF", sim:sys_close(-1) }, { "EBADF", sim:sys_sync(77) },
      { "ENOENT", sim:sys_unlink "g" }, { "EISDIR", sim:sys_unlink "log" },
      { "ENOENT", sim:sys_rename("g", "h") }, { "EISDIR", sim:sys_rename("f", "log") },
      { "EXDEV", sim:sys_rename("f", "log/f") }, { "ENOTDIR", sim:sys_make_dir "f" },
      { "ENOTDIR", sim:sys_sync_dir "f" }, { "ENOENT", sim:sys_sync_dir "no" },
      { "ENOTDIR", sim:sys_list "f" }, { "ENOENT", sim:sys_list "no" },
    } do
      assert.same({ case[1], nil, case[1] }, { case[1], case[2], case[3] })
    end
    local reading = assert(sim:open("f", "r"))
    for _, call in ipairs { "sys_pwrite", "sys_truncate", "sys_allocate", "sys_lock" } do
      local given = call == "sys_pwrite" and "x" or 1
      assert.same({ nil, "EBADF" }, { sim[call](sim, reading, given, 0) }, call)
    end
  end)

  it("keeps to its sizes", function()
    local file = assert(sim:open("f", "create"))
    assert.same({ nil, "EFBIG" }, { sim:sys_pwrite(file, "x", 8192) })
    assert.same({ nil, "EFBIG" }, { sim:sys_allocate(file, 8193) })
    assert.same({ nil, "EFBIG" }, { sim:sys_truncate(file, 8193) })
    assert.same({ nil, "ENOMEM" }, { sim:sys_map(file, 8193) })
    for _, name in ipairs { "g", "h", "i" } do assert(sim:open(name, "create")) end
    assert.same({ nil, "ENOSPC" }, { sim:sys_open("j", "create") })
  end)

  it("uses the place of a removed file again, empty, once nobody can reach it", function()
    for round = 1, 20 do
      local file = assert(sim:open("f", "create"))
      assert.equal("", sim:content "f")
      assert(sim:write(file, ("x"):rep(2000), round))
      assert(sim:remove "f")
      assert.equal(0, sim:sys_sync_dir ".")
      assert.equal(("x"):rep(9), sim:read(file, 9, round)) -- still open
      assert(sim:close(file))
      assert.same({ 0, 0 }, { sim:pending() })
    end
  end)

  it("maps the live content, and keeps it while it is mapped", function()
    local file = assert(sim:open("f", "create"))
    assert(sim:write(file, "abc", 0))
    local map = assert(sim:sys_map(file, 4096))
    assert(sim:write(file, "x", 1))
    assert.equal("axc\0", disk.peek(map, 0, 4))
    assert.equal(0, sim:sys_truncate(file, 1))
    assert.equal("a\0\0\0", disk.peek(map, 0, 4))
    assert(sim:close(file))
    assert(sim:remove "f")
    assert.equal(0, sim:sys_sync_dir ".")
    assert.equal("a", disk.peek(map, 0, 1))
    sim:sys_unmap(map, 4096)
  end)

  it("gives a lock to one handle, and to the next after a close or a crash", function()
    local one, two = assert(sim:open("f", "create")), assert(sim:open("f", "rw"))
    assert.equal(0, sim:sys_lock(one))
    assert.equal(0, sim:sys_lock(one))
    assert.same({ nil, "EAGAIN" }, { sim:sys_lock(two) })
    local image = sim:crash ""
    assert.equal(0, image:sys_lock(assert(image:open("f", "rw"))))
    assert(sim:close(one))
    assert.equal(0, sim:sys_lock(two))
  end)

  it("has a clock that goes on by itself and can be set", function()
    assert.same({ 0, 1, 2 }, { sim:sys_now(), sim:sys_now(), sim:sys_now() })
    sim:set_time(1000)
    assert.same({ 1000, 1001 }, { sim:sys_now(), sim:sys_now() })
    assert.equal(1002, sim:crash(""):sys_now())
  end)

  it("has dice that fall the same for the same seed", function()
    local function rolls(seed) return assert(disk.sim { seed = seed }):sys_random(20) end
    assert.equal(rolls(7), sim:sys_random(20))
    assert.not_equal(rolls(7), rolls(8))
    assert.not_equal(sim:sys_random(20), sim:sys_random(20))
  end)
end)

describe("base/disk_sim: a full disk", function()
  local sim, file
  before_each(function()
    sim, file = with_file(("a"):rep(1000))
    sim:set_space(100)
  end)

  it("takes what fits, then nothing more", function()
    assert.equal(100, sim:sys_pwrite(file, ("b"):rep(300), 1000))
    assert.same({ nil, "ENOSPC" }, { sim:sys_pwrite(file, "b", 1100) })
    assert.match("^NO_SPACE: ", select(2, sim:write(file, "b", 1100)))
    assert.same({ nil, "ENOSPC" }, { sim:sys_open("g", "create") })
    assert.same({ nil, "ENOSPC" }, { sim:sys_make_dir "log" })
  end)

  it("allocates all or nothing", function()
    assert.same({ nil, "ENOSPC" }, { sim:sys_allocate(file, 1101) })
    assert.equal(1000, sim:size(file))
    assert.equal(0, sim:sys_allocate(file, 1100))
    assert.same({ nil, "ENOSPC" }, { sim:sys_truncate(file, 1101) })
  end)

  it("goes on inside its files, and can rename, cut and remove them", function()
    sim:set_space(0)
    assert(sim:write(file, ("b"):rep(1000), 0))
    assert(sim:sync(file))
    assert.equal(0, sim:sys_rename("f", "g"))
    assert.equal(0, sim:sys_truncate(file, 900))
    assert.equal(0, sim:sys_allocate(file, 1000))
    assert(sim:remove "g")
    assert.equal(0, sim:sys_sync_dir ".")
    assert.same({ nil, "ENOSPC" }, { sim:sys_open("h", "create") }) -- still open, still there
    assert(sim:close(file))
    assert(sim:open("h", "create"))
  end)

  it("is as full after a crash", function()
    local image = sim:crash ""
    local again = assert(image:open("f", "rw"))
    assert.equal(100, image:sys_pwrite(again, ("b"):rep(300), 1000))
  end)
end)

describe("base/disk_sim: in a test's hands", function()
  it("tells of every operation that changed something, and no other", function()
    local sim, said = assert(disk.sim()), {}
    sim:on_op(function(op) said[#said + 1] = op end)
    assert.equal(0, sim:sys_make_dir "log")
    assert.equal(0, sim:sys_make_dir "log")
    local file = assert(sim:open("f", "create"))
    assert(sim:write(file, "x", 0))
    assert(sim:write(file, "x", 0))
    assert(sim:sync(file))
    assert(sim:sync(file))
    assert.equal(0, sim:sys_allocate(file, 10))
    assert.equal(0, sim:sys_allocate(file, 10))
    assert.equal(0, sim:sys_truncate(file, 1))
    assert.equal("x", sim:read(file, 1, 0))
    assert.equal(0, sim:sys_rename("f", "g"))
    assert.equal(0, sim:sys_unlink "g")
    assert.equal(0, sim:sys_sync_dir ".")
    assert.equal(0, sim:sys_sync_dir ".")
    assert(sim:close(file))
    assert.equal("make_dir open pwrite sync allocate truncate rename unlink sync_dir",
                 table.concat(said, " "))
  end)

  it("leaves the disk as it was when it makes images of it", function()
    local sim, file = with_file(sectors "ab")
    assert(sim:write(file, sectors "xyz", 0))
    local before = sim:show()
    for _ = 1, 3 do outcomes(sim, "f") end
    assert.equal(before, sim:show())
    assert.equal(sectors "xyz", sim:content "f")
  end)

  it("makes an image in place of another, of which nothing is left", function()
    local sim, file = with_file(sectors "ab")
    local image = sim:crash ""
    for _ = 1, 3 do
      local mess = assert(image:open("mess", "create"))
      assert(image:write(mess, ("m"):rep(5000), 0))
      local longer = assert(image:open("f", "rw"))
      assert(image:write(longer, ("l"):rep(9000), 100))
      assert.equal(0, image:sys_lock(longer))
      assert(image:sys_map(longer, 4096))
      sim:crash_into(image, "")
      assert.same({ "f" }, image:list ".")
      assert.equal(sectors "ab", image:content "f")
      assert.same({ 0, 0 }, { image:pending() })
      local again = assert(image:open("f", "rw"))
      assert.equal(0, image:sys_allocate(again, 20000))
      assert.equal(sectors "ab" .. ("\0"):rep(20000 - 1024), image:content "f")
      assert(image:write(again, "x", 0))
      assert.same({ 2, 0 }, { image:pending() }) -- the size and the one sector
    end
    assert(sim:write(file, sectors "xy", 0))
    assert.equal(sectors "xb", sim:crash_into(image, "10"):content "f")
  end)

  it("makes an image of an image", function()
    local sim, file = with_file(sectors "ab")
    assert(sim:write(file, sectors "xy", 0))
    local image = sim:crash "10"
    local again = assert(image:open("f", "rw"))
    assert(image:write(again, sectors "XY", 0))
    assert.same({ sectors "XY", sectors "Xb", sectors "xY", sectors "xb" }, outcomes(image, "f"))
  end)

  it("says what is pending", function()
    local sim, file = with_file "a"
    assert(sim:write(file, ("x"):rep(600), 0))
    assert.equal(0, sim:sys_rename("f", "g"))
    assert.equal("unit 0: g size 600, was 1\nunit 1: g sector 0\nunit 2: g sector 1\n" ..
                 "directory operation 0: rename f g\n", sim:show())
  end)

  it("settles", function()
    local sim = with_file "a"
    assert(sim:save("g", "b"))
    assert(sim:open("h", "create"))
    sim:settle()
    assert.same({ 0, 0 }, { sim:pending() })
    assert.same({ "f", "g", "h" }, sim:crash(""):list ".")
  end)

  it("flips bits and cuts files for good", function()
    local sim = with_file "abc"
    sim:flip("f", 9)
    assert.equal("a`c", sim:crash(""):content "f")
    assert.is_true(sim:cut("f", 1))
    assert.equal("a", sim:crash(""):content "f")
    assert.is_true(sim:cut("f", 3))
    assert.equal("a\0\0", sim:crash(""):content "f")
    assert.is_false(sim:cut("g", 1))
    assert.is_false(sim:cut("f", 1 << 40))
  end)
end)

-- The model against the plainest one: every fate of random work is compared with a list.
describe("base/disk_sim: at random", function()
  it("agrees with a model that keeps whole old and new contents", function()
    math.randomseed(20261121)
    for _ = 1, 300 do
      local sim, file = with_file(sectors "abcd")
      local durable, live = sectors "abcd", sectors "abcd"
      for _ = 1, math.random(1, 12) do
        local at, size = math.random(0, 3000), math.random(1, 900)
        local roll = math.random(10)
        if roll <= 6 then
          local text = string.char(math.random(65, 90)):rep(size)
          assert(sim:write(file, text, at))
          if #live < at then live = live .. ("\0"):rep(at - #live) end
          live = live:sub(1, at) .. text .. live:sub(at + size + 1)
        elseif roll <= 8 then
          assert.equal(0, sim:sys_truncate(file, at))
          live = live:sub(1, at) .. ("\0"):rep(at - #live)
        else
          assert(sim:sync(file))
          durable = live
        end
      end
      assert.equal(live, sim:content "f")
      local units = sim:pending()
      assert.equal(durable, sim:crash(("0"):rep(units)):content "f")
      assert.equal(live, sim:crash(("1"):rep(units)):content "f")
      local kept = {}
      for i = 1, units do kept[i] = math.random(0, 1) end
      local found = sim:crash(table.concat(kept)):content "f"
      assert.is_true(#found == #durable or #found == #live)
      for at = 1, #found, SECTOR do
        local size = math.min(SECTOR, #found - at + 1)
        local function of(text)
          local part = text:sub(at, at + size - 1)
          return part .. ("\0"):rep(size - #part)
        end
        local part = of(found)
        assert.is_true(part == of(durable) or part == of(live))
      end
    end
  end)
end)
