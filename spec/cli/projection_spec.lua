-- moonlog projection: rows got and scanned, how the projections are, and what is done with them.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local packs = require "spec.support.packs"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local BALANCES = [[
local moonlog = require "moonlog"
return {
  projection = "balances", from = { category = "account" }, key = "id",
  row = { balance = 0 }, index = { "balance" },
  on = {
    Deposited = function(row, d) row.balance = row.balance + d.amount end,
    Closed = function() return moonlog.delete end,
  },
}
]]
local NUMBERS = [[
return {
  projection = "numbers", from = "account", key = function(d) return d.amount end,
  row = { n = 0 }, on = { Deposited = function(row) row.n = row.n + 1 end },
}
]]
local TOTAL = [[
return {
  projection = "total", from = "account", init = function() return { n = 0 } end,
  on = { Deposited = function(row) row.n = row.n + 1 end },
}
]]
local DAILY = [[
local moonlog = require "moonlog"
return {
  projection = "daily", from = "account", key = "type", row = { n = 0 },
  window = moonlog.tumbling("1d", { time = "occurred" }),
  on = { Deposited = function(row) row.n = row.n + 1 end },
}
]]

local MANY = [[
return {
  projection = "many", from = "item", key = "id", row = { n = 0 },
  on = { Added = function(row) row.n = row.n + 1 end },
}
]]
local PAGE_AND_MORE = 1100 -- rows; a page of the daemon's has 1000 at most

