-- Hostile projections, questions, hands and disks: the daemon stays, whoever is next goes on, no
-- row is wrong, and each refusal is a code and a plain sentence.
local daemon = require "spec.support.daemon"
local moonlog = require "moonlog"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local NULL = moonlog.null
local LONG = ("x"):rep(1000000)

-- What else may be said where everything is slow, as with a sanitizer.
local SLOW = "took longer"

-- What a key function does, and what is said of it; false if that is all right.
local KEYS = {
  { "nil", "function() end", "gave nil; return {} for no row" },
  { "nan", "function() return 0/0 end", "gave NaN" },
  { "huge", "function() return ('x'):rep(5000000) end", "more than 1048576 bytes" },
  { "long", "function() return ('x'):rep(251) end", "a key has up to 250" },
  { "crowd", "function() local t = {} for i = 1, 1001 do t[i] = i end return t end", "up to 1000" },
  { "million", "function() local t = {} for i = 1, 1000000 do t[i] = i end return t end",
    "not enough memory" },
  { "circle", "function() local t = {} t[1] = t return t end", "gave a table" },
  { "holes", "function() return { 1, nil, 3 } end", "no list of keys" },
  { "raises", "function() error({}) end", "a table was raised" },
  { "endless", "function() while true do end end", "took longer" },
  { "pattern", "function() return (('a'):rep(200):find(('.-'):rep(30) .. 'b')) end",
    "too complex" },
  { "changes", "function(d, e) e.stream = 'x' return 'k' end", "it has happened" },
  { "word", "function() return moonlog.delete end", "gave a userdata" },
  { "bytes", "function() return '\\255\\0' end", false },
  { "least", "function() return math.mininteger end", false },
  { "pretends", "function() return setmetatable({}, { __len = function() return 1e9 end }) end",
    false },
}

-- What a handler does.
local HANDLERS = {
  { "endless", "while true do end", "took longer" },
  { "deep", "local function f(x) return { f(x) } end f(1)", "stack overflow", SLOW },
  { "eats", "local t = {} for i = 1, 1e7 do t[i] = {} end", "not enough memory", SLOW },
  { "large", "r.x = ('x'):rep(1048576)", "over 1048576 bytes" },
  { "circle", "r.r = r", "nested more than 30 levels" },
  { "list", "for k in pairs(r) do r[k] = nil end r[1] = 1", "has become a list" },
  { "mixed", "r[1] = 1", "mixed keys" },
  { "code", "r.f = function() end", "is a function" },
  { "odd", "r[true] = 1", "has a boolean as a key" },
  { "finalizer", "r.x = setmetatable({}, { __gc = function() end })", "__gc is not for rules" },
  { "gives", "return r", "returned a table" },
  { "control", "error('\\27[31m\\n\\0x')", "%?%[31m" },
  { "patient", "while true do pcall(error) end", "took longer" },
  { "unpacks", "r.x = select('#', table.unpack({}, 1, 1e7))", "65536 elements" },
  { "lazy", "setmetatable(r, { __pairs = error, __index = error })", false },
  { "indexed", "r.n = ('x'):rep(100000)", false },
  { "tabled", "r.n = { 1 }", false },
}

local function projection(name, parts)
  return ([[local moonlog = require "moonlog"
return { projection = "%s", from = "%s", key = %s, row = { n = 0 }, index = { "n" },
  on = { T = function(r, d, e) %s end } }
]]):format(name, parts.from or "x", parts.key or '"stream"', parts.body or "r.n = r.n + 1")
end

local WINDOWED = [[local moonlog = require "moonlog"
return { projection = "%s", from = "x", key = "category", row = { n = 0 }, window = %s,
  on = { T = function(r) r.n = r.n + 1 end }, late = function(r) r.late = (r.late or 0) + 1 end,
  %s }
]]
local MERGE = "merge = function(a, b) a.n = a.n + b.n end"
local WINDOWS = {
  { [[moonlog.tumbling("1us", { time = "occurred" })]], "" },
  { [[moonlog.hopping("64us", "1us", { time = "occurred" })]], "" },
  { [[moonlog.session("1us", { time = "occurred" })]], MERGE },
  { [[moonlog.session("1h", { time = "occurred", grace = "30000d" })]], MERGE },
  { [[moonlog.tumbling("30000d", { time = "occurred", offset = "29999d", grace = "30000d" })]],
    [[ttl = "30000d"]] },
  { [[moonlog.session("30000d", { time = "occurred" })]], MERGE .. [[, ttl = "1us"]] },
}
local TIMES = { math.mininteger, math.maxinteger, -62135596800000000, 9089000000000000000, 0, 1, -1,
  1 << 61, -(1 << 61), 3600000000, 7200000000, 5400000000 }

