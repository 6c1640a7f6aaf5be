-- What is not to be believed is refused: files with flipped, cut or foreign bytes; and what was
-- killed is one of the commits.
local core = require "coretest"
local views = require "spec.support.views"
local view = core.view

local key, row = views.key, views.row

local function copy_of(rows)
  local copy = {}
  for one, bytes in pairs(rows) do copy[one] = bytes end
  return copy
end

-- A view with everything in it: rows of all sizes, indexes, expiries, free pages, a note.
local function make(dir)
  local at, rows, dice = views.open(dir), {}, views.dice(8)
  local contents = { older = {} } -- and the file as it was before
  for position = 1, 40 do
    for _ = 1, 60 do views.step(at, rows, dice) end
    local one = key(('"expires-%d"'):format(position))
    rows[one] = row("e", "f", position)
    assert(at:put(one, rows[one], 1000 + position))
    local note = ("note %d "):format(position):rep(30)
    assert(at:commit(position, note))
    if position >= 20 and position < 40 then
      contents.older[#contents.older + 1] = views.read(dir .. "/data.mdb")
    end
    if position >= 39 then
      contents[position] = { rows = copy_of(rows), note = note, changed = at:changed() }
    end
  end
  views.check(at, rows)
  at:close()
  return contents
end

-- Short, for it has to come out of another process.
local function alike(a, b, what)
  if #a ~= #b then error(("%s: %d instead of %d"):format(what, #b, #a)) end
  for n, one in ipairs(a) do
    if one[1] ~= b[n][1] or one[2] ~= b[n][2] then error(what .. " differ at " .. n) end
  end
end

-- Is what was opened whole? Then it goes on living: a page that is wrongly free shows late.
local function live_on(at, dir, contents, seed)
  local content = assert(contents[at:stats().position]) -- the last commit, or the one before
  assert.equal(content.note, at:note())
  alike(content.changed, at:changed(), "changes")
  local rows = copy_of(content.rows)
  if seed % 4 > 0 then -- mostly this is enough: where the others fail, it would
    alike(views.sorted(rows), at:scan(), "rows")
    return at:unload()
  end
  views.check(at, rows)
  local dice = views.dice(seed)
  for position = 41, 44 do
    for _ = 1, 100 do views.step(at, rows, dice) end
    assert(at:commit(position))
  end
  at:unload()
  at = views.open(dir)
  views.check(at, rows)
  at:unload()
end

-- Does `harm` to the file `name` of the view again and again, and puts it back. Gives how often it
-- was refused, and accepted.
local function try(name, times, harm)
  local dir = views.dir()
  local contents = make(dir)
  local clean, whole = views.read(dir .. "/data.mdb"), views.read(dir .. "/" .. name)
  local said, died = core.script.apart(function()
    local refused, accepted, dice = 0, 0, views.dice(times)
    for n = 1, times do
      views.write(dir .. "/" .. name, harm(whole, dice, n, contents.older))
      local at, why = view.open(dir, views.about)
      if at then
        accepted = accepted + 1
        live_on(at, dir, contents, n)
        os.remove(dir .. "/BOOT")
        if n % 4 == 0 then views.write(dir .. "/data.mdb", clean) end
      else
        refused = refused + 1
        assert(why:match "^CORRUPT: .*" or why:match "^UNSUPPORTED: ", why)
      end
    end
    return ("%d %d"):format(refused, accepted)
  end, 120)
  assert.is_nil(died)
  local refused, accepted = said:match "^(%d+) (%d+)$"
  if not refused then error(said) end
  return tonumber(refused), tonumber(accepted), #whole
end

local function flip(whole, dice, from, to)
  local at = from + dice(to - from) - 1
  local byte = whole:byte(at) ~ (dice(2) == 1 and 1 << (dice(8) - 1) or dice(255))
  return whole:sub(1, at - 1) .. string.char(byte) .. whole:sub(at + 1)
end

describe("view: damage", function()
  it("of any byte is refused, or where nothing is", function()
    local refused, accepted = try("data.mdb", 500, function(whole, dice) return flip(whole, dice,
      1, #whole) end)
    assert.is_true(refused > 30)
    assert.is_true(accepted > 30) -- free pages, and ends of pages
  end)

  it("of the first pages and of heads of pages is refused, or where nothing is", function()
    local refused = try("data.mdb", 300, function(whole, dice, n)
      if n % 3 == 0 then return flip(whole, dice, 1, 200) end
      if n % 3 == 1 then return flip(whole, dice, 4097, 4097 + 200) end
      local page = 4096 * dice(#whole // 4096 - 1)
      return flip(whole, dice, page + 1, page + 80)
    end)
    assert.is_true(refused > 60)
  end)

  it("of whole pages, put where others were, is refused, or where nothing is", function()
    local refused = try("data.mdb", 200, function(whole, dice)
      local from, to = 4096 * (dice(#whole // 4096) - 1), 4096 * (dice(#whole // 4096) - 1)
      return whole:sub(1, to) .. whole:sub(from + 1, from + 4096) .. whole:sub(to + 4097)
    end)
    assert.is_true(refused > 20)
  end)

  it("by pages that were not written is refused, or where nothing is", function()
    local refused = try("data.mdb", 250, function(whole, dice, _, older)
      local from, at = older[dice(#older)], 4096 * (dice(#whole // 4096) - 1)
      if at + 4096 > #from then return whole end
      return whole:sub(1, at) .. from:sub(at + 1, at + 4096) .. whole:sub(at + 4097)
    end)
    assert.is_true(refused > 20)
  end)

  it("by cutting the file is refused, or where nothing is", function()
    local refused, accepted, size = try("data.mdb", 300, function(whole, dice, n)
      if n <= 60 then return whole:sub(1, 4096 * (n - 1)) end
      return whole:sub(1, dice(#whole) - 1)
    end)
    assert.is_true(refused > 200, ("%d refused, %d accepted of %d bytes"):format(refused, accepted,
      size))
  end)

  it("of LMDB's lock file does not matter", function()
    local refused = try("lock.mdb", 200, function(whole, dice, n)
      if n % 4 == 0 then return whole:sub(1, dice(#whole) - 1) end
      return flip(whole, dice, 1, n % 2 == 0 and 300 or #whole)
    end)
    assert.equal(0, refused)
  end)

  it("that is no view at all is said to be none", function()
    local dir = views.dir()
    views.open(dir):close()
    for _, bytes in ipairs { "", "x", ("\0"):rep(100000), ("\xff"):rep(8192) } do
      views.write(dir .. "/data.mdb", bytes)
      assert.matches("^CORRUPT: the view in .* is damaged: .*; discard it", select(2, view.open(dir,
        views.about)))
    end
  end)

  it("of which each page is whole, but of another view, is refused", function()
    local files, dirs, differ = {}, { views.dir(), views.dir() }, 0
    for n, dir in ipairs(dirs) do
      local at = views.open(dir)
      for one = 1, 200 do assert(at:put(key(one), row("o", "c", one == 77 and n or 5))) end
      assert(at:commit(1))
      at:close()
      files[n] = views.read(dir .. "/data.mdb")
    end
    assert.equal(#files[1], #files[2])
    for at = 1, #files[1], 4096 do
      local theirs = files[1]:sub(at, at + 4095)
      if theirs ~= files[2]:sub(at, at + 4095) then
        differ = differ + 1
        views.write(dirs[2] .. "/data.mdb", files[2]:sub(1, at - 1) .. theirs ..
          files[2]:sub(at + 4096))
        assert.matches("^CORRUPT: .*not those of its digest", select(2, view.open(dirs[2],
          views.about)))
      end
    end
    assert.equal(2, differ) -- the row's, and the record's
  end)

  it("of a row while it is open is seen when it is read", function()
    local dir = views.dir()
    local at = views.open(dir)
    local text = '{"owner":"ada","mark":"find me here"}'
    assert(at:put(key "1", views.pack(text)))
    assert(at:commit(1))
    at:unload()
    at = views.open(dir)
    local whole = views.read(dir .. "/data.mdb")
    local file = assert(io.open(dir .. "/data.mdb", "r+b"))
    local place = 1
    while true do
      place = whole:find("find me", place, true)
      if not place then break end
      file:seek("set", place - 1)
      file:write "lost"
      place = place + 1
    end
    file:close()
    for _, read in ipairs { "get", "find" } do
      local none, why = at[read](at, key "1")
      assert.is_nil(none)
      assert.matches("^CORRUPT: .*checksum of a row", why)
    end
    assert.matches("^CORRUPT: ", select(2, at:scan()))
    assert.matches("^CORRUPT: ", select(2, at:scan { index = 1 }))
    assert(at:put(key "1", views.pack '{"owner":"bob"}'))
    assert.matches("^CORRUPT: ", select(2, at:commit(2)))
    at:unload()
  end)
end)

describe("view: kill -9", function()
  -- What commit `position` holds is known beforehand.
  local function work(dir, tell)
    local rows = {}
    for position = 1, math.maxinteger do
      local dice = views.dice(position)
      for _ = 1, 20 do
        local one = key(('"account-%d"'):format(dice(150)))
        rows[one] = dice(6) > 1 and row("o" .. dice(9), "c" .. dice(3), position) or nil
        if dir and rows[one] then assert(dir:put(one, rows[one], position * 100)) end
        if dir and not rows[one] then assert(dir:delete(one)) end
      end
      if tell(position, rows) then return rows end
    end
  end

  it("leaves one of the commits, whenever it comes", function()
    local dice = views.dice(os.time())
    local dir, seen, deep = views.dir(), {}, 0
    for round = 1, 120 do
      local writer = view.spawn(function(tell)
        assert(view.discard(dir))
        local at = views.open(dir)
        tell()
        work(at, function(position)
          assert(at:commit(position, "note " .. position))
          tell()
        end)
      end)
      local commits = dice(25)
      assert.equal(commits, writer:hear(commits))
      assert.is_true(writer:kill(dice(800)))
      local at = views.open(dir)
      local position = at:stats().position
      assert.is_true(position >= commits - 1)
      assert.equal(position > 0 and "note " .. position or "", at:note() or "")
      local rows = {}
      if position > 0 then rows = work(nil, function(n, now) return n == position and now end) end
      views.check(at, rows)
      local changed = at:changed()
      for _, one in ipairs(changed) do assert.equal(rows[one[1]] or false, one[2]) end
      seen[position - commits] = true
      deep = math.max(deep, position)
      at:unload()
      assert.is_true(round < 120 or next(seen) ~= nil)
    end
    assert.is_true(deep > 10)
  end)

  it("while it is made leaves none, or an empty one", function()
    local dice = views.dice(os.time() + 1)
    for _ = 1, 80 do
      local dir = views.dir()
      local writer = view.spawn(function(tell)
        tell()
        local at = views.open(dir)
        assert(at:commit(1))
        tell()
      end)
      writer:hear(1)
      writer:kill(dice(3000))
      local at, why = view.open(dir, views.about)
      if at then
        assert.is_true(at:stats().position <= 1)
        views.check(at, {})
        at:unload()
      else
        assert.matches("^CORRUPT: ", why)
        assert(view.discard(dir))
        views.open(dir):unload()
      end
    end
  end)
end)
