-- core/server/projections.h: versions of projections are built beside each other and take each
-- other's place, and readers never see a gap, or a step back.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"
local program = require "spec.support.program"

local NULL = moonlog.null

--- Another version of it, with the same rows.
local function version(n) return packs.BALANCES:gsub("^return", "-- " .. n .. "\nreturn") end

local COUNTS = [[
return { projection = "counts", from = { category = "account" }, key = "type", row = { n = 0 },
  on = { Deposited = function(row, d) row.n = row.n + 1 end,
    Withdrawn = function(row, d) row.n = row.n + d.nothing.at_all end } }
]]
local COUNTS_RIGHT = COUNTS:gsub("d.nothing.at_all", "1")

describe("server/projections", function()
  local served, one

  local function start(dir)
    served = daemon.start(dir, { "--workers", "1" })
    one = peer.connect(served.uri)
  end
  local function stop(name)
    one:close()
    return (served:stop(name))
  end
  --- With a daemon around it, which may be another one at the end.
  local function serves(name, body)
    it(name, function()
      start()
      body()
      assert.equal(0, stop())
    end)
  end

  local function load(files)
    local loaded = assert(one:call("rules.load", { files = files }))
    assert.is_true(loaded.active, loaded.diagnostics[1] and loaded.diagnostics[1].message)
  end
  --- Appends one deposit of each amount from `from` to `to`, to ten accounts by turns.
  local function deposit(from, to)
    local last
    for first = from, to, 500 do
      local writes = {}
      for n = first, math.min(first + 499, to) do
        writes[#writes + 1] = { stream = "account-" .. n % 10,
          events = { { type = "Deposited", data = { amount = n } } } }
      end
      last = assert(one:call("append", { writes = writes })).last
    end
    return last
  end
  local function get(key, more)
    local params = { name = "balances", key = key }
    for name, value in pairs(more or {}) do params[name] = value end
    return one:call("projection.get", params)
  end
  local function entry(name)
    return assert(one:call("projection.list", { name = name or "balances" })).projections[1]
  end
  --- The daemon answers, so nothing is slept for.
  local function await(holds, name)
    local found
    repeat found = entry(name) until holds(found)
    return found
  end
  local function is_live(found) return found.state == "live" and found.lag.events == 0 end
  local function generation(found, role)
    for _, one_of_them in ipairs(found.generations) do
      if one_of_them.role == role then return one_of_them end
    end
  end
  local function said(pattern) return served:said():find(pattern) ~= nil end
  local function events_of(stream)
    local types = {}
    for _, event in ipairs(assert(one:call("read", { stream = stream })).events) do
      types[#types + 1] = event.type
    end
    return types
  end
  --- The directories of looks at the past.
  local function looks() return (program.shell("ls " .. served.dir .. "/views/.past")) end
  local function directory(found) return served.dir .. "/views/balances/" .. found.hash end
  --- What a view that was never disturbed is like.
  local function pure_digest()
    local before = entry().generations[1].folder
    assert(one:call("projection.rebuild", { name = "balances" }))
    return await(function(found)
      return #found.generations >= 1 and generation(found, "live").folder ~= before
        and is_live(found)
    end).digest
  end

  serves("are built, asked and listed", function()
    local last = deposit(1, 1000)
    load { ["balances.lua"] = packs.BALANCES }
    local row = assert(get "account-3")
    assert.same({ balance = 49800, n = 100 }, row.row)
    assert.is_true(row.position >= last)
    assert.equal(NULL, assert(get "account-x").row)
    local page = assert(one:call("projection.scan", { name = "balances", limit = 3 }))
    assert.same({ "account-0", "account-1", "account-2" },
      { page.rows[1].key, page.rows[2].key, page.rows[3].key })
    local rest = assert(one:call("projection.scan", { name = "balances", from = page.next }))
    assert.equal(7, #rest.rows)
    assert.equal(NULL, rest.next)
    local found = await(is_live)
    assert.equal(10, found.rows)
    assert.equal(1000, found.events)
    assert.equal(NULL, found.error)
    assert.same({ "live" }, { found.generations[1].role })
    assert.equal("live", assert(one:call "status").projections[1].state)
  end)

  serves("follow the log, and a reader sees its own writes", function()
    load { ["balances.lua"] = packs.BALANCES }
    local sum = 0
    for n = 1, 200 do
      local receipt = assert(one:call("append", { stream = "account-a",
        events = { { type = "Deposited", data = { amount = n } } } }))
      sum = sum + n
      local row = assert(get("account-a", { after = receipt.last }))
      assert.same({ balance = sum, n = n }, row.row)
      assert.is_true(row.position >= receipt.last)
    end
  end)

  serves("are waited for no longer than is said", function()
    load { ["balances.lua"] = packs.BALANCES }
    local last = deposit(1, 1)
    assert(get("account-1", { after = last }))
    local why = one:refused("projection.get",
      { name = "balances", key = "account-1", after = 1000, timeout_ms = 50 })
    assert.matches("^TIMEOUT: projection balances has come to position %d+, and not yet to 1000;",
      why)
    assert.matches("^BAD_REQUEST: .*60000", one:refused("projection.get",
      { name = "balances", key = "a", timeout_ms = 60001 }))
  end)

  serves("that are built for the first time say how far they are", function()
    deposit(1, 3000)
    load { ["balances.lua"] = packs.BALANCES:gsub("row.balance, row.n = row.balance %+",
      "for _ = 1, 5000 do row.n = row.n + 0 end row.balance, row.n = row.balance +") }
    local why = one:refused("projection.get",
      { name = "balances", key = "account-1", timeout_ms = 100 })
    assert.matches("^TIMEOUT: projection balances is being built for the first time: " ..
      "%d+ %% of %d+ events", why)
    assert.same({ balance = 450600, n = 300 }, assert(get("account-7", { timeout_ms = 60000 })).row)
  end)

  serves("that no rule defines are not there", function()
    load { ["balances.lua"] = packs.BALANCES }
    assert.equal("NOT_FOUND: no active rule defines the projection balance; did you mean balances?",
      one:refused("projection.get", { name = "balance", key = "a" }))
    load { ["account.lua"] = packs.ACCOUNT }
    assert.matches("^NOT_FOUND", one:refused("projection.get", { name = "balances", key = "a" }))
    assert.same({}, one:call("projection.list").projections)
    -- Its last view stays, for when it comes back.
    load { ["balances.lua"] = packs.BALANCES }
    assert.equal(NULL, assert(get "account-a").row)
  end)

  serves("are swapped under readers, who see no gap and no step back", function()
    deposit(1, 5000)
    load { ["balances.lua"] = packs.BALANCES }
    assert(get "account-1")
    local reader <close> = peer.connect(served.uri)
    local amount, position, answered, hashes = 5000, 0, 0, {}
    --- Keeps sixty questions on their way.
    local function look()
      local message = assert(reader:receive())
      assert.equal(NULL, message[3], message[3] ~= NULL and message[3][2])
      local row = message[4]
      assert.is_true(row.row ~= NULL and row.row.n >= 500)
      assert.is_true(row.position >= position, "a step back")
      position = row.position
      answered = answered + 1
      reader:ask("projection.get", { name = "balances", key = "account-" .. answered % 10 })
    end
    for n = 1, 60 do
      reader:ask("projection.get", { name = "balances", key = "account-" .. n % 10 })
    end
    for n = 1, 10 do
      load { ["balances.lua"] = (version(n)) }
      local hash
      repeat
        for _ = 1, 50 do look() end
        amount = amount + 10
        deposit(amount - 9, amount)
        local found = entry()
        hash = found.generations[1].hash
      until not hashes[hash] and generation(found, "live").hash == hash and #found.generations == 2
        and generation(found, "before") and said("instead of %x+: %d+ events")
      hashes[hash] = true
    end
    for _ = 1, 60 do
      local message = assert(reader:receive())
      assert.is_true(message[4].position >= position)
      position = message[4].position
    end
    local left = {}
    for name in io.popen("ls " .. served.dir .. "/views/balances"):lines() do
      if #name == 12 then left[#left + 1] = name end
    end
    assert.is_true(#left <= 3) -- the one of before that is being removed, perhaps
  end)

  serves("answer nothing that is older than what was seen", function()
    load { ["balances.lua"] = packs.BALANCES }
    deposit(1, 10)
    local old = generation(await(is_live), "live")
    local reader <close> = peer.connect(served.uri)
    -- The old one is asked, and held still until the new one has answered something newer.
    os.execute(("kill -STOP %d"):format(old.pid))
    local last = deposit(11, 1000)
    reader:ask("projection.get", { name = "balances", key = "account-1" })
    load { ["balances.lua"] = (version(1)) }
    await(function(found) return found.hash ~= old.hash end)
    local row = assert(get("account-1", { after = last }))
    os.execute(("kill -CONT %d 2>/dev/null"):format(old.pid))
    local message = assert(reader:receive())
    assert.equal(NULL, message[3])
    assert.equal(100, message[4].row.n)
    assert.is_true(message[4].position >= row.position)
  end)

  serves("stop at an event that they cannot apply, and others go on", function()
    load { ["balances.lua"] = packs.BALANCES, ["counts.lua"] = COUNTS }
    deposit(1, 10)
    await(is_live, "counts")
    assert(one:call("append", { stream = "account-1",
      events = { { type = "Withdrawn", data = { amount = 1 } } } }))
    local last = deposit(11, 20)
    assert.same({ balance = 11, n = 3 }, assert(get("account-1", { after = last })).row)
    local found = await(function(counts) return counts.state == "stopped" end, "counts")
    assert.equal(last - 10, found.error.position)
    assert.matches("^counts.lua:3: ", found.error.sentence)
    assert.equal(last - 11, found.position)
    assert.is_true(said("projection counts %(%x+%) stopped at position %d+ " ..
      "%(Withdrawn of account%-1%): counts.lua:3:"))
    -- What was applied before it is there.
    local row = assert(one:call("projection.get", { name = "counts", key = "Deposited" }))
    assert.same({ n = 10 }, row.row)
    -- It stops there again, and goes on by itself when it is right.
    assert(one:call("projection.retry", { name = "counts" }))
    assert.equal("stopped", await(function(counts) return counts.error ~= NULL end, "counts").state)
    load { ["balances.lua"] = packs.BALANCES, ["counts.lua"] = (COUNTS_RIGHT) }
    await(is_live, "counts")
    row = assert(one:call("projection.get", { name = "counts", key = "Deposited", after = last }))
    assert.same({ n = 20 }, row.row)
  end)

  serves("pass over an event for a reason that is recorded, for ever", function()
    load { ["balances.lua"] = packs.BALANCES, ["counts.lua"] = COUNTS }
    deposit(1, 10)
    assert(one:call("append", { stream = "account-1",
      events = { { type = "Withdrawn", data = { amount = 1 } } } }))
    local last = deposit(11, 20)
    local at = await(function(counts) return counts.state == "stopped" end, "counts").error.position
    local function skip(more) return one:refused("projection.skip", more) end
    assert.matches("^BAD_REQUEST: why may it be skipped", skip { name = "counts" })
    assert.matches("^NOT_FOUND: counts has not stopped at position 1, but at " .. at .. "$",
      skip { name = "counts", position = 1, reason = "x" })
    assert.matches("^NOT_FOUND: balances has not stopped",
      skip { name = "balances", reason = "x" })
    assert(one:call("projection.skip", { name = "counts", reason = "a test", actor = "eve" }))
    await(is_live, "counts")
    local function row(key)
      return assert(one:call("projection.get", { name = "counts", key = key, after = last })).row
    end
    assert.same({ n = 20 }, row "Deposited")
    assert.equal(NULL, row "Withdrawn")
    local event = assert(one:call("read", { stream = "$projections" })).events[1]
    assert.equal("ProjectionSkipped", event.type)
    assert.same({ name = "counts", hash = entry("counts").hash, position = at, reason = "a test",
      actor = "eve" }, event.data)
    -- Also when it is built again, and by another daemon.
    local dir = served.dir
    assert.equal(0, stop())
    os.execute("rm -r " .. dir .. "/views")
    start(dir)
    assert.same({ n = 20 }, row "Deposited")
  end)

  serves("stay paused over a restart", function()
    load { ["balances.lua"] = packs.BALANCES }
    local last = deposit(1, 10)
    assert(get("account-1", { after = last }))
    assert(one:call("projection.pause", { name = "balances" }))
    await(function(found) return found.state == "paused" end)
    deposit(11, 20)
    assert.same({ balance = 1, n = 1 }, assert(get "account-1").row)
    local dir = served.dir
    assert.equal(0, stop())
    start(dir)
    assert.same({ balance = 1, n = 1 }, assert(get "account-1").row)
    assert.equal("paused", entry().state)
    assert(one:call("projection.resume", { name = "balances" }))
    await(is_live)
    assert.same({ balance = 12, n = 2 }, assert(get "account-1").row)
    assert.same({ "ProjectionPaused", "ProjectionResumed" }, events_of "$projections")
  end)

  serves("go back to the version before, and stay there", function()
    load { ["balances.lua"] = packs.BALANCES }
    deposit(1, 100)
    local first = await(is_live).hash
    assert.matches("^NOT_FOUND: there is no version of balances before",
      one:refused("projection.rollback", { name = "balances" }))
    load { ["balances.lua"] = packs.BALANCES:gsub("balance %+ d.amount", "balance + 2 * d.amount") }
    local second = await(function(found) return found.hash ~= first end).hash
    local last = deposit(101, 110)
    assert.equal(2 * (1 + 11 + 21 + 31 + 41 + 51 + 61 + 71 + 81 + 91 + 101),
      assert(get("account-1", { after = last })).row.balance)
    local back = assert(one:call("projection.rollback", { name = "balances" }))
    assert.equal(first, back.hash)
    local row = assert(get "account-1")
    assert.equal(561, row.row.balance)
    assert.is_true(row.position >= last)
    local dir = served.dir
    assert.equal(0, stop())
    start(dir)
    assert.equal(561, assert(get("account-1", { after = last })).row.balance)
    assert.equal(first, await(function(found)
      local other = generation(found, "before")
      return other and other.state == "live" and is_live(found)
    end).hash)
    assert.equal(second, assert(one:call("projection.rollback", { name = "balances" })).hash)
    assert.equal(1122, assert(get "account-1").row.balance)
    assert(one:call("projection.rollback", { name = "balances" }))
    -- Other rules are a new word.
    load { ["balances.lua"] = (version(1)) }
    await(function(found) return found.hash ~= first end)
  end)

  serves("are built once more, from the beginning", function()
    deposit(1, 2000)
    load { ["balances.lua"] = packs.BALANCES }
    local before = await(is_live)
    assert.equal(before.digest, pure_digest())
    assert.equal(before.hash .. ".2", entry().generations[1].folder)
    assert.equal(before.digest, pure_digest())
    assert.equal(before.hash .. ".3", entry().generations[1].folder)
    assert.equal(before.hash, entry().hash)
  end)

  serves("lose nothing when their processes are killed", function()
    deposit(1, 3000)
    load { ["balances.lua"] = packs.BALANCES }
    local amount, position = 3000, 0
    for _ = 1, 25 do
      local pid = generation(entry(), "live") and generation(entry(), "live").pid
        or entry().generations[1].pid
      if pid ~= NULL then os.execute(("kill -KILL %d 2>/dev/null"):format(pid)) end
      amount = amount + 50
      local last = deposit(amount - 49, amount)
      local row = assert(get("account-1", { after = last }))
      assert.equal(amount // 10, row.row.n)
      assert.is_true(row.position >= position)
      position = row.position
    end
    -- What it was asked is asked of the next one.
    local pid = generation(await(is_live), "live").pid
    os.execute(("kill -STOP %d"):format(pid))
    for _ = 1, 20 do one:ask("projection.get", { name = "balances", key = "account-1" }) end
    local eye <close> = peer.connect(served.uri)
    assert(eye:call "status")
    os.execute(("kill -KILL %d"):format(pid))
    for _ = 1, 20 do
      local message = assert(one:receive())
      assert.equal(amount // 10, message[4].row.n)
    end
    assert.equal(entry().digest, pure_digest())
    assert.equal(0, assert(one:call "status").rules.quarantined)
  end)

  serves("lose nothing when the daemon is killed", function()
    deposit(1, 3000)
    load { ["balances.lua"] = packs.BALANCES }
    local amount, dir = 3000, served.dir
    for round = 1, 12 do
      if round % 3 == 0 then load { ["balances.lua"] = (version(round)) } end
      amount = amount + 50
      local last = deposit(amount - 49, amount)
      if round % 2 == 0 then
        assert.equal(amount // 10, assert(get("account-1", { after = last })).row.n)
      end
      stop "KILL"
      start(dir)
    end
    local last = deposit(amount + 1, amount + 1)
    assert.equal(amount // 10 + 1, assert(get("account-1", { after = last })).row.n)
    await(is_live)
    assert.equal(entry().digest, pure_digest())
  end)

  describe("whose views are damaged", function()
    local harm = {
      deleted = "rm -r %s",
      emptied = "truncate -s 0 %s/data.mdb",
      ["cut short"] = "truncate -s 8192 %s/data.mdb",
      overwritten = "dd if=/dev/urandom of=%s/data.mdb bs=4k seek=2 count=4 conv=notrunc " ..
        "status=none",
      garbled = "dd if=/dev/urandom of=%s/data.mdb bs=4k count=2 conv=notrunc status=none",
    }
    for how, line in pairs(harm) do
      serves("(" .. how .. ") are built again, and show no wrong row", function()
        deposit(1, 2000)
        load { ["balances.lua"] = packs.BALANCES }
        local digest = await(is_live).digest
        local function check(n, last)
          local row = assert(get("account-1", { after = last }))
          assert.equal(n, row.row.n)
        end
        check(200, 2000)
        -- While it runs: its process is killed, so that it has to be opened again.
        os.execute(line:format(directory(entry())))
        os.execute(("kill -KILL %d"):format(generation(entry(), "live").pid))
        check(201, deposit(2001, 2010))
        -- While nobody runs.
        local dir, found = served.dir, entry()
        assert.equal(0, stop())
        os.execute(line:format(directory(found)))
        start(dir)
        check(201)
        await(is_live)
        assert.equal(entry().digest, pure_digest())
        assert.not_equal(digest, entry().digest)
      end)
    end
  end)

  serves("do not need their folder for the rest to go on", function()
    program.write(served.dir .. "/views", "in the way")
    load { ["balances.lua"] = packs.BALANCES, ["account.lua"] = packs.ACCOUNT }
    deposit(1, 10)
    assert.equal("failed", await(function(found) return found.error ~= NULL end).state)
    assert.matches("views", one:refused("projection.get",
      { name = "balances", key = "a", timeout_ms = 0 }))
    assert(one:call("command",
      { aggregate = "account", id = "1", name = "deposit", args = { amount = 1 } }))
    os.remove(served.dir .. "/views")
    assert.equal(1 + 1, assert(get("account-1", { timeout_ms = 30000, after = 12 })).row.n)
  end)

  serves("may begin with what comes, and begin there again", function()
    local now = packs.BALANCES:gsub("row = {", 'start = "now", row = {')
    deposit(1, 10)
    load { ["balances.lua"] = now }
    local last = deposit(11, 20)
    assert.same({ balance = 11, n = 1 }, assert(get("account-1", { after = last })).row)
    -- Another version began when the first one did.
    load { ["balances.lua"] = "-- another\n" .. now }
    await(function(found)
      return #found.generations == 2 and generation(found, "before") and is_live(found)
    end)
    assert.same({ balance = 11, n = 1 }, assert(get "account-1").row)
    local digest, dir = entry().digest, served.dir
    assert.equal(0, stop())
    os.execute("rm -r " .. dir .. "/views")
    start(dir)
    assert.same({ balance = 11, n = 1 }, assert(get "account-1").row)
    assert.equal(digest, await(is_live).digest)
    -- A gap ends it.
    load { ["account.lua"] = packs.ACCOUNT }
    load { ["balances.lua"] = now }
    assert.equal(NULL, assert(get "account-1").row)
  end)

  serves("hold the keys of events that they cannot apply, and skip those for a reason", function()
    load { ["held.lua"] = [[
      return { projection = "held", from = { category = "account" }, key = "stream", fault = "hold",
        row = { n = 0 }, on = { Deposited = function(row, d)
          if d.amount == 2 then error "two" end
          row.n = row.n + 1 end } }]] }
    local last = deposit(1, 30)
    local function n(key)
      local row = assert(one:call("projection.get", { name = "held", key = key, after = last })).row
      return row == NULL and NULL or row.n
    end
    assert.same({ 3, NULL, 3 }, { n "account-1", n "account-2", n "account-3" })
    assert.equal(1, await(function(found) return found.held == 1 end, "held").held)
    assert.matches("^NOT_FOUND", one:refused("projection.skip",
      { name = "held", reason = "x", position = 4 }))
    assert(one:call("projection.skip", { name = "held", reason = "two", position = 3 }))
    await(function(found) return found.held == 0 and is_live(found) end, "held")
    assert.equal(2, n "account-2")
    local digest = entry("held").digest
    local before = entry("held").generations[1].folder
    assert(one:call("projection.rebuild", { name = "held" }))
    assert.equal(digest, await(function(found)
      return generation(found, "live").folder ~= before and is_live(found)
    end, "held").digest)
  end)

  serves("can be looked at as they were", function()
    load { ["balances.lua"] = packs.BALANCES }
    local first = deposit(1, 10)
    deposit(11, 1000)
    await(is_live)
    assert.same({ row = { balance = 3, n = 1 }, position = first },
      get("account-3", { at = first }))
    local page = assert(one:call("projection.scan", { name = "balances", at = first - 5 }))
    assert.same({ 5, first - 5 }, { #page.rows, page.position })
    assert.equal(NULL, assert(get("account-3", { at = 0 })).row)
    assert.matches("^BAD_REQUEST: at is 9999, and the log ends at",
      one:refused("projection.get", { name = "balances", key = "a", at = 9999 }))
    for n = 1, 3 do
      one:ask("projection.get", { name = "balances", key = "account-3", at = first + n })
    end
    local limited = 0
    for _ = 1, 3 do
      local message = assert(one:receive())
      if message[3] ~= NULL then
        assert.matches("^LIMIT: 2 looks", message[3][2])
        limited = limited + 1
      end
    end
    assert.equal(1, limited)
    -- Two stay for the next question; the others go.
    repeat local _, left = looks():gsub("\n", "") until left <= 2
    assert.equal(100, assert(get "account-3").row.n)
  end)

  serves("are replayed once for many pages of the past, from the nearest copy", function()
    local keeping = packs.BALANCES:gsub("index =", "snapshot = { every = 1000 }, index =")
    load { ["balances.lua"] = keeping }
    local function sum(at)
      local amounts, from, events = 0, nil, 0
      repeat
        local page = assert(one:call("projection.scan",
          { name = "balances", at = at, limit = 3, from = from }))
        assert.equal(at, page.position)
        for _, row in ipairs(page.rows) do
          amounts, events = amounts + row.row.balance, events + row.row.n
        end
        from = page.next
      until from == NULL
      return amounts, events
    end
    local last = deposit(1, 1500)
    local folder = directory(await(is_live)) .. "/kept"
    assert.same({ 1500 * 1501 // 2, 1500 }, { sum(last) })
    assert.equal("1\n", looks())
    deposit(1501, 3000)
    await(function(found) return is_live(found) and found.rows == 10 end)
    assert.same({ 1499 * 1500 // 2, 1499 }, { sum(last - 1) })
    assert.matches("2\n$", looks())
    assert.same({ 1500 * 1501 // 2, 1500 }, { sum(last) })
    local kept = program.shell("ls " .. folder):match "^%d+"
    assert.is_true(math.tointeger(tonumber(kept)) >= 1000)
    assert.same({ 1 * 2 // 2, 1 }, { sum(last - 1499) })
    repeat
      one:refused("projection.get", { name = "balances", key = "a", after = 1000000,
        timeout_ms = 300 })
    until looks() == ""
  end)

  serves("stop at an event that crashes them again and again", function()
    load { ["balances.lua"] = packs.BALANCES, ["slow.lua"] = [[
      return { projection = "slow", from = { category = "account" }, key = "stream",
        row = { n = 0 }, on = { Deposited = function(row, d)
          for _ = 1, d.amount == 3 and 2000000 or 0 do row.n = row.n end
          row.n = row.n + 1 end } }]] }
    -- Here the signal comes from outside, to one that is held still in a handler.
    local function running(pid)
      for _, process in ipairs(assert(one:call "status").projections) do
        if process.name == "slow" and process.pid == pid then return process.running end
      end
    end
    local function crash(pid)
      os.execute(("kill -STOP %d 2>/dev/null"):format(pid))
      local word = running(pid) and "SEGV" or "CONT"
      os.execute(("{ kill -%s %d; kill -CONT %d; } 2>/dev/null"):format(word, pid, pid))
    end
    deposit(1, 1)
    await(is_live, "slow")
    local culprit, found
    for _ = 1, 50 do -- on a busy machine the handler may be over before it is looked at
      culprit = deposit(3, 3)
      repeat
        found = entry "slow"
        local pid = found.generations[1].pid
        if found.state ~= "stopped" and pid ~= NULL and running(pid) then crash(pid) end
      until found.state == "stopped" or found.position >= culprit
      if found.state == "stopped" then break end
    end
    assert.matches("^slow.lua:%d+: on Deposited of projection/slow at position %d+ crashed its " ..
      "worker", found.error.sentence)
    assert.equal(culprit, found.error.position)
    -- Its rows can be read, the others go on, and the event can be passed over.
    local function slow(key, after)
      return assert(one:call("projection.get", { name = "slow", key = key, after = after })).row
    end
    local last = deposit(9, 9)
    assert.equal(1, slow("account-1").n)
    assert.equal(NULL, slow "account-9")
    assert.equal(1, assert(get("account-9", { after = last })).row.n)
    assert(one:call("projection.skip", { name = "slow", reason = "crashes" }))
    assert.equal(1, slow("account-9", last).n)
  end)

  serves("have their windows closed by the log, when nothing happens", function()
    load { ["minutes.lua"] = [[
      local moonlog = require "moonlog"
      return { projection = "minutes", from = { category = "account" }, key = "stream",
        row = { n = 0 }, window = moonlog.tumbling "1s",
        on = { Deposited = function(row) row.n = row.n + 1 end } }]] }
    deposit(1, 1)
    local page
    repeat
      page = assert(one:call("projection.scan", { name = "minutes" }))
    until #page.rows == 1 and page.rows[1].window.closed
    local ticks = assert(one:call("read", { stream = "$clock" })).events
    assert.equal("Tick", ticks[1].type)
    assert.is_true(#ticks <= 2)
    -- Nothing is open any more: time need not be told.
    local uptime = assert(one:call "status").uptime_ms
    repeat until assert(one:call "status").uptime_ms > uptime + 2500
    assert.equal(#ticks, #assert(one:call("read", { stream = "$clock" })).events)
  end)

  serves("are not built in a folder that is still being emptied", function()
    deposit(1, 3000)
    load { ["balances.lua"] = packs.BALANCES }
    local folder = directory(await(is_live)) .. ".2"
    -- So many files that removing them takes longer than what is asked meanwhile.
    local many = ("mkdir -p %s/many && cd %s/many && seq 20000 | xargs touch"):format(folder,
      folder)
    assert.equal(0, select(3, program.shell(many)))
    local first = generation(assert(one:call("projection.rebuild", { name = "balances" })), "next")
    assert.matches("%.2$", first.folder)
    assert(one:call("projection.rollback", { name = "balances" }))
    local again = generation(assert(one:call("projection.rebuild", { name = "balances" })), "next")
    assert.is_not.equal(first.folder, again.folder)
    await(function(found) return generation(found, "live").folder == again.folder end)
  end)

  serves("show nothing before they are as far as they were, though they have gone", function()
    load { ["balances.lua"] = packs.BALANCES }
    deposit(1, 3000)
    local path, dir = directory(await(is_live)) .. "/data.mdb", served.dir
    assert.equal(0, stop())
    assert(os.remove(path))
    start(dir)
    assert.equal(300, assert(get "account-3").row.n)
  end)

  serves("are read though the log is an older copy, shorter than it was", function()
    load { ["balances.lua"] = packs.BALANCES }
    local last = deposit(1, 100)
    await(is_live)
    local dir = served.dir
    assert.equal(0, stop())
    local path = dir .. "/views/balances/live"
    local file <close> = assert(io.open(path, "r+"))
    local text = file:read "a"
    file:seek "set"
    assert(file:write((text:gsub(" %d+", " 99999"))))
    file:close()
    start(dir)
    assert.equal(10, assert(get("account-1", { after = last })).row.n)
  end)

  --- With a version before that does not move, so that a rollback has to wait for it.
  local function hold_before()
    deposit(1, 100)
    load { ["balances.lua"] = packs.BALANCES }
    local first = await(is_live).hash
    load { ["balances.lua"] = (version(2)) }
    local pid = generation(await(function(found)
      return found.hash ~= first and is_live(found) and generation(found, "before")
    end), "before").pid
    assert.equal(0, select(3, program.shell("kill -STOP " .. pid)))
    deposit(101, 110)
    await(is_live)
    return pid
  end

  serves("hold to what is written while a rollback waits", function()
    local pid = hold_before()
    local rollback = one:ask("projection.rollback", { name = "balances" })
    local paused = assert(one:answer(one:ask("projection.pause", { name = "balances" })))
    assert.equal("balances", paused.name)
    assert.equal(0, select(3, program.shell("kill -CONT " .. pid)))
    one:answer(rollback) -- paused, the one before does not come as far
    await(function(found) return found.state == "paused" end)
  end)

  serves("do not let a rollback wait for rules that are not wanted any more", function()
    local pid = hold_before()
    local rollback = one:ask("projection.rollback", { name = "balances" })
    local load_id = one:ask("rules.load", { files = { ["balances.lua"] = (version(3)) } })
    local _, why = one:answer(rollback)
    assert.matches("^NOT_FOUND: other rules have become active meanwhile", why[2])
    assert(one:answer(load_id))
    assert.equal(0, select(3, program.shell("kill -CONT " .. pid)))
    await(is_live)
  end)
end)
