-- core/rules/engine.h: commands, states, and what an engine remembers.
local m = require "moonlog"
local rules = require "spec.support.rules"

describe("rules/engine", function()
  local r
  before_each(function()
    r = rules.new()
    r:load { ["account.lua"] = rules.account }
  end)
  after_each(function() r:close() end)

  local function found_ada()
    assert(r:act("account", "ada", "open", { owner = "Ada" }))
    assert(r:act("account", "ada", "deposit", { amount = 500 }))
    assert(r:act("account", "ada", "withdraw", { amount = 200 }))
    assert(r:act("account", "ada", "deposit", { amount = 1000 }))
  end

  it("tells the founding story: created, +500, -200, +1000 is 1300", function()
    found_ada()
    local now = { open = true, owner = "Ada", balance = 1300, last = 2 }
    assert.same({ state = now, revision = 3, position = 4 }, r:state("account", "ada"))
    local balances = {}
    for revision = 0, 3 do
      balances[revision] = r:state("account", "ada", { at = revision }).state.balance
    end
    assert.same({ [0] = 0, 500, 300, 1300 }, balances)
    r:again()
    assert.same({ state = now, revision = 3, position = 4 }, r:state("account", "ada"))
  end)

  it("refuses what business refuses, and writes nothing", function()
    found_ada()
    local nothing, refusal = r:act("account", "ada", "withdraw", { amount = 5000 })
    assert.is_nil(nothing)
    assert.same({ code = "INSUFFICIENT_FUNDS", detail = { balance = 1300 } }, refusal)
    nothing, refusal = r:act("account", "ada", "open", { owner = "Eve" })
    assert.is_nil(nothing)
    assert.same({ code = "ALREADY_OPEN", detail = m.null }, refusal)
    assert.equal(3, r:state("account", "ada").revision)
  end)

  it("expects the revision that it decided on", function()
    assert.equal("no_stream", r:act("account", "ada", "open", { owner = "Ada" }).expected)
    assert.equal(0, r:act("account", "ada", "deposit", { amount = 1 }).expected)
    assert.equal(1, r:act("account", "ada", "deposit", { amount = 1 }).expected)
  end)

  it("decides on a state in memory without reading the log", function()
    found_ada()
    local before = r.engine:stats().log_reads
    for _ = 1, 50 do assert(r:act("account", "ada", "deposit", { amount = 1 })) end
    assert.equal(before, r.engine:stats().log_reads)
    assert.equal(1350, r:state("account", "ada").state.balance)
    assert.equal(1, r.engine:stats().states)
  end)

  it("sees what others append, by the head of the stream", function()
    found_ada()
    r:append("account-ada", { { "Deposited", { amount = 7 } } })
    assert.equal(1307, r:state("account", "ada").state.balance)
    r:append("account-ada", { { "Deposited", { amount = 7 } } })
    assert.equal(5, r:act("account", "ada", "deposit", { amount = 1 }).expected)
  end)

  it("takes each admitted event once, and forgets a stream of which it missed one", function()
    found_ada()
    local stored = r:append("account-ada", { { "Deposited", { amount = 1 } },
      { "Deposited", { amount = 2 } } })
    r.engine:admitted(stored)
    r.engine:admitted(stored)
    assert.equal(1303, r:state("account", "ada").state.balance)
    r:append("account-ada", { { "Deposited", { amount = 10 } } })
    r.engine:admitted(r:append("account-ada", { { "Deposited", { amount = 20 } } }))
    assert.equal(0, r.engine:stats().states)
    assert.equal(1333, r:state("account", "ada").state.balance)
  end)

  describe("a decision that cannot be folded", function()
    local function refused(body, act, pattern)
      r:load { ["thing.lua"] = rules.file(body, { act = act }) }
      local nothing, why, fault = r.engine:command { aggregate = "thing", id = "a", name = "act" }
      assert.is_nil(nothing)
      assert.match("^SCRIPT_ERROR: thing%.lua:4: " .. pattern, why)
      assert.equal("aggregate/thing", fault.unit)
      return fault
    end
    local HAPPENED = "return moonlog.event 'Happened'"

    it("is an error of the handler, names the event, and is not written", function()
      local fault = refused("s.n = d.x.y", HAPPENED,
        "Happened that the command act decided cannot be folded: .*index a nil value")
      assert.same({ position = m.null, type = "Happened", stream = "thing-a" }, fault.event)
      assert.match("d%.x%.y", fault.source)
      refused("if s.n == 1 then error 'twice' end s.n = s.n + 1",
        "return { moonlog.event 'Happened', moonlog.event 'Happened' }", ".*: twice$")
    end)

    it("nor one whose state cannot be kept", function()
      local fault = refused("s.f = error", HAPPENED, "what that the command act decided .*s?%.f ")
      assert.is_nil(fault.event)
    end)

    it("is stopped in time", function()
      assert.equal("overstay", refused("while true do end", HAPPENED, "Happened that ").kind)
    end)

    it("leaves the state as it was, and every event where it is to be", function()
      r:load { ["thing.lua"] = rules.file([[
        if d and d.bad then error "bad" end
        s.n, s.at, s.ids = s.n + 1, { e.revision, e.stream, #e.tags, e.meta.unit }, s.ids or {}
        if s.ids[e.id] or s.ids[e.position] or e.time <= 0 then error "seen" end
        s.ids[e.id], s.ids[tostring(e.position)] = true, true]],
        { act = [[local l = {}
          local data, more = { bad = c.bad }, { tags = { "t" } }
          for n = 1, c.count do l[n] = moonlog.event("Happened", data, more) end
          return l]] }) }
      assert(r:act("thing", "a", "act", { count = 3 }))
      local before = r:state("thing", "a").state
      assert.equal(3, before.n)
      assert.same({ 2, "thing-a", 1, "aggregate/thing" }, before.at)
      local request = { aggregate = "thing", id = "a", name = "act" }
      request.args = { count = 2, bad = true }
      assert.is_nil((r.engine:command(request)))
      assert.same(before, r:state("thing", "a").state)
      -- Decided, and never admitted: as if nothing had been.
      request.args.bad = nil
      assert(r.engine:command(request))
      assert.same(before, r:state("thing", "a").state)
      assert(r:act("thing", "a", "act", { count = 1 }))
      assert.equal(4, r:state("thing", "a").state.n)
      assert.equal(4, r:again():state("thing", "a").state.n)
    end)
  end)

  it("says at once what a handler raises on an admitted event, and forgets the state", function()
    found_ada()
    local stored = r:append("account-ada", { { "Deposited", { sum = 5 } } })
    local done, why, fault = r.engine:admitted(stored)
    assert.is_nil(done)
    assert.match("^SCRIPT_ERROR: account%.lua:7: attempt to perform arithmetic", why)
    assert.same({ position = 5, type = "Deposited", stream = "account-ada" }, fault.event)
    assert.match("d%.amount", fault.source)
    assert.equal(0, r.engine:stats().states)
    assert.is_nil((r:state("account", "ada")))
    assert.is_true(r.engine:admitted(r:append("account-b", { { "Deposited", { amount = 5 } } })))
  end)

  it("keeps states up to a bound in bytes; the ones used last stay", function()
    r:close()
    r = rules.new { states_bytes = 4000 }
    r:load { ["account.lua"] = rules.account }
    for n = 1, 100 do assert(r:act("account", "n" .. n, "open", { owner = "o" .. n })) end
    local stats = r.engine:stats()
    assert.is_true(stats.states_bytes <= 4000 and stats.states > 2)
    assert.equal(100, stats.states + stats.evicted)
    assert(r:act("account", "n100", "deposit", { amount = 1 }))
    assert.equal(stats.log_reads, r.engine:stats().log_reads)
    assert.equal("o1", r:state("account", "n1").state.owner)
    assert.equal(stats.log_reads + 1, r.engine:stats().log_reads)
  end)

  it("names what is not there, and what was probably meant", function()
    local function refused(request, pattern)
      local nothing, why = r.engine[request.name and "command" or "state"](r.engine, request)
      assert.is_nil(nothing)
      assert.match(pattern, why)
    end
    refused({ aggregate = "acount", id = "a", name = "open" },
      '^NOT_FOUND: .*did you mean "account"')
    refused({ aggregate = "account", id = "a", name = "opne" }, '^NOT_FOUND: .*did you mean "open"')
    refused({ aggregate = "account", id = "a" },
      "^NOT_FOUND: there is no event in stream account%-a")
    refused({ aggregate = "account", name = "open" }, "^BAD_REQUEST: id is missing")
    refused({ id = "a", name = "open" }, "^BAD_REQUEST: aggregate is missing")
    refused({ aggregate = "account", id = "a\nb", name = "open" },
      "^BAD_REQUEST: .*control character")
    refused({ aggregate = "account", id = "a\0b", name = "open" },
      "^BAD_REQUEST: .*control character")
    refused({ aggregate = "account", id = ("x"):rep(600), name = "open" }, "^TOO_LARGE: ")
    refused({ aggregate = "account", id = "a", name = "open", dice = "short" },
      "^BAD_REQUEST: dice")
  end)

  it("says NOT_FOUND while no rules are loaded", function()
    r:close()
    r = rules.new()
    local nothing, why = r.engine:command { aggregate = "account", id = "a", name = "open" }
    assert.is_nil(nothing)
    assert.match("^NOT_FOUND: no rules", why)
    nothing, why = r.engine:activate()
    assert.is_nil(nothing)
    assert.match("^BAD_REQUEST: no pack is staged", why)
  end)

  it("keeps the active pack when another is refused", function()
    found_ada()
    local report = r:stage "return {"
    assert.is_false(report.ok)
    assert.is_nil((r.engine:activate()))
    assert.equal(1300, r:state("account", "ada").state.balance)
  end)

  it("keeps states of units that did not change, and folds anew those of units that did", function()
    found_ada()
    local before = r.engine:stats()
    r:load { ["account.lua"] = rules.account, ["thing.lua"] = rules.file("s.n = s.n + 1") }
    assert(r:act("account", "ada", "deposit", { amount = 1 }))
    assert.equal(before.log_reads, r.engine:stats().log_reads)
    local doubled = rules.account:gsub("s.balance %+ d.amount", "s.balance + 2 * d.amount")
    local report = r:load { ["account.lua"] = doubled, ["thing.lua"] = rules.file("s.n = s.n + 1") }
    assert.same({ "changed", "same" }, { report.units[1].status, report.units[2].status })
    assert.equal(2802, r:state("account", "ada").state.balance)
  end)

  it("tells whoever watches what it runs, and from where", function()
    found_ada()
    local hash = r.engine:stage(r.files).units[1].hash
    local function told(handler, line, position)
      assert.same({ running = false, unit = "aggregate/account", hash = hash, handler = handler,
        where = "account.lua:" .. line, position = position }, r.engine:doing())
    end
    told("on Deposited", 7, 4)
    r:act("account", "ada", "withdraw", { amount = 5000 })
    told("command withdraw", 16, 0)
    r:state("account", "ada", { at = 2 })
    told("on Withdrawn", 8, 3)
    r:load { ["account.lua"] = "-- moved\n" .. rules.account }
    r:state("account", "ada", { at = 2 })
    assert.equal("account.lua:9", r.engine:doing().where)
  end)

  it("works without a log: then states are what it was told", function()
    r:close()
    local engine = m.engine {}
    assert.is_true(engine:stage({ ["account.lua"] = rules.account }).ok)
    assert(engine:activate())
    engine:admitted {
      { stream = "account-a", type = "AccountOpened", data = { owner = "Al" }, revision = 0,
        position = 1 },
      { stream = "account-a", type = "Deposited", data = { amount = 5 }, revision = 1,
        position = 2 },
    }
    local answer = engine:command { aggregate = "account", id = "a", name = "withdraw",
      args = { amount = 4 } }
    assert.equal(1, answer.decided.expected)
    assert.same({ amount = 4 }, answer.decided.events[1].data)
    engine:close()
    r = rules.new()
  end)

  it("is closed when it is closed, or its store is", function()
    r.store:close()
    assert.error_matches(function() r:state("account", "ada") end, "store is closed")
    r.engine:close()
    assert.error_matches(function() r.engine:stats() end, "engine is closed")
    r = rules.new()
  end)
end)
