-- core/view/sql.h: the rows of a view as a table of SQLite.
local core = require "coretest"
local views = require "spec.support.views"
local view = core.view

local key, pack = views.key, views.pack
local about = { table = "people", projection = "people", hash = "h1",
                columns = { { "name", "owner", "text" }, { "sum", "balance", "integer" } } }

local function with(more)
  local made = {}
  for name, value in pairs(about) do made[name] = value end
  for name, value in pairs(more) do made[name] = value end
  return made
end

local function person(owner, balance) return pack(('{"owner":"%s","balance":%d}'):format(owner,
  balance)) end

describe("view: a table of SQLite", function()
  local dir, path, at
  before_each(function()
    dir = views.dir()
    path = dir .. "/rows.sqlite"
    at = views.open(dir)
  end)
  after_each(function() at:unload() end)

  local function open() return assert(view.table(at, with { path = path })) end
  local function all() return assert(view.query(path, 'SELECT * FROM people ORDER BY key')) end

  it("has the rows of the view, and follows its commits", function()
    assert(at:put(key '"bob"', person("bob", 2)))
    assert(at:commit(3))
    local followed = open()
    assert.same({ { "bob", "bob", 2 } }, all())
    assert(at:put(key '"ada"', person("ada", 1)))
    assert(at:put(key "7", person("seven", 7)))
    assert.same({ { "bob", "bob", 2 } }, all())
    assert(at:commit(5))
    assert(followed:follow(at))
    assert.same({ { 7, "seven", 7 }, { "ada", "ada", 1 }, { "bob", "bob", 2 } }, all())
    assert.same({ { 5, "people", "h1" } }, view.query(path,
      "SELECT position, projection, hash FROM moonlog"))
    assert(at:delete(key '"bob"'))
    assert(at:put(key '"ada"', person("ada", 9)))
    assert(at:commit(6))
    assert(followed:follow(at))
    assert(followed:follow(at))
    assert.same({ { 7, "seven", 7 }, { "ada", "ada", 9 } }, all())
    followed:close()
  end)

  it("catches up by the changes of one commit, and is filled anew after more", function()
    open():close()
    for n = 1, 100 do assert(at:put(key(n), person("p", n))) end
    assert(at:commit(1))
    local followed = open()
    assert.equal(100, #all())
    -- marked rows show whether a row was written again
    assert(view.query(path, "UPDATE people SET name = 'mark'"))
    assert(at:put(key "5", person("new", 5)))
    assert(at:commit(2))
    followed:close()
    followed = open()
    assert.same({ { 99, "mark" }, { 1, "new" } },
      view.query(path, "SELECT count(*), name FROM people GROUP BY name ORDER BY name"))
    assert(at:put(key "6", person("new", 6)))
    assert(at:commit(3))
    assert(at:delete(key "7"))
    assert(at:commit(4))
    assert(followed:follow(at))
    assert.same({ { 2, "new" }, { 97, "p" } },
      view.query(path, "SELECT count(*), name FROM people GROUP BY name ORDER BY name"))
    followed:close()
    assert(view.query(path, "UPDATE people SET name = 'mark'"))
    open():close() -- in step: nothing to write
    assert.same({ { "mark" } }, view.query(path, "SELECT DISTINCT name FROM people"))
  end)

  it("is filled anew when it is another's, of another boot, or damaged", function()
    assert(at:put(key "1", person("one", 1)))
    assert(at:commit(1))
    open():close()
    for _, harm in ipairs {
      function() return { hash = "h2" } end,
      function() return { projection = "other" } end,
      function()
        assert(view.query(path, "UPDATE moonlog SET boot = 'before'"))
        return {}
      end,
      function()
        views.write(path, "no database, but some text" .. ("x"):rep(9000))
        return {}
      end,
      function()
        assert(view.query(path, "DROP TABLE people"))
        return {}
      end,
      function()
        assert(view.query(path, "UPDATE moonlog SET digest = x'00'"))
        return {}
      end,
    } do
      view.query(path, "UPDATE people SET name = 'stale'")
      local more = harm()
      more.path = path
      assert(view.table(at, with(more))):close()
      assert.same({ { 1, "one", 1 } }, all())
      view.query(path, ("UPDATE moonlog SET hash = 'h1', projection = 'people'"))
    end
  end)

  it("says in which boot it was written, until it is closed", function()
    local followed = open()
    assert.same({ { view.boot() } }, view.query(path, "SELECT boot FROM moonlog"))
    followed:close()
    assert.same({ { false } }, view.query(path, "SELECT boot FROM moonlog"))
  end)

  it("takes values as they are, and what is none of its types as JSON", function()
    at:unload()
    dir = views.dir()
    path = dir .. "/rows.sqlite"
    at = views.open(dir)
    local columns = {}
    for _, type in ipairs { "integer", "real", "text", "blob", "json" } do
      columns[#columns + 1] = { type, "v.x", type } end
    local values = {
      { "5", 5, 5.0, "5", 5, "5" },
      { "1.5", 1.5, 1.5, "1.5", 1.5, "1.5" },
      { '"text"', "text", "text", "text", "text", '"text"' },
      { "true", 1, 1.0, "1", 1, "true" },
      { "null", false, false, false, false, false },
      { '{"a":[1]}', '{"a":[1]}', '{"a":[1]}', '{"a":[1]}', '{"a":[1]}', '{"a":[1]}' },
      { '{"$bin":"AAE="}', "blob:\0\1", "blob:\0\1", "blob:\0\1", "blob:\0\1", '{"$bin":"AAE="}' },
    }
    for n, value in ipairs(values) do assert(at:put(key(n),
      pack(('{"v":{"x":%s}}'):format(value[1])))) end
    assert(at:put(key "100", pack '{"v":1}'))
    assert(at:commit(1))
    assert(view.table(at, { path = path, table = "t", projection = "p", hash = "h",
      columns = columns })):close()
    local rows = view.query(path, "SELECT * FROM t ORDER BY key")
    for n, value in ipairs(values) do
      assert.same({ n, table.unpack(value, 2) }, rows[n])
    end
    assert.same({ 100, false, false, false, false, false }, rows[8])
  end)

  it("has windows, and keys of every kind", function()
    for _, start in ipairs { -60, 0, 60 } do
      assert(at:put(assert(view.window(key '"a"', start, start + 60)), person("w", start)))
    end
    assert(at:put(assert(view.window(view.key "\xc3", 1, 2)), person("yes", 1)))
    assert(at:put(assert(view.window(view.key "\xc4\x01x", 1, 2)), person("bin", 1)))
    assert(at:commit(1))
    local followed = assert(view.table(at, with { path = path, windowed = true }))
    local wanted = { { 1, 1, 2, "yes", 1 }, { "a", -60, 0, "w", -60 }, { "a", 0, 60, "w", 0 },
      { "a", 60, 120, "w", 60 },
                     { "blob:x", 1, 2, "bin", 1 } }
    assert.same(wanted, view.query(path, "SELECT * FROM people ORDER BY key, window_start"))
    assert(at:delete(assert(view.window(key '"a"', 0, 60))))
    assert(at:commit(2))
    assert(followed:follow(at))
    table.remove(wanted, 3)
    assert.same(wanted, view.query(path, "SELECT * FROM people ORDER BY key, window_start"))
    followed:close()
  end)

  it("has names that are names, however they look", function()
    local names = { 'a "quoted" one', "select", "x); DROP TABLE moonlog; --", "ünï", "a'b" }
    local columns = {}
    for n, name in ipairs(names) do columns[n] = { name, "owner", "text" } end
    assert(at:put(key "1", person("one", 1)))
    assert(at:commit(1))
    assert(view.table(at, with { path = path, table = 'my "table"; --',
      columns = columns })):close()
    assert.same({ { 1, "one", "one", "one", "one", "one" } }, view.query(path,
      'SELECT * FROM "my ""table""; --"'))
    assert.same({ { 'a "quoted" one' } },
      view.query(path, [[SELECT name FROM pragma_table_info('my "table"; --') WHERE cid = 1]]))
  end)

  it("refuses names that cannot be", function()
    for _, more in ipairs {
      { table = "" }, { table = "moonlog" }, { table = "MoonLog" }, { table = "sqlite_x" },
        { table = "a\0b" },
      { table = ("x"):rep(201) }, { table = "\xff" },
      { columns = { { "key", "a", "text" } } }, { columns = { { "Window_Start", "a", "text" } } },
      { columns = { { "", "a", "text" } } }, { columns = { { "x", "a", "text" }, { "X", "b",
        "text" } } },
      { columns = { { "x", "a..b", "text" } } },
    } do
      more.path = path
      assert.matches("^BAD_REQUEST: '.*' cannot be a %l+: .*; choose another name", select(2,
        view.table(at, with(more))))
    end
    local columns = {}
    for n = 1, 65 do columns[n] = { "c" .. n, "a", "text" } end
    assert.matches("^LIMIT: a table has 65 columns", select(2, view.table(at, with { path = path,
      columns = columns })))
  end)

  it("is one of the commits after kill -9, and catches up", function()
    at:unload()
    local dice = views.dice(os.time())
    for _ = 1, 30 do
      local writer = view.spawn(function(tell)
        local mine = views.open(dir)
        local followed = assert(view.table(mine, with { path = path }))
        for position = mine:stats().position + 1, math.maxinteger do
          for n = 1, 10 do assert(mine:put(key(n), person("p", position))) end
          assert(mine:put(key(position + 100), person("one", position)))
          assert(mine:commit(position))
          assert(followed:follow(mine))
          tell()
        end
      end)
      assert.equal(3, writer:hear(3))
      assert.is_true(writer:kill(dice(2000)))
      local position = view.query(path, "SELECT position FROM moonlog")[1][1]
      assert.same({ { position, position, 10 } },
        view.query(path, "SELECT min(sum), max(sum), count(*) FROM people WHERE name = 'p'"))
      assert.same({ { position } }, view.query(path,
        "SELECT count(*) FROM people WHERE name = 'one'"))
      at = views.open(dir)
      assert.is_true(at:stats().position - position <= 1 and at:stats().position >= position)
      assert(view.table(at, with { path = path })):close()
      assert.same({ { at:stats().position } }, view.query(path,
        "SELECT count(*) FROM people WHERE name = 'one'"))
      at:unload()
    end
    at = views.open(dir)
  end)

  it("is where it was when the disk is full, and catches up when it is not", function()
    at:unload()
    assert.equal("done", core.script.apart(function()
      local mine = views.open(dir)
      local followed = assert(view.table(mine, with { path = path }))
      for n = 1, 3000 do assert(mine:put(key(n), person(("x"):rep(100), n))) end
      assert(mine:commit(1))
      view.file_limit(100000)
      local done, why = followed:follow(mine)
      assert(not done and why:match "^NO_SPACE: ", why)
      view.file_limit(1 << 40)
      assert.equal(0, #view.query(path, "SELECT * FROM people"))
      assert(followed:follow(mine))
      assert.equal(3000, #view.query(path, "SELECT * FROM people"))
      followed:close()
      mine:unload()
      return "done"
    end, 20))
    at = views.open(dir)
  end)
end)