describe("cli: projection", function()
  local on, served, last

  --- Appends; gives the position.
  local function deposit(who, amount, ...)
    local data = ('{"amount":%s}'):format(amount)
    return json.read((on { "append", "account-" .. who, "Deposited", data, ... })).position
  end

  setup(function()
    local dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    served = daemon.start(dir, { "--rules", packs.directory { ["balances.lua"] = BALANCES,
      ["numbers.lua"] = NUMBERS, ["total.lua"] = TOTAL, ["daily.lua"] = DAILY,
      ["many.lua"] = MANY } })
    local lines = {}
    for n = 1, PAGE_AND_MORE do lines[n] = ('{"stream":"item-%04d","type":"Added"}'):format(n) end
    on({ "import", "-" }, table.concat(lines, "\n"))
    for n, who in ipairs { "ada", "ben", "bea", "7", "ada" } do
      last = deposit(who, n * 10, "--occurred", "2026-01-0" .. n .. "T12:00:00Z")
    end
  end)
  teardown(function() assert.equal(0, (served:stop())) end)

  --- What a command prints, line by line, once the view has passed all.
  local function ask(...)
    local out, err, status = on { "projection", ... }
    assert.equal(0, status, err)
    assert.equal("", err)
    return json.lines(out)
  end
  local function after(action, ...)
    local words = { action, ... }
    words[#words + 1], words[#words + 2] = "--after", tostring(last)
    return ask(table.unpack(words))
  end

  local function refused(status, sentence, ...)
    local out, err, got = on { "projection", ... }
    assert.equal("", out)
    assert.equal(status, got, err)
    assert.truthy(err:find(sentence, 1, true), err)
  end

  local function keys_of(rows)
    local keys = {}
    for n, one in ipairs(rows) do keys[n] = one.key end
    return keys
  end

  it("gets a row, and says of which position it speaks", function()
    assert.same({ { row = { balance = 60 }, position = last } }, after("get", "balances", "ada"))
  end)

  it("takes a key as text, and else as the number it can be read as", function()
    assert.equal(40, after("get", "balances", "7")[1].row.balance)
    assert.equal(1, after("get", "numbers", "20")[1].row.n)
    assert.equal(1, after("get", "numbers", "20", "--json-key")[1].row.n)
    refused(3, "balances has no row '7'", "get", "balances", "7", "--json-key")
    refused(1, "KEY", "get", "balances", "{", "--json-key")
  end)

  it("gets the one row of a projection without keys", function()
    assert.equal(5, after("get", "total")[1].row.n)
  end)

  it("exits 3 where there is no row, or no projection", function()
    refused(3, "moonlog: NOT_FOUND: balances has no row 'eve'", "get", "balances", "eve")
    refused(3, "NOT_FOUND", "get", "balance", "ada")
  end)

  it("exits 6 when the view is not there in time", function()
    refused(6, "moonlog: TIMEOUT: ", "get", "balances", "ada", "--after", "1000000",
      "--timeout", "0")
  end)

  it("scans by key, and from and to one", function()
    assert.same({ "7", "ada", "bea", "ben" }, keys_of(after("scan", "balances")))
    assert.same({ "bea", "ben" }, keys_of(ask("scan", "balances", "be")))
    assert.same({ "ada", "bea" }, keys_of(ask("scan", "balances", "--from", "ada", "--to", "bea")))
    assert.same({ "ben", "bea" }, keys_of(ask("scan", "balances", "--backward", "--limit", "2")))
    assert.same({ "ben" }, keys_of(ask("scan", "balances", "--from", "ben")))
    assert.same({ 10, 20, 30, 40, 50 }, keys_of(ask("scan", "numbers")))
    assert.same({ 20, 30 }, keys_of(ask("scan", "numbers", "--from", "20", "--to", "30")))
    assert.same({}, ask("scan", "balances", "x"))
  end)

  it("scans as many pages as it takes", function()
    local keys = keys_of(after("scan", "many"))
    assert.equal(PAGE_AND_MORE, #keys)
    assert.equal(("%04d"):format(PAGE_AND_MORE), keys[PAGE_AND_MORE])
    keys = keys_of(ask("scan", "many", "--limit", "1050", "--backward"))
    assert.equal(1050, #keys)
    assert.equal("0051", keys[1050])
  end)

  it("scans by an index", function()
    assert.same({ { key = "ada", row = { balance = 60 } }, { key = "7", row = { balance = 40 } } },
      after("scan", "balances", "--index", "balance", "--backward", "--limit", "2"))
    assert.same({ "bea", "7" },
      keys_of(ask("scan", "balances", "--index", "balance", "--from", "30", "--to", "40")))
    refused(1, 'has no index "owner"; it has balance', "scan", "balances", "--index", "owner")
  end)

  it("shows windows with their times", function()
    local rows = after("scan", "daily")
    assert.equal(5, #rows)
    assert.same({ key = "Deposited", from = "2026-01-01T00:00:00.000000Z",
      to = "2026-01-02T00:00:00.000000Z", closed = true, row = { n = 1 } }, rows[1])
    assert.equal(false, rows[5].closed)
    local one = after("get", "daily", "Deposited", "--window", "2026-01-03T17:00:00Z")[1]
    assert.equal("2026-01-03T00:00:00.000000Z", one.from)
    refused(3, "no row", "get", "daily", "Deposited", "--window", "2025-01-03T17:00:00Z")
    refused(2, "--window wants a time", "get", "daily", "Deposited", "--window", "soon")
  end)

  it("looks at the past", function()
    assert.equal(10, ask("get", "balances", "ada", "--at", tostring(last - 1))[1].row.balance)
    assert.same({ "ada", "ben" }, keys_of(ask("scan", "balances", "--at", tostring(last - 3))))
  end)

  it("lists them all", function()
    local by_name = {}
    for _, one in ipairs(ask "ls") do by_name[one.name] = one end
    assert.equal("live", by_name.balances.state)
    assert.equal(4, by_name.balances.rows)
    assert.equal(last, by_name.balances.position)
    assert.same({ "numbers" }, { (ask("ls", "numbers")[1]).name })
    refused(3, "NOT_FOUND", "ls", "number")
    local out = on { "projection", "ls", "-o", "table" }
    assert.match("^name +hash +state +position +lag +behind +rate +eta +rows\n", out)
    assert.match("\nbalances +%x+ +live +" .. last .. " +0 ", out)
  end)

  it("looks for what can be read as a number as that, and as text", function()
    assert.same({ 20 }, keys_of(ask("scan", "numbers", "20")))
    assert.same({ 40, 50 }, keys_of(ask("scan", "numbers", "--from", "40")))
    assert.same({ 20, 10 }, keys_of(ask("scan", "numbers", "--from", "20", "--backward")))
    assert.same({ "0700" }, keys_of(ask("scan", "many", "0700")))
    assert.same({ "0001", "0002" }, keys_of(ask("scan", "many", "--to", "0002")))
    assert.same({ "7" }, keys_of(ask("scan", "balances", "7")))
    assert.same({ "7" }, keys_of(ask("scan", "balances", "--to", "7")))
    assert.same({ "7", "ada" }, keys_of(ask("scan", "balances", "--from", "7", "--limit", "2")))
    assert.same({ "7" }, keys_of(ask("scan", "balances", "--from", "7", "--backward")))
    assert.same({ "ben" }, keys_of(ask("scan", "balances", "--index", "balance", "--to", "20")))
  end)

  it("knows which options an action has", function()
    refused(2, "projection scan has no --window", "scan", "balances", "--window", "5")
    refused(2, "projection get has no --index", "get", "balances", "ada", "--index", "n")
    refused(2, "projection ls has no --limit", "ls", "--limit", "5")
  end)

  it("is paused and goes on", function()
    assert.equal("paused", ask("pause", "balances")[1].state)
    assert.equal("paused", ask("pause", "balances")[1].state)
    local more = deposit("zoe", 1)
    refused(6, "TIMEOUT", "get", "balances", "zoe", "--after", tostring(more), "--timeout", "0")
    ask("resume", "balances")
    last = more
    assert.equal(1, after("get", "balances", "zoe")[1].row.balance)
  end)

  it("stops at an event, and goes on without it when it is told to", function()
    local bad = deposit("bad", '"much"')
    last = deposit("ben", 5)
    refused(1, "moonlog: SCRIPT_ERROR: projection balances has stopped at position " .. bad
      .. ": balances.lua:6: ", "get", "balances", "ben", "--after", tostring(last))
    assert.equal(20, ask("get", "balances", "ben")[1].row.balance)
    local out = on { "projection", "ls", "-o", "table" }
    assert.match("\nbalances +%x+ +stopped +" .. bad - 1 .. " ", out)
    assert.match("\nbalances is stopped at event " .. bad .. ": balances.lua:6: [^\n]+\n.*"
      .. "moonlog projection skip balances %-%-position " .. bad .. " ", out)
    ask("skip", "balances", "--position", tostring(bad), "--reason", "typed by hand")
    assert.equal(25, after("get", "balances", "ben")[1].row.balance)
    local said = on { "read", "$projections" }
    assert.truthy(said:find('"reason":"typed by hand"', 1, true), said)
  end)

  it("says what is missing", function()
    refused(2, "projection wants more words: ls|get|scan", nil)
    refused(2, "projection knows no 'lss'; did you mean ls?", "lss")
    refused(2, "projection knows no 'xyzzy'; `moonlog help projection`", "xyzzy")
    refused(2, "write: moonlog projection get NAME KEY", "get")
    refused(2, "write: moonlog projection ls [NAME]", "ls", "balances", "ada")
    refused(2, "write: moonlog projection skip NAME --position P --reason TEXT", "skip", "balances")
    refused(2, "--limit wants a whole number", "scan", "balances", "--limit", "none")
    refused(2, "--after wants a whole number", "get", "balances", "ada", "--after", "-1")
  end)
end)
