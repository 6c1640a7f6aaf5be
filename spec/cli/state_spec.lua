-- moonlog state: now, at a revision, a position, a time; and what differs between two moments.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local packs = require "spec.support.packs"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

describe("cli: state", function()
  local on, served, events
  setup(function()
    local dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    served = daemon.start(dir,
      { "--workers", "1", "--rules", packs.directory { ["account.lua"] = packs.ACCOUNT } })
    events = {}
    for _, words in ipairs { { "open", "owner=eve" }, { "deposit", "amount=500" },
      { "withdraw", "amount=200" }, { "deposit", "amount=1000" } } do
      local out = on { "command", "account", "ada", words[1], words[2] }
      events[#events + 1] = json.read(out)
    end
    for amount, time in ipairs { "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z" } do
      local data = ('{"amount":%d}'):format(amount)
      on { "append", "account-late", "Deposited", data, "--occurred", time }
    end
  end)
  teardown(function() assert.equal(0, (served:stop())) end)

  local function state(...)
    local out, err, status = on { "state", ... }
    assert.equal(0, status, err)
    return json.read(out)
  end

  it("is what all events add up to", function()
    assert.same({ state = { open = true, owner = "eve", balance = 1300 }, revision = 3,
      position = events[4].position }, state("account", "ada"))
  end)

  it("was something else at a revision, a position, a time", function()
    local at = { "1", "#" .. events[2].position, events[2].time }
    for _, moment in ipairs(at) do
      assert.equal(500, state("account", "ada", "--at", moment).state.balance)
    end
    assert.equal(1, state("account", "late", "--as-of", "2020-06-01T00:00:00Z").state.balance)
    assert.equal(3, state("account", "late", "--as-of", "2021-06-01T00:00:00Z").state.balance)
  end)

  it("differs between two moments in what is printed", function()
    local function diff(range)
      local out, err, status = on { "state", "account", "ada", "--diff", range }
      assert.equal(0, status, err)
      return json.lines(out)
    end
    assert.same({ { field = "balance", before = 500, after = 300 } }, diff "1..2")
    assert.same({ { field = "balance", before = 300, after = 1300 } }, diff "2..")
    assert.same({}, diff "3..")
    for _, range in ipairs { "1", "..2", "" } do
      local _, _, status = on { "state", "account", "ada", "--diff", range }
      assert.equal(2, status)
    end
    local _, _, status = on { "state", "account", "ada", "--diff", "1..", "--at", "1" }
    assert.equal(2, status)
  end)

  it("of nobody is not found", function()
    local _, err, status = on { "state", "account", "nobody" }
    assert.equal(3, status)
    assert.matches("^moonlog: NOT_FOUND: .*account%-nobody", err)
  end)

  it("needs no daemon that runs already", function()
    local dir = tmpdir.new() .. "/store"
    local alone = program.on(dir)
    local pack = packs.directory { ["account.lua"] = packs.ACCOUNT }
    local _, err, status = alone { "rules", "load", pack }
    assert.equal(0, status, err)
    _, err, status = alone { "command", "account", "ada", "deposit", "amount=5" }
    assert.equal(0, status, err)
    local out = alone { "state", "account", "ada" }
    assert.equal(5, json.read(out).state.balance)
  end)
end)
