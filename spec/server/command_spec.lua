-- core/server/methods_command.c: commands and states through a daemon and its workers.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"

describe("server/methods_command", function()
  local served, one

  setup(function()
    served = daemon.start(nil, { "--workers", "2" })
    one = peer.connect(served.uri)
    assert(one:call("rules.load", { files = { ["account.lua"] = packs.ACCOUNT } }))
  end)
  teardown(function()
    one:close()
    assert.equal(0, (served:stop()))
  end)

  local function command(id, name, args, more)
    local params = { aggregate = "account", id = id, name = name, args = args }
    for key, value in pairs(more or {}) do params[key] = value end
    return one:call("command", params)
  end
  local function state(id, more)
    local params = { aggregate = "account", id = id }
    for key, value in pairs(more or {}) do params[key] = value end
    return assert(one:call("state", params))
  end
  --- Answers as they come, by msgid: those of commands overtake each other.
  local function gather(ids)
    local answers, left = {}, #ids
    while left > 0 do
      local message = assert(one:receive())
      assert.equal(1, message[1])
      answers[message[2]] = { error = message[3], result = message[4] }
      left = left - 1
    end
    return answers
  end

  it("tells the founding story", function()
    assert(command("story", "open", { owner = "eve" }))
    assert(command("story", "deposit", { amount = 500 }))
    local third = assert(command("story", "withdraw", { amount = 200 }))
    assert(command("story", "deposit", { amount = 1000 }))
    assert.equal(1300, state("story").state.balance)
    local balances = {}
    for n = 1, 4 do balances[n] = state("story", { at = n - 1 }).state.balance end
    assert.same({ 0, 500, 300, 1300 }, balances)
    assert.equal(300, state("story", { at = "#" .. third.position }).state.balance)
    assert.equal(300, state("story", { at = third.events[1].time }).state.balance)
  end)

  it("gives the events as they are in the log", function()
    local meta = { actor = "ann" }
    local done = assert(command("as-stored", "deposit", { amount = 5 }, { meta = meta }))
    local page = assert(one:call("read", { stream = "account-as-stored" }))
    assert.same(page.events, done.events)
    local event = done.events[1]
    assert.equal(done.position, event.position)
    assert.equal(0, done.revision)
    assert.equal("ann", event.meta.actor)
    assert.equal("aggregate/account", event.meta.unit)
    assert.equal(assert(one:call "rules.list").units[1].hash, event.meta.hash)
    assert.equal(event.meta.causation_id, event.meta.correlation_id)
    assert.equal(36, #event.meta.causation_id)
  end)

  it("refuses a meta that no event could carry, before a rule can be blamed for it", function()
    local function refused(meta)
      return one:refused("command",
        { aggregate = "account", id = "meta", name = "deposit", args = {}, meta = meta })
    end
    assert.matches("^TOO_LARGE: meta is %d+ bytes, the limit for a command is 65536",
      refused { note = ("x"):rep(1 << 20) })
    assert.matches("^TOO_LARGE: meta ", refused { note = ("x"):rep(1 << 16) })
    assert.matches("^BAD_REQUEST: meta is no map", refused(5))
    local deep = {}
    for _ = 1, 31 do deep = { deep } end
    assert.matches("^BAD_REQUEST: meta.* levels", refused { deep = deep })
    local meta = { note = ("x"):rep(65000) }
    assert.equal(65000, #assert(command("meta", "deposit", { amount = 1 }, { meta = meta }))
      .events[1].meta.note)
  end)

  it("writes nothing that its rules cannot fold, and the stream goes on", function()
    assert(command("brick", "deposit", { amount = 5 }))
    local why = one:refused("command",
      { aggregate = "account", id = "brick", name = "deposit", args = { amount = "five" } })
    assert.matches("^SCRIPT_ERROR: account%.lua:%d+: Deposited that the command deposit decided "
      .. "cannot be folded: ", why)
    local told = assert(command("brick", "deposit", { amount = "five" }, { explain = true }))
    assert.equal(why, told.error[2])
    assert.same({ "Deposited", "account-brick", moonlog.null },
      { told.fault.event.type, told.fault.event.stream, told.fault.event.position })
    assert.equal(0, assert(one:call("head", { stream = "account-brick" })).revision)
    assert(command("brick", "deposit", { amount = 1 }))
    assert.equal(6, state("brick").state.balance)
  end)

  describe("to a client that does not read", function()
    local other, slow, eye
    before_each(function()
      other = daemon.start(nil, { "--workers", "2" })
      slow, eye = peer.connect(other.uri), peer.connect(other.uri)
    end)
    after_each(function()
      slow:close()
      eye:close()
      assert.equal(0, (other:stop()))
    end)

    --- Asks so often; gives how many of these the daemon has taken when it has come to rest.
    local function taken(count, method, params)
      local before = assert(eye:call "status").requests
      for _ = 1, count do slow:ask(method, params) end
      local looks, quiet, last = 0, 0, 0
      repeat
        local status = assert(eye:call "status")
        looks = looks + 1
        local idle, now = true, status.requests - before - looks
        for _, worker in ipairs(status.workers) do idle = idle and worker.waiting == 0 end
        quiet = idle and now == last and now > 0 and quiet + 1 or 0
        last = now
      until quiet == 20
      for _ = 1, count do assert.equal(moonlog.null, assert(slow:receive())[3]) end
      return last
    end

    it("states wait until those before them are read", function()
      assert(eye:call("rules.load", { files = { ["box.lua"] = [[
        return { aggregate = "box", initial = { s = "" },
          on = { Put = function(s, d) s.s = d end } }]] } }))
      local event = { type = "Put", data = ("x"):rep(1 << 19) }
      assert(eye:call("append", { stream = "box-1", events = { event } }))
      assert.is_true(taken(200, "state", { aggregate = "box", id = "1" }) < 30)
    end)

    it("states that nobody could know to be large are refused, and may be asked again", function()
      assert(eye:call("rules.load", { files = { ["box.lua"] = [[
        return { aggregate = "box", initial = { s = "" },
          on = { Put = function(s, d) s.s = d end } }]] } }))
      for id, data in pairs { small = "x", large = ("x"):rep(1 << 19) } do
        local event = { type = "Put", data = data }
        assert(eye:call("append", { stream = "box-" .. id, events = { event } }))
      end
      for _ = 1, 100 do assert(slow:call("state", { aggregate = "box", id = "small" })) end
      for _ = 1, 200 do slow:ask("state", { aggregate = "box", id = "large" }) end
      repeat
        local waiting = 0
        for _, worker in ipairs(assert(eye:call "status").workers) do
          waiting = waiting + worker.waiting
        end
      until waiting == 0
      local given, refused = 0, 0
      for _ = 1, 200 do
        local message = assert(slow:receive())
        if message[3] == moonlog.null then given = given + 1 else
          assert.matches("^LIMIT: over 16 MiB of answers wait", message[3][2])
          refused = refused + 1
        end
      end
      assert.is_true(given >= 32 and refused > 0)
      assert(slow:call("state", { aggregate = "box", id = "large" }))
    end)

    it("so do events that are translated for its subscriptions", function()
      assert(eye:call("rules.load", { files = { ["payment.lua"] = packs.PAYMENT } }))
      local event = { type = "Payment", data = { sum = 5, note = ("x"):rep(1 << 19) } }
      for _ = 1, 2 do assert(eye:call("append", { stream = "pay-1", events = { event } })) end
      local function answered()
        local sum, idle = 0, true
        for _, worker in ipairs(assert(eye:call "status").workers) do
          sum, idle = sum + worker.answered, idle and worker.waiting == 0
        end
        return sum, idle
      end
      local before = answered()
      for _ = 1, 30 do slow:ask("subscribe", { stream = "pay-1", after = "start" }) end
      local last, quiet = before, 0
      repeat
        local sum, idle = answered()
        quiet = idle and sum == last and sum > before and quiet + 1 or 0
        last = sum
      until quiet == 20
      assert.is_true(last - before < 10)
      local got = 0
      while got < 60 do
        local message = assert(slow:receive())
        if message[2] == "event" then got = got + #message[3][1].events end
      end
    end)

    it("so do reads of what is translated", function()
      assert(eye:call("rules.load", { files = { ["payment.lua"] = packs.PAYMENT } }))
      local event = { type = "Payment", data = { sum = 5, note = ("x"):rep(1 << 19) } }
      for _ = 1, 4 do
        assert(eye:call("append", { stream = "pay-1", events = { event } }))
      end
      assert.is_true(taken(60, "read", { stream = "pay-1" }) < 5)
    end)
  end)

  it("keeps the causation and correlation that it is given", function()
    local meta = { causation_id = "c", correlation_id = "k" }
    local event = assert(command("causes", "deposit", { amount = 5 }, { meta = meta })).events[1]
    assert.equal("c", event.meta.causation_id)
    assert.equal("k", event.meta.correlation_id)
  end)

  it("writes a list of events in one go", function()
    local done = assert(command("list", "twice", { amount = 7 }))
    assert.equal(2, #done.events)
    assert.equal(1, done.revision)
    assert.same({ "twice" }, done.events[1].tags)
    assert.equal("back", done.events[2].meta.why)
    assert.equal("aggregate/account", done.events[2].meta.unit)
  end)

  it("gives the daemon's clock to a rule, and no other", function()
    local before = assert(command("clock", "deposit", { amount = 1 })).events[1].time
    local seen = assert(command("clock", "when")).events[1]
    assert.is_true(seen.data.at >= before and seen.data.at <= seen.time)
    assert.equal("clock", seen.data.id)
  end)

  it("answers a refusal as a result, and writes nothing", function()
    local refused = assert(command("poor", "withdraw", { amount = 1 })).refused
    assert.same({ code = "INSUFFICIENT_FUNDS", detail = { balance = 0 } }, refused)
    assert.matches("^NOT_FOUND: ", one:refused("read", { stream = "account-poor" }))
  end)

  it("answers nothing for a command that decides nothing", function()
    local done = assert(command("idle", "look"))
    assert.equal(0, #done.events)
    assert(command("idle", "deposit", { amount = 1 }))
    done = assert(command("idle", "look"))
    assert.equal(0, #done.events)
    assert.equal(0, done.revision)
  end)

  it("names file and line of a script's error, and explains it if asked", function()
    local why = one:refused("command", { aggregate = "account", id = "bad", name = "fail" })
    assert.matches("^SCRIPT_ERROR: account%.lua:%d+: .*nothing", why)
    local told = assert(command("bad", "fail", {}, { explain = true }))
    assert.equal(why, told.error[2])
    assert.equal("account.lua", told.fault.file)
    assert.matches("c%.nothing%.at_all", told.fault.source)
    assert.equal("aggregate/account", told.fault.unit)
  end)

  it("knows no aggregate, command or parameter that there is not", function()
    local function refused(aggregate, id, name)
      return one:refused("command", { aggregate = aggregate, id = id, name = name })
    end
    assert.matches("^NOT_FOUND: .*acount", refused("acount", "a", "open"))
    assert.matches("^NOT_FOUND: .*opne", refused("account", "a", "opne"))
    assert.matches("^BAD_REQUEST: aggregate", refused("a-b", "a", "open"))
    assert.matches("^BAD_REQUEST: id", refused("account", nil, "open"))
    assert.matches("^BAD_REQUEST: name", refused("account", "a"))
    assert.matches("^TOO_LARGE: ", refused("account", ("i"):rep(600), "open"))
    assert.matches("^NOT_FOUND: .*acount", one:refused("state", { aggregate = "acount", id = "a" }))
    assert.matches("^NOT_FOUND: .*account%-nobody",
      one:refused("state", { aggregate = "account", id = "nobody" }))
  end)

  describe("with a command_id", function()
    it("is done once, whatever has happened since", function()
      local first = assert(command("once", "deposit", { amount = 10 }, { command_id = "once-1" }))
      assert(command("once", "deposit", { amount = 1 }))
      local again = assert(command("once", "deposit", { amount = 10 }, { command_id = "once-1" }))
      assert.is_true(again.duplicate)
      assert.is_nil(first.duplicate)
      assert.same(first.events, again.events)
      assert.equal(11, state("once").state.balance)
      assert.equal("once-1", first.events[1].meta.correlation_id)
      assert.equal("once-1", first.events[1].meta.causation_id)
      assert.same({ "$command:once-1" }, first.events[1].tags)
    end)

    it("gets what was written, where by now it would be refused", function()
      assert(command("gone", "deposit", { amount = 10 }))
      local first = assert(command("gone", "withdraw", { amount = 10 }, { command_id = "gone-1" }))
      local again = assert(command("gone", "withdraw", { amount = 10 }, { command_id = "gone-1" }))
      assert.same(first.events, again.events)
      assert(command("gone", "withdraw", { amount = 10 }).refused)
    end)

    it("is done once among twins on their way", function()
      local ids = {}
      for n = 1, 20 do
        ids[n] = one:ask("command", { aggregate = "account", id = "twins", name = "deposit",
          args = { amount = 10 }, command_id = "twins-1" })
      end
      local answers = gather(ids)
      for _, id in ipairs(ids) do
        assert.equal(moonlog.null, answers[id].error)
        assert.equal(0, answers[id].result.revision)
      end
      assert.equal(10, state("twins").state.balance)
    end)

    it("belongs to one stream", function()
      assert(command("mine", "deposit", { amount = 1 }, { command_id = "mine-1" }))
      local other = { aggregate = "account", id = "yours", name = "deposit", args = { amount = 1 },
        command_id = "mine-1" }
      assert.matches("^CONDITION_FAILED: .*account%-mine", one:refused("command", other))
    end)

    it("is done once over the end of the daemon", function()
      local dir = served.dir .. "-again"
      local other = daemon.start(dir, { "--workers", "1" })
      local client = peer.connect(other.uri)
      assert(client:call("rules.load", { files = { ["account.lua"] = packs.ACCOUNT } }))
      local params = { aggregate = "account", id = "a", name = "deposit", args = { amount = 3 },
        command_id = "k" }
      local first = assert(client:call("command", params))
      client:close()
      other:stop "KILL"
      other = daemon.start(dir, { "--workers", "1" })
      client = peer.connect(other.uri)
      local again = assert(client:call("command", params))
      assert.is_true(again.duplicate)
      assert.same(first.events, again.events)
      client:close()
      assert.equal(0, (other:stop()))
    end)
  end)

  it("decides the commands of one stream one after another", function()
    local ids = {}
    for n = 1, 300 do
      ids[n] = one:ask("command", { aggregate = "account", id = "hot", name = "deposit",
        args = { amount = n } })
    end
    local answers = gather(ids)
    for n, id in ipairs(ids) do
      assert.equal(moonlog.null, answers[id].error)
      assert.equal(n, answers[id].result.events[1].data.amount)
      assert.equal(n - 1, answers[id].result.revision)
    end
    assert.equal(300 * 301 // 2, state("hot").state.balance)
  end)

  it("decides anew when an append has moved the stream", function()
    assert(command("moved", "deposit", { amount = 5 }))
    for _ = 1, 20 do
      assert(one:call("append", { stream = "account-moved",
        events = { { type = "Deposited", data = { amount = 1 } } } }))
      assert(command("moved", "deposit", { amount = 5 }))
    end
    assert.equal(5 + 20 * 6, state("moved").state.balance)
    assert.matches("INSUFFICIENT", command("moved", "withdraw", { amount = 126 }).refused.code)
  end)

  it("refuses commands while it stops, and answers those it had taken", function()
    local other = daemon.start(nil, { "--workers", "1" })
    local client = peer.connect(other.uri)
    assert(client:call("rules.load", { files = { ["account.lua"] = packs.ACCOUNT } }))
    other:signal "STOP"
    for n = 1, 50 do
      client:ask("command", { aggregate = "account", id = "a" .. n, name = "deposit",
        args = { amount = 1 } })
    end
    assert.equal(0, (other:stop()))
    for _ = 1, 50 do
      local message = assert(client:receive())
      local taken = message[3] == moonlog.null
      assert.is_true(taken or message[3][2]:match "^SHUTTING_DOWN: " ~= nil)
    end
    client:close()
  end)

  it("sees what others append to the stream of an aggregate", function()
    assert(command("shared", "open", {}))
    assert(command("shared", "deposit", { amount = 5 }))
    assert.equal(5, state("shared").state.balance)
    assert(one:call("append", { stream = "account-shared",
      events = { { type = "Deposited", data = { amount = 7 } } } }))
    assert.equal(12, state("shared").state.balance)
    assert(one:call("append", { stream = "account-shared",
      events = { { type = "Deposited", data = { amount = 30 } } } }))
    local answer = assert(command("shared", "withdraw", { amount = 40 }))
    assert.is_nil(answer.refused)
    assert.equal(2, state("shared").state.balance)
  end)
end)
