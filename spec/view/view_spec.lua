-- core/view/view.h, sentence by sentence.
local core = require "coretest"
local views = require "spec.support.views"
local view = core.view

local key, row, pack = views.key, views.row, views.pack
local ada, bob, eve = key '"ada"', key '"bob"', key '"eve"'

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function keys_of(list)
  local keys = {}
  for n, one in ipairs(list) do keys[n] = one[1] end
  return keys
end

describe("view: life", function()
  it("is empty at position 0 where nothing was", function()
    local at = views.open(views.dir())
    assert.same({ 0, 0, 0 }, { at:stats().position, at:stats().rows, at:stats().commits })
    assert.equal(("\0"):rep(16), at:stats().digest)
    assert.equal("", at:note() or "")
    assert.same({}, at:scan())
    assert.same({}, at:changed())
    at:close()
  end)

  it("keeps rows, position and note from one life to the next", function()
    local dir = views.dir()
    local at = views.open(dir)
    assert(at:put(ada, row("ann", "rome", 1)))
    assert(at:commit(7, "a note"))
    assert(at:put(bob, row("ann", "rome", 2)))
    at:close() -- what was not committed is forgotten
    at = views.open(dir)
    assert.same({ 7, 1, "a note" }, { at:stats().position, at:stats().rows, at:note() })
    views.check(at, { [ada] = row("ann", "rome", 1) })
    assert(at:commit(8)) -- the note is the view's own
    assert.equal("a note", at:note())
    at:close()
  end)

  it("believes a view after a kill, but not one of another boot", function()
    local dir = views.dir()
    local at = views.open(dir)
    assert(at:put(ada, row("ann", nil, 1)))
    assert(at:commit(1))
    assert.is_true(exists(dir .. "/BOOT"))
    at:unload()
    views.open(dir):unload()
    local other = { identity = "log/hash", indexes = views.about.indexes, boot = "another" }
    local none, why = view.open(dir, other)
    assert.is_nil(none)
    assert.matches("^CORRUPT: .*before the machine went down", why)
    other.boot = ""
    assert.matches("^CORRUPT: .*before the machine went down", select(2, view.open(dir, other)))
    views.open(dir):close() -- synced now
    assert.is_false(exists(dir .. "/BOOT"))
    other.boot = "another"
    at = views.open(dir, other)
    views.check(at, { [ada] = row("ann", nil, 1) })
    at:close()
    assert.is_false(exists(dir .. "/BOOT")) -- nothing was written
  end)

  it("marks the boot before the first commit of each life", function()
    local dir = views.dir()
    views.open(dir):close()
    local at = views.open(dir)
    assert.is_false(exists(dir .. "/BOOT"))
    assert(at:commit(1))
    assert.equal(view.boot(), views.read(dir .. "/BOOT"))
    at:close()
  end)

  it("refuses a view of another identity, or with other indexes", function()
    local dir = views.dir()
    views.open(dir):close()
    for _, about in ipairs { { identity = "log/other", indexes = views.about.indexes },
                             { identity = "log/hash", indexes = { "owner" } },
                             { identity = "log/hash", indexes = { "at.city", "owner" } } } do
      assert.matches("^CORRUPT: .*another projection, version or log", select(2, view.open(dir,
        about)))
    end
    views.open(dir):close()
  end)

  it("has one writer", function()
    local dir = views.dir()
    local at = views.open(dir)
    assert.matches("^LOCKED: another process writes", select(2, view.open(dir, views.about)))
    assert.matches("^LOCKED: ", select(2, view.discard(dir)))
    assert.equal("LOCKED", core.script.apart(function()
      return select(2, view.open(dir, views.about)):match "^%w+"
    end, 5))
    at:close()
    views.open(dir):close()
  end)

  it("is discarded with all its files, and nobody else's", function()
    local dir = views.dir()
    assert(view.discard(dir)) -- is not there
    views.open(dir):unload()
    views.write(dir .. "/rows.sqlite", "x")
    views.write(dir .. "/mine", "x")
    assert(view.discard(dir))
    for _, name in ipairs { "data.mdb", "lock.mdb", "LOCK", "BOOT", "rows.sqlite" } do
      assert.is_false(exists(dir .. "/" .. name))
    end
    assert.is_true(exists(dir .. "/mine"))
    os.remove(dir .. "/mine")
    views.open(dir):unload()
    assert(view.discard(dir))
    assert.is_nil(io.open(dir))
  end)

  it("says what stands in its way", function()
    assert.matches("^NOT_FOUND: ", select(2, view.open(views.dir() .. "/deep", views.about)))
    local dir = views.dir()
    views.open(dir):close()
    os.remove(dir .. "/data.mdb")
    assert(os.execute(("mkdir '%s/data.mdb'"):format(dir)))
    assert.matches("^%u+: ", select(2, view.open(dir, views.about)))
  end)
end)

