-- core/projection/whatif*.c: history through other rules. Each mutation of the rules of the
-- examples is found, with the first event that it makes a difference at; which one that is, the
-- oracle computes by itself.
local m = require "moonlog"
local histories = require "spec.support.histories"
local oracle = require "spec.support.oracle"
local tmpdir = require "spec.support.tmpdir"

--- file, what is to be found there (plainly), what to put there. Units: those that it may change.
local mutations = {
  bank = {
    { "account.lua", "balance + d.amount end,\n    Withdrawn",
      "balance - d.amount end,\n    Withdrawn" },
    { "account.lua", "account.balance - d.amount end,\n    MoneySent",
      "account.balance - 2 * d.amount end,\n    MoneySent" },
    { "account.lua",
      "    MoneySent = function(account, d) account.balance = account.balance - d.amount end,\n",
      "" },
    { "account.lua",
      "MoneyReceived = function(account, d) account.balance = account.balance + d.amount",
      "MoneyReceived = function(account, d) account.balance = account.balance + d.amount + 1" },
    { "account.lua", "account.overdraft = d.limit",
      "account.overdraft = account.overdraft + d.limit" },
    { "account.lua", "AccountClosed = function(account) account.open = false",
      "AccountClosed = function(account) account.open = nil" },
    { "account.lua", "balance = 0, overdraft = 0 },\n\n  on",
      "balance = 7, overdraft = 0 },\n\n  on" },
    { "account.lua", "balance = 0, overdraft = 0 },\n\n  on",
      "balance = 0, overdraft = 3 },\n\n  on" },
    { "account.lua", "Withdrawn = function(account, d) account.balance",
      "Withdrawn = function(account, d) if d.amount > 60 then return end account.balance" },
    { "account.lua",
      "MoneySent = function(account, d) account.balance = account.balance - d.amount",
      "MoneySent = function(account, d) account.balance = account.balance - d.amout" },
    { "account.lua", "Deposited = function(account, d)",
      "Deposited = function(account, d) assert(d.amount < 110)" },
    { "upcast_opened.lua", "overdraft = 0", "overdraft = 10" },
    { "upcast_opened.lua", 'move = { owner = "owner.name" }, ', "" },
    { "balances.lua", "row.changes + 1", "row.changes + 2" },
    { "balances.lua", "Withdrawn = function(row, d) add(row, -d.amount)",
      "Withdrawn = function(row, d) add(row, d.amount)" },
    { "balances.lua", "    AccountClosed = function() return moonlog.delete end,\n", "" },
    { "balances.lua", 'key = "id"', 'key = "stream"' },
    { "balances.lua", "row = { balance = 0,", "row = { balance = 100," },
    { "balances.lua", "    MoneySent = function(row, d) add(row, -d.amount) end,\n", "" },
    { "balances.lua", "row.owner = d.owner.name", "row.owner = d.currency" },
    { "balances.lua", "local function add(row, amount) row.balance",
      "local function add(row, amount) if amount == 100 then return end row.balance" },
    { "balances.lua", "row.owner = d.owner.name", "row.owner = d.owner.nick.name" },
    { "balances.lua", 'from = { category = "account" }',
      'from = { category = "account", types = { "Deposited", "AccountOpened" } }' },
    { "balances.lua", "Deposited = function(row, d) add(row, d.amount)",
      "Deposited = function(row, d) add(row, row.changes > 3 and d.amount // 2 or d.amount)" },
    { "balances.lua", "    AccountClosed =",
      "    OverdraftGranted = function(row, d) row.overdraft = d.limit end,\n    AccountClosed =" },
    { "daily_totals.lua", '"1d"', '"12h"' },
    { "daily_totals.lua", 'time = "occurred"', 'time = "log"' },
    { "daily_totals.lua", ", MoneyReceived = add", "" },
    { "daily_totals.lua", "(row.corrected or 0) + 1", "(row.corrected or 0) + 2" },
    { "daily_totals.lua", "row.count + 1", "row.count + (d.amount > 100 and 2 or 1)" },
    { "daily_totals.lua", 'key = "type"', 'key = "stream"' },
  },
  fines = {
    { "fine.lua", "fine.expense - fine.paid", "fine.expense + fine.paid" },
    { "fine.lua", "fine.expense + d.expense", "d.expense" },
    { "fine.lua", "fine.amount, fine.penalised = d.amount, true",
      "fine.amount, fine.penalised = fine.amount + d.amount, true" },
    { "fine.lua", "fine.payments + 1", "fine.payments + 2" },
    { "fine.lua", 'AppealToJudge = function(fine) fine.status = "appealed"',
      'AppealToJudge = function(fine) fine.status = fine.status' },
    { "lib/money.lua", "units * 100 + 0.5", "units * 100 + 0.5 + units // 80" },
    { "upcast_payment.lua", "d.paymentamount * 10", "d.paymentamount * 100" },
    { "upcast_create.lua", "d.amount = money.cents(d.amount)",
      "d.amount = money.cents(d.amount) + 1" },
    { "debtors.lua", "due > 0 and due or nil, due < 0", "due >= 5000 and due or nil, due < 0" },
    { "debtors.lua", "row.expense = row.expense + d.expense", "row.expense = d.expense" },
    { "offices.lua", 'key = "data.resource"', 'key = "data.article"' },
    { "offices.lua", "row.fines + 1", "row.fines + (d.amount > 6000 and 0 or 1)" },
    { "procedure.lua", "expenses = 0, paid = 0", "expenses = 0, paid = 1" },
    { "procedure.lua", "    AppealToJudge = step,\n", "" },
    { "revenue_by_month.lua", "return calendar.month(event.occurred or event.time)",
      "return calendar.month(event.occurred or event.time):sub(1, 4)" },
  },
}

