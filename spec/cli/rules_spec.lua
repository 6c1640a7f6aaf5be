-- moonlog rules: check, load, ls, show, diff, history, rollback; and moonlog doctor.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local packs = require "spec.support.packs"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

describe("cli: rules", function()
  local on, served
  before_each(function()
    local dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    served = daemon.start(dir, { "--workers", "1" })
  end)
  after_each(function() assert.equal(0, (served:stop())) end)

  local function load(files)
    local out, err, status = on { "rules", "load", packs.directory(files) }
    assert.equal(0, status, err)
    return json.lines(out)
  end
  local function ls() return json.lines((on { "rules", "ls" })) end

  it("load makes a directory's rules active", function()
    local units = load { ["account.lua"] = packs.ACCOUNT, ["counter_spec.lua"] = "error 'no rule'" }
    assert.same({ unit = "aggregate/account", file = "account.lua", hash = units[1].hash,
      status = "new" }, units[1])
    assert.is_nil(units[2])
    units[1].status = "active"
    assert.same(units, ls())
  end)

  it("load of wrong rules exits 7, tells where, and leaves what was active", function()
    load { ["account.lua"] = packs.ACCOUNT }
    local before = ls()
    local dir = packs.directory { ["account.lua"] = packs.ACCOUNT, ["counter.lua"] = packs.WRONG }
    for _, verb in ipairs { "check", "load" } do
      local out, err, status = on { "rules", verb, dir }
      assert.same({ "", 7 }, { out, status })
      assert.matches('^counter.lua:%d+: error: SHAPE: .-"comands".-\n  comands = {.-\n  ^\n', err)
      assert.matches("\nmoonlog: SCRIPT_ERROR: 1 error; what was active is active still\n$", err)
    end
    assert.same(before, ls())
    local _, err = on { "rules", "check", dir, "-ojson" }
    assert.equal("counter.lua", json.read(err:match "^[^\n]*").file)
  end)

  it("check of good rules changes nothing", function()
    local dir = packs.directory { ["account.lua"] = packs.ACCOUNT }
    local out, err, status = on { "rules", "check", dir }
    assert.equal(0, status, err)
    assert.equal("new", json.read(out).status)
    assert.same({}, ls())
  end)

  it("want a directory with rules", function()
    local _, err, status = on { "rules", "load", tmpdir.new() }
    assert.equal(3, status)
    assert.matches("there is no rule file", err)
    for _, none in ipairs { tmpdir.new() .. "/none", "README.md" } do
      _, err, status = on { "rules", "load", none }
      assert.equal(3, status)
      assert.equal(("moonlog: NOT_FOUND: there is no directory %s with rules in it\n"):format(none),
        err)
    end
    _, err, status = on { "rules", "laod", "x" }
    assert.equal(2, status)
    assert.matches("did you mean load", err)
    for _, words in ipairs { { "rules", "load" }, { "rules", "ls", "x" }, { "rules" } } do
      _, _, status = on(words)
      assert.equal(2, status)
    end
  end)

  it("take an example's folder of rules for it, but not that of a pack", function()
    local out, err, status = on { "rules", "check", "examples/fines" }
    assert.equal(0, status, err)
    assert.truthy(out:find('"file":"fine.lua"', 1, true), out)
    local pack = tmpdir.new()
    program.shell(("mkdir %s/rules %s/lib"):format(pack, pack))
    program.write(pack .. "/lib/one.lua", "return 1")
    program.write(pack .. "/rules/a.lua", 'require "lib.one" ' .. packs.ACCOUNT)
    out, err, status = on { "rules", "check", pack }
    assert.equal(0, status, err)
    assert.equal("rules/a.lua", json.read(out).file)
  end)

  it("show prints the source of a unit", function()
    load { ["account.lua"] = packs.ACCOUNT }
    for _, name in ipairs { "account", "aggregate/account" } do
      assert.equal(packs.ACCOUNT, (on { "rules", "show", name, "-o", "table" }))
      assert.equal(packs.ACCOUNT, json.read((on { "rules", "show", name })).source)
    end
    local _, _, status = on { "rules", "show", "nobody" }
    assert.equal(3, status)
  end)

  it("diff prints the lines that are not those of the active ones", function()
    load { ["account.lua"] = packs.ACCOUNT, ["gone.lua"] = packs.COUNTER }
    local text = packs.ACCOUNT:gsub("s.balance %+ d", "s.balance + 2 * d")
    text = text:gsub("    look = function%(%) end,\n", "")
    local dir = packs.directory { ["account.lua"] = text, ["new.lua"] = "one\n" }
    local out, err, status = on { "rules", "diff", dir }
    assert.equal(0, status, err)
    assert.equal([[
account.lua:7
-    Deposited = function(s, d) s.balance = s.balance + d.amount end,
+    Deposited = function(s, d) s.balance = s.balance + 2 * d.amount end,
account.lua:23
-    look = function() end,
new.lua:1
+one
gone.lua:1
]] .. packs.COUNTER:gsub("[^\n]*\n", "-%0"), out)
    dir = packs.directory { ["account.lua"] = packs.ACCOUNT, ["gone.lua"] = packs.COUNTER }
    assert.equal("", (on { "rules", "diff", dir }))
  end)

  it("history and rollback", function()
    local first = load { ["account.lua"] = packs.ACCOUNT }
    load { ["account.lua"] = packs.DOUBLE }
    local out, err, status = on { "rules", "rollback", "aggregate/account" }
    assert.equal(0, status, err)
    assert.equal(first[1].hash, json.read(out).hash)
    local history = json.lines((on { "rules", "history" }))
    assert.equal(3, #history)
    assert.equal("RulesRolledBack", history[1].type)
    assert.equal("aggregate/account", history[1].units)
    assert.equal(first[1].hash, ls()[1].hash)
    out, err, status = on { "rules", "rollback", "pack", "--to", "nothing" }
    assert.same({ "", 3 }, { out, status })
    assert.matches("no such version", err)
  end)

  it("upcast what read and tail print, but not with --raw, and not what is exported", function()
    on { "append", "pay-1", "Payment", '{"sum":5}' }
    load { ["payment.lua"] = packs.PAYMENT }
    assert.same({ amount = 5, currency = "EUR" }, json.read((on { "read", "pay-1" })).data)
    assert.same({ sum = 5 }, json.read((on { "read", "pay-1", "--raw" })).data)
    local words = { "tail", "pay-1", "--from", "start", "--until-end" }
    assert.same({ amount = 5, currency = "EUR" }, json.read((on(words))).data)
    words[#words + 1] = "--raw"
    assert.same({ sum = 5 }, json.read((on(words))).data)
    assert.same({ sum = 5 }, json.lines((on { "export" }))[1].data)
  end)

  it("are what status shows, and who runs them", function()
    load { ["account.lua"] = packs.ACCOUNT }
    local status = json.read((on { "status" }))
    assert.equal(1, status.rules.units)
    assert.equal("up", status.workers[1].state)
    assert.matches("^%d+$", tostring(status.workers[1].pid))
  end)
end)

describe("cli: doctor", function()
  it("tries the walls of a worker and the bugs of this Lua", function()
    local out, err, status = program.run { "doctor", "--data", tmpdir.new() }
    assert.equal(0, status, err)
    local verdicts = {}
    for _, line in ipairs(json.lines(out)) do verdicts[line.check] = line.verdict end
    assert.equal("ok", verdicts.directory)
    assert.equal("ok", verdicts["worker: reads the data directory"])
    for _, wall in ipairs { "opens no socket", "runs no program", "starts no process",
      "traces no process", "signals no process", "runs no data as code", "writes no file in it" } do
      assert.equal("ok", verdicts["worker: " .. wall])
    end
    assert.is_truthy(verdicts["lua: concat"])
    assert.matches('"verdict":"warning","more":"rules: %l+, plain Lua: %l+; ', out)
    out, err, status = program.run { "doctor", "--data", "/dev/null" }
    assert.same({ "", 7 }, { err, status })
    assert.matches('"directory","verdict":"bad"', out)
  end)
end)
