-- core/projection/projection*.c: events in, rows out, all of an event or nothing.
local core = require("coretest").projection
local m = require "moonlog"
local folding = require "spec.support.folding"

local file, new, event = folding.file, folding.new, folding.event

local BALANCE = file [[
  from = "account", key = "stream", row = { balance = 0, n = 0 },
  on = {
    Deposited = function(row, d) row.balance, row.n = row.balance + d.amount, row.n + 1 end,
    Looked = function() end,
    Named = function(row, d, e) row.name, row.at = d.name, e.position end,
    Closed = function() return moonlog.delete end,
    Spoilt = function(row, d) row.balance = row.balance + d.nothing.at_all end,
  }]]

describe("projection/projection", function()
  describe("a keyed one", function()
    it("makes a row of what rows begin as, and keeps what its handlers change", function()
      local p = new(BALANCE)
      p:feed("Deposited", { amount = 5 }):feed("Deposited", { amount = 2 })
      p:feed("Deposited", { amount = 1 }, { stream = "account-bob" }):feed("Looked", {},
        { stream = "account-cy" })
      p:feed("Named", { name = "Bob" }, { stream = "account-bob" })
      assert.same({ ["account-ada"] = { balance = 7, n = 2 },
        ["account-bob"] = { balance = 1, n = 1, name = "Bob", at = 5 },
          ["account-cy"] = { balance = 0, n = 0 } },
        p:rows())
    end)

    it("takes rows away, and begins anew", function()
      local p = new(BALANCE)
      p:feed("Deposited", { amount = 5 }):feed "Closed"
      assert.same({}, p:rows())
      p:feed("Deposited", { amount = 1 })
      assert.same({ ["account-ada"] = { balance = 1, n = 1 } }, p:rows())
      p:feed "Closed":feed("Deposited", { amount = 2 })
      assert.same({ ["account-ada"] = { balance = 2, n = 1 } }, p:rows())
    end)

    it("does nothing for a type without a handler", function()
      local p = new(BALANCE)
      assert.same({}, p:feed("Unheard", { amount = 5 }):rows())
    end)

    it("leaves the row as it was when a handler raises, and names event and line", function()
      local p = new(BALANCE):feed("Deposited", { amount = 5 })
      local how, fault = p:apply("Spoilt", { amount = 5 })
      assert.equal("fault", how)
      assert.equal("raised", fault.kind)
      assert.match("field 'nothing'", fault.message)
      assert.same({ "p.lua", 10 }, { fault.file, fault.line })
      assert.same({ ["account-ada"] = { balance = 5, n = 1 } }, p:rows())
      p:feed("Deposited", { amount = 1 })
    end)

    it("looks only at the keys that it is asked for", function()
      local p = new(BALANCE)
      local _, keys = p:keys("Deposited", { amount = 1 })
      p:feed("Deposited", { amount = 1 }, { only = keys })
      p:feed("Deposited", { amount = 1 }, { only = keys, stream = "account-bob" })
      assert.same({ ["account-ada"] = { balance = 1, n = 1 } }, p:rows())
    end)

    it("has the events of its types, or of those it is asked for", function()
      local types, stream, category = new(BALANCE).p:types()
      table.sort(types)
      assert.same({ "Closed", "Deposited", "Looked", "Named", "Spoilt" }, types)
      assert.same({ "", "account" }, { stream, category })
      types, stream, category = new(file [[ from = { stream = "a-1", types = { "A" },
        tags = { "t" } },
        key = "id", on = { A = function() end, B = function() end } ]]).p:types()
      assert.same({ { "A" }, "a-1", "" }, { types, stream, category })
    end)

    it("begins where it is told", function()
      local function start(text)
        return new(file("key = 'id', on = { A = function() end }, " .. text)).p:start(77)
      end
      assert.equal(0, start "")
      assert.equal(0, start "start = 'beginning'")
      assert.equal(77, start "start = 'now'")
      assert.equal(11, start "start = 12")
    end)
  end)

  describe("a handler", function()
    local function one(body, row)
      return new(file(("key = 'id', row = %s, on = { A = function(row, d, e) %s end }"):format(row
        or "{}", body)))
    end

    local function faulty(p, pattern)
      local how, fault = p:apply("A", { x = 1 })
      assert.equal("fault", how)
      assert.match(pattern, fault.message)
      assert.same({}, p:rows())
      return fault
    end

    it("returns nothing, or moonlog.delete", function()
      local fault = faulty(one "return row", "^the handler of A returned a table; change the "
        .. "row it is given and "
        .. "return nothing, or return moonlog.delete$")
      assert.same({ "shape", "p.lua", 4 }, { fault.kind, fault.file, fault.line })
      faulty(one "return false", "returned a boolean")
      faulty(one "return moonlog.drop", "returned a userdata")
    end)

    it("leaves a row that can be kept: the sentence has its key", function()
      faulty(one "row.f = print_nothing", "print_nothing")
      faulty(one "row.f = pairs", '^the row of "ada": row%.f is a function')
      faulty(one "row[1] = 1", '^the row of "ada" has become a list')
      faulty(one("row[1] = 1", "{ n = 1 }"), '^the row of "ada": row')
      faulty(one "row.e = e", '^the row of "ada": row%.e is')
      local fault = faulty(one "row.text = ('x'):rep(2^20 - 8)",
        '^the row of "ada" is over 1048576 bytes; keep less in it, or make more rows$')
      assert.same({ "shape", "p.lua", 4 }, { fault.kind, fault.file, fault.line })
      one("row.text = ('x'):rep(2^20 - 100)"):feed("A", {})
    end)

    it("gets a row and data of its own each time", function()
      local p = new(file [[ key = function(d) d.n = 100 return { "a", "b" } end,
        on = { A = function(row, d) row.n = (row.n or 0) + d.n d.n = 50 end } ]])
      p:feed("A", { n = 1 }):feed("A", { n = 2 })
      assert.same({ a = { n = 3 }, b = { n = 3 } }, p:rows())
    end)

    it("may look at the event, as long as it runs", function()
      local p = one "row.all = e.stream .. e.type .. e.position .. e.time row.e = nil"
      assert.same({ ada = { all = "account-adaA10" } }, p:feed("A", {}):rows())
    end)
  end)

  describe("a key function", function()
    local function keyed(body)
      return new(file(("key = function(d, e) %s end, on = { A = function(row) row.n = (row.n or "
        .. "0) + 1 end }")
        :format(body)))
    end

    it("gives a string, an integer or a boolean, or a list of them, each once", function()
      assert.same({ ada = { n = 1 } }, keyed "return e.stream:match '-(.*)'":feed("A", {}):rows())
      assert.same({ [7] = { n = 1 } }, keyed "return 7":feed("A", {}):rows())
      assert.same({ [true] = { n = 1 } }, keyed "return true":feed("A", {}):rows())
      assert.same({ a = { n = 1 }, [1] = { n = 1 }, [false] = { n = 1 } },
        keyed "return { 'a', 1, 'a', false, 1 }":feed("A", {}):rows())
      assert.same({}, keyed "return {}":feed("A", {}):rows())
      assert.same({ x = { n = 1 } },
        keyed "local t = {} for n = 1, 5000 do t[n] = 'x' end return t":feed("A", {}):rows())
      assert.same({ x = { n = 1 } }, keyed "return moonlog.array { 'x' }":feed("A", {}):rows())
    end)

    it("gives nothing else, and the sentence says what it gave", function()
      for body, pattern in pairs {
        [""] = "gave nil; return {} for no row",
        ["return 0/0"] = "gave NaN",
        ["return 1.0"] = "gave a float",
        ["return 1/0"] = "gave a float",
        ["return ('x'):rep(1000000):rep(1)"] = "gave a string of 1000000 bytes; a key has up to "
          .. "250",
        ["return ('x'):rep(250)"] = "key",
        ["return { 1, nil, 3 }"] = "no list of keys",
        ["return { a = 1 }"] = "no list of keys",
        ["return { { 1 } }"] = "gave a table",
        ["return { 'a', 0/0 }"] = "gave NaN",
        ["return function() end"] = "gave a function",
        ["return moonlog.delete"] = "gave a userdata",
        ["return d.x.y"] = "index a nil value",
        ["local t = {} for n = 1, 1001 do t[n] = n end return t"] =
          "gave 1001 keys, over 1000 of them different; one event changes up to 1000 rows",
        ["local t = {} for n = 1, 60000 do t[n] = n end return t"] = "gave 60000 keys",
      } do
        local p = keyed(body)
        local how, fault = p:apply("A", {})
        assert.equal("fault", how, body)
        assert.is_truthy(fault.message:find(pattern, 1, true), fault.message)
        assert.same({ "p.lua", 4 }, { fault.file, fault.line }, body)
        assert.same({}, p:rows())
        assert.is_nil((p:keys("A", {})))
      end
      assert.equal(1000, #keyed "local t = {} for n = 1, 1000 do t[n] = n end return t":keys("A",
        {}))
    end)

    it("is asked for the keys alone, too", function()
      assert.same({ '"b"', "1" }, (keyed "return { 'b', 1, 'b' }":keys("A", {})))
      assert.same({ '"account-ada"' }, (new(BALANCE):keys("Spoilt", {})))
      assert.same({}, (new(BALANCE):keys("Unheard", {})))
    end)
  end)

  describe("a path as key", function()
    it("that is not there is a fault which names it and the line", function()
      local p = new(file "key = 'data.owner', on = { A = function(row) row.n = 1 end }")
      assert.same({ ada = { n = 1 } }, p:feed("A", { owner = "ada" }):rows())
      local how, fault = p:apply("A", { other = 1 })
      assert.equal("fault", how)
      assert.match('^the key "data.owner" is not in this event', fault.message)
      assert.same({ "shape", "p.lua", 4 }, { fault.kind, fault.file, fault.line })
    end)
  end)

  describe("rows of many keys", function()
    it("change all, or none does", function()
      local p = new(file [[ key = function(d) return d.keys end, row = { n = 0 },
        on = { A = function(row, d) row.n = row.n + 1 if row.n > d.max then error "too much" end
          end } ]])
      p:feed("A", { keys = { "a", "b" }, max = 5 }):feed("A", { keys = { "c" }, max = 5 })
      p:feed("A", { keys = { "c" }, max = 5 })
      assert.equal("fault", (p:apply("A", { keys = { "a", "b", "c" }, max = 2 })))
      assert.same({ a = { n = 1 }, b = { n = 1 }, c = { n = 2 } }, p:rows())
    end)

    it("are 32 MiB together at most", function()
      local p = new(file [[ key = function() local t = {} for n = 1, 40 do t[n] = n end return t
        end,
        on = { A = function(row) row.text = ('x'):rep(1000000) end } ]])
      local how, fault = p:apply("A", {})
      assert.equal("fault", how)
      assert.match("rows of over 33554432 bytes together", fault.message)
      assert.same({}, p:rows())
    end)
  end)

  describe("a free fold", function()
    it("has one row, under the key of no letters, which init made", function()
      local p = new(file [[ init = function() return { types = {} } end,
        on = { A = function(row, _, e) row.types[e.type] = (row.types[e.type] or 0) + 1 end,
               B = function(row) row.b = true end } ]])
      p:feed("A", {}):feed("A", {}):feed("B", {})
      assert.same({ [""] = { types = { A = 2 }, b = true } }, p:rows())
      assert.same({ '""' }, (p:keys("A", {})))
    end)
  end)

  describe("upcasters", function()
    local FILES = {
      ["p.lua"] = file [[ key = "data.who", row = { n = 0 }, on = {
        Paid = function(row, d, e) row.n, row.type = row.n + d.amount, e.type end,
        Tipped = function(row, d) row.tip = d.amount end } ]],
      ["paid.lua"] = "return { upcast = 'Paid', latest = 3, [1] = { rename = { sum = 'amount' } }, "
        .. "[2] = function(data) data.who = data.who:lower() return data end }",
      ["both.lua"] = [[ local moonlog = require 'moonlog'
        return { upcast = 'Both', latest = 2, [1] = function(data)
          if data.amount == 0 then return moonlog.drop end
          return moonlog.split { moonlog.event("Paid", { who = data.who, amount = data.amount },
            { schema = 3 }),
            moonlog.event("Tipped", { who = data.who, amount = 1 }),
            moonlog.event("Unheard", { who = data.who }) } end } ]],
    }

    it("make events what they are now, before key and handler see them", function()
      local p = new(FILES)
      p:feed("Paid", { who = "ADA", sum = 5 }):feed("Paid", { who = "Ada", amount = 2 },
        { schema = 2 })
      p:feed("Paid", { who = "ada", amount = 1 }, { schema = 3 })
      assert.same({ ada = { n = 8, type = "Paid" } }, p:rows())
    end)

    it("split into parts that go to the handlers of their types, in order, on one row", function()
      local p = new(FILES)
      p:feed("Both", { who = "ada", amount = 3 }):feed("Both", { who = "ada", amount = 0 })
      assert.same({ ada = { n = 3, type = "Both", tip = 1 } }, p:rows())
      assert.same({ '"ada"' }, (p:keys("Both", { who = "ada", amount = 3 })))
    end)

    it("are reached by its selection", function()
      local types = new(FILES).p:types()
      table.sort(types)
      assert.same({ "Both", "Paid", "Tipped" }, types)
    end)

    it("that raise change nothing", function()
      local p = new(FILES)
      local how, fault = p:apply("Paid", { sum = 5 })
      assert.equal("fault", how)
      assert.equal("paid.lua", fault.file)
      assert.same({}, p:rows())
    end)
  end)

  describe("holding", function()
    local HOLD = file [[ key = function(d) return d.keys end, row = { n = 0 }, fault = "hold",
      on = { A = function(row, d) row.n = row.n + 1 if d.bad then error("bad " .. d.bad) end end,
             K = function(row, d) row.n = row.n + 1 if d.raise[1] == nil then error "k" end end } ]]

    it("keeps the key whose handler raised, and goes on with the rest", function()
      local p = new(HOLD):feed("A", { keys = { "a", "b" } })
      assert.equal("held", (p:apply("A", { keys = { "a" }, bad = "luck" })))
      assert.equal("held", (p:apply("A", { keys = { "a", "b" } }))) -- a is passed over
      p:feed("A", { keys = { "b" } })
      assert.same({ a = { n = 1 }, b = { n = 3 } }, p:rows())
      local held = p.p:held()
      assert.equal(1, #held)
      assert.same({ '"a"', 2 }, { core.show(held[1][1]), held[1][2] })
      assert.match("^p.lua:%d+: bad luck$", held[1][3])
      assert.equal(1, p.p:stats().held)
    end)

    it("is of rows: the key function's fault holds nobody, and stops", function()
      local p = new(HOLD)
      assert.equal("fault", (p:apply("A", {})))
      assert.equal(0, #p.p:held())
    end)

    it("is of all keys that raise, and none of an event that stops", function()
      local p = new(HOLD)
      assert.equal("held", (p:apply("A", { keys = { "a", "b", "c" }, bad = 1 })))
      assert.equal(3, #p.p:held())
      assert.same({}, p:rows())
    end)

    it("ends with as many as the note can name", function()
      local p, n = new(HOLD), 0
      repeat
        n = n + 1
        local how = p:apply("A", { keys = { "key" .. n }, bad = ("x"):rep(300) })
      until how ~= "held"
      assert.equal(n - 1, #p.p:held())
      assert.equal(1001, n)
      p, n = new(HOLD), 0
      repeat
        n = n + 1
        local how = p:apply("A", { keys = { "key" .. n }, bad = ("x"):rep(300) .. n
          .. ("y"):rep(100) })
      until how ~= "held"
      assert.equal(1001, n) -- what the sentences begin with is the same
      p, n = new(HOLD), 0
      repeat
        n = n + 1
        local how = p:apply("A", { keys = { ("key"):rep(60) .. n }, bad = n .. ("x"):rep(300) })
      until how ~= "held"
      assert.equal(n - 1, #p.p:held())
      assert.is_true(n > 100 and n < 300)
      assert.is_true(#p.p:note() <= 48 * 1024)
      p = new(HOLD)
      local keys = {}
      for k = 1, 999 do keys[k] = k end
      for _, key in ipairs(keys) do p:apply("A", { keys = { key }, bad = 1 }) end
      assert.equal(999, #p.p:held())
      assert.equal("fault", (p:apply("A", { keys = { "a", "b" }, bad = 1 }))) -- room for one
      assert.equal(999, #p.p:held())
      assert.equal("held", (p:apply("A", { keys = { "a" }, bad = 1 })))
      assert.equal("fault", (p:apply("A", { keys = { "b" }, bad = 1 })))
      p:feed("A", { keys = { "b" } })
    end)

    it("is over when it is released", function()
      local p = new(HOLD)
      p:apply("A", { keys = { "a" }, bad = 1 })
      p.p:release()
      assert.same({ a = { n = 1 } }, p:feed("A", { keys = { "a" } }):rows())
    end)
  end)

  describe("the note", function()
    it("brings back clock, counters and what is held", function()
      local source = file [[ key = "data.k", fault = "hold", window = moonlog.tumbling("10s",
        { time = "occurred" }),
        on = { A = function(row, d) row.n = 1 + d.n end } ]]
      local p = new(source)
      p:feed("A", { k = "a", n = 1 }, { time = 500, occurred = 50000000 })
      p:feed("A", { k = "a", n = 1 }, { time = 600, occurred = 1 })
      p:apply("A", { k = "b" }, { time = 700, occurred = 51000000 })
      p:commit()
      local stats, note, held = p.p:stats(), p.p:note(), p.p:held()
      assert.same({ late = 1, held = 1, now = 51000000, closes = 60000000 - 51000000 + 700 }, stats)
      local q = new(source)
      assert(q.p:load(note))
      assert.same(stats, q.p:stats())
      assert.same(held, q.p:held())
      assert.equal(note, q.p:note())
      assert(q.p:load "")
      assert.same({ late = 0, held = 0, now = 0, closes = 0 }, q.p:stats())
    end)

    it("of another version, cut off, or with one bit turned is refused, or is another note",
      function()
      local p = new(file "key = 'id', fault = 'hold', on = { A = function() error 'x' end }")
      p:apply("A", {})
      local note = p.p:note()
      for size = 1, #note - 1 do
        local done, why = p.p:load(note:sub(1, size))
        assert.is_nil(done)
        assert.match("^CORRUPT: the note of projection/p is of another version, or damaged", why)
        assert.equal(0, #p.p:held())
      end
      assert.is_nil((p.p:load(note .. "\0")))
      for at = 1, #note do
        for bit = 0, 7 do
          local bad = note:sub(1, at - 1) .. string.char(note:byte(at) ~ 1 << bit)
            .. note:sub(at + 1)
          if p.p:load(bad) then assert.is_not.equal(note, p.p:note()) end
        end
      end
      assert(p.p:load(note))
    end)
  end)

  describe("windows", function()
    local SECOND = 1000000
    local function windowed(window, more, before)
      return new(file(([[ key = "id", row = { n = 0 }, window = %s, %s
        on = { A = function(row, d) row.n = row.n + (d.n or 1) end,
               Z = function() return moonlog.delete end } ]]):format(window, more or ""), before))
    end

    it("tumbling: each span has a row", function()
      local p = windowed 'moonlog.tumbling "10s"'
      for _, at in ipairs { 0, 9999999, 10000000, 25000000 } do p:feed("A", {}, { time = at }) end
      assert.same({ ada = { ["0..10000000"] = { n = 2 }, ["10000000..20000000"] = { n = 1 },
        ["20000000..30000000"] = { n = 1 } } }, p:rows())
      assert.equal(30000000, p.p:stats().closes)
      p:commit(30000000)
      assert.equal(0, p.p:stats().closes)
    end)

    it("hopping: an event is in several", function()
      local p = windowed 'moonlog.hopping("10s", "5s")':feed("A", {}, { time = 12000000 })
      assert.same({ ada = { ["5000000..15000000"] = { n = 1 },
        ["10000000..20000000"] = { n = 1 } } }, p:rows())
      assert.same({ '"ada"' }, (p:keys("A", {}))) -- without the windows
    end)

    it("late events are counted, or go to late", function()
      for late, n in pairs { [""] = 1, ["late = function(row) row.late = (row.late or 0) + 1 "
        .. "end,"] = 1 } do
        local p = windowed('moonlog.tumbling("10s", { grace = "5s", time = "occurred" })', late)
        local function at(seconds, recorded)
          p:feed("A", {}, { occurred = seconds * SECOND, time = recorded * SECOND })
        end
        at(2, 100)
        at(12, 110) -- 0..10 is over, and has its grace
        at(3, 112)  -- 14 by the clock
        at(4, 113)  -- 15: it is closed
        local row = { n = 2, late = late ~= "" and n or nil }
        assert.same({ ada = { ["0..10000000"] = row, ["10000000..20000000"] = { n = 1 } } },
          p:rows())
        assert.equal(late == "" and 1 or 0, p.p:stats().late)
      end
    end)

    it("close by what the log records, also when nothing happens", function()
      local p = windowed 'moonlog.tumbling("10s", { time = "occurred" })'
      p:feed("A", {}, { occurred = 5 * SECOND, time = 100 * SECOND }):commit(100 * SECOND)
      assert.equal(105 * SECOND, p.p:stats().closes)
      p:commit(104 * SECOND)
      assert.same({ 9 * SECOND, 105 * SECOND }, { p.p:stats().now, p.p:stats().closes })
      p:commit(105 * SECOND)
      assert.equal(0, p.p:stats().closes)
    end)

    it("session: one row until nothing happened for so long", function()
      local p = windowed 'moonlog.session "10s"'
      for _, at in ipairs { 0, 9, 18, 28, 29, 60 } do
        p:feed("A", {}, { time = at * SECOND })
        if at == 18 or at == 28 then p:commit() end
      end
      assert.same({ ada = { ["0..28000000"] = { n = 3 }, ["28000000..39000000"] = { n = 2 },
        ["60000000..70000000"] = { n = 1 } } }, p:rows())
      p:feed("Z", {}, { time = 61 * SECOND }):feed("A", { n = 5 }, { time = 62 * SECOND })
      assert.same({ n = 5 }, p:rows().ada["62000000..72000000"])
      assert.is_nil(p:rows().ada["60000000..70000000"])
    end)

    local MERGE = "merge = function(row, other) row.n, row.merged = row.n + other.n, true end,"

    it("sessions by occurred are joined by merge, in whatever order they were told", function()
      for _, order in ipairs { { 0, 18, 9 }, { 18, 0, 9 }, { 9, 0, 18 } } do
        for _, commits in ipairs { true, false } do
          local p = windowed('moonlog.session("10s", { time = "occurred", grace = "1h" })', MERGE)
          for _, at in ipairs(order) do
            p:feed("A", {}, { occurred = at * SECOND, time = 1000 * SECOND })
            if commits then p:commit() end
          end
          assert.same({ ada = { ["0..28000000"] = { n = 3, merged = order[3] == 9 or nil } } },
            p:rows())
        end
      end
    end)

    it("sessions that closed stay as they are", function()
      local p = windowed('moonlog.session("10s", { time = "occurred" })', MERGE)
      local function at(seconds) p:feed("A", {}, { occurred = seconds * SECOND,
        time = seconds * SECOND }) end
      at(0)
      at(30)
      p:feed("A", {}, { occurred = 5 * SECOND }) -- in the first
      p:feed("A", {}, { occurred = 15 * SECOND }) -- in none, and as long ago
      assert.equal(2, p.p:stats().late)
      p:feed("A", {}, { occurred = 21 * SECOND }) -- before the second, and next to it
      assert.same({ ada = { ["0..10000000"] = { n = 1 }, ["21000000..40000000"] = { n = 2 } } },
        p:rows())
    end)

    -- The sessions of times, by sorting them.
    local function slow(times, gap)
      table.sort(times)
      local found, first, last, n = {}, nil, nil, 0
      for _, time in ipairs(times) do
        if first and time >= last + gap then
          found[first .. ".." .. last + gap], first, n = n, nil, 0
        end
        first, last, n = first or time, time, n + 1
      end
      if first then found[first .. ".." .. last + gap] = n end
      return found
    end

    it("sessions are what a slow computation makes of the same times", function()
      math.randomseed(11)
      for round = 1, 30 do
        local by_log = round % 2 == 0
        local p = by_log and windowed 'moonlog.session "1ms"'
          or windowed('moonlog.session("1ms", { time = "occurred", grace = "9000d" })', MERGE)
        local times, now = { a = {}, b = {} }, 0
        for _ = 1, 300 do
          local key, time = math.random(2) == 1 and "a" or "b", math.random(0, 90000)
          now = now + math.random(0, 900)
          if by_log then time = now end
          table.insert(times[key], time)
          p:feed("A", {}, { stream = "x-" .. key, time = now, occurred = time })
          if math.random(40) == 1 then p:commit() end
        end
        local rows = p:rows()
        for key, list in pairs(times) do
          local counts = {}
          for span, row in pairs(rows[key]) do counts[span] = row.n end
          assert.same(slow(list, 1000), counts)
        end
      end
    end)

    it("parts of one event are in one session", function()
      local p = new {
        ["p.lua"] = file [[ key = "id", row = { n = 0 }, window = moonlog.session "10s",
          on = { A = function(row) row.n = row.n + 1 end } ]],
        ["b.lua"] = [[ local moonlog = require 'moonlog'
          return { upcast = 'B', latest = 2, [1] = function(d)
            return moonlog.split { moonlog.event("A", d), moonlog.event("A", d) } end } ]],
      }
      p:feed("B", {}, { time = 0 }):feed("B", {}, { time = 5 * SECOND })
      assert.same({ ada = { ["0..15000000"] = { n = 4 } } }, p:rows())
    end)

    it("are a thousand rows of one event at most", function()
      local p = new(file [[ key = function() local t = {} for n = 1, 100 do t[n] = n end return t
        end,
        window = moonlog.hopping("64s", "1s"), on = { A = function() end } ]])
      local how, fault = p:apply("A", {})
      assert.equal("fault", how)
      assert.match("one event changes up to 1000 rows", fault.message)
    end)

    it("rows that expire are gone by the clock, swept or not", function()
      local p = new(file [[ key = "id", row = { n = 0 }, ttl = "10s",
        on = { A = function(row) row.n = row.n + 1 end } ]])
      p:feed("A", {}, { time = 0 }):feed("A", {}, { time = 9 * SECOND }):feed("A", {},
        { time = 18 * SECOND })
      assert.same({ ada = { n = 3 } }, p:rows(27 * SECOND))
      p:feed("A", {}, { time = 28 * SECOND }) -- nobody has swept
      assert.same({ ada = { n = 1 } }, p:rows())
      assert.same({}, p:rows(38 * SECOND))
    end)
  end)

  -- What is built does not depend on where it was cut into commits, or given up and done again.
  describe("a rebuild", function()
    local SOURCES = {
      keyed = BALANCE,
      many = file [[ key = function(d) return d.amount % 3 == 0 and {} or { d.amount % 5, "x",
        d.amount % 2 == 0 } end,
        row = { n = 0 }, ttl = "40us",
        on = { Deposited = function(row, d) row.n = row.n + d.amount if row.n > 90 then
          return moonlog.delete end end } ]],
      windows = file [[ key = "stream", row = { n = 0 }, window = moonlog.hopping("30us", "7us",
        { time = "occurred" }),
        late = function(row) row.late = (row.late or 0) + 1 end, ttl = "100us",
        on = { Deposited = function(row, d) row.n = row.n + d.amount end } ]],
      sessions = file [[ key = "stream", row = { n = 0 },
        window = moonlog.session("9us", { time = "occurred", grace = "20us" }), ttl = "200us",
        merge = function(row, other) row.n = row.n + other.n end,
        on = { Deposited = function(row, d) row.n = row.n + d.amount if row.n == 30 then
          return moonlog.delete end end } ]],
      log_sessions = file [[ key = "stream", row = { n = 0 }, window = moonlog.session("9us"),
        ttl = "50us",
        on = { Deposited = function(row, d) row.n = row.n + d.amount end } ]],
    }

    local function history()
      local events, time = {}, 1000
      for n = 1, 600 do
        time = time + math.random(0, 6)
        events[n] = { { amount = math.random(1, 20) }, { stream = "account-" .. math.random(1, 4),
          time = time,
          occurred = math.random(4) == 1 and time - math.random(0, 60) or nil, position = n } }
      end
      return events, time + 5
    end

    -- In commits of about `size`; with `again`, some are given up and begun again.
    local function build(source, events, last, size, again)
      local p, n, committed, note = new(source), 0, 0, ""
      while n < #events do
        n = n + 1
        p:feed("Deposited", events[n][1], events[n][2])
        if again and math.random(size) == 1 then
          p.p:abort()
          assert(p.p:load(note))
          n = committed
        elseif math.random(size) == 1 then
          p:commit()
          committed, note = n, p.p:note()
        end
      end
      p:commit(last)
      return p.p:digest(), p.p:note()
    end

    for name, source in pairs(SOURCES) do
      it("gives the same rows and the same note: " .. name, function()
        math.randomseed(21)
        for _ = 1, 3 do
          local events, last = history()
          local digest, note = build(source, events, last, 1000000)
          for _, size in ipairs { 1, 3, 40 } do
            local other, other_note = build(source, events, last, size)
            assert.equal(digest, other)
            assert.equal(note, other_note)
          end
          assert.equal(digest, (build(source, events, last, 20, true)))
        end
      end)
    end
  end)

  it("a table for SQL is what was declared", function()
    local table, columns = new(file [[ key = "id", on = { A = function() end },
      sql = { table = "accounts", columns = { owner = "text", n = "integer",
        city = { type = "json", path = "address.city" } } } ]]).p:sql()
    assert.equal("accounts", table)
    assert.same({ { "city", "address.city", 4 }, { "n", "n", 0 }, { "owner", "owner", 2 } },
      columns)
    assert.equal("p", (new(file [[ key = "id", on = { A = function() end },
      sql = { columns = {} } ]]).p:sql()))
    assert.is_nil((new(BALANCE).p:sql()))
  end)

  it("stays within its sandbox: memory is a fault, and the next event goes on", function()
    local p = new(file [[ key = "id", row = { n = 0 }, on = { A = function(row, d)
      if d.much then local t = {} for n = 1, 1e8 do t[n] = { n } end end row.n = row.n + 1 end } ]])
    local how, fault = p:apply("A", { much = true })
    assert.same({ "fault", "memory" }, { how, fault.kind })
    assert.same({ ada = { n = 1 } }, p:feed("A", {}):rows())
    assert.is_truthy(event and m)
  end)
end)
