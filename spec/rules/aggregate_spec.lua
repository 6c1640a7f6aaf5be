-- core/rules/aggregate.h: what a handler is given, what it may give back, and how it fails.
local m = require "moonlog"
local rules = require "spec.support.rules"

describe("rules/aggregate", function()
  local r
  before_each(function() r = rules.new() end)
  after_each(function() r:close() end)

  -- Loads a thing with this command and gives its answer; nil, why, fault.
  local function ask(act, more, before)
    r:load { ["thing.lua"] = rules.file("s.n = s.n + 1", { act = act, before = before }) }
    local request = { aggregate = "thing", id = "a", name = "act" }
    for key, value in pairs(more or {}) do request[key] = value end
    return r.engine:command(request)
  end

  describe("a command", function()
    it("gives an event, a list of them, a refusal, or nothing", function()
      local decided = ask("return moonlog.event('A', {x = 1}, {tags = {'t'}, schema = 2})").decided
      assert.equal(1, #decided.events)
      local event = decided.events[1]
      assert.same({ "A", { x = 1 }, { "t" }, 2 },
        { event.type, event.data, event.tags, event.schema })
      assert.equal("thing-a", decided.stream)
      assert.equal("aggregate/thing", decided.unit)

      decided = ask("return { moonlog.event 'A', moonlog.event('B', 5) }").decided
      assert.same({ "A", "B" }, { decided.events[1].type, decided.events[2].type })
      assert.equal(m.null, decided.events[1].data)
      assert.same({}, decided.events[1].tags)
      assert.same({}, ask("").decided.events)
      assert.same({}, ask("return {}").decided.events)
      assert.same({ code = "NO", detail = { why = "so" } },
        ask("return moonlog.refuse('NO', {why = 'so'})").refused)
    end)

    local function refused(act, pattern, line)
      local nothing, why, fault = ask(act)
      assert.is_nil(nothing)
      assert.match("^SCRIPT_ERROR: thing%.lua:%d+: ", why)
      assert.match(pattern, fault.message)
      assert.equal("aggregate/thing", fault.unit)
      assert.equal("thing.lua", fault.file)
      assert.is_true(fault.line >= (line or 1))
      return fault
    end

    it("may give nothing else", function()
      refused("return 5", "returned a number; return moonlog%.event")
      refused("return 'A'", "returned a string")
      refused("return true", "returned a boolean")
      refused("return { type = 'A' }", "a table that is no list of events")
      refused("return { moonlog.event 'A', {} }", "a list that holds something else")
      refused("return { moonlog.event 'A', moonlog.refuse 'NO' }",
        "a list that holds something else")
      refused("return { moonlog.event 'A', nil, moonlog.event 'B' }", "no list of events")
      refused("return moonlog.drop", "moonlog%.drop")
      refused("return moonlog.split { moonlog.event 'A' }", "moonlog%.split")
      refused("return moonlog.delete", "moonlog%.delete")
      refused("local l = {} for n = 1, 1025 do l[n] = moonlog.event 'A' end return l",
        "over 1024 events")
    end)

    it("may not give an event that cannot be stored", function()
      refused("return moonlog.event('A', { f = function() end })", "data%.f is a function")
      refused("local e = moonlog.event 'A' e.type = nil return e", "without a type")
      refused("local e = moonlog.event 'A' e.tags = { 1 } return e", "tags are no list of strings")
      refused("local e = moonlog.event 'A' e.tags = { 't', 't' } return e",
        "tag \"t\" is there twice")
      refused("local e = moonlog.event 'A' e.meta = 5 return e", "meta is a number")
      refused("local e = moonlog.event 'A' e.schema = 0 return e", "schema is no number from 1")
      refused("return moonlog.event('A\\nB')", "control character")
      refused("return moonlog.event('A', ('x'):rep(1048500) .. ('y'):rep(200))", "data")
    end)

    it("may not change the state; what it tried is not kept", function()
      refused("s.n = s.n + 1", "changed the state")
      refused("s.f = function() end", "changed the state")
      assert(ask("return moonlog.event('Happened', {n = s.n})"))
      assert.equal(0, r.engine:command({ aggregate = "thing", id = "a",
        name = "act" }).decided.events[1].data.n)
    end)

    it("may use its state, arguments and ctx as it likes otherwise", function()
      local data = ask("s = { n = 9 } c.more = 1 ctx.meta.x = 5 return moonlog.event('A', c)",
        { args = { a = 1 } })
        .decided.events[1].data
      assert.same({ a = 1, more = 1 }, data)
    end)

    it("gets an empty table for arguments that were not given", function()
      assert.same({ n = 0 }, ask("local n = 0 for _ in pairs(c) do n = n + 1 end "
        .. "return moonlog.event('A', {n = n})").decided.events[1].data)
    end)

    it("raises with file, line, source and traceback", function()
      local fault = refused("local x\n return x.y", "attempt to index a nil value %(local 'x'%)", 5)
      assert.equal("raised", fault.kind)
      assert.match("^return x%.y", fault.source)
      assert.match("thing%.lua:%d+: ", fault.traceback)
      assert.match("[0-9a-f]+", fault.hash)
    end)

    it("is stopped when it overstays, and the next one works", function()
      r:close()
      r = rules.new { command_ms = 20 }
      local fault = refused("if c.loop ~= false then while true do end end", "longer than it may")
      assert.equal("overstay", fault.kind)
      assert.same({}, r.engine:command({ aggregate = "thing", id = "a", name = "act",
        args = { loop = false } }).decided.events)
    end)

    it("is stopped when it wants too much memory, and the next one works", function()
      r:close()
      r = rules.new { command_ms = 10000 } -- a slow machine is not to come first
      local fault = refused("local t = {} if c.bomb ~= false then for n = 1, 1e9 do t[n] = { n } "
        .. "end end", "not enough memory")
      assert.equal("memory", fault.kind)
      assert.same({}, r.engine:command({ aggregate = "thing", id = "a", name = "act",
        args = { bomb = false } }).decided.events)
    end)
  end)

  describe("ctx", function()
    it("tells now, id, actor and meta", function()
      local data = ask("return moonlog.event('A', { ctx.now, ctx.id, ctx.actor, ctx.meta.x })",
        { now = 1795268446000001, meta = { actor = "ann", x = 5 } }).decided.events[1].data
      assert.same({ 1795268446000001, "a", "ann", 5 }, data)
      data = ask("return moonlog.event('A', { n = ctx.actor == nil and ctx.meta.x == nil "
        .. "})").decided.events[1].data
      assert.same({ n = true }, data)
    end)

    it("draws ids from the dice of the command, and from nothing else", function()
      local act = "return moonlog.event('A', { ctx.uuid(), ctx.uuid() })"
      local request = { now = 1795268446000001, dice = ("d"):rep(16) }
      local first = ask(act, request).decided.events[1]
      local second = ask(act, request).decided.events[1]
      assert.same(first, second)
      assert.are_not.equal(first.data[1], first.data[2])
      assert.match("^%x+%-%x+%-7%x+%-%x+%-%x+$", first.data[1])
      request.dice = ("e"):rep(16)
      assert.are_not.equal(first.data[1], ask(act, request).decided.events[1].data[1])
    end)

    it("has nothing else, and says what was meant", function()
      local _, _, fault = ask("return ctx.nwo")
      assert.match('ctx has no field "nwo" %(did you mean "now"%?%)', fault.message)
    end)
  end)

  describe("meta of events", function()
    local dice = { now = 1795268446000001, dice = ("d"):rep(16) }
    it("says who decided, by which code, and what belongs together", function()
      local events = ask("return { moonlog.event 'A', moonlog.event('B', nil, { meta = { x = 1, "
        .. "unit = 'me' } }) }", dice)
        .decided.events
      local hash = r.engine:stage(r.files).units[1].hash
      local meta = events[1].meta
      assert.equal("aggregate/thing", meta.unit)
      assert.equal(hash, meta.hash)
      assert.match("^%x+%-", meta.causation_id)
      assert.equal(meta.causation_id, meta.correlation_id)
      assert.equal(1, events[2].meta.x)
      assert.equal("aggregate/thing", events[2].meta.unit)
      assert.equal(meta.correlation_id, events[2].meta.correlation_id)
    end)

    it("goes on with what the command came with", function()
      dice.meta = { actor = "ann", causation_id = "c", correlation_id = "k" }
      local meta = ask("return moonlog.event 'A'", dice).decided.events[1].meta
      assert.same({ "ann", "c", "k" }, { meta.actor, meta.causation_id, meta.correlation_id })
      dice.meta = { causation_id = "c" }
      meta = ask("return moonlog.event 'A'", dice).decided.events[1].meta
      assert.same({ "c", "c" }, { meta.causation_id, meta.correlation_id })
    end)
  end)

  describe("a handler of events", function()
    -- Folds one event through this body.
    local function fold(body, data, more)
      r:load(rules.file(body))
      r:append("thing-a", { { "Happened", data or { x = 1 }, more } })
      return r:state("thing", "a")
    end

    it("gets the state, the data and the event", function()
      local state = fold("s.x, s.type, s.at, s.tag = d.x, e.type, e.revision, e.tags[1]",
        { x = 5 }, { tags = { "t" } }).state
      assert.same({ n = 0, x = 5, type = "Happened", at = 0, tag = "t" }, state)
    end)

    it("gets values as they were stored", function()
      local data = { i = 1, f = 1.0, null = m.null, list = { 1, 2 }, empty = m.array {}, map = {},
        bytes = m.bytes "\xff" }
      local state = fold("s.d = d s.i, s.f = math.type(d.i), math.type(d.f)", data).state
      assert.same({ "integer", "float" }, { state.i, state.f })
      assert.equal(m.pack(data), m.pack(state.d))
    end)

    it("passes over types that it has no handler for", function()
      r:load(rules.file("s.n = s.n + 1"))
      r:append("thing-a", { { "Other" }, { "Happened" }, { "Other" } })
      assert.same({ state = { n = 1 }, revision = 2, position = 3 }, r:state("thing", "a"))
    end)

    it("may take less than it is offered", function()
      r:load [[return { aggregate = "thing", initial = { n = 0 }, on = {
        None = function() end, One = function(s) s.n = s.n + 1 end,
        Many = function(...) local s, d, e = ... s.n = s.n + d + e.revision end } }]]
      r:append("thing-a", { { "None" }, { "One" }, { "Many", 10 } })
      assert.equal(13, r:state("thing", "a").state.n)
    end)

    local function fails(body, pattern, data)
      local nothing, why, fault = fold(body, data)
      assert.is_nil(nothing)
      assert.match("^SCRIPT_ERROR: unit%.lua", why)
      assert.match(pattern, fault.message)
      return fault
    end

    it("returns nothing", function()
      fails("return { n = 1 }", "returned a table; change the state it is given")
    end)

    it("may put nothing into the state that cannot be kept", function()
      fails("s.f = function() end", "state%.f is a function")
    end)

    it("may not keep a list with holes", function()
      fails("s.list = { 1, nil, 3 }", "holes")
    end)

    it("raises with the event that it stood at", function()
      local fault = fails("s.n = s.n + d.y", "arithmetic on a nil value %(field 'y'%)")
      assert.same({ position = 1, type = "Happened", stream = "thing-a" }, fault.event)
    end)

    it("is stopped when it overstays", function()
      r:close()
      r = rules.new { fold_ms = 20 }
      assert.equal("overstay", fails("while true do end", "longer than it may").kind)
    end)
  end)

  it("folds old events as what their upcasters make of them", function()
    r:load {
      ["account.lua"] = [[return { aggregate = "account", initial = { balance = 0 }, on = {
        Deposited = function(s, d) s.balance = s.balance + d.amount end } }]],
      ["deposited.lua"] = [[return { upcast = "Deposited", latest = 3,
        [1] = { rename = { sum = "amount" } },
        [2] = function(d) d.amount = d.amount * 10 return d end }]],
      ["moved.lua"] = [[local moonlog = require "moonlog"
        return { upcast = "Moved", latest = 2, [1] = function(d) return moonlog.split {
          moonlog.event("Deposited", { amount = d.a }, { schema = 3 }),
          moonlog.event("Other", {}) } end }]],
      ["gone.lua"] = [[return { upcast = "Gone", latest = 2,
        [1] = function() return require "moonlog".drop end }]],
    }
    r:append("account-a", {
      { "Deposited", { sum = 1 } }, { "Deposited", { amount = 2 }, { schema = 2 } },
      { "Deposited", { amount = 300 }, { schema = 3 } }, { "Moved", { a = 4000 } }, { "Gone" },
    })
    assert.same({ state = { balance = 4330 }, revision = 4, position = 5 }, r:state("account", "a"))
    local before = r.store:read "account-a" ()
    assert.same({ sum = 1 }, before.data)
  end)

  it("folds what a split makes that a required file writes", function()
    r:load {
      ["account.lua"] = [[return { aggregate = "account", initial = { balance = 0 }, on = {
        Deposited = function(s, d) s.balance = s.balance + d.amount end } }]],
      ["moved.lua"] = [[local lib = require "lib.moved"
        return { upcast = "Moved", latest = 2, [1] = lib.step }]],
      ["lib/moved.lua"] = [[local moonlog = require "moonlog"
        return { step = function(d)
          return moonlog.split { moonlog.event("Deposited", { amount = d.a }) } end }]],
    }
    r:append("account-a", { { "Moved", { a = 5 } } })
    assert.same({ balance = 5 }, r:state("account", "a").state)
  end)
end)
