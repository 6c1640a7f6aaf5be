-- lua/moonlog/testing.lua: given, when, then; and what every test checks without being asked.
local moonlog = require "moonlog"
local packs = require "spec.support.packs"
local program = require "spec.support.program"
local t = require "moonlog.testing"

local ACCOUNT = [[
local moonlog = require "moonlog"
return {
  aggregate = "account",
  initial = { open = false, balance = 0 },
  on = {
    AccountOpened = function(s, d) s.open, s.owner = true, d.owner.name end,
    Deposited = function(s, d, e) s.balance, s.last = s.balance + d.amount, e.occurred end,
    Withdrawn = function(s, d) s.balance = s.balance - d.amount end,
    Stamped = function(s, _, e)
      s.stamp = { e.position, e.revision, e.stream, e.time, e.tags[1] }
    end,
    Broken = function(s, d) s.owner = d.nothing.at_all end,
  },
  commands = {
    open = function(s, c)
      if s.open then return moonlog.refuse "ALREADY_OPEN" end
      return moonlog.event("AccountOpened", { owner = { name = c.owner } })
    end,
    open_old = function() return moonlog.event("AccountOpened", { owner = "" }, { schema = 1 }) end,
    deposit = function(_, c) return moonlog.event("Deposited", { amount = c.amount }) end,
    withdraw = function(s, c)
      if c.amount > s.balance then
        return moonlog.refuse("INSUFFICIENT_FUNDS", { balance = s.balance })
      end
      return moonlog.event("Withdrawn", { amount = c.amount }, { tags = { "cash" } })
    end,
    stamp = function(_, _, ctx)
      local data = { at = ctx.now, id = ctx.id, by = ctx.actor, uuid = ctx.uuid() }
      return moonlog.event("Stamped", data, { tags = { "t" } })
    end,
    look = function() end,
    spoil = function(s) s.balance = 0 end,
    fail = function(_, c) return moonlog.event("Deposited", { amount = c.nothing.at_all }) end,
    breaks = function() return moonlog.event("Broken", {}) end,
  },
}
]]

local OPENED = [[
return { upcast = "AccountOpened", latest = 3,
  [1] = { move = { owner = "owner.name" } },
  [2] = function(d) d.currency = "EUR" return d end }
]]

local PARTS = [[
local moonlog = require "moonlog"
return { upcast = "Batch", latest = 2,
  [1] = function(d)
    if #d.amounts == 0 then return moonlog.drop end
    local parts = {}
    for n, amount in ipairs(d.amounts) do
      parts[n] = moonlog.event("Deposited", { amount = amount })
    end
    return moonlog.split(parts)
  end }
]]

local opened = { "AccountOpened", { owner = "Ada" }, schema = 1 }
local deposited = { "Deposited", { amount = 50 } }

