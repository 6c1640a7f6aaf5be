-- moonlog command: JSON or key=value in, the events written out, refusals on stderr.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local packs = require "spec.support.packs"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

describe("cli: command", function()
  local on, served
  setup(function()
    local dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    served = daemon.start(dir,
      { "--workers", "1", "--rules", packs.directory { ["account.lua"] = packs.ACCOUNT } })
  end)
  teardown(function() assert.equal(0, (served:stop())) end)

  it("prints the events that were written", function()
    local out, err, status = on { "command", "account", "ada", "open", "owner=eve" }
    assert.equal(0, status, err)
    local event = json.read(out)
    assert.equal("AccountOpened", event.type)
    assert.same({ owner = "eve" }, event.data)
    out = on { "read", "account-ada" }
    assert.same(event, json.read(out))
    out = on { "command", "account", "ada", "deposit", "amount=5", "-o", "table" }
    assert.matches("Deposited  {\"amount\":5}", out)
    out, err, status = on { "command", "account", "ada", "look" }
    assert.same({ "", "", 0 }, { out, err, status })
  end)

  it("takes JSON from the line or stdin, and values that are JSON as such", function()
    local function amount(words, stdin)
      local all = { "command", "account", "types", "deposit" }
      for _, word in ipairs(words) do all[#all + 1] = word end
      local out, err, status = on(all, stdin)
      assert.equal(0, status, err)
      return json.read(out).data.amount
    end
    assert.equal("float", math.type(amount { "amount=1.0" }))
    assert.equal("integer", math.type(amount { '{"amount": 2}' }))
    assert.equal(3, amount({ "-" }, '{"amount":3}'))
    local out = on { "command", "account", "names", "open", 'owner=[1, {"a": null}' }
    assert.equal('[1, {"a": null}', json.read(out).data.owner) -- no JSON, so it is text
    local _, err, status = on { "command", "account", "types", "deposit", "5" }
    assert.equal(2, status)
    assert.matches("neither JSON nor key=value", err)
  end)

  it("says a refusal on stderr, and exits 5", function()
    local words = { "command", "account", "poor", "withdraw", "amount=5" }
    local out, err, status = on(words)
    assert.same({ "", 5 }, { out, status })
    assert.equal('moonlog: INSUFFICIENT_FUNDS: account poor refuses withdraw: {"balance":0}\n', err)
    words[#words + 1] = "-ojson"
    out, err, status = on(words)
    assert.same({ "", 5 }, { out, status })
    assert.same({ refused = { code = "INSUFFICIENT_FUNDS", detail = { balance = 0 } } },
      json.read(err))
  end)

  it("shows a script's error with its line and the way to it", function()
    local _, err, status = on { "command", "account", "bad", "fail" }
    assert.equal(1, status)
    assert.matches("^moonlog: SCRIPT_ERROR: account.lua:%d+: .-\n  fail = function", err)
    assert.matches("\n +^\n    account.lua:%d+: in ", err)
  end)

  it("with an id is done once", function()
    local words = { "command", "account", "once", "deposit", "amount=5", "--command-id", "k1" }
    local first = on(words)
    assert.equal(first, (on(words)))
    assert.equal("k1", json.read(first).meta.correlation_id)
    assert.equal(5, json.read((on { "state", "account", "once" })).state.balance)
  end)

  it("gives meta to the rule and the events", function()
    local meta = '{"actor":"ann"}'
    local out = on { "command", "account", "meta", "deposit", "amount=5", "--meta", meta }
    assert.equal("ann", json.read(out).meta.actor)
  end)
end)
