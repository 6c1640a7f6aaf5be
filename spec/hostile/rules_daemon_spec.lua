-- Hostile rules in a real daemon: it stays, the culprit is named with file and line, and whoever
-- comes next on the same worker is served at once.
local daemon = require "spec.support.daemon"
local moonlog = require "moonlog"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"

local COMMANDS = require "spec.hostile.rules.commands"
local FOLDS = require "spec.hostile.rules.folds"
local BACK_US = 200000 -- until everything is back

--- A file with each case on a line of its own; gives its text, and the line of each.
local function write_file()
  local text = { [[local m = require "moonlog"]],
    [[return { aggregate = "thing", initial = { n = 0 }, on = {]],
    [[Done = function(s) s.n = s.n + 1 end,]] }
  local lines = {}
  local function add(name, params, case, body)
    text[#text + 1] = ("%s = function(%s) %s end,"):format(name, params, (body:gsub("\n", " ")))
    lines[case] = #text
  end
  for n, case in ipairs(FOLDS) do add("F" .. n, "s, d, e", case, case[2]) end
  text[#text + 1] = "}, commands = {"
  for n, case in ipairs(COMMANDS) do add("c" .. n, "s, args, ctx", case, case[3]) end
  text[#text + 1] = "} }"
  return table.concat(text, "\n"), lines
end

describe("hostile/rules in a daemon", function()
  local served, one
  local source, lines = write_file()
  local back = {}

  setup(function()
    served = daemon.start(nil, { "--workers", "1" })
    one = peer.connect(served.uri)
    local files = { ["thing.lua"] = source, ["counter.lua"] = packs.COUNTER }
    local report = assert(one:call("rules.load", { files = files }))
    assert.is_true(report.active, report.diagnostics[1] and report.diagnostics[1].message)
  end)
  teardown(function()
    one:close()
    assert.equal(0, (served:stop()))
    assert.equal("", (served:said():gsub("[^\n]* info [^\n]*\n", "")))
  end)

  --- The worker serves another unit: how long that took, by the daemon's own clock.
  local function serve_another()
    local noted = assert(one:call("append", { stream = "note", events = { { type = "N" } } }))
    local told = assert(one:call("command", { aggregate = "counter", id = "k", name = "count" }))
    local note = assert(one:call("read", { from = noted.first, limit = 1 })).events[1]
    back[#back + 1] = told.events[1].time - note.time
  end
  local function blamed(case, why)
    local place = ("^SCRIPT_ERROR: thing%%.lua:%d: "):format(lines[case])
    assert.matches(place, why)
    assert.is_nil(why:find "%c")
  end

  for n, case in ipairs(COMMANDS) do
    it(("%s: %s"):format(case[2], case[1]), function()
      local told, why = one:call("command",
        { aggregate = "thing", id = "c" .. n, name = "c" .. n, args = {} })
      if case[2] == "error" then
        assert.is_nil(told)
        blamed(case, why[2])
      else
        assert.is_truthy(told and told[case[2]], why and why[2])
        for _, event in ipairs(told.events or {}) do
          assert.equal("aggregate/thing", event.meta.unit)
          assert.not_equal("evil", event.meta.hash)
        end
      end
      serve_another()
    end)
  end

  for n, case in ipairs(FOLDS) do
    it("fold: " .. case[1], function()
      local ask = { aggregate = "thing", id = "f" .. n }
      assert(one:call("append",
        { stream = "thing-f" .. n, events = { { type = "F" .. n, data = {} } } }))
      blamed(case, one:refused("state", ask))
      serve_another()
    end)
  end

  it("are many, and all is back at once", function()
    assert.is_true(#COMMANDS + #FOLDS >= 100, #COMMANDS + #FOLDS)
    table.sort(back)
    assert.equal(#COMMANDS + #FOLDS, #back)
    assert.is_true(back[#back * 9 // 10] < BACK_US) -- a busy machine may be late now and then
    for _, unit in ipairs(assert(one:call "rules.list").units) do assert.equal(0, unit.kills) end
  end)
end)

describe("hostile/rules", function()
  local served, one
  local function start(dir)
    served = daemon.start(dir, { "--workers", "2" })
    one = peer.connect(served.uri)
  end
  local function stop()
    one:close()
    assert.equal(0, (served:stop()))
  end
  --- A test has a daemon that may be another one at its end, so that no hook can have it.
  local function test(name, body)
    it(name, function()
      start()
      assert(one:call("rules.load",
        { files = { ["account.lua"] = packs.ACCOUNT, ["counter.lua"] = packs.COUNTER } }))
      body()
      stop()
    end)
  end
  --- No client may write there: whoever has the directory can, while no daemon runs.
  local function forge(data)
    local event = { type = "RulesActivated", data = data }
    assert.matches("^FORBIDDEN: ", one:refused("append", { stream = "$rules", events = { event } }))
    stop()
    local store = assert(moonlog.open { dir = served.dir })
    assert(store:append("$rules", event))
    store:close()
    start(served.dir)
  end
  local function count(id)
    return one:call("command", { aggregate = "counter", id = id or "k", name = "count" })
  end

  test("that hang do not keep those on other workers waiting", function()
    local hung = one:ask("command", { aggregate = "account", id = "a", name = "hang" })
    local asked, before = 20, 0
    for n = 1, asked do
      one:ask("command", { aggregate = "counter", id = "k" .. n, name = "count" })
    end
    local late = false
    for _ = 0, asked do
      local message = assert(one:receive())
      if message[2] == hung then
        late = true
        assert.matches("^SCRIPT_ERROR: account.lua:%d+: ", message[3][2])
      else
        assert.equal(moonlog.null, message[3])
        if not late then before = before + 1 end
      end
    end
    assert.is_true(before > 0)
  end)

  test("of nobody's name are refused with a reason", function()
    local function refused(params, reason)
      for _, method in ipairs { "command", "state" } do
        params.name = method == "command" and "count" or nil
        assert.matches(reason, one:refused(method, params))
      end
    end
    refused({ aggregate = "counter", id = "a\0b" }, "^BAD_REQUEST: .*control character 0")
    refused({ aggregate = "counter", id = "a\27[31m" }, "^BAD_REQUEST: .*control character 27")
    refused({ aggregate = "counter", id = ("x"):rep(505) }, "^TOO_LARGE: ")
    refused({ aggregate = "coun-ter", id = "a" }, "^BAD_REQUEST: ")
    refused({ aggregate = "counter\0x", id = "a" }, "^BAD_REQUEST: .*control character 0")
    refused({ aggregate = "$counter", id = "a" }, "^NOT_FOUND: ")
    for _, id in ipairs { 5, true, {}, 1.5, moonlog.bytes "a" } do
      refused({ aggregate = "counter", id = id }, "^BAD_REQUEST: id is no str")
    end
    assert(count("/../../etc/passwd"))
    assert(count(("x"):rep(504)))
    assert.matches("^NOT_FOUND: there is no earlier version of that unit;",
      one:refused("rules.rollback", { unit = "a\27b" }))
  end)

  test("in files with names that lead elsewhere are refused", function()
    for _, path in ipairs { "../x.lua", "/x.lua", "a//x.lua", "a/./x.lua", "lib/../x.lua", ".lua",
      "a\0.lua", "a\n.lua", "a b.lua", ("d/"):rep(100) .. "x.lua" } do
      local report = assert(one:call("rules.load", { files = { [path] = packs.COUNTER } }))
      assert.is_false(report.ok, path)
      assert.equal("SHAPE", report.diagnostics[1].code)
    end
    local twins = { ["a.lua"] = packs.COUNTER, ["A.lua"] = packs.COUNTER }
    assert.is_false(assert(one:call("rules.load", { files = twins })).ok)
    assert(count())
  end)

  test("forged into $rules are loaded anew at the next start, as they are", function()
    local hash = assert(count()).events[1].meta.hash
    forge { hash = "forged", files = { ["counter.lua"] = packs.COUNTER }, upcasts = { X = 9 },
      units = moonlog.array { { unit = "aggregate/counter", file = "counter.lua", hash = "lie" } } }
    assert.equal(hash, assert(count()).events[1].meta.hash)
    local list = assert(one:call "rules.list")
    assert.not_equal("forged", list.hash)
    assert.equal(hash, list.units[1].hash)
    assert.matches("in %$rules does not say what its files hold", served:said())
    -- Even where the pack's hash is right.
    forge { hash = list.hash, files = { ["counter.lua"] = packs.COUNTER }, upcasts = {},
      units = moonlog.array {} }
    assert.equal(hash, assert(count()).events[1].meta.hash)
  end)

  test("forged into $rules that are none are passed over, or said to be wrong", function()
    forge(5)
    assert(count())
    for _, files in ipairs { { ["account.lua"] = 5 }, 5, { ["account.lua"] = "return {" },
      { ["account.lua"] = "while true do end" } } do
      forge { hash = "x", files = files, units = moonlog.array {}, upcasts = {} }
      assert.matches("^NOT_FOUND: no rules", one:refused("command",
        { aggregate = "counter", id = "k", name = "count" }))
      assert.matches(" error ", served:said())
      assert.is_true(assert(one:call "rules.rollback").active)
      assert(count())
    end
    assert.matches("error account.lua:1: ", served:said())
  end)

  test("that have errors by now do not let events through that were to be upcast", function()
    assert(one:call("append", { stream = "pay-1", events = { { type = "Payment", data = {} } } }))
    forge { hash = "x", files = { ["p.lua"] = "return {" }, units = moonlog.array {},
      upcasts = { Payment = 3 } }
    assert.matches("^SCRIPT_ERROR: the active rules have errors",
      one:refused("read", { category = "pay" }))
    assert.equal(1, #assert(one:call("read", { category = "pay", raw = true })).events)
    assert.matches("error p.lua:1: ", served:said())
  end)

  test("that make too much of what is read say so, and their worker lives", function()
    for _ = 1, 2 do
      local events = {}
      for n = 1, 80 do events[n] = { type = "Payment", data = {} } end
      assert(one:call("append", { stream = "pay-1", events = events }))
    end
    assert(one:call("rules.load", { files = { ["counter.lua"] = packs.COUNTER, ["p.lua"] = [[
      return { upcast = "Payment", latest = 2,
        [1] = function() return { x = ("x"):rep(250000) } end }]] } }))
    assert.matches("^TOO_LARGE: ", one:refused("read", { category = "pay" }))
    assert.equal(1, #assert(one:call("read", { category = "pay", limit = 1 })).events)
    for _, worker in ipairs(assert(one:call "status").workers) do
      assert.equal(0, worker.restarts)
    end
  end)

  test("that upcast to what no event may be are named, and keep no event", function()
    assert.is_true(assert(one:call("rules.load", { files = {
      ["lib/stash.lua"] = "return {}",
      ["large.lua"] = [[
        local stash, m = require "lib.stash", require "moonlog"
        return { upcast = "Large", latest = 2,
          [1] = function(d, e)
            stash.kept = e
            local text = ("x"):rep((1 << 20) - 5)
            local data = { x = text, y = text }
            if d.split then return m.split { data } end
            return data
          end }]],
      ["thief.lua"] = [[
        local stash = require "lib.stash"
        return { upcast = "Thief", latest = 2,
          [1] = function() return { stream = stash.kept and stash.kept.stream } end }]],
    } })).active)
    for n, data in ipairs { {}, { split = true } } do
      local event = { type = "Large", data = data }
      assert(one:call("append", { stream = "a-" .. n, events = { event } }))
      assert(one:call("append", { stream = "b-" .. n, events = { { type = "Thief", data = {} } } }))
      assert.matches("^SCRIPT_ERROR: large.lua:3: Large, step %[1%]: data is over",
        one:refused("read", { stream = "a-" .. n }))
      assert.matches("^SCRIPT_ERROR: thief.lua:3: this event was given to a call that is over",
        one:refused("read", { stream = "b-" .. n }))
    end
  end)
end)