local units = {
  bank = { "aggregate/account", "projection/balances", "projection/daily_totals" },
  fines = { "aggregate/fine", "projection/debtors", "projection/offices", "projection/procedure",
    "projection/revenue_by_month" },
}

local function copy(files)
  local made = {}
  for path, text in pairs(files) do made[path] = text end
  return made
end

local function mutated(files, mutation)
  local path, from, to = table.unpack(mutation)
  local text = assert(files[path], path)
  local at, stop = text:find(from, 1, true)
  assert(at, path .. " has no " .. from)
  local made = copy(files)
  made[path] = text:sub(1, at - 1) .. to .. text:sub(stop + 1)
  return made
end

local function whatif(store, before, after, more)
  local ask = { store = store, before = before, after = after }
  for key, value in pairs(more or {}) do ask[key] = value end
  return m.whatif(ask)
end

local function unit_of(result, label)
  for _, unit in ipairs(result.units) do if unit.unit == label then return unit end end
end

--- The differences of a unit by the keys of the oracle.
local function by_key(result, label)
  local rows, faults = {}, {}
  for _, one in ipairs(result.differences) do
    if one.unit == label then
      local key = one.kind == "row" and oracle.key(one) or one.key
      if one.kind == "fault" then
        faults[#faults + 1] = one
      else
        rows[key] = { first = one.first.position,
          before = one.before ~= m.null and oracle.show(one.before) or nil,
          after = one.after ~= m.null and oracle.show(one.after) or nil }
      end
    end
  end
  return rows, faults
end

for _, pack in ipairs { "bank", "fines" } do
  describe("projection/whatif on " .. pack, function()
    local store, files, events, runs
    setup(function()
      store = histories.store(pack, 150)
      files = histories.rules(pack)
      events = oracle.events(store)
      runs = {}
      for _, label in ipairs(units[pack]) do
        local kind, name = label:match "^(.-)/(.*)$"
        runs[label] = oracle.run(files, kind, name, events)
      end
    end)
    teardown(function() store:close() end)

    local function check(after, label, result)
      local kind, name = label:match "^(.-)/(.*)$"
      local expected = oracle.compare(runs[label], oracle.run(after, kind, name, events), kind,
        events)
      local rows, faults = by_key(result, label)
      local count = 0
      for _ in pairs(expected.rows) do count = count + 1 end
      assert.same(expected.rows, rows, label)
      if kind == "projection" then
        assert.equal(expected.fault, faults[1] and faults[1].first.position)
        count = count + #faults
      else
        local dead = {}
        for key,
          position in pairs(expected.dead) do if position > 0 then dead[key] = position end end
        local told = {}
        for _, fault in ipairs(faults) do told[fault.key] = fault.first.position end
        assert.same(dead, told)
        count = count + #faults
      end
      assert.same({ count, expected.transient }, { unit_of(result, label).differing,
        unit_of(result, label).transient })
      return count + expected.transient
    end

    for number, mutation in ipairs(mutations[pack]) do
      it(("finds mutation %d, of %s: %s"):format(number, mutation[1], mutation[3]:sub(1, 60)),
        function()
        local after = mutated(files, mutation)
        local result = assert(whatif(store, files, after))
        local count = 0
        for _, label in ipairs(units[pack]) do
          local own = label:match "/(.*)$" .. ".lua"
          local shared = mutation[1]:find "^upcast_" or mutation[1]:find "^lib/"
          if shared or own == mutation[1] then
            count = count + check(after, label, result)
          else
            assert.same({}, (by_key(result, label)))
          end
        end
        assert.is_true(count > 0, "the mutation changes nothing")
        for n = 2, #result.differences do
          local one, next_one = result.differences[n - 1], result.differences[n]
          assert.is_true(one.first.position <= next_one.first.position)
        end
      end)
    end

    it("has nothing to say of the same pack", function()
      local result = assert(whatif(store, files, files))
      assert.same({}, result.differences)
      for _, unit in ipairs(result.units) do assert.same({ "same", 0 }, { unit.status,
        unit.events }) end
    end)

    it("has nothing to say of comments, moved lines and other names for locals", function()
      local after = {}
      for path, text in pairs(files) do
        after[path] = "-- A comment more.\n\n" .. text:gsub("%f[%w]d%f[%W]", "fact")
          :gsub("\n  on = {", "\n\n  -- What happens.\n  on =\n  {")
      end
      local result = assert(whatif(store, files, after))
      assert.same({}, result.differences)
      for _, unit in ipairs(result.units) do assert.same({ 0, 0 }, { unit.differing,
        unit.transient }) end
    end)
  end)
end

local ACCOUNT = [[
local moonlog = require "moonlog"
return {
  aggregate = "account", initial = { balance = 0 }, record = true,
  on = {
    Deposited = function(s, d) s.balance = s.balance + d.amount end,
    Withdrawn = function(s, d) s.balance = s.balance - d.amount end,
    Seen = function() end,
  },
  commands = {
    deposit = function(_, c) return moonlog.event("Deposited", { amount = c.amount }) end,
    withdraw = function(s, c, ctx)
      if c.amount > s.balance then return moonlog.refuse("SHORT", { balance = s.balance }) end
      return { moonlog.event("Withdrawn", { amount = c.amount }),
        moonlog.event("Seen", { at = ctx.now, id = ctx.uuid(), by = ctx.actor }) }
    end,
  },
}
]]

local SUMS = [[
return { projection = "sums", from = "account", key = "stream", row = { n = 0 },
  on = { Deposited = function(row, d) row.n = row.n + d.amount end,
    Withdrawn = function(row, d) row.n = row.n - d.amount end } }
]]

describe("projection/whatif", function()
  local store, dir
  before_each(function()
    dir = tmpdir.new() .. "/store"
    store = assert(m.open { dir = dir })
  end)
  after_each(function() store:close() end)

  local function append(stream, type, data) assert(store:append(stream, { { type = type,
    data = data } })) end

  describe("of commands", function()
    local engine, clock
    before_each(function()
      clock = 1000000
      engine = assert(m.engine { store = store })
      assert(assert(engine:stage { ["account.lua"] = ACCOUNT }).ok)
      assert(engine:activate())
    end)
    after_each(function() engine:close() end)

    --- As the daemon does: what is decided is appended, and a refusal too.
    local function command(id, name, args, meta)
      clock = clock + 1
      local answer = assert(engine:command { aggregate = "account", id = id, name = name,
        args = args,
        meta = meta, now = clock })
      if answer.refused then
        assert.equal("account", answer.record.aggregate)
        assert(store:append("$refused-account", { { type = "CommandRefused",
          data = answer.record } }))
        return answer.refused.code
      end
      assert(store:append("account-" .. id, answer.decided.events))
    end

    local function history()
      command("ada", "deposit", { amount = 100 }, { actor = "teller" })
      command("ada", "withdraw", { amount = 30 }, { actor = "ada" })
      assert.equal("SHORT", command("ada", "withdraw", { amount = 90 }))
      command("ada", "withdraw", { amount = 70 })
      assert.equal("SHORT", command("zoe", "withdraw", { amount = 1 }))
    end

    local function ask(from, to)
      local after, count = ACCOUNT:gsub(from, to)
      assert.equal(1, count)
      return assert(whatif(store, { ["account.lua"] = ACCOUNT }, { ["account.lua"] = after }))
    end

    it("says nothing of those that would be decided in the same way, id for id", function()
      history()
      local result = ask("if c.amount > s.balance then", "if s.balance < c.amount then")
      assert.same({}, result.differences)
      assert.same({ 5, 0, 0, 0 }, { result.units[1].commands, result.units[1].refused,
        result.units[1].allowed, result.units[1].others })
    end)

    it("has all in the record that a decision needs", function()
      history()
      local again = assert(m.engine { store = assert(m.open { dir = tmpdir.new() .. "/store" }) })
      assert(assert(again:stage { ["account.lua"] = ACCOUNT }).ok)
      assert(again:activate())
      for event in store:read { stream = "account-ada" } do
        if event.revision > 0 then break end
        local record = event.meta.command
        local answer = assert(again:command { aggregate = "account", id = record.id,
          name = record.name, args = record.args, meta = record.meta, now = record.now,
          dice = tostring(record.dice) })
        assert.same(event.meta, answer.decided.events[1].meta)
        assert.equal("teller", record.meta.actor)
      end
      again:close()
    end)

    it("tells which would be refused", function()
      history()
      local result = ask("if c.amount > s.balance then", "if c.amount > s.balance - 10 then")
      local one = result.differences[1]
      assert.equal(1, #result.differences)
      assert.same({ "command", "account-ada", "withdraw", "account.lua:11" },
        { one.kind, one.key, one.command, one.where })
      assert.same({ refused = { code = "SHORT", detail = { balance = 70 } } }, one.after)
      assert.same({ "Withdrawn", 70, "Seen" }, { one.before.events[1].type,
        one.before.events[1].data.amount, one.before.events[2].type })
      assert.same({ 5, 3, "Withdrawn" }, { one.first.position, one.first.revision, one.first.type })
      assert.equal(1, result.units[1].refused)
    end)

    it("tells which would be allowed, of streams that there are and that there never were",
      function()
      history()
      local result = ask("if c.amount > s.balance then", "if c.amount > s.balance + 20 then")
      assert.equal(2, #result.differences)
      assert.equal(2, result.units[1].allowed)
      local ada, zoe = result.differences[1], result.differences[2]
      assert.same({ "account-ada", "account-zoe" }, { ada.key, zoe.key })
      assert.same({ refused = { code = "SHORT", detail = { balance = 70 } } }, ada.before)
      assert.same({ "$refused-account", "CommandRefused" }, { ada.first.stream, ada.first.type })
      assert.same({ amount = 1 }, zoe.after.events[1].data)
    end)

    it("tells which would decide other events, and where it would raise", function()
      history()
      local result = ask('moonlog.event%("Withdrawn", { amount = c.amount }%)',
        'moonlog.event("Withdrawn", { amount = c.amount + (c.amount == 70 and c.fee.x or 1) })')
      assert.equal(2, #result.differences)
      assert.equal(31, result.differences[1].after.events[1].data.amount)
      assert.match("^account.lua:13: ", result.differences[2].after.failed)
      assert.equal(13, result.differences[2].after_fault.line)
      assert.same({ 1, 1 }, { result.units[1].others, result.units[1].refused })
    end)

    it("decides on the state that the new rules have by then", function()
      history()
      local result = ask("s.balance = s.balance %+ d.amount",
        "s.balance = s.balance + d.amount // 2")
      local kinds = {}
      for _, one in ipairs(result.differences) do kinds[#kinds + 1] = one.kind
        .. one.first.position end
      assert.same({ "state1", "command4", "command5" }, kinds)
      assert.same({ 1, 1 }, { result.units[1].refused, result.units[1].others })
    end)

    it("does not blame the new rules for what the active ones would not decide either", function()
      history()
      local fewer = ACCOUNT:gsub("c.amount > s.balance", "c.amount > s.balance - 10")
      local turned = fewer:gsub("c.amount > s.balance %- 10", "s.balance - 10 < c.amount")
      local before = { ["account.lua"] = fewer }
      local result = assert(whatif(store, before, { ["account.lua"] = turned }))
      assert.same({}, result.differences)
      local other = fewer:gsub("Seen = function", "Looked = function() end, Seen = function")
      result = assert(whatif(store, { ["account.lua"] = fewer }, { ["account.lua"] = other }))
      assert.same({}, result.differences)
    end)
  end)

  it("forgets what became equal again, and counts it", function()
    append("account-ada", "Deposited", { amount = 5 })
    append("account-ada", "Withdrawn", { amount = 5 })
    append("account-ben", "Deposited", { amount = 5 })
    local after = SUMS:gsub("row.n %+ d.amount", "row.n + 2 * d.amount")
      :gsub("row.n %- d.amount", "row.n - 2 * d.amount")
    local result = assert(whatif(store, { ["s.lua"] = SUMS }, { ["s.lua"] = after }))
    assert.equal(1, #result.differences)
    assert.same({ "account-ben", 3, { n = 5 }, { n = 10 } }, { result.differences[1].key,
      result.differences[1].first.position, result.differences[1].before,
        result.differences[1].after })
    assert.same({ 1, 1, 2 }, { result.units[1].differing, result.units[1].transient,
      result.units[1].rows })
  end)

  it("tells the earliest, and counts the rest", function()
    for n = 1, 50 do append("account-" .. n, "Deposited", { amount = n }) end
    local after = SUMS:gsub("row.n %+ d.amount", "row.n + 2 * d.amount")
    local function positions(more)
      local result = assert(whatif(store, { ["s.lua"] = SUMS }, { ["s.lua"] = after }, more))
      local found = {}
      for _, one in ipairs(result.differences) do found[#found + 1] = one.first.position end
      return found, result.units[1]
    end
    local found, unit = positions { limit = 3 }
    assert.same({ 1, 2, 3 }, found)
    assert.same({ 50, 0 }, { unit.differing, unit.earlier })
    found, unit = positions { limit = 2, from = 41 }
    assert.same({ 41, 42 }, found)
    assert.same({ 10, 40 }, { unit.differing, unit.earlier })
  end)

  it("looks at one unit, if that is asked", function()
    append("account-ada", "Deposited", { amount = 5 })
    local before = { ["account.lua"] = ACCOUNT, ["s.lua"] = SUMS }
    local after = { ["account.lua"] = ACCOUNT:gsub("balance %+ d", "balance - d"),
      ["s.lua"] = SUMS:gsub("row.n %+ d", "row.n - d") }
    for _, name in ipairs { "sums", "projection/sums" } do
      local result = assert(whatif(store, before, after, { unit = name }))
      assert.same({ 1, 1, "projection/sums" }, { #result.units, #result.differences,
        result.units[1].unit })
    end
    local _, why = whatif(store, before, after, { unit = "summs" })
    assert.match('^NOT_FOUND: no unit of either pack is called "summs"', why)
  end)

  it("names units that are new, and those that are gone", function()
    local result = assert(whatif(store, { ["account.lua"] = ACCOUNT }, { ["s.lua"] = SUMS }))
    assert.same({ "new", "gone" }, { unit_of(result, "projection/sums").status,
      unit_of(result, "aggregate/account").status })
  end)

  it("refuses a pack with errors, and says which", function()
    local result, why, found = whatif(store, { ["s.lua"] = SUMS }, { ["s.lua"] = SUMS .. "x x" })
    assert.is_nil(result)
    assert.equal("SCRIPT_ERROR: the new rules have errors", why)
    assert.same({ "COMPILE", "s.lua" }, { found[1].code, found[1].file })
  end)

  it("goes on with other keys where the fault of one is held", function()
    append("account-ada", "Deposited", { amount = 5 })
    append("account-ben", "Deposited", { amount = 13 })
    append("account-ben", "Deposited", { amount = 1 })
    append("account-ada", "Deposited", { amount = 7 })
    local held = SUMS:gsub("row = { n = 0 },", 'row = { n = 0 }, fault = "hold",')
    local after = held:gsub("row.n %+ d.amount", "row.n + (d.amount == 13 and d.x.y or d.amount)")
    local result = assert(whatif(store, { ["s.lua"] = held }, { ["s.lua"] = after }))
    assert.same({ "fault", 2 }, { result.differences[1].kind,
      result.differences[1].first.position })
    assert.same({ "row", "account-ben", 2, m.null }, { result.differences[2].kind,
      result.differences[2].key,
      result.differences[2].first.position, result.differences[2].after })
    assert.same({ 2, 4 }, { #result.differences, result.units[1].events })
  end)

  it("changes no file, and leaves none", function()
    for n = 1, 20 do append("account-" .. n % 3, "Deposited", { amount = n }) end
    store:close()
    local function look()
      local all = "cd '%s' && find . | sort && find . -type f -exec cat {} + | md5sum"
      local pipe = assert(io.popen(all:format(dir)))
      local text = pipe:read "a"
      pipe:close()
      return text
    end
    local before, scratch = look(), tmpdir.new() .. "/scratch"
    store = assert(m.open { dir = dir, read_only = true })
    local result = assert(whatif(store, { ["s.lua"] = SUMS }, { ["s.lua"] = (SUMS:gsub("row.n %+",
      "1 + row.n +")) },
      { scratch = scratch }))
    assert.equal(3, result.units[1].differing)
    assert.equal(before, look())
    assert.is_nil(io.open(scratch))
  end)

  it("says how far it is, and ends when that is wanted", function()
    for _ = 1, 3000 do append("account-ada", "Deposited", { amount = 1 }) end
    local told = {}
    local ask = { progress = function(unit, position, head)
      told[#told + 1] = { unit, position, head }
      return #told < 2
    end }
    local after = { ["s.lua"] = (SUMS:gsub("row.n %+", "1 + row.n +")) }
    local result, why = whatif(store, { ["s.lua"] = SUMS }, after, ask)
    assert.is_nil(result)
    assert.match("^TIMEOUT: ", why)
    assert.same({ { "projection/sums", 1, 3000 }, { "projection/sums", 1025, 3000 } }, told)
  end)
end)