describe("view: a batch", function()
  local dir, at
  before_each(function()
    dir = views.dir()
    at = views.open(dir)
    assert(at:put(ada, row("ann", "rome", 1)))
    assert(at:commit(1))
  end)
  after_each(function() at:close() end)

  it("is read before what is committed, and alone seen by who writes", function()
    assert.equal(row("ann", "rome", 1), at:get(ada))
    assert(at:put(ada, row("ann", "rome", 2)))
    assert(at:put(bob, row("bea", "oslo", 3)))
    assert.equal(row("ann", "rome", 2), at:get(ada))
    assert.equal(row("ann", "rome", 1), at:find(ada))
    assert.is_nil(at:find(bob))
    assert(at:delete(ada))
    assert.is_nil(at:get(ada))
    assert.equal(row("ann", "rome", 1), at:find(ada))
    assert.equal(1, #at:scan())
    assert(at:commit(2))
    assert.is_nil(at:find(ada))
    assert.is_nil(at:get(ada))
    views.check(at, { [bob] = row("bea", "oslo", 3) })
  end)

  it("is forgotten by abort", function()
    assert(at:put(ada, row("ann", "rome", 2)))
    assert(at:delete(bob))
    at:abort()
    assert.equal(row("ann", "rome", 1), at:get(ada))
    assert(at:commit(2))
    views.check(at, { [ada] = row("ann", "rome", 1) })
  end)

  it("takes longer and shorter rows, and says no to one that is too long", function()
    local long = pack(('{"x":"%s"}'):format(("y"):rep(1048560)))
    for _, text in ipairs { "", "abc", ("z"):rep(300), "q", ("w"):rep(100000) } do
      assert(at:put(ada, pack(('{"owner":"%s"}'):format(text))))
      assert.equal(pack(('{"owner":"%s"}'):format(text)), at:get(ada))
    end
    assert(at:put(bob, long))
    assert.matches("^TOO_LARGE: a row is 2097%d+ bytes, the limit is 1048576", select(2, at:put(eve,
      long .. long)))
    assert(at:commit(2))
    views.check(at, { [ada] = pack(('{"owner":"%s"}'):format(("w"):rep(100000))), [bob] = long })
    assert.matches("^TOO_LARGE: a view's note", select(2, at:commit(3, ("n"):rep(65537))))
  end)

  it("is full when it is, and reading alone never fills it", function()
    local big = pack(('{"x":"%s"}'):format(("y"):rep(1000000)))
    for n = 1, 40 do
      assert(at:put(key(n), big))
      if n % 20 == 0 then assert(at:commit(n + 1)) end
    end
    assert.is_false(at:full())
    for n = 1, 40 do assert.equal(big, at:get(key(n))) end
    assert.is_true(at:full() == false or at:commit(50))
    for n = 1, 40 do
      assert(at:put(key(n), big .. ""))
      if at:full() then return assert.is_true(n > 10) end
    end
    error "never full"
  end)

  it("keeps its rows over a commit, right", function()
    local rows = { [ada] = row("ann", "rome", 1) }
    for n = 2, 300 do
      local one = key(n % 7)
      local before = at:get(one)
      assert.equal(rows[one], before)
      rows[one] = n % 5 > 0 and row("o" .. n % 3, nil, n) or nil
      if rows[one] then assert(at:put(one, rows[one])) else assert(at:delete(one)) end
      if n % 3 == 0 then assert(at:commit(n)) end
    end
    assert(at:commit(300))
    views.check(at, rows)
  end)
end)

describe("view: commits", function()
  it("say what they changed, in order, from where", function()
    local dir = views.dir()
    local at = views.open(dir)
    assert(at:put(bob, row("b", nil, 1)))
    assert(at:put(ada, row("a", nil, 1)))
    assert(at:commit(5))
    local list, from = at:changed()
    assert.same({ { ada, row("a", nil, 1) }, { bob, row("b", nil, 1) } }, list)
    assert.equal(0, from)
    assert(at:put(ada, row("a", nil, 1))) -- as it is
    assert(at:delete(eve))                -- was never there
    assert(at:delete(bob))
    assert(at:commit(9))
    at:unload()
    at = views.open(dir)
    list, from = at:changed()
    assert.same({ { bob, false } }, list)
    assert.equal(5, from)
    assert(at:commit(10))
    assert.same({}, (at:changed()))
    at:close()
  end)

  it("keep a long list of changes", function()
    local at = views.open(views.dir())
    local rows = {}
    for n = 1, 3000 do
      local one = key(('"%s-%d"'):format(("k"):rep(n % 200), n))
      rows[one] = row("o", nil, n)
      assert(at:put(one, rows[one]))
    end
    assert(at:commit(1))
    assert.same(views.sorted(rows), (at:changed()))
    at:close()
  end)

  it("give one digest for one content, whatever the way to it", function()
    local digests = {}
    for try, border in ipairs { 1, 7, 1000 } do
      local at, dice, order = views.open(views.dir()), views.dice(try), {}
      for n = 1, 300 do order[n] = n end
      for n = 300, 2, -1 do
        local other = dice(n)
        order[n], order[other] = order[other], order[n]
      end
      for step, n in ipairs(order) do
        assert(at:put(key(n), row("wrong", nil, n)))
        assert(at:put(key(n + 1000), row("gone", nil, n)))
        if step % border == 0 then assert(at:commit(step)) end
        assert(at:put(key(n), row("o" .. n % 9, nil, n)))
        assert(at:delete(key(n + 1000)))
      end
      assert(at:commit(1000))
      digests[try] = at:stats().digest
      assert.equal(view.digest(at:scan()), digests[try])
      at:close()
    end
    assert.equal(digests[1], digests[2])
    assert.equal(digests[1], digests[3])
  end)

  it("are a model's, through thousands of steps and several lives", function()
    local dir, rows, dice = views.dir(), {}, views.dice(41)
    local at = views.open(dir)
    for n = 1, 12000 do
      views.step(at, rows, dice)
      if dice(40) == 1 then assert(at:commit(n)) end
      if dice(3000) == 1 then
        assert(at:commit(n))
        at[dice(2) == 1 and "unload" or "close"](at)
        at = views.open(dir)
        views.check(at, rows)
      end
    end
    assert(at:commit(12000))
    views.check(at, rows)
    at:close()
  end)

  it("leave the view where it was when the disk is full, and go on when it is not", function()
    local dir = views.dir()
    local said = core.script.apart(function()
      local at, rows = views.open(dir), {}
      for n = 1, 500 do
        rows[key(n)] = row("o" .. n, "c", n)
        assert(at:put(key(n), rows[key(n)]))
      end
      assert(at:commit(1, "first"))
      local refused = 0
      for limit = at:stats().bytes, at:stats().bytes + 300000, 7777 do
        view.file_limit(limit)
        for n = 1, 3000 do assert(at:put(key(n), row("new" .. n, "d", n))) end
        local done, why = at:commit(2, "second")
        if done then break end
        assert(why:match "^NO_SPACE: ", why)
        refused = refused + 1
        assert(at:stats().position == 1 and at:note() == "first")
        views.check(at, rows)
        assert(at:get(key(1)) == rows[key(1)])
      end
      view.file_limit(1 << 40)
      for n = 1, 3000 do
        rows[key(n)] = row("new" .. n, "d", n)
        assert(at:put(key(n), rows[key(n)]))
      end
      assert(at:commit(2, "second"))
      views.check(at, rows)
      at:unload()
      at = views.open(dir)
      views.check(at, rows)
      return "refused " .. refused
    end, 20)
    assert.matches("^refused %d%d", said)
  end)
end)

describe("view: ranges", function()
  local at, rows
  setup(function()
    at, rows = views.open(views.dir()), {}
    for n = 1, 200 do
      for _, name in ipairs { ("acc-%03d"):format(n), ("b\\u0000%d"):format(n) } do
        local one = key(('"%s"'):format(name))
        rows[one] = row("own" .. n % 7, n % 3 > 0 and "c" .. n % 2 or nil, n)
        assert(at:put(one, rows[one]))
      end
    end
    for n = 1, 50 do
      rows[key(n - 25)] = row(nil, nil, n)
      assert(at:put(key(n - 25), rows[key(n - 25)]))
    end
    for _, start in ipairs { -60, 0, 60 } do
      local one = assert(view.window(key '"win"', start, start + 60))
      rows[one] = row("w", nil, start)
      assert(at:put(one, rows[one]))
    end
    assert(at:commit(1))
  end)
  teardown(function() at:close() end)

  -- what a range must give, from the model
  local function wanted(list, sorts, range)
    local found = {}
    for _, one in ipairs(list) do
      local bytes = sorts(one)
      local from, to = range.from, range.to
      if bytes:sub(1, #(range.prefix or "")) == (range.prefix or "") and
        (not from or bytes >= from) and (not to or bytes:sub(1, #to) <= to) then
        table.insert(found, range.backward and 1 or #found + 1, one)
      end
    end
    return found
  end

  it("by key, both ways, from, to and by prefix, whatever they are", function()
    local list, dice = views.sorted(rows), views.dice(5)
    assert.same(list, at:scan())
    local edges = { false, false, view.prefix "acc-0", view.prefix "b\0", key '"win"', key '"zzz"',
      key "-100" }
    for _ = 1, 60 do edges[#edges + 1] = list[dice(#list)][1] end
    for _ = 1, 60 do edges[#edges + 1] = view.prefix("acc-" .. dice(20)) end
    local some = 0
    for _ = 1, 3000 do
      local range = { from = edges[dice(#edges)] or nil, to = edges[dice(#edges)] or nil,
        backward = dice(2) == 1 }
      if dice(3) == 1 then range.prefix = edges[dice(#edges)] or nil end
      local must = wanted(list, function(one) return one[1] end, range)
      assert.same(must, at:scan(range))
      some = some + (#must > 1 and 1 or 0)
      range.limit = 3
      assert.same({ table.unpack(must, 1, 3) }, at:scan(range))
    end
    assert.is_true(some > 100)
    assert.equal(3, #at:scan { from = key '"win"', to = key '"win"' })
  end)

  it("by index, over many rows of one value, page by page, both ways", function()
    for n, path in ipairs(views.about.indexes) do
      local entries = views.indexed(rows, path)
      local function sorts(one) return one[1]:sub(1, -#one[2] - 1) end
      for _, backward in ipairs { false, true } do
        for _, edge in ipairs { false, view.index(pack '"own3"'), view.index(pack '"c1"'),
          view.index(pack '"own9"') } do
          for _, other in ipairs { false, view.index(pack '"own5"'), view.index(pack '"w"') } do
            local range = { index = n, from = edge or nil, to = other or nil, backward = backward }
            local keys = {}
            for _, entry in ipairs(wanted(entries, sorts, range)) do keys[#keys + 1] = entry[2] end
            assert.same(keys, keys_of(at:scan(range)))
            -- the same in pages
            local paged = {}
            range.limit = 4
            repeat
              local page = at:scan(range)
              for _, one in ipairs(page) do
                paged[#paged + 1] = one[1]
                range.after_key = one[1]
                range[backward and "to" or "from"] = view.index(view.field(one[2], path))
              end
            until #page < 4
            assert.same(keys, paged)
          end
        end
      end
      assert.same({}, at:scan { index = n, from = view.index(pack "true"),
        to = view.index(pack "true") })
    end
  end)

  it("by the beginning of an index value", function()
    local found = at:scan { index = 1, prefix = view.prefix "own" }
    assert.equal(400, #found)
    found = at:scan { index = 1, prefix = view.prefix "own", backward = true, limit = 1 }
    assert.equal("own6", found[1][2]:match "own%d")
  end)
end)

describe("view: sweeping", function()
  it("takes away what has expired, in the batch and before, and nothing else", function()
    local dir = views.dir()
    local at, rows = views.open(dir), {}
    local function put(n, expires)
      rows[key(n)] = expires
      assert(at:put(key(n), row("o", "c", n), expires))
    end
    for n = 1, 100 do put(n, n % 4 == 0 and 0 or n * 10 - 300) end -- also before 1970
    assert(at:commit(1))
    put(1, 5000)            -- lives longer now
    put(7, 0)               -- for ever
    put(99, -250)           -- shorter
    put(200, 100)
    assert(at:delete(key(3)))
    rows[key(3)] = nil
    assert.equal(5000, at:expires(key(1)))
    assert.equal(-100, at:expires(key(20 + 0)) == 0 and -100 or at:expires(key(20)))
    assert.equal(110, at:expires(key(41)))
    assert.equal(0, at:expires(key "9999"))
    for now = -240, 800, 150 do
      assert(at:sweep(now))
      for one, expires in pairs(rows) do
        if expires ~= 0 and expires <= now then rows[one] = nil end
      end
      for one in pairs(rows) do assert.is_string(at:get(one)) end
      assert(at:commit(now + 1000))
      local left = {}
      for one in pairs(rows) do left[#left + 1] = one end
      table.sort(left)
      assert.same(left, keys_of(at:scan()))
      at:unload()
      at = views.open(dir) -- entries and rows are in step
    end
    at:close()
  end)
end)

describe("view: copies", function()
  it("are views of their own, with their own indexes", function()
    local dir, other = views.dir(), views.dir()
    local at, rows, dice = views.open(dir), {}, views.dice(3)
    for _ = 1, 2000 do views.step(at, rows, dice) end
    assert(at:put(ada, row("x", nil, 1), 77))
    rows[ada] = row("x", nil, 1)
    assert(at:commit(9, "noted"))
    local about = { identity = "log/new", indexes = { "owner", "balance" } }
    assert(view.copy(dir, other, about))
    assert.matches("^BAD_REQUEST: there is something", select(2, view.copy(dir, other, about)))
    local copy = views.open(other, about)
    assert.same(at:scan(), copy:scan())
    assert.equal(at:stats().digest, copy:stats().digest)
    assert.same({ 9, "noted" }, { copy:stats().position, copy:note() })
    assert.equal(77, copy:expires(ada))
    assert.same(keys_of(at:scan { index = 1 }), keys_of(copy:scan { index = 1 }))
    assert.equal(#views.indexed(rows, "balance"), #copy:scan { index = 2 })
    assert(copy:put(ada, row("only here", nil, 2)))
    assert(copy:commit(10))
    assert.equal(row("x", nil, 1), at:find(ada))
    copy:close()
    at:close()
    assert.matches("another projection", select(2, view.open(other, views.about)))
  end)

  it("of what is not there, or not to be believed, are none", function()
    local dir, other = views.dir(), views.dir()
    assert.matches("^NOT_FOUND: ", select(2, view.copy(dir, other, views.about)))
    local at = views.open(dir)
    assert(at:commit(1))
    at:unload()
    views.write(dir .. "/BOOT", "another boot")
    other = views.dir()
    assert.matches("^CORRUPT: .*before the machine went down", select(2, view.copy(dir, other,
      views.about)))
    assert.is_nil(io.open(other))
  end)

  it("are one of the commits, while another process makes them", function()
    local dir, positions, seen = views.dir(), {}, 0
    local writer = view.spawn(function(tell)
      local at = views.open(dir)
      for position = 1, math.maxinteger do
        for n = 1, 50 do assert(at:put(key(n), row("o" .. position % 10, "c", position))) end
        assert(at:commit(position))
        if position == 1 then tell() end
      end
    end)
    assert.equal(1, writer:hear(1))
    for _ = 1, 40 do
      local to = views.dir()
      assert(view.copy(dir, to, views.about))
      local copy = views.open(to)
      local position, list = copy:stats().position, copy:scan()
      assert.equal(50, #list)
      for _, one in ipairs(list) do assert.equal(row("o" .. position % 10, "c", position),
        one[2]) end
      copy:close()
      seen = seen + (positions[position] and 0 or 1)
      positions[position] = true
    end
    assert.is_true(writer:kill())
    assert.is_true(seen > 5) -- it wrote meanwhile
  end)
end)
