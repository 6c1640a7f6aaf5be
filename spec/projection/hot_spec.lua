-- core/projection/projection_hot.c: rows that stay tables from event to event are what they would
-- be if each event had its row decoded and encoded.
local core = require("coretest").projection
local m = require "moonlog"
local projections = require "spec.support.projections"

describe("projection/hot: a handler", function()
  local kept
  local lent = {
    function(row) row.n = 1 end,
    function(row, d) row.n, row.name = (row.n or 0) + d.n, d.name .. row.name end,
    function(row, d) row[d.key], row.text = row[d.key] + 1, ("x"):rep(row.n) end,
    function(row, d) for n = 1, d.n do row.n = row.n + n end if row.n > 5 then return d end end,
    function(row, d) local n = row.n if not n then error "none" end kept = n + #d end,
    function(row, d, e) row.at, row.list = e.time, { d.a, d.b, row.n } end,
    function(row) row.count = -row.count row[1] = row[2] row.x = row.y.z end,
    function(row) local f = function(other) return other end row.n = f(row.n) end,
    function() end,
  }
  local not_lent = {
    function(row) kept = row end,
    function(row) local r = row r.n = 1 end,
    function(row) return row end,
    function(row, d) d.row = row end,
    function(row) row.me = row end,
    function(row, d) d[row] = 1 end,
    function(row) row[1] = { row } end,
    function(row) print(row) end,
    function(row) row:method() end,
    function(row) local f = function() return row.n end row.n = f() end,
    function(row) row = { n = row.n } row.n = 1 end, -- luacheck: ignore
    function(row) for _ in pairs(row) do row.n = 1 end end,
    function(row, d) return row == d end,
    function(row) return #row end,
    function(row) return "x" .. row end,
    function(row) return row + 1 end,
    function(row, d) d.n = row or 1 end,
    function(row) if row then d = 1 end end, -- luacheck: ignore
    function(...) local row = ... row.n = 1 end,
    function(row, ...) row.n = ... end,
    function(row) goto there ::there:: do local x <close> = row end end, -- luacheck: ignore
    function(row) for n = row, 5 do kept = n end end,
  }

  it("lends its row if it gets and sets fields of it, and nothing else", function()
    for n, f in ipairs(lent) do assert.is_true(core.lends(f), "lent " .. n) end
    for n, f in ipairs(not_lent) do assert.is_false(core.lends(f), "not lent " .. n) end
    assert.is_nil(kept)
  end)
end)

describe("projection/hot: of its data a handler picks", function()
  it("the fields that it gets by name", function()
    local function picks(f)
      local names = core.picks(f, 1)
      if names then table.sort(names) end
      return names
    end
    local up = { x = 1 }
    for text, f in pairs {
      ["amount"] = function(r, d) r.n = r.n + d.amount end,
      ["amount kind"] = function(r, d) if d.kind == "a" then r.n = d.amount or d.kind end end,
      ["list"] = function(r, d) for _, one in ipairs(d.list) do r.n = r.n + one.price end end,
      ["a"] = function(r, d) d.b = 5 d[r.n] = 6 r.c = d.a.b.c end,
      ["f"] = function(_, d) return up.x, d.f(up) end,
      [""] = function(r) r.n = r.n + 1 end,
    } do
      assert.equal(text, table.concat(picks(f), " "), text)
    end
    assert.same({}, picks(function(_, d) d.x = 1 end))
  end)

  it("all where it is not known which", function()
    for n, f in ipairs {
      function(r, d) r.n = d[r.key] end, function(r, d) r.n = d[1] end, function(r, d) r.d = d end,
      function(r, d) for k in pairs(d) do r[k] = 1 end end, function(_, d) return d end,
      function(_, d) return function() return d.x end end, function(_, d) return d:x() end,
      function(...) return select(2, ...) end, function(_, d) d = d.x return d.y end,
      function(r, d) r.n = next(d) end, function(r, d) r.n = #d end,
    } do
      assert.is_false(core.picks(f, 1), n)
    end
  end)
end)

