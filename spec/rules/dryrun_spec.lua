-- core/rules/dryrun.c: a pack meets the log before anybody depends on it; and twenty planted ways
-- of giving another state for the same events, each of which is caught while staging, or is none
-- any more because the sandbox has taken its sting.
local m = require "moonlog"
local rules = require "spec.support.rules"

describe("rules/dryrun", function()
  local r
  before_each(function() r = rules.new() end)
  after_each(function() r:close() end)

  -- Three streams of things, written in turn.
  local function fill(rounds)
    for n = 1, rounds or 20 do
      for stream = 1, 3 do
        r:append("thing-" .. stream, { { "Happened",
          { id = "x" .. n, amount = n * stream, list = { n, stream } } } })
      end
    end
  end

  it("lets pass what is right", function()
    fill()
    local report = r:stage(rules.file "s.n = s.n + d.amount s[d.id] = d.list")
    assert.same({}, report.diagnostics)
    assert.is_true(report.ok)
  end)

  it("names the first event that a handler cannot take, and the line", function()
    fill()
    r:append("thing-2", { { "Happened", { id = "no amount" } } })
    local report, found = r:stage(rules.file "\n\ns.n = s.n + d.amount")
    assert.is_false(report.ok)
    assert.equal("RAISED", found.code)
    assert.match("arithmetic on a nil value %(field 'amount'%) %(at position 61, Happened in "
      .. "thing%-2%)$", found.message)
    assert.same({ "unit.lua", 6 }, { found.file, found.line })
    assert.equal("s.n = s.n + d.amount end },", found.source)
  end)

  it("looks at the events themselves, not at a part of a history", function()
    fill(1)
    r:append("thing-9", { { "Begun", { amount = 1 } } })
    for _ = 1, 3 do
      local events = {}
      for n = 1, 700 do events[n] = { "Happened", { amount = n } } end
      r:append("thing-9", events)
    end
    r:append("thing-1", { { "Happened", { amount = 1 } } })
    local source = [[return { aggregate = "thing", initial = {}, on = {
      Begun = function(s, d) s.n = d.amount end,
      Happened = function(s, d) if s.n then s.n = s.n + d.amount end end } }]]
    assert.is_true(r:stage(source).ok)
    local strict = source:gsub("if s.n then (.-) end end", "%1 end")
    local report, found = r:stage(strict) -- of thing-1, which has no begin
    assert.is_false(report.ok)
    assert.match("in thing%-%d", found.message)
  end)

  it("looks at the end of long streams", function()
    local events = {}
    for _ = 1, 4 do
      for n = 1, 1000 do events[n] = { "Happened", { amount = n } } end
      r:append("thing-1", events)
    end
    r:append("thing-1", { { "Happened", {} } })
    local report, found = r:stage(rules.file "s.n = s.n + d.amount")
    assert.is_false(report.ok)
    assert.match("at position 4001", found.message)
  end)

  it("is stopped when a handler overstays", function()
    r:close()
    r = rules.new { fold_ms = 20 }
    fill(2)
    local report, found = r:stage(rules.file "while s.n do s.n = s.n + 1 end")
    assert.is_false(report.ok)
    assert.equal("OVERSTAY", found.code)
  end)

  it("is not done for what was proved before", function()
    fill()
    local source = rules.file "s.n = s.n + d.amount"
    r:load { ["unit.lua"] = source }
    r:append("thing-1", { { "Happened", {} } })
    assert.is_true(r:stage({ ["unit.lua"] = source }).ok)
    assert.is_false(r:stage({ ["unit.lua"] = source .. " " }).ok)
  end)

  it("says a difference with the field, the event and the line", function()
    fill()
    local report, found = r:stage(rules.file("seen[#seen + 1] = d.id s.count = #seen",
      { before = "local seen = {}" }), "TWIN")
    assert.is_false(report.ok)
    assert.equal("error", found.severity)
    assert.match("'count' differs; .*%(at position %d+, Happened in thing%-%d%)$", found.message)
    assert.same({ "unit.lua", 4 }, { found.file, found.line })
  end)

  describe("twenty planted bugs:", function()
    local lua_path = { before = "local moonlog = require 'moonlog'\nlocal seen, last, total, cache "
      .. "= {}, nil, 0, {}" }

    -- body, more, the code that catches it.
    local planted = {
      { "a counter beside the state", "total = total + 1 s.n = total", "UPVALUE" },
      { "the last event remembered", "s.prev, last = last, d.id", "UPVALUE" },
      { "a global counter", "count = count + 1 s.n = count", "UPVALUE", "count = 0" },
      { "an undeclared global", "if hits then s.n = 1 end hits = true", "GLOBAL" },
      { "a table of what was seen", "seen[d.id] = true local n = 0 for _ in pairs(seen) do n = n + "
        .. "1 end s.n = n", "TWIN" },
      { "a list that grows beside the state", "table.insert(seen, d.id) s.n = #seen", "TWIN" },
      { "a memo that depends on what came first",
        "cache.first = cache.first or d.amount s.n = cache.first", "TWIN" },
      { "a closure that counts", "s.n = tick()", "UPVALUE",
        "local tick = (function() local n = 0 return function() n = n + 1 return n end end)()" },
      { "one table under two names", "if not s.a then s.a = {} s.b = s.a end table.insert(s.a, "
        .. "d.id) s.n = #s.b", "TWIN" },
      { "the data kept and changed later", "s.list = s.list or d.list s.all = s.all or { s.list } "
        .. "s.list[1] = s.list[1] + 1 s.n = s.all[1][1]", "TWIN" },
      { "a metatable on the state", "if s.n == 0 then setmetatable(s, {__index = {bonus = 1}}) s.n "
        .. "= 1 end "
        .. "s.n = s.n + (s.bonus or 0)", "TWIN" },
      { "the event kept in the state", "s.e = e", "SHAPE" },
      { "a function in the state", "s.f = function() return d end", "SHAPE" },
      { "a list with holes", "s.list = { d.id, nil, d.amount }", "SHAPE" },
      { "a time of day", "s.at = os.time()", "GLOBAL" },
      { "dice", "s.n = math.random(6)", "RAISED" },
      { "an address", "s.who = ('%p'):format(s)", "RAISED" },
      { "garbage counted", "s.n = collectgarbage 'count'", "GLOBAL" },
      { "a weak table", "setmetatable(seen, {__mode = 'k'}) s.n = 1", "RAISED" },
      { "a finalizer", "setmetatable({}, {__gc = function() end})", "RAISED" },
    }

    for _, bug in ipairs(planted) do
      local name, body, code, before = bug[1], bug[2], bug[3], bug[4]
      it(name .. " is caught: " .. code, function()
        fill()
        local report, found = r:stage(rules.file(body, before and { before = before } or lua_path),
          code)
        assert.is_false(report.ok)
        assert.is_truthy(found, "not as " .. code)
        assert.equal(code, found.code)
        assert.equal("error", found.severity)
        assert.is_true(found.line > 0 or code == "SHAPE")
      end)
    end

    it("are twenty", function() assert.equal(20, #planted) end)

    -- What other Luas give another answer to each time, and this one does not.
    local tamed = {
      { "the order of pairs", "local t = {} for k in pairs { a = 1, b = 2, c = 3, x = 4, y = 5 } "
        .. "do t[#t + 1] = k end "
        .. "s.order = table.concat(t)", { order = "abcxy" } },
      { "next", "s.first = next { b = 1 }", { first = "b" } },
      { "a table as text", "s.text = tostring({}) .. tostring(print_nothing)",
        { text = "<table><function>" } },
      { "floats as text", "s.text = ('%.3f|%s|%s'):format(0.1 + 0.2, 1e15, 2^53)",
        { text = "0.300|1e+15|9.007199254741e+15" } },
      { "sorting what is equal", "local t = {} for n = 1, 200 do t[n] = { k = n % 3, n = n } end "
        .. "table.sort(t, function(a, b) return a.k < b.k end) s.n = t[1].n * 1000 + t[200].n",
          false },
    }
    for _, case in ipairs(tamed) do
      it(case[1] .. " is the same each time", function()
        fill(3)
        local source = rules.file(case[2], { before = "local function print_nothing() end" })
        local report = r:stage(source)
        assert.same({}, report.diagnostics)
        r:load(source)
        local first = r:state("thing", "1").state
        for key, value in pairs(case[3] or {}) do assert.equal(value, first[key]) end
        r:again()
        assert.equal(m.pack(first), m.pack(r:state("thing", "1").state))
      end)
    end
  end)

  it("reports a state that went wrong before the events that are compared", function()
    local events = {}
    for _ = 1, 2 do
      for n = 1, 600 do events[n] = { "Happened", { amount = n } } end
      r:append("thing-1", events)
    end
    local report, found = r:stage(rules.file "s.f = function() end")
    assert.is_false(report.ok)
    assert.equal("SHAPE", found.code)
    assert.match("state%.f is a function", found.message)
    assert.equal("unit.lua", found.file)
  end)
end)
