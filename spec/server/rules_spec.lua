-- core/server/rules.c, methods_rules.c, translate.c: rules are checked, loaded, listed, rolled
-- back; what is read goes through their upcasters.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"
local program = require "spec.support.program"

describe("server/rules", function()
  local served, one

  before_each(function()
    served = daemon.start(nil, { "--workers", "2" })
    one = peer.connect(served.uri)
  end)
  after_each(function()
    one:close()
    assert.equal(0, (served:stop()))
  end)

  local function load(files)
    local report = assert(one:call("rules.load", { files = files }))
    assert.is_true(report.active, report.diagnostics[1] and report.diagnostics[1].message)
    return report
  end
  local function deposit(id, amount)
    return assert(one:call("command",
      { aggregate = "account", id = id, name = "deposit", args = { amount = amount } }))
  end
  local function balance(id)
    return assert(one:call("state", { aggregate = "account", id = id })).state.balance
  end
  it("says what is missing before any are loaded", function()
    assert.matches("^NOT_FOUND: no rules are active",
      one:refused("command", { aggregate = "account", id = "a", name = "open" }))
    assert.matches("^NOT_FOUND: no rules are active",
      one:refused("state", { aggregate = "account", id = "a" }))
    local list = assert(one:call "rules.list")
    assert.equal(moonlog.null, list.hash)
    assert.equal(0, #list.units)
    assert.equal(0, #assert(one:call "rules.history").activations)
    assert.matches("^NOT_FOUND: there is no earlier version of the pack",
      one:refused "rules.rollback")
  end)

  describe("load", function()
    it("makes a pack active with an event that holds its source", function()
      local files = { ["account.lua"] = packs.ACCOUNT, ["counter.lua"] = packs.COUNTER }
      local report = load(files)
      local event = assert(one:call("read", { stream = "$rules" })).events[1]
      assert.equal("RulesActivated", event.type)
      assert.equal(event.position, report.position)
      assert.same(files, event.data.files)
      assert.equal(report.hash, event.data.hash)
      local list = assert(one:call("rules.list", { files = true }))
      assert.equal(report.hash, list.hash)
      assert.equal(event.time, list.time)
      assert.same(files, list.files)
      for n, unit in ipairs(list.units) do
        assert.equal(report.units[n].hash, unit.hash)
        assert.equal(event.data.units[n].unit, unit.unit)
        assert.equal("active", unit.status)
      end
      deposit("a", 5)
      assert.equal(5, balance "a")
    end)

    it("does nothing with a pack that is active", function()
      local first = load { ["account.lua"] = packs.ACCOUNT }
      local again = load { ["account.lua"] = packs.ACCOUNT }
      assert.equal(first.position, again.position)
      assert.equal("same", again.units[1].status)
      assert.equal(1, assert(one:call "head").position)
    end)

    it("exchanges rules, and states with them", function()
      load { ["account.lua"] = packs.ACCOUNT }
      deposit("a", 5)
      local report = load { ["account.lua"] = packs.DOUBLE }
      assert.equal("changed", report.units[1].status)
      assert.equal(10, balance "a")
      assert.equal(report.units[1].hash, deposit("a", 5).events[1].meta.hash)
      assert.equal(20, balance "a")
    end)

    it("changes nothing if there is an error, and says where", function()
      load { ["counter.lua"] = packs.COUNTER }
      local report = assert(one:call("rules.load", { files = { ["counter.lua"] = packs.WRONG } }))
      assert.is_false(report.ok)
      assert.is_false(report.active)
      local said = report.diagnostics[1]
      assert.equal("counter.lua", said.file)
      assert.equal("error", said.severity)
      assert.matches("comands", said.message)
      assert.equal(1, assert(one:call "head").position)
      assert(one:call("command", { aggregate = "counter", id = "a", name = "count" }))
      report = assert(one:call("rules.load", { files = { ["counter.lua"] = "return {" } }))
      assert.is_false(report.ok)
      assert.matches("^BAD_REQUEST: files", one:refused("rules.load", { files = 5 }))
      assert.matches("^BAD_REQUEST: files", one:refused("rules.load", {}))
    end)

    it("can be repeated while commands run: none fails", function()
      load { ["account.lua"] = packs.ACCOUNT }
      local client = peer.connect(served.uri)
      local sent, got = 0, 0
      local function send()
        sent = sent + 1
        client:ask("command", { aggregate = "account", id = "a" .. sent % 200, name = "deposit",
          args = { amount = 1 } })
      end
      local function take()
        local message = assert(client:receive())
        assert.equal(moonlog.null, message[3])
        assert.equal(1, #message[4].events)
        got = got + 1
      end
      for _ = 1, 64 do send() end
      for n = 1, 100 do
        one:ask("rules.load",
          { files = { ["account.lua"] = n % 2 == 1 and packs.DOUBLE or packs.ACCOUNT } })
        local loaded
        repeat -- always 64 under way, until it is active
          take()
          send()
          loaded = one:receive(0)
        until loaded
        assert.is_true(loaded[4].active)
      end
      while got < sent do take() end
      client:close()
      -- Each event says which version decided it, and that one was active then.
      local active, events, from = nil, 0, 1
      repeat
        local page = assert(one:call("read", { system = true, from = from }))
        for _, event in ipairs(page.events) do
          if event.stream == "$rules" then
            active = event.data.units[1].hash
          else
            assert.equal(active, event.meta.hash)
            events = events + 1
          end
        end
        from = page.next
      until page["end"]
      assert.equal(sent, events)
    end)
  end)

  it("check says what load would, and changes nothing", function()
    local report = assert(one:call("rules.check", { files = { ["account.lua"] = packs.ACCOUNT } }))
    assert.is_true(report.ok)
    assert.is_false(report.active)
    assert.equal("new", report.units[1].status)
    assert.equal(0, assert(one:call "head").position)
    assert.equal(0, #assert(one:call "rules.list").units)
    report = assert(one:call("rules.check", { files = { ["counter.lua"] = packs.WRONG } }))
    assert.is_false(report.ok)
    assert.equal(1, #report.diagnostics)
  end)

  it("are there again after the daemon was killed, before it says that it is ready", function()
    local other = daemon.start(nil, { "--workers", "2" })
    local client = peer.connect(other.uri)
    assert(client:call("rules.load", { files = { ["account.lua"] = packs.ACCOUNT } }))
    local ask = { aggregate = "account", id = "a", name = "deposit", args = { amount = 5 } }
    assert(client:call("command", ask))
    client:close()
    other:stop "KILL"
    other = daemon.start(other.dir, { "--workers", "2" })
    client = peer.connect(other.uri)
    for _, worker in ipairs(assert(client:call "status").workers) do
      assert.equal("up", worker.state)
      assert.equal(2, worker.answered) -- the pack was staged, and is active
    end
    assert(client:call("command", ask))
    local state = assert(client:call("state", { aggregate = "account", id = "a" })).state
    assert.equal(10, state.balance)
    client:close()
    assert.equal(0, (other:stop()))
  end)

  it("come from a directory that serve is given", function()
    local dir = packs.directory { ["account.lua"] = packs.ACCOUNT, ["lib/note.lua"] = "return {}",
      ["account_spec.lua"] = "error 'no rule'", ["readme.txt"] = "text" }
    local other = daemon.start(nil, { "--workers", "1", "--rules", dir })
    local client = peer.connect(other.uri)
    local list = assert(client:call("rules.list", { files = true }))
    assert.equal(packs.ACCOUNT, list.files["account.lua"])
    assert.is_nil(list.files["account_spec.lua"])
    assert.is_nil(list.files["readme.txt"])
    client:close()
    other:stop()
    other = daemon.start(other.dir, { "--workers", "1", "--rules", dir })
    client = peer.connect(other.uri)
    assert.equal(1, assert(client:call "head").position) -- the same pack is no news
    client:close()
    other:stop()
    program.write(dir .. "/account.lua", "return { aggregat = 'account' }")
    other = daemon.start(other.dir, { "--workers", "1", "--rules", dir })
    client = peer.connect(other.uri)
    assert.equal(list.hash, assert(client:call "rules.list").hash)
    assert.matches("account.lua:1: .*aggregat", other:said())
    client:close()
    other:stop()
  end)

  describe("rollback", function()
    it("of the pack goes to the one before", function()
      local first = load { ["account.lua"] = packs.ACCOUNT }
      load { ["account.lua"] = packs.DOUBLE }
      deposit("a", 5)
      assert.equal(10, balance "a")
      local back = assert(one:call "rules.rollback")
      assert.is_true(back.active)
      assert.equal(first.hash, back.hash)
      assert.equal(5, balance "a")
      local history = assert(one:call "rules.history").activations
      assert.same({ "RulesRolledBack", "RulesActivated", "RulesActivated" },
        { history[1].type, history[2].type, history[3].type })
      local page = assert(one:call("rules.history", { limit = 1 }))
      assert.same({ history[1] }, page.activations)
      page = assert(one:call("rules.history", { limit = 1, before = page.next }))
      assert.same({ history[2] }, page.activations)
    end)

    it("of a unit leaves the others as they are", function()
      load { ["account.lua"] = packs.ACCOUNT, ["counter.lua"] = packs.COUNTER }
      local counter = packs.COUNTER:gsub("s.n %+ 1", "s.n + 2")
      load { ["account.lua"] = packs.DOUBLE, ["counter.lua"] = counter }
      local back = assert(one:call("rules.rollback", { unit = "aggregate/account" }))
      assert.is_true(back.active)
      local files = assert(one:call("rules.list", { files = true })).files
      assert.same({ ["account.lua"] = packs.ACCOUNT, ["counter.lua"] = counter }, files)
      assert.matches("^NOT_FOUND: .*aggregate/nobody",
        one:refused("rules.rollback", { unit = "aggregate/nobody" }))
    end)

    it("goes to the version that is asked for", function()
      local first = load { ["account.lua"] = packs.ACCOUNT }
      load { ["account.lua"] = packs.DOUBLE }
      load { ["counter.lua"] = packs.COUNTER }
      local back = assert(one:call("rules.rollback", { to = first.hash:sub(1, 6) }))
      assert.equal(first.hash, back.hash)
      assert.matches("^NOT_FOUND: there is no such version",
        one:refused("rules.rollback", { to = "xyz" }))
    end)
  end)

  describe("upcasters", function()
    local function pay(data, schema)
      assert(one:call("append",
        { stream = "pay-1", events = { { type = "Payment", data = data, schema = schema } } }))
    end
    local function data_of(events)
      local list = {}
      for n, event in ipairs(events) do list[n] = event.data end
      return list
    end
    before_each(function()
      pay { sum = 5 }
      pay { sum = 0 }
      pay({ amount = 7, currency = "USD" }, 3)
      load { ["payment.lua"] = packs.PAYMENT }
      pay { sum = 9 }
    end)

    it("give each read the latest shape, unless it is raw", function()
      local page = assert(one:call("read", { category = "pay" }))
      assert.same({ { amount = 5, currency = "EUR" }, { amount = 7, currency = "USD" },
        { amount = 9, currency = "EUR" } }, data_of(page.events))
      assert.equal(3, page.events[1].schema)
      for n, position in ipairs { 1, 3, 5 } do assert.equal(position, page.events[n].position) end
      assert.is_true(page["end"])
      local raw = assert(one:call("read", { category = "pay", raw = true }))
      assert.same({ { sum = 5 }, { sum = 0 }, { amount = 7, currency = "USD" }, { sum = 9 } },
        data_of(raw.events))
      assert.same({ page.next, page.head }, { raw.next, raw.head })
    end)

    it("give subscriptions the same, in order, each stored event for one of the credit", function()
      assert(one:call("subscribe", { category = "pay", after = "start", credit = 3 }))
      local got = {}
      while #got < 2 do
        local name, map = one:push()
        for _, event in ipairs(name == "event" and map.events or {}) do got[#got + 1] = event end
      end
      assert.same({ { amount = 5, currency = "EUR" }, { amount = 7, currency = "USD" } },
        data_of(got))
      -- What would come against the credit comes by way of a worker, as these do.
      for _ = 1, 20 do assert(one:call("read", { category = "pay" })) end
      for _, push in ipairs(one:pushes()) do assert.not_equal("event", push[2]) end
      assert(one:call("credit", { subscription = 1, events = 10 }))
      local name, map
      repeat name, map = one:push() until name == "event"
      assert.same({ { amount = 9, currency = "EUR" } }, data_of(map.events))
      repeat name, map = one:push() until name == "caught_up"
      assert.equal(5, map.position)
    end)

    it("are left out of a raw subscription", function()
      assert(one:call("subscribe", { category = "pay", after = "start", raw = true }))
      local name, map = one:push()
      assert.equal("event", name)
      assert.same({ sum = 5 }, map.events[1].data)
    end)

    it("that raise make a read fail, with file and line", function()
      local raising = packs.PAYMENT:gsub("data.amount == 0", "data.amount == 11 and data.x.y")
      load { ["payment.lua"] = raising }
      pay { sum = 11 }
      assert.matches("^SCRIPT_ERROR: payment.lua:%d+: ", one:refused("read", { category = "pay" }))
      assert(one:call("read", { category = "pay", raw = true }))
      assert(one:call("subscribe", { category = "pay", after = "start" }))
      local name, map
      repeat name, map = one:push() until name == "failed"
      assert.matches("^SCRIPT_ERROR: payment.lua:%d+: ", map.error)
    end)
  end)
end)