describe("moonlog.testing", function()
  local dir = packs.directory { ["account.lua"] = ACCOUNT,
    ["opened.lua"] = OPENED, ["parts.lua"] = PARTS }

  local function account(id) return t.aggregate(dir .. "/account.lua", id) end
  local function upcaster(file) return t.upcaster(dir .. "/" .. file) end

  --- An aggregate of a pack of its own: this body as what happens on Happened.
  local function thing(body, before)
    return t.aggregate(packs.directory { ["thing.lua"] = ([[
local moonlog = require "moonlog"
%s
return { aggregate = "thing", initial = { n = 0 },
  on = { Happened = function(s, d, e) %s end },
  commands = { act = function(s, c, ctx) %s end } }
]]):format(before or "", body.on or "", body.act or "") } .. "/thing.lua")
  end

  --- The message of a test that has to fail.
  local function fails(test)
    local done, message = pcall(test)
    assert.is_false(done, "it passes")
    return tostring(message)
  end

  describe("aggregate", function()
    it("folds what is given, by way of upcasters", function()
      account():given { opened, deposited, { "Withdrawn", { amount = 20 } } }
        :state { open = true, owner = "Ada", balance = 30 }
      account():state { open = false, balance = 0 }
      account():given {}:state { open = false, balance = 0 }
    end)

    it("takes what is given without a schema for the latest", function()
      account():given { { "AccountOpened", { owner = { name = "Ada" } } } }
        :state { open = true, owner = "Ada", balance = 0 }
    end)

    it("takes one event without a list, and goes on from what was given", function()
      account():given(opened):given(deposited):given { type = "Deposited", data = { amount = 1 } }
        :state { open = true, owner = "Ada", balance = 51 }
    end)

    it("lets an event have its other fields", function()
      account("ada"):given { { "Deposited", { amount = 1 }, occurred = "2026-01-05T09:00:00Z" },
        { "Stamped", {}, tags = { "a" }, time = 17 } }
        :state { open = false, balance = 1, last = moonlog.time "2026-01-05T09:00:00Z",
          stamp = { 2, 1, "account-ada", 17, "a" } }
    end)

    it("compares what a command emits", function()
      account():given { opened, deposited }:when("withdraw", { amount = 20 })
        :emits { { "Withdrawn", { amount = 20 } } }
        :emits { { "Withdrawn", { amount = 20 }, tags = { "cash" }, schema = 1 } }
        :emits { "Withdrawn", { amount = 20 } }
        :emits { moonlog.event("Withdrawn", { amount = 20 }) }
        :state { open = true, owner = "Ada", balance = 30 }
      account():when "look":emits {}
    end)

    it("goes on from what a command emitted", function()
      account():when("open", { owner = "Ada" }):when("deposit", { amount = 5 })
        :when("deposit", { amount = 6 }):state { open = true, owner = "Ada", balance = 11 }
        :when("open", { owner = "Eve" }):refuses "ALREADY_OPEN"
        :state { open = true, owner = "Ada", balance = 11 }
    end)

    it("gives commands a time, an id, an actor, and uuids that are always the same", function()
      local seen = account("ada"):at "2026-03-01T00:00:00Z":when("stamp", {}, { actor = "eve" })
      local data = seen.emitted[1].data
      assert.equal(moonlog.time "2026-03-01T00:00:00Z", data.at)
      assert.same({ "ada", "eve", 36 }, { data.id, data.by, #data.uuid })
      seen:emits { { "Stamped", data, meta = { actor = "eve", unit = "aggregate/account" } } }
      local again = account("ada"):at "2026-03-01T00:00:00Z":when "stamp"
      assert.equal(data.uuid, again.emitted[1].data.uuid)
    end)

    it("compares refusals", function()
      account():given { opened, deposited }:when("withdraw", { amount = 80 })
        :refuses "INSUFFICIENT_FUNDS":refuses("INSUFFICIENT_FUNDS", { balance = 50 })
    end)

    it("finds files beside the spec, and in a folder that is said", function()
      local root = packs.directory { ["sales/account.lua"] = ACCOUNT, ["lib/x.lua"] = "return {}",
        ["sales/account_spec.lua"] = [[
          local t = require "moonlog.testing"
          describe("account", function()
            it("is beside", function()
              t.aggregate "account.lua":when("deposit", { amount = 1 })
            end)
            it("is in a pack", function()
              t.pack "..".aggregate "sales/account.lua":when("deposit", { amount = 1 })
            end)
          end)]] }
      local out, err, status = program.shell(("MOONLOG_LUA=lua %s test %s"):format(program.path,
        root))
      assert.equal(0, status, out .. err)
      assert.match("\n2 passed, 0 failed\n$", out)
    end)
  end)

  describe("aggregate, when it is not so", function()
    it("shows states as a difference by sorted keys, at the line of the spec", function()
      local said = fails(function()
        account():given { opened, deposited }
          :state { open = true, owner = "Eve", balance = 50, z = 1 }
      end)
      assert.match("^[^\n]*testing_spec%.lua:%d+: the state is another", said)
      assert.equal([[
  {
    balance = 50
    open = true
-   owner = "Eve"
+   owner = "Ada"
-   z = 1
  }]], said:match "\n(.*)$")
    end)

    it("tells integers from floats, as what is stored does", function()
      assert.match("%- *balance = 50%.0\n%+ *balance = 50\n", fails(function()
        account():given { deposited }:state { open = false, balance = 50.0 }
      end))
    end)

    it("shows other events, too few and too many", function()
      local function with(expected)
        return fails(function()
          account():given { deposited }:when("withdraw", { amount = 20 }):emits(expected)
        end)
      end
      assert.match("%-.*amount = 21.*%+.*amount = 20", with { { "Withdrawn", { amount = 21 } } })
      assert.match('%+.*type = "Withdrawn"', with {})
      assert.match('%-.*type = "Deposited"', with { { "Withdrawn", { amount = 20 } }, deposited })
      assert.match('tags', with { { "Withdrawn", { amount = 20 }, tags = { "card" } } })
    end)

    it("says when a refusal was no refusal, another, or of another detail", function()
      local function asked(amount)
        return account():given { deposited }:when("withdraw", { amount = amount })
      end
      assert.match("was not refused; it emitted", fails(function() asked(20):refuses "NO" end))
      assert.match("INSUFFICIENT_FUNDS, not NO", fails(function() asked(80):refuses "NO" end))
      assert.match("%- *balance = 1\n%+ *balance = 50", fails(function()
        asked(80):refuses("INSUFFICIENT_FUNDS", { balance = 1 })
      end))
      assert.match("was refused: INSUFFICIENT_FUNDS { balance = 50 }", fails(function()
        asked(80):emits {}
      end))
    end)

    it("tells of a fault with file, line, source and event", function()
      local said = fails(function() account():given { deposited, { "Broken", {} } } end)
      assert.match("account%.lua:12: attempt to index a nil value %(field 'nothing'%)", said)
      assert.match("s%.owner = d%.nothing%.at_all", said)
      assert.match("event #2, Broken", said)
      assert.match("account%.lua:%d+: attempt to index", fails(function()
        account():when "fail"
      end))
      assert.match("account%.lua:12: Broken that the command breaks decided cannot be folded: .*"
        .. "decided, and not written: Broken in account", fails(function()
        account():when "breaks"
      end))
    end)

    it("refuses a command that changes the state", function()
      assert.match("the command spoil changed the state", fails(function()
        account():given { deposited }:when "spoil"
      end))
    end)

    it("refuses an event that no handler knows, and says what to do to ignore it", function()
      assert.match("no handler for the event Deposted: misspelled", fails(function()
        account():given { { "Deposted", { amount = 1 } } }
      end))
      account():given { deposited }
      assert.match("no handler for the event Deposted: misspelled", fails(function()
        account():given { { "Deposted", { amount = 1 } } }
      end), "in a pack that has seen a first event before")
    end)

    it("refuses to emit a schema that upcasters would take for an old one", function()
      assert.match("AccountOpened is emitted with schema 1, .* it is 3", fails(function()
        account():when "open_old"
      end))
      account():when("open", { owner = "Ada" })
        :emits { { "AccountOpened", { owner = { name = "Ada" } }, schema = 3 } }
    end)

    it("names commands, files and fields that are not there", function()
      assert.match('no command "opne" %(did you mean "open"', fails(function()
        account():when "opne"
      end))
      assert.match("no rule file acount%.lua", fails(function()
        t.aggregate(dir .. "/acount.lua")
      end))
      assert.match("no folder /nowhere", fails(function() t.aggregate "/nowhere/account.lua" end))
      assert.match("is no aggregate, but upcast/AccountOpened", fails(function()
        t.aggregate(dir .. "/opened.lua")
      end))
      assert.match('no field "shema"', fails(function()
        account():given { { "Deposited", {}, shema = 2 } }
      end))
      assert.match("begins with its type", fails(function() account():given { { 1, {} } } end))
      assert.match("is a table", fails(function() account():given { deposited, 5 } end))
      assert.match("before :emits", fails(function() account():emits {} end))
      assert.match("before :refuses", fails(function() account():refuses "X" end))
    end)

    it("tells what is wrong with the pack", function()
      local broken = packs.directory { ["account.lua"] = ACCOUNT:gsub("commands", "comands") }
      local said = fails(function() t.aggregate(broken .. "/account.lua") end)
      assert.match('account%.lua:14: error SHAPE: .*"comands".*did you mean "commands"', said)
    end)
  end)

  describe("twins", function()
    local happened = { { "Happened", { k = 1 } }, { "Happened", { k = 2 } } }

    it("find what outlives a call", function()
      -- A table that a handler fills is a warning when a pack is checked: here it is caught.
      local said = fails(function()
        thing({ on = "seen[#seen + 1] = d.k s.n = #seen" }, "local seen = {}"):given(happened)
      end)
      assert.match("folded twice, event 1, Happened, gives two states", said)
      assert.match("%- *n = %d+\n%+ *n = %d+", said)
    end)

    it("find one table under two names: a snapshot would make two of it", function()
      local said = fails(function()
        thing { on = "if s.a then s.a.x = d.k else s.a = {} s.b = s.a end" }:given(happened)
      end)
      assert.match("folded twice, event 2, Happened, gives two states", said)
    end)

    it("find a metatable that bytes do not keep", function()
      assert.match("event 2, Happened", fails(function()
        thing { on = "if d.k == 1 then s.t = setmetatable({}, { __index = { x = 5 } }) "
          .. "else s.n = s.t.x or 0 end" }:given(happened)
      end))
    end)

    it("find a command that remembers", function()
      local said = fails(function()
        thing({ act = "calls.n = calls.n + 1 return moonlog.event('Happened', calls)" },
          "local calls = { n = 0 }"):when "act"
      end)
      assert.match("decided twice, act has two results", said)
    end)

    it("find a step that remembers", function()
      local counting = packs.directory { ["c.lua"] = [[
        local seen = { n = 0 }
        return { upcast = "C", latest = 2,
          [1] = function(d) seen.n = seen.n + 1 d.n = seen.n return d end }]] }
      assert.match("upcast twice, C gives two results", fails(function()
        t.upcaster(counting .. "/c.lua"):from(1, {}):to(2, { n = 1 })
      end))
    end)

    it("pass what only uses its arguments", function()
      thing { on = "for k, v in pairs(d) do s[k] = v end s.n = s.n + 1" }:given(happened)
        :state { n = 2, k = 2 }
    end)
  end)

  describe("upcaster", function()
    it("goes from any schema to any later one", function()
      upcaster "opened.lua":from(1, { owner = "Ada" })
        :to(3, { owner = { name = "Ada" }, currency = "EUR" })
      upcaster "opened.lua":from(2, { owner = { name = "Ada" } })
        :to(3, { owner = { name = "Ada" }, currency = "EUR" })
      upcaster "opened.lua":from(1, { owner = "Ada" }):to(2, { owner = { name = "Ada" } })
    end)

    it("drops and splits", function()
      upcaster "parts.lua":from(1, { amounts = {} }):drops()
      upcaster "parts.lua":from(1, { amounts = { 1, 2 } })
        :splits { { "Deposited", { amount = 1 } }, { "Deposited", { amount = 2 } } }
      account():given { { "Batch", { amounts = { 1, 2 } }, schema = 1 },
        { "Batch", { amounts = {} }, schema = 1 } }
        :state { open = false, balance = 3 }
    end)

    it("says what is different, and what is wrong", function()
      local from = upcaster "opened.lua":from(1, { owner = "Ada" })
      assert.match('%- .*currency = "USD".*\n%+ .*currency = "EUR"', fails(function()
        from:to(3, { owner = { name = "Ada" }, currency = "USD" })
      end))
      assert.match("ends at schema 3", fails(function() from:to(4, {}) end))
      assert.match("schema 2 at least", fails(function() from:to(1, {}) end))
      assert.match('%+ *type = "AccountOpened"', fails(function() from:drops() end))
      assert.match("from%(schema, data%) first", fails(function()
        upcaster "opened.lua":to(2, {})
      end))
      assert.match("parts%.lua:4: attempt to get length.*if #d%.amounts", fails(function()
        upcaster "parts.lua":from(1, {}):drops()
      end))
      assert.match("number from 1", fails(function() upcaster "opened.lua":from("1", {}) end))
    end)
  end)

  describe("projection", function()
    --- A projection of a pack of its own.
    local function model(fields, before)
      return t.projection(packs.directory { ["opened.lua"] = OPENED, ["model.lua"] = ([[
local moonlog = require "moonlog"
%s
return { projection = "model", from = "account", %s }]]):format(before or "", fields) }
        .. "/model.lua")
    end
    local SUMS = [[key = "id", row = { sum = 0 }, on = {
      Deposited = function(row, d) row.sum = row.sum + d.amount end,
      AccountOpened = function(row, d) row.owner = d.owner.name end,
      AccountClosed = function() return moonlog.delete end }]]
    local DAYS = [[key = "type", row = { n = 0 }, window = moonlog.tumbling "1d",
      on = { Deposited = function(row) row.n = row.n + 1 end }]]

    it("has rows of what was given", function()
      model(SUMS):given { deposited, deposited }:row("test", { sum = 100 })
        :given { "Deposited", { amount = 1 }, stream = "account-ada" }
        :rows { test = { sum = 100 }, ada = { sum = 1 } }
        :given { { "AccountClosed", stream = "account-ada" } }:row("ada", nil)
        :rows { test = { sum = 100 } }
    end)

    it("sees old events as they are by now, and none of other streams", function()
      model(SUMS):given { opened, { "Deposited", { amount = 1 }, stream = "order-1" } }
        :rows { test = { sum = 0, owner = "Ada" } }
      t.projection(packs.directory { ["model.lua"] = [[
return { projection = "model", from = { tags = { "vip" } }, key = "stream",
  on = { Deposited = function(row) row.n = (row.n or 0) + 1 end } }]] } .. "/model.lua")
        :given { deposited, { "Deposited", { amount = 1 }, tags = { "new", "vip" } } }
        :rows { ["test-1"] = { n = 1 } }
    end)

    it("has keys of all kinds, and one row where there are none", function()
      model [[key = function(d) return { d.n, d.n > 1 } end,
        on = { Counted = function(row) row.n = (row.n or 0) + 1 end }]]
        :given { { "Counted", { n = 1 } }, { "Counted", { n = 2 } } }
        :row(1, { n = 1 }):row(true, { n = 1 }):row(false, { n = 1 })
        :rows { [1] = { n = 1 }, [2] = { n = 1 }, [true] = { n = 1 }, [false] = { n = 1 } }
      model [[init = function() return { n = 0 } end,
        on = { Counted = function(row) row.n = row.n + 1 end }]]
        :given { { "Counted" }, { "Counted" } }:row(nil, { n = 2 })
    end)

    it("knows windows, by the time that is given", function()
      local days = model(DAYS):at "2026-01-05T10:00:00Z":given { deposited, deposited }
        :open("Deposited"):advance "14h":closed("Deposited"):given { deposited }
        :rows { { "Deposited", { n = 2 }, "2026-01-05T12:00:00Z" },
          { "Deposited", { n = 1 }, "2026-01-06T12:00:00Z" } }
        :row("Deposited", { n = 1 }, "2026-01-06T00:00:00Z")
      assert.match("has 2 rows here; say of which window", fails(function()
        days:row("Deposited", { n = 1 })
      end))
      assert.match("from 2026%-01%-05T00:00:00.000000Z to 2026%-01%-06T00:00:00.000000Z is closed",
        fails(function() days:open("Deposited", "2026-01-05T10:00:00Z") end))
      assert.match("time does not go back", fails(function() days:at "2026-01-05T10:00:00Z" end))
      assert.match('"soon" is no span of time', fails(function() days:advance "soon" end))
      assert.match("has no windows", fails(function()
        model(SUMS):given { deposited }:closed "test"
      end))
    end)

    it("is stopped by what raises, and is as it was", function()
      model(SUMS):given { deposited }
        :raises({ deposited, { "Deposited", { amount = {} } } }, "attempt to perform arithmetic")
        :row("test", { sum = 50 })
      assert.match("nothing was raised", fails(function() model(SUMS):raises { deposited } end))
      assert.match("was raised, and not\nsomething else", fails(function()
        model(SUMS):raises({ { "Deposited", {} } }, "something else")
      end))
      assert.match("not the last event raised", fails(function()
        model(SUMS):raises { { "Deposited", {} }, deposited }
      end))
      assert.match("model%.lua:4: attempt to perform arithmetic.*row%.sum %+ d%.amount",
        fails(function() model(SUMS):given { { "Deposited", {} } } end))
    end)

    it("says what is different", function()
      assert.match('%- *sum = 5\n%+ *sum = 50', fails(function()
        model(SUMS):given { deposited }:row("test", { sum = 5 })
      end))
      assert.match('the rows are others.*%- *ada = { sum = 1 }.*%+ *test = { sum = 50 }',
        fails(function() model(SUMS):given { deposited }:rows { ada = { sum = 1 } } end))
      assert.match("sum = 50", fails(function()
        model(SUMS):given { deposited }:row("test", nil)
      end))
    end)

    it("is done twice, and what stays behind shows", function()
      assert.match("done twice, the same events give other rows", fails(function()
        model([[key = "id", on = { Deposited = function(row)
          seen[#seen + 1] = true
          row.n = #seen
        end }]], "local seen = {}"):given { deposited }
      end))
    end)

    it("has a handler for each event of its streams", function()
      assert.match("has no handler for the event Deposted: misspelled%?", fails(function()
        model(SUMS):given { { "Deposted", { amount = 1 } } }
      end))
    end)

    it("is no aggregate, and an aggregate no projection", function()
      assert.match("account%.lua is no projection, but aggregate/account", fails(function()
        t.projection(dir .. "/account.lua")
      end))
      assert.match("the stream is that of the aggregate", fails(function()
        account():given { "Deposited", { amount = 1 }, stream = "account-ada" }
      end))
    end)
  end)
end)
