-- moonlog whatif: other rules held against the active ones, by the verb and by the method.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local ACCOUNT = packs.ACCOUNT:gsub('aggregate = "account",', "%0 record = true,")
local FILES = { ["account.lua"] = ACCOUNT, ["balances.lua"] = packs.BALANCES }

--- The files with one of them changed.
local function other(path, from, to)
  local files = {}
  for name, text in pairs(FILES) do files[name] = text end
  local text, count = files[path]:gsub(from, to)
  assert(count > 0, from)
  files[path] = text
  return files
end

describe("cli: whatif", function()
  local dir, on, served
  before_each(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    served = daemon.start(dir, { "--workers", "1" })
    local _, err, status = on { "rules", "load", packs.directory(FILES) }
    assert.equal(0, status, err)
    for _, words in ipairs { { "open", "owner=Ada" }, { "deposit", "amount=100" },
      { "withdraw", "amount=30" } } do
      assert.equal(0, select(3, on { "command", "account", "ada", table.unpack(words) }))
    end
    assert.equal(5, select(3, on { "command", "account", "ada", "withdraw", "amount=90" }))
  end)
  after_each(function() assert.equal(0, (served:stop())) end)

  local function whatif(files, ...) return on { "whatif", packs.directory(files), ... } end

  it("exits 0 and says so if nothing would be different", function()
    local out, err, status = whatif(FILES, "-otable")
    assert.same({ "no difference\n", "", 0 }, { out, err, status })
    out, err, status = whatif(other("balances.lua", "row%.n %+ 1", "1 + row.n"), "-otable")
    assert.same({ "projection/balances: 3 events, 1 row, 0 differ\nno difference\n", "", 0 },
      { out, err, status })
  end)

  it("passes over what the active version was told to pass over", function()
    local appended = on { "append", "account-ada", "Deposited", '{"amount":"much"}' }
    local bad = json.read(appended).position
    assert.equal(0, select(3, on { "append", "account-ben", "Deposited", '{"amount":7}' }))
    local skip = { "projection", "skip", "balances", "--position", tostring(bad), "--reason", "x" }
    -- Answered when it has stopped.
    on { "projection", "get", "balances", "account-ada", "--after", tostring(bad) }
    local _, err, status = on(skip)
    assert.equal(0, status, err)
    local tolerant = other("balances.lua", "d.amount,", "(tonumber(d.amount) or 0),")
    local out
    out, err, status = whatif(tolerant, "-otable", "--unit", "balances")
    assert.same({ "", 7 }, { err, status })
    assert.truthy(out:find("since position " .. bad, 1, true), out) -- it has one event more
    assert.falsy(out:find("fault", 1, true), out)
    assert.truthy(out:find("5 events, 2 rows, 1 differs", 1, true), out)
  end)

  it("exits 7 and shows rows, with the event that they differ since", function()
    local out, err, status = whatif(other("balances.lua", "row.balance %- d.amount",
      "row.balance - 2 * d.amount"), "-otable")
    assert.same({ "", 7 }, { err, status })
    assert.equal([[
projection/balances  account-ada  row
    balance  70 → 40
    since position 4: Withdrawn, revision 2 of account-ada

projection/balances: 3 events, 1 row, 1 differs
]], out)
  end)

  it("shows commands, as they were decided and as they would be", function()
    local out, _, status = whatif(other("account.lua", "c.amount > s.balance then",
      "c.amount > 50 and c.amount < 90 or c.amount < 40 then"), "-otable")
    assert.equal(7, status)
    assert.equal([[
aggregate/account  account-ada  command withdraw (account.lua:17)
    then  Withdrawn {"amount":30}
    now   refused INSUFFICIENT_FUNDS {"balance":100}
    at position 4: Withdrawn, revision 2 of account-ada
aggregate/account  account-ada  command withdraw (account.lua:17)
    then  refused INSUFFICIENT_FUNDS {"balance":70}
    now   Withdrawn {"amount":90}
    at position 5: CommandRefused, revision 0 of $refused-account

]] .. "aggregate/account: 3 events, 1 state, 0 differ; 4 commands decided again: "
      .. "1 would be refused, 1 allowed, 0 otherwise\n", out)
  end)

  it("shows where the new rules raise", function()
    local out, _, status = whatif(other("balances.lua", "row.balance %- d.amount",
      "row.balance - d.sum"), "-otable")
    assert.equal(7, status)
    assert.matches("^projection/balances  fault\n"
      .. "    new  balances.lua:7: attempt to perform arithmetic on a nil value %(field 'sum'%)\n"
      .. "        Withdrawn = .-\n    at position 4: Withdrawn, revision 2 of account%-ada\n", out)
  end)

  it("prints differences and units as NDJSON, and all of it as JSON", function()
    local files = other("balances.lua", "row.balance %+ d.amount", "row.balance + d.amount + 1")
    local out, _, status = whatif(files, "--unit", "balances")
    local lines = json.lines(out)
    assert.equal(7, status)
    assert.same({ "row", "account-ada", 70, 71, 3 }, { lines[1].kind, lines[1].key,
      lines[1].before.balance, lines[1].after.balance, lines[1].first.position })
    assert.same({ "projection/balances", "changed", 1 }, { lines[2].unit, lines[2].status,
      lines[2].differing })
    assert.is_nil(lines[3])
    out = whatif(files, "-ojson")
    assert.same({ 1, 2, 5 }, { #json.read(out).differences, #json.read(out).units,
      json.read(out).position })
  end)

  it("leaves out what began before --from, and what is over --limit", function()
    local files = other("balances.lua", "row.balance %+ d.amount", "row.balance + d.amount + 1")
    assert.equal(0, select(3, whatif(files, "--from", "4")))
    assert.equal(7, select(3, whatif(files, "--from", "3")))
    assert.equal(0, select(3, on { "command", "account", "ben", "deposit", "amount=1" }))
    local out = whatif(files, "--limit", "1", "-otable")
    assert.matches("2 differ\n?.-\n1 more are not shown; %-%-limit shows more of each unit\n$", out)
    assert.equal(2, select(3, whatif(files, "--limit", "0")))
  end)

  it("refuses rules with errors, wrong units and wrong directories", function()
    local files = other("balances.lua", "projection", "projektion")
    local out, err, status = whatif(files)
    assert.same({ "", 7 }, { out, status })
    assert.matches("^balances.lua:%d+: error: SHAPE: ", err)
    assert.equal(3, select(3, whatif(FILES, "--unit", "no/such")))
    assert.equal(3, select(3, on { "whatif", dir .. "/none" }))
  end)

  it("writes nothing: no event, no view, no active rules", function()
    local function look()
      local views = program.shell(("ls -A '%s/views'"):format(dir))
      return on { "head" }, (on { "rules", "ls" }), views
    end
    local before = { look() }
    assert.equal(7, select(3, whatif(other("account.lua", "s.balance %+", "1 + s.balance +"))))
    assert.same(before, { look() })
  end)

  describe("by rpc", function()
    --- So many events that it takes a while.
    local function fill()
      local lines = {}
      for n = 1, 200000 do
        lines[n] = ('{"stream":"account-%d","type":"Deposited","data":{"amount":1}}'):format(n % 50)
      end
      assert.equal(0, select(3, on({ "import", "-" }, table.concat(lines, "\n"))))
    end

    local SLOW = other("balances.lua", "Deposited = function%(row, d%)",
      "%0 local x = 0 for n = 1, 2000 do x = x + n end row.n = row.n + 1")

    it("tells how far it is, runs two at once, and ends when it is asked to", function()
      fill()
      local first, second = peer.connect(served.uri), peer.connect(served.uri)
      local asked = first:ask("whatif", { files = SLOW })
      second:ask("whatif", { files = SLOW })
      local name, told = first:push()
      assert.same({ "whatif.progress", "projection/balances" }, { name, told.unit })
      assert.equal(200005, told.head)
      assert.is_true(told.position > 0 and told.position < told.head)
      local third = peer.connect(served.uri)
      assert.matches("^LIMIT: 2 of them are under way", third:refused("whatif", { files = SLOW }))
      local stopped = first:ask "whatif.stop"
      local _, why = first:answer(asked)
      assert.equal("TIMEOUT: it was ended by whatif.stop", why[2])
      assert.same({ ended = 1 }, first:answer(stopped))
      second:close() -- whose process goes with it
      local result
      repeat
        result, why = third:call("whatif", { files = FILES })
      until result or not why[2]:find "^LIMIT"
      assert.same({}, result.differences)
      first:close()
      third:close()
    end)
  end)
end)
