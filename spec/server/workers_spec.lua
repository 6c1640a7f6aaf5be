-- core/server/workers.c, crew.c, core/rules/worker.c, jail.c: workers are watched, killed, and
-- replaced; what they were asked is not lost.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"
local program = require "spec.support.program"

local FILES = { ["account.lua"] = packs.ACCOUNT, ["counter.lua"] = packs.COUNTER }

describe("server/workers", function()
  local served, one, watcher -- who looks on, while the other waits for answers

  before_each(function()
    served = daemon.start(nil, { "--workers", "2" })
    one = peer.connect(served.uri)
    watcher = peer.connect(served.uri)
    assert.is_true(assert(one:call("rules.load", { files = FILES })).active)
  end)
  after_each(function()
    one:close()
    watcher:close()
    assert.equal(0, (served:stop()))
  end)

  local function workers()
    local list = {}
    for _, worker in ipairs(assert(watcher:call "status").workers) do
      if math.type(worker.worker) then list[worker.worker] = worker end
    end
    return list
  end
  --- Asks for the status until `holds` of the workers: the daemon answers, so nothing is slept for.
  local function await(holds)
    local list
    repeat list = workers() until holds(list)
    return list
  end
  local function all_up(list)
    for _, worker in pairs(list) do if worker.state ~= "up" then return false end end
    return true
  end
  local function signal(pid, name) os.execute(("kill -%s %d 2>/dev/null"):format(name, pid)) end
  local function deposit(id, amount)
    local args = { amount = amount }
    return one:ask("command", { aggregate = "account", id = id, name = "deposit", args = args })
  end
  local function answers(count)
    local list = {}
    while count > 0 do
      local message = assert(one:receive())
      list[message[2]] = message
      count = count - 1
    end
    return list
  end
  local function balance(id)
    return assert(one:call("state", { aggregate = "account", id = id })).state.balance
  end

  it("are as many as asked for, and live behind their walls", function()
    local list = workers()
    assert.is_truthy(list[0] and list[1] and not list[2])
    for _, worker in pairs(list) do
      local status = program.slurp("/proc/" .. worker.pid .. "/status")
      assert.matches("NoNewPrivs:%s*1\n", status)
      assert.matches("Seccomp:%s*2\n", status)
      assert.equal(served.pid, status:match "PPid:%s*(%d+)")
      local limits = program.slurp("/proc/" .. worker.pid .. "/limits")
      assert.matches("Max core file size%s+0", limits)
      assert.matches("Max locked memory%s+0", limits)
    end
  end)

  it("end with their daemon, however that ends", function()
    local other = daemon.start(nil, { "--workers", "1" })
    local client = peer.connect(other.uri)
    assert(client:call("rules.load", { files = FILES }))
    local pid = assert(client:call "status").workers[1].pid
    client:close()
    other:stop "KILL"
    local line = ("grep -q '^State:.[^Z]' /proc/%d/status"):format(pid)
    repeat local _, _, gone = program.shell(line) until gone ~= 0
  end)

  it("killed under load are replaced, and nothing is lost or done twice", function()
    local sent, expected = {}, {}
    for round = 1, 20 do
      for n = 1, 30 do
        local id = "a" .. n
        sent[#sent + 1] = deposit(id, round)
        expected[id] = (expected[id] or 0) + round
      end
      if round % 2 == 0 then
        for _, worker in pairs(workers()) do
          if worker.pid ~= moonlog.null then signal(worker.pid, "KILL") end
        end
      end
      local list = answers(30)
      for n = #sent - 29, #sent do
        assert.equal(moonlog.null, list[sent[n]][3])
        assert.equal(round, list[sent[n]][4].events[1].data.amount)
      end
    end
    for id, sum in pairs(expected) do assert.equal(sum, balance(id)) end
    assert.equal(600, assert(one:call "head").position - 1)
    local list = await(all_up)
    assert.is_true(list[0].restarts > 0 and list[1].restarts > 0)
    -- Whoever kills from outside is no fault of the rules.
    assert.equal(0, assert(one:call "status").rules.quarantined)
    for _, unit in ipairs(assert(one:call "rules.list").units) do assert.equal(0, unit.kills) end
  end)

  it("begin again with the rules that are active then", function()
    assert(one:call("rules.load", { files = { ["account.lua"] = packs.DOUBLE } }))
    for _, worker in pairs(workers()) do signal(worker.pid, "KILL") end
    deposit("a", 5)
    answers(1)
    assert.equal(10, balance "a")
  end)

  it("stop a command that does not end, and are there again", function()
    local why = one:refused("command", { aggregate = "account", id = "a", name = "hang" })
    assert.matches("^SCRIPT_ERROR: account.lua:%d+: ", why)
    deposit("a", 5)
    answers(1)
    assert.equal(5, balance "a")
  end)

  it("stop a fold that does not end, and name the event", function()
    assert(one:call("append", { stream = "account-trap", events = { { type = "Trapped" } } }))
    local told = assert(one:call("state", { aggregate = "account", id = "trap", explain = true }))
    assert.matches("^SCRIPT_ERROR: account.lua:%d+: ", told.error[2])
    assert.equal("overstay", told.fault.kind)
    assert.equal("Trapped", told.fault.event.type)
    assert(one:call("command", { aggregate = "counter", id = "c", name = "count" }))
  end)

  it("that are stopped in the middle are replaced; what they were asked is done", function()
    for _, worker in pairs(workers()) do signal(worker.pid, "STOP") end
    local id = deposit("a", 5)
    assert.equal(moonlog.null, answers(1)[id][3])
    assert.equal(5, balance "a")
    assert.matches("worker %d was stopped from outside: killed", served:said())
  end)

  it("that are stopped in a handler are replaced, and the unit is not blamed", function()
    local id = one:ask("command", { aggregate = "account", id = "a", name = "hang" })
    await(function(list)
      for _, worker in pairs(list) do
        if worker.state == "running" then signal(worker.pid, "STOP") return true end
      end
    end)
    -- On the next worker it is stopped like any other.
    assert.matches("^SCRIPT_ERROR: account.lua:%d+: ", answers(1)[id][3][2])
    assert.matches("worker %d was stopped from outside: killed", served:said())
    assert.equal(0, assert(one:call "rules.list").units[1].kills)
  end)

  it("call the one that checks packs by what it does", function()
    local function bench()
      local list = assert(watcher:call "status").workers
      return assert(list[#list].worker == "checks" and list[#list])
    end
    signal(bench().pid, "KILL")
    repeat until bench().restarts > 0
    assert.matches("the worker that checks packs ended %(status 0, signal 9%)", served:said())
  end)

  it("do not ask a unit again that has to be stopped again and again", function()
    local ids = {}
    for n = 1, 30 do
      ids[n] = one:ask("command", { aggregate = "account", id = "q" .. n, name = "hang" })
    end
    local stopped, quarantined = 0, 0
    local list = answers(30)
    for _, id in ipairs(ids) do
      local why = list[id][3][2]
      if why:find "^SCRIPT_ERROR: aggregate/account is quarantined: .* 10 times in a row" then
        quarantined = quarantined + 1
      else
        assert.matches("^SCRIPT_ERROR: account.lua:%d+: ", why)
        stopped = stopped + 1
      end
    end
    assert.same({ 10, 20 }, { stopped, quarantined })
    local unit = assert(one:call "rules.list").units[1]
    assert.same({ "quarantined", 10, 0 }, { unit.status, unit.stops, unit.kills })
    assert.equal(1, assert(one:call "status").rules.quarantined)
    assert(one:call("command", { aggregate = "counter", id = "c", name = "count" }))
    assert(one:call("rules.load", { files = { ["account.lua"] = packs.DOUBLE } }))
    deposit("b", 1)
    answers(1)
    assert.equal(2, balance "b")
  end)

  it("count those that were stopped in a row: one that ends in time begins anew", function()
    local function stops() return assert(one:call "rules.list").units[1].stops end
    assert(one:call("append", { stream = "account-trap", events = { { type = "Trapped" } } }))
    for _ = 1, 2 do
      for n = 1, 9 do
        assert.matches("^SCRIPT_ERROR: account.lua:%d+: ",
          one:refused("state", { aggregate = "account", id = "trap" }))
        assert.equal(n, stops())
      end
      deposit("a", 1)
      answers(1)
      assert.equal(0, stops())
    end
    assert.equal(2, balance "a")
  end)

  it("do not begin what waits for them when the daemon is to stop", function()
    local other = daemon.start(nil, { "--workers", "1" })
    local client, eye = peer.connect(other.uri), peer.connect(other.uri)
    assert(client:call("rules.load", { files = FILES }))
    for n = 1, 8 do
      client:ask("command", { aggregate = "account", id = "h" .. n, name = "hang" })
    end
    local args = { amount = 1 } -- waits for its turn on its stream
    client:ask("command", { aggregate = "account", id = "h8", name = "deposit", args = args })
    repeat
      local worker = assert(eye:call "status").workers[1]
    until worker.state == "running" and worker.waiting >= 6
    other:signal "TERM"
    local said = {}
    for n = 1, 9 do said[n] = assert(client:receive())[3][2]:match "^[%u_]+" end
    -- At once: before the one at work comes to its end, which is the last.
    local line = table.concat(said):gsub("SHUTTING_DOWN", "-"):gsub("SCRIPT_ERROR", "!")
    assert.matches("^!*%-%-%-+!$", line)
    client:close()
    eye:close()
    assert.equal(0, (other:wait()))
  end)

  it("do not ask a unit again that kills its workers", function()
    -- A bug in the sandbox or in Lua itself: the process ends in the middle of a handler. Here the
    -- signal comes from outside, to one that is held still in a handler.
    local function running()
      for _, worker in pairs(workers()) do if worker.state == "running" then return worker end end
    end
    local function crash()
      local ids, held = {}
      repeat
        ids[#ids + 1] = one:ask("command", { aggregate = "account", id = "a", name = "hang" })
        local worker
        repeat worker = running() until worker
        signal(worker.pid, "STOP")
        held = running()
        if held then signal(worker.pid, ("SEGV %d; kill -CONT"):format(worker.pid)) end
        if not held then signal(worker.pid, "CONT") end
      until held
      return answers(#ids)[ids[#ids]][3][2]
    end
    local quarantined
    local crashed = "^SCRIPT_ERROR: account.lua:%d+: command hang of aggregate/account crashed its"
    for n = 1, 5 do
      assert.matches(crashed, crash())
      quarantined = assert(one:call "rules.list").units[1]
      assert.equal(n, quarantined.kills)
    end
    assert.matches("quarantined: this version .* has killed its worker 5 times", served:said())
    assert.equal("quarantined", quarantined.status)
    local id = deposit("b", 1)
    local why = answers(1)[id][3][2]
    assert.matches("^SCRIPT_ERROR: aggregate/account is quarantined: ", why)
    assert.matches("^SCRIPT_ERROR: ", one:refused("state", { aggregate = "account", id = "b" }))
    -- The rest goes on, and so does it with another version.
    assert(one:call("command", { aggregate = "counter", id = "c", name = "count" }))
    assert(one:call("rules.load", { files = { ["account.lua"] = packs.DOUBLE } }))
    deposit("b", 1)
    answers(1)
    assert.equal(2, balance "b")
  end)
end)