-- Handlers that lend their rows, with all that may happen to a row; `spare` is one more that does
-- not, for a type that never comes, so that no row stays a table.
local handlers = {
  Counted = [[function(r, d) r.n, r.last = r.n + 1, d.n end]],
  Named = [[function(r, d) r.name = d.text end]],
  Forgot = [[function(r) r.name, r.last, r.list = nil, nil, nil end]],
  Nested = [[function(r, d) r.list = { d.n, { r.n } } end]],
  Unnested = [[function(r) r.list = type(r.list) == "table" and #r.list or nil end]],
  Divided = [[function(r, d) r.share = (r.n + 1) / (d.n // 9 - 5) end]],
  Closed = [[function() return moonlog.delete end]],
  Touched = [[function() end]],
  Long = [[function(r, d) r.long = ("x"):rep(d.n * 20) end]],
  Bytes = [[function(r, d) r.bytes = string.char(200 + d.n % 50) end]],
  Looked = [[function(r) r.kind = type(r.bytes) end]],
  Numbered = [[function(r, d) if d.n % 10 == 0 then r[d.n] = 1 end end]],
  Raised = [[function(r, d) r.n = r.n + 100 if d.n % 10 == 0 then error "no" end end]],
  Looped = [[function(r, d) r.n = r.n + 1 while d.n < 4 do r.n = r.n + 1 end end]],
  Wrong = [[function(r, d) r.n = r.n + 7 if d.n % 10 == 0 then return 5 end end]],
}
local spare = "function(r) local row = r row.n = 1 end"

local function files(more, on)
  local all = {}
  for type, text in pairs(handlers) do all[type] = text end
  for type, text in pairs(on or {}) do all[type] = text end
  for _, type in ipairs { "Opened", "Deposited", "Withdrawn" } do all[type] = false end
  local fields = { row = "{ n = 0 }", index = '{ "n" }' }
  for name, text in pairs(more or {}) do fields[name] = text end
  return projections.source(fields, all)
end

local function fill(p, dice, events, keys, types)
  local writes = {}
  for _ = 1, events do
    local data = { n = dice(100), text = ("t"):rep(dice(9)), keys = {} }
    for n = 1, dice(3) do data.keys[n] = "k" .. dice(keys) end
    writes[#writes + 1] = { stream = "account-" .. dice(keys),
      events = { { type = types[dice(#types)], data = data } } }
  end
  assert(p.store:append(writes))
end

-- So many rows, of one event each.
local function name_all(p, count)
  local event = { type = "Named", data = { text = "t" } }
  for first = 1, count, 1000 do
    local writes = {}
    for n = first, first + 999 do
      writes[#writes + 1] = { stream = "account-" .. n, events = { event } }
    end
    assert(p.store:append(writes))
  end
end

local tame, wild = {}, {}
for _, type in ipairs(projections.sorted(handlers)) do
  local is_wild = type == "Raised" or type == "Looped" or type == "Wrong" or type == "Numbered"
    or type == "Divided"
  for _ = 1, is_wild and 0 or 4 do tame[#tame + 1] = type end
  for _ = 1, is_wild and 2 or 6 do wild[#wild + 1] = type end
end

describe("projection/hot: rows", function()
  local p
  before_each(function() p = projections.new() end)
  after_each(function() p:close() end)

  -- A projector that is stepped, now and then committed or asked; and its like without hot rows.
  -- `fold_ms`: what a handler may take, where one loops.
  local function both(more, on, check, fold_ms)
    local options = { fold_ms = fold_ms or 60000 }
    local hot <close> = p:open(files(more, on), options)
    local cold_on = { Zero = spare }
    for type, text in pairs(on or {}) do cold_on[type] = text end
    local cold <close> = p:open(files(more, cold_on), options)
    check(hot, cold)
  end

  local function same(hot, cold, what)
    local a, b = hot:status(), cold:status()
    for _, name in ipairs { "state", "position", "events", "skipped", "rows", "digest", "held" } do
      assert.equal(b[name], a[name], what .. ": " .. name)
    end
    if b.error then
      for _, name in ipairs { "kind", "message", "position", "line", "type" } do
        assert.equal(b.error[name], a.error[name], what .. ": error." .. name)
      end
    end
    assert.same(b.held_keys, a.held_keys)
  end

  for _, keys in ipairs { 3, 300 } do
    it(("are the same of %d keys, whenever it commits"):format(keys), function()
      local dice = projections.dice(keys)
      both({}, {}, function(hot, cold)
        for round = 1, 40 do
          fill(p, dice, dice(200), keys, tame)
          local head = p.store:head().position
          hot:run(dice(2) == 1 and head - dice(20) or nil)
          hot:run()
          cold:run()
          same(hot, cold, "round " .. round)
        end
        assert.same(p.rows(cold), p.rows(hot))
      end)
    end)
  end

  it("are the same where one event goes to several keys", function()
    local dice = projections.dice(5)
    both({ key = "function(d) return d.keys end" }, {}, function(hot, cold)
      for round = 1, 20 do
        fill(p, dice, 100, 12, tame)
        hot:run()
        cold:run()
        same(hot, cold, "round " .. round)
      end
    end)
  end)

  it("are the same of more keys than are kept", function()
    local dice = projections.dice(6)
    for _ = 1, 12 do fill(p, dice, 1000, 20000, tame) end
    for _ = 1, 6 do fill(p, dice, 1000, 5, tame) end
    both({}, {}, function(hot, cold)
      hot:run()
      cold:run()
      same(hot, cold, "many keys")
    end)
  end)

  it("are the same when handlers raise, and it is told to go on", function()
    local dice = projections.dice(7)
    both({}, {}, function(hot, cold)
      local stops = 0
      for _ = 1, 15 do
        fill(p, dice, 150, 9, wild)
        repeat
          local at, other = hot:run(), cold:run()
          same(hot, cold, "stop " .. stops)
          if at.state == "stopped" then
            stops = stops + 1
            assert(hot:skip(at.error.position))
            assert(cold:skip(other.error.position))
          end
        until at.state == "live"
      end
      assert.is_true(stops > 5, stops)
    end, 40)
  end)

  it("are the same when keys are held, let go and held again", function()
    local dice = projections.dice(8)
    both({ fault = '"hold"' }, {}, function(hot, cold)
      for round = 1, 15 do
        fill(p, dice, 150, 30, wild)
        hot:run()
        cold:run()
        same(hot, cold, "round " .. round)
        if round % 4 == 0 then
          for _, key in ipairs(cold:status().held_keys or {}) do
            hot:skip(key.position)
            cold:skip(key.position)
          end
          hot:run()
          cold:run()
          same(hot, cold, "skipped in round " .. round)
        end
      end
    end, 40)
  end)

  it("of an event whose second key raises are as before it", function()
    local on = { Raised = "function(r, d) r.n = r.n + 1 if r.n > 5 then error 'much' end end" }
    local function raise(keys) p:append("account-1", "Raised", { n = 1, keys = keys }) end
    both({ key = "function(d) return d.keys end" }, on, function(hot, cold)
      for _ = 1, 5 do raise { "b" } end
      raise { "a", "b" } -- b is full, so a does not count
      hot:run()
      cold:run()
      same(hot, cold, "stopped")
      assert.equal("stopped", hot:status().state)
      assert.is_nil(hot:get({ key = "a" }).row)
      assert.equal(5, hot:get({ key = "b" }).row.n)
    end)
  end)

  it("of an event that holds one key, and then another, are changed once", function()
    local on = {
      Nested = "function(r) r.list = { 1 } end",
      Named = "function(r) r.poison = true end",
      Counted = "function(r) r.n = r.n + 1 if r.poison or r.list then error 'no' end end",
    }
    local function append(type, keys) p:append("account-1", type, { keys = keys }) end
    append("Nested", { "a" })
    append("Counted", { "b" })
    append("Named", { "c" })
    append("Counted", { "a", "b", "c" })
    both({ key = "function(d) return d.keys end", fault = '"hold"' }, on, function(hot, cold)
      hot:run()
      cold:run()
      same(hot, cold, "held")
      assert.equal(2, hot:status().held)
      assert.equal(2, hot:get({ key = "b" }).row.n)
      assert.equal(0, hot:get({ key = "c" }).row.n)
    end)
  end)

  it("with names without end are none", function()
    local on = { Named = "function(r, d) r[d.text:rep(600000)] = 1 end" }
    for n = 1, 3 do p:append("account-1", "Named", { text = ("%d"):format(n) }) end
    both({}, on, function(hot, cold)
      hot:run()
      cold:run()
      same(hot, cold, "long names")
      assert.equal("stopped", hot:status().state)
      assert.match("over 1048576 bytes", hot:status().error.message)
    end)
  end)

  it("take no memory that a handler has without them", function()
    local on = {
      Named = "function(r, d) for n = 1, 30 do r['f' .. n] = d.text .. n end end",
      Nested = "function(r) r.list = { 1 } end",
      Long = [[function(r, d) local t = {} for n = 1, d.n do t[n] = ("x"):rep(1000000) .. n end
        r.last = #t end]],
    }
    p:append("account-0", "Nested", {})
    name_all(p, 4000)
    p:append("account-0", "Long", { n = 50 })
    local projector <close> = p:open(files({}, on), { fold_ms = 60000 })
    assert.equal("live", projector:run().state)
    assert.equal(50, projector:get({ key = "account-0" }).row.last)
  end)

  it("are written however many they are, and however little time a handler has", function()
    local on = { Named = "function(r, d) for n = 1, 30 do r[d.text .. n] = n end end" }
    name_all(p, 4000)
    local projector <close> = p:open(files({}, on), { fold_ms = 20 })
    local status = projector:run()
    assert.same({ "live", 4000 }, { status.state, status.rows })
  end)

  it("are those of the last commit for who asks, and of none that comes too early", function()
    both({}, {}, function(hot)
      for n = 1, 50 do
        p:append("account-1", "Counted", { n = n })
        hot:run()
        assert.same({ n = n, last = n }, hot:get({ key = "account-1" }).row)
      end
    end)
  end)

  it("are the same to whatif, which also ends where a handler raises", function()
    local dice = projections.dice(9)
    local scratch = p.views .. "/whatif"
    local function ask(before, after)
      return assert(m.whatif { store = p.store, before = before, after = after, scratch = scratch })
    end
    for round = 1, 6 do
      fill(p, dice, 300, 12, round < 5 and tame or wild)
      local on = { Named = "function(r, d) r.name = d.text if #d.text > 6 then r.long = 1 end end" }
      local cold = { Named = on.Named, Zero = spare }
      assert.same(ask(files({}, { Zero = spare }), files({}, cold)).differences,
        ask(files(), files({}, on)).differences)
    end
  end)
end)