-- Whatever MessagePack can say.
local VALUES = { 1, -1, 0, 2.0 ^ 63, math.mininteger, math.maxinteger, 0 / 0, 1 / 0, 1.5, true,
  false, "", "\255\254", "a\n\27[31mb", LONG, moonlog.array {}, moonlog.array { 1 },
  moonlog.array { "account-1", 0 }, moonlog.array { "account-1", "x" },
  moonlog.array { "o1", "account-1", 1, 2 }, moonlog.array { moonlog.array {}, moonlog.array {} },
  { a = 1 }, moonlog.bytes "abc", "9999-12-31T00:00:00Z" }

-- Holds a file's lock until its input ends, and makes another one when it has it.
local HOLD = [[
import fcntl, sys
held = open(sys.argv[1], "r+")
fcntl.lockf(held, fcntl.LOCK_EX)
open(sys.argv[2], "w")
sys.stdin.read()
]]

local TABLE = [[return { projection = "sums", from = "account", key = "stream", row = { n = 0 },
  on = { Deposited = function(row) row.n = row.n + 1 end }, sql = { columns = { n = "integer" } } }
]]

describe("hostile/projections", function()
  local served, one

  local function start(dir)
    served = daemon.start(dir, { "--workers", "1" })
    one = peer.connect(served.uri)
  end
  local function stop()
    one:close()
    assert.equal(0, (served:stop()))
  end
  local function load(files)
    local report = assert(one:call("rules.load", { files = files }))
    assert.is_true(report.active, report.diagnostics[1] and report.diagnostics[1].message)
  end
  local function append(stream, type, data, more)
    local event = { type = type, data = data or {} }
    for name, value in pairs(more or {}) do event[name] = value end
    return assert(one:call("append", { stream = stream, events = { event } })).last
  end
  local function deposit(amount)
    return append("account-1", "Deposited", { amount = amount or 1 })
  end
  local function get(name, key, more)
    local params = { name = name, key = key }
    for word, value in pairs(more or {}) do params[word] = value end
    return one:call("projection.get", params)
  end
  local function row_after(last, name)
    return assert(get(name or "balances", "account-1", { after = last, timeout_ms = 20000 })).row
  end
  local function entry(name)
    return assert(one:call("projection.list", { name = name })).projections[1]
  end
  --- The daemon answers, so nothing is slept for.
  local function await(name, holds)
    local found
    repeat found = entry(name) until holds(found)
    return found
  end
  local function is_settled(found)
    return found.state == "stopped" or found.state == "live" and found.lag.events == 0
  end
  --- A code, and a sentence of printable text.
  local function is_plain(why)
    assert.matches("^[A-Z_]+: .", why)
    assert.is_nil(why:find "%c")
    assert.is_nil(why:find "INTERNAL")
    assert.is_true(#why < 1000)
  end
  local function children()
    local count = 0
    local list = program.shell(("env -u LD_PRELOAD ps --ppid %d -o args="):format(served.pid))
    for line in list:gmatch "[^\n]+" do if line:find "projection" then count = count + 1 end end
    return count
  end
  local function folder(name)
    return served.dir .. "/views/" .. name .. "/" .. entry(name).generations[1].folder
  end

  describe("in one daemon", function()
    setup(function() start() end)
    teardown(function() stop() end)

    for what, cases in pairs { key = KEYS, body = HANDLERS } do
      local function named(case) return what .. "_" .. case[1] end
      it(("stop alone, and say why (%s)"):format(what), function()
        local good = "good_" .. what
        local files = { ["good.lua"] = projection(good, { from = what }) }
        for _, case in ipairs(cases) do
          files[named(case) .. ".lua"] =
            projection(named(case), { from = what, [what] = case[2] })
        end
        load(files)
        local stream = what .. "-1"
        local last
        for _ = 1, 3 do last = append(stream, "T") end
        assert.equal(3, assert(get(good, stream, { after = last })).row.n)
        for _, case in ipairs(cases) do
          local found = await(named(case), is_settled)
          if case[3] then
            assert.equal("stopped", found.state, case[1])
            local sentence = found.error.sentence
            assert.is_true((sentence:find(case[3]) or case[4] and sentence:find(case[4])) ~= nil,
              sentence)
            is_plain(found.error.code .. ": " .. found.error.sentence)
            assert.equal(last - 2, found.error.position)
          else
            assert.equal("live", found.state, case[1])
          end
        end
      end)
    end

    it("have windows at any time, the same when they are built once more", function()
      local files, last = {}, nil
      for n, window in ipairs(WINDOWS) do
        files["w" .. n .. ".lua"] = WINDOWED:format("w" .. n, window[1], window[2])
      end
      load(files)
      for _ = 1, 2 do
        for _, time in ipairs(TIMES) do last = append("x-1", "T", {}, { occurred = time }) end
      end
      local function is_there(found)
        assert.equal(NULL, found.error)
        return found.state == "live" and found.position >= last
      end
      for n in ipairs(WINDOWS) do
        local digest = await("w" .. n, is_there).digest
        local answer = assert(one:call("projection.rebuild", { name = "w" .. n }))
        local again = await("w" .. n, function(found)
          return is_there(found) and #found.generations == 1 and
            found.generations[1].folder ~= answer.generations[1].folder
        end)
        assert.equal(digest, again.digest, WINDOWS[n][1])
      end
    end)

    it("may have any name that is one, and leave nothing behind", function()
      local names = { "a.b", ".", "..", "...", "a..b", "live", ".past", "rows.sqlite", "-",
        "--help", "é日本", ("n"):rep(80) }
      local files = {}
      for n, name in ipairs(names) do files["f" .. n .. ".lua"] = projection(name, {}) end
      load(files)
      local last = append("x-2", "T")
      for _, name in ipairs(names) do
        assert.equal(1, assert(get(name, "x-2", { after = last, timeout_ms = 20000 })).row.n, name)
      end
      load { ["account.lua"] = packs.ACCOUNT }
      repeat local left = children() until left == 0
    end)

    it("are asked anything, and answer or refuse", function()
      local hours = WINDOWED:format("hours", [[moonlog.tumbling "1h"]], ""):gsub('"x"', '"account"')
      load { ["balances.lua"] = packs.BALANCES,
        ["hours.lua"] = hours,
        ["all.lua"] = [[return { projection = "all", from = "account",
          init = function() return { n = 0 } end,
          on = { Deposited = function(row) row.n = row.n + 1 end } }]] }
      local last = deposit()
      assert.equal(1, row_after(last).n)
      local asked, refused = 0, 0
      local function ask(method, params)
        local result, why = one:call(method, params)
        asked = asked + 1
        if result then return end
        refused = refused + 1
        is_plain(why[2])
      end
      for _, name in ipairs { "balances", "hours", "all" } do
        for _, value in ipairs(VALUES) do
          for _, word in ipairs { "key", "window", "after", "timeout_ms", "name" } do
            local params = { name = name, key = "account-1", timeout_ms = 1 }
            params[word] = value
            ask("projection.get", params)
          end
          for _, word in ipairs { "prefix", "index", "from", "to", "limit", "backward" } do
            for _, more in ipairs { {}, { index = "owner" }, { backward = true } } do
              local params = { name = name, index = more.index, backward = more.backward }
              params[word] = value
              ask("projection.scan", params)
            end
          end
        end
      end
      assert.is_true(asked > 1500 and refused > 500)
      assert.matches('has no index "a%?%?%[31mb"; it has owner$',
        one:refused("projection.scan", { name = "balances", index = "a\n\27[31mb" }))
      assert.matches("has no index %?; it has owner$",
        one:refused("projection.scan", { name = "balances", index = {} }))
      assert.matches("^BAD_REQUEST: at is 9", one:refused("projection.get",
        { name = "balances", key = "account-1", at = math.maxinteger }))
      assert.equal(1, row_after(last).n)
    end)

    it("are waited for by many who then go", function()
      local crowd = {}
      for n = 1, 50 do
        crowd[n] = peer.connect(served.uri)
        for _ = 1, 20 do
          crowd[n]:ask("projection.get", { name = "balances", key = "account-1",
            after = 1 << 40, timeout_ms = 500 })
        end
      end
      for _, client in ipairs(crowd) do client:close() end
      local last = deposit()
      assert.equal(2, row_after(last).n)
      repeat local open = assert(one:call "status").connections until open == 1
    end)

    it("obey hands in the order in which they were given", function()
      local function hands(list)
        for _, hand in ipairs(list) do one:ask("projection." .. hand, { name = "balances" }) end
        for _ = 1, #list do assert.equal(NULL, assert(one:receive())[3]) end
      end
      hands { "pause", "resume" }
      await("balances", function(found) return found.state == "live" end)
      hands { "resume", "pause", "resume", "pause" }
      await("balances", function(found) return found.state == "paused" end)
      hands { "retry", "resume", "rebuild", "rebuild", "rebuild", "retry" }
      local last = deposit()
      local found = await("balances", function(found)
        return found.state == "live" and #found.generations == 1 and found.lag.events == 0
      end)
      assert.is_true(found.position >= last)
      assert.equal(3, row_after(last).n)
      repeat local ready = program.shell("ls " .. folder "balances")
      until ready:find "data.mdb" and ready:find "BOOT"
    end)

    it("change fifty times, go, and come back", function()
      for n = 1, 50 do load { ["balances.lua"] = packs.BALANCES .. "-- " .. n } end
      load { ["account.lua"] = packs.ACCOUNT }
      assert.matches("^NOT_FOUND", one:refused("projection.get", { name = "balances", key = "a" }))
      load { ["balances.lua"] = packs.BALANCES .. "-- 50" }
      local last = deposit()
      assert.equal(4, row_after(last).n)
      await("balances", is_settled)
      repeat local left = children() until left <= 3
    end)
  end)

  it("are built anew from whatever lies in the place of their views", function()
    start()
    load { ["balances.lua"] = packs.BALANCES, ["sums.lua"] = TABLE }
    local count = 0
    local function is_right()
      count = count + 1
      local last = deposit()
      assert.equal(count, row_after(last).n)
      assert.equal(count, row_after(last, "sums").n)
    end
    is_right()
    local views = served.dir .. "/views"
    local deeds = {
      "rm -rf %s; echo hello > %s",
      "rm -rf %s; ln -s /tmp %s",
      "rm -rf %s; mkdir %s",
      "truncate -s 0 %s/data.mdb %s/lock.mdb",
      "head -c 8192 /dev/zero | tr '\\0' '\\377' > %s/lock.mdb; true %s",
      "head -c 60 /dev/urandom > %s/BOOT; rm -rf %s/LOCK",
      "head -c 90000 /dev/urandom > %s/rows.sqlite; rm -f %s/rows.sqlite-*",
      "rm -rf " .. views .. "; true %s %s",
      "printf '../../../tmp 5\\n..\\n' > " .. views .. "/balances/live; true %s %s",
    }
    for _, deed in ipairs(deeds) do
      local command = {}
      for n, name in ipairs { "balances", "sums" } do
        local path = program.quote(folder(name))
        command[n] = deed:format(path, path)
      end
      assert(os.execute(table.concat(command, "; ") .. " 2>/dev/null"), deed) -- while it runs,
      is_right()
      os.execute(("kill -9 %d"):format(entry "balances".generations[1].pid))
      is_right()
      stop()
      os.execute(table.concat(command, "; ") .. " 2>/dev/null") -- and while it does not
      start(served.dir)
      is_right()
    end
    stop()
  end)

  it("say that somebody else writes to their view, and go on when nobody does", function()
    start()
    load { ["balances.lua"] = packs.BALANCES }
    deposit()
    await("balances", is_settled)
    local lock, mark = folder "balances" .. "/LOCK", tmpdir.new() .. "/held"
    stop()
    local holder = io.popen(("env -u LD_PRELOAD /usr/bin/python3 -c %s %s %s"):format(
      program.quote(HOLD), program.quote(lock), program.quote(mark)), "w")
    repeat
      local held = io.open(mark)
      if held then held:close() end
    until held
    start(served.dir)
    local last = deposit()
    assert.matches("^LOCKED: another process writes to the view in [^;]*; end it, then try again$",
      one:refused("projection.get", { name = "balances", key = "account-1", timeout_ms = 1500 }))
    holder:close()
    assert.equal(2, row_after(last).n)
    stop()
  end)

  it("are kept where links lead, and tables for SQL too", function()
    local real, link = tmpdir.new(), tmpdir.new() .. "/link"
    assert(os.execute(("ln -s %s %s"):format(real, link)))
    start(link .. "/store")
    load { ["sums.lua"] = TABLE }
    assert.equal(1, row_after(deposit(), "sums").n)
    stop()
  end)

  it("believe no event of $projections that cannot be true", function()
    start()
    load { ["balances.lua"] = packs.BALANCES }
    deposit()
    local hash = await("balances", is_settled).hash
    for _, stream in ipairs { "$projections", "$clock" } do
      local event = { type = "ProjectionPaused", data = { name = "balances" } }
      assert.matches("^FORBIDDEN", one:refused("append", { stream = stream, events = { event } }))
    end
    stop()
    local store <close> = assert(moonlog.open { dir = served.dir })
    for _, type in ipairs { "ProjectionResumed", "ProjectionSkipped", "ProjectionRetried",
      "ProjectionRebuilt", "ProjectionRolledBack", "Other" } do
      for _, data in ipairs { 1, "x", moonlog.array {}, {}, { name = 1 }, { name = "../../x" },
        { name = "a\0b" }, { name = ("x"):rep(100000) },
        { name = "balances", position = -1, hash = hash },
        { name = "balances", position = 2.0 ^ 63, hash = hash, folder = hash .. "./../../.." },
        { name = "balances", position = 0, hash = hash, folder = ".." },
        { name = "balances", hash = "\27[31m", folder = "live" } } do
        assert(store:append("$projections", { { type = type, data = data } }))
      end
    end
    assert(store:append("$clock", { { type = "Tick", data = 7, occurred = math.maxinteger } }))
    store:close()
    start(served.dir)
    assert.equal(2, row_after(deposit()).n)
    assert.equal(NULL, await("balances", is_settled).error)
    local found = program.shell("ls " .. served.dir .. "/views")
    assert.equal("balances\n", found)
    stop()
  end)
end)
