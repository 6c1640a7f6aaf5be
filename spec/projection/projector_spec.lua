-- core/projection/projector.h: kept up with the log, asked, stopped, begun anew.
local program = require "spec.support.program"
local projections = require "spec.support.projections"

local source = projections.source
local raising = "function(r, d) r.n = r.n + 1; if d.amount == 666 then error 'no' end end"

describe("projection/projector", function()
  local p
  before_each(function() p = projections.new() end)
  after_each(function() p:close() end)

  describe("following", function()
    it("applies what is there, and what comes, each event once", function()
      p:append("account-a", "Deposited", { amount = 5 })
      local projector <close> = p:open(source())
      local status = projector:run()
      assert.same({ "live", 1, 1, 1 },
        { status.state, status.position, status.events, status.rows })
      p:append("account-a", "Deposited", { amount = 7 })
      p:append("account-b", "Withdrawn", { amount = 1 })
      status = projector:run()
      assert.same({ "live", 3, 3, 2 },
        { status.state, status.position, status.events, status.rows })
      local row = { balance = 12, n = 2 }
      assert.same({ row = row, position = 3 }, projector:get { key = "account-a" })
      assert.is_nil(projector:get({ key = "account-c" }).row)
    end)

    it("passes what it does not want", function()
      p:append("account-a", "Deposited", { amount = 5 })
      for _ = 1, 20 do p:append("order-1", "Placed") end
      local projector <close> = p:open(source())
      local status = projector:run()
      assert.same({ 21, 1 }, { status.position, status.events })
      p:append("order-1", "Placed")
      assert.equal(22, projector:run().position)
    end)

    it("applies nothing that is not durable yet", function()
      for n = 1, 10 do p:append("account-a", "Deposited", { amount = n }) end
      local projector <close> = p:open(source())
      for durable = 1, 10 do
        assert.equal(durable, projector:run(durable).position)
        assert.equal(durable, projector:get({ key = "account-a" }).row.n)
      end
    end)

    it("goes on behind the last commit", function()
      p:fill(500, 20, projections.dice(1))
      local first <close> = p:open(source())
      first:run(300)
      local at = first:status()
      first:close()
      local again <close> = p:open(source(), { view = p.views .. "/1" })
      local status = again:status()
      assert.same({ "building", 300, at.digest, at.events },
        { status.state, status.position, status.digest, status.events })
      assert.equal(p:built(source()).digest, again:run().digest)
      assert.is_true(again:status().commits > 1)
    end)

    it("begins where it is told to", function()
      for n = 1, 10 do p:append("account-a", "Deposited", { amount = n }) end
      local from <close> = p:open(source { start = "6" })
      assert.same({ 10, 5 }, { from:run().position, from:status().events })
      local files, view = source { start = '"now"' }, p.views .. "/now"
      local now <close> = p:open(files, { start = 8, view = view })
      assert.same({ 10, 2 }, { now:run().position, now:status().events })
      now:close()
      local same <close> = p:open(files, { start = 8, view = view })
      assert.equal(10, same:status().position)
      same:close()
      local earlier <close> = p:open(files, { start = 5, view = view })
      assert.same({ 10, 5 }, { earlier:run().position, earlier:status().events })
      local later <close> = p:open(source { start = "100" })
      assert.same({ "live", 10, 0 },
        { later:run().state, later:status().position, later:status().events })
    end)

    it("stands still while it is paused", function()
      p:append("account-a", "Deposited", { amount = 5 })
      local projector <close> = p:open(source(), { paused = true })
      assert.same({ "paused", 0 }, { projector:run().state, projector:status().position })
      projector:pause(false)
      assert.same({ "live", 1 }, { projector:run().state, projector:status().position })
    end)

    it("says what is wrong with a pack, and which projections it has", function()
      local none, why, list = p:try { ["a.lua"] = "return { projection = 'a', form = 'b' }" }
      assert.is_nil(none)
      assert.matches("^SCRIPT_ERROR: the pack has errors", why)
      assert.equal("a.lua", list[1].file)
      none, why = p:try(source(), { name = "balance" })
      assert.is_nil(none)
      assert.equal("NOT_FOUND: the pack has no projection balance; it has balances", why)
    end)
  end)

  describe("faults", function()
    it("stops before the event, keeps what was before it, and answers", function()
      p:append("account-a", "Deposited", { amount = 1 })
      p:append("account-b", "Deposited", { amount = 666 })
      p:append("account-a", "Deposited", { amount = 1 })
      local projector <close> = p:open(source(nil, { Deposited = raising }))
      local status = projector:run()
      assert.same({ "stopped", 1, "raised", "no", "balances.lua", 2, "Deposited", "account-b" },
        { status.state, status.position, status.error.kind, status.error.message,
          status.error.file, status.error.position, status.error.type, status.error.stream })
      assert.is_true(status.error.line > 0)
      local row = { balance = 0, n = 1 }
      assert.same({ row = row, position = 1 }, projector:get { key = "account-a" })
      assert.is_nil(projector:get({ key = "account-b" }).row)
      projector:retry()
      assert.same({ "stopped", 1 }, { projector:run().state, projector:status().position })
    end)

    it("passes over the event that it is told to, and no other", function()
      p:append("account-a", "Deposited", { amount = 1 })
      p:append("account-b", "Deposited", { amount = 666 })
      p:append("account-a", "Deposited", { amount = 1 })
      local files = source(nil, { Deposited = raising })
      local projector <close> = p:open(files)
      projector:run()
      local none, why = projector:skip(1)
      assert.is_nil(none)
      assert.matches("^NOT_FOUND: projection/balances is not stopped at position 1", why)
      assert.is_true(projector:skip(2))
      local status = projector:run()
      assert.same({ "live", 3, 2, 1, 1 },
        { status.state, status.position, status.events, status.skipped, status.rows })
      assert.equal(status.digest, p:built(files, { skips = { 2 } }).digest)
    end)

    it("holds a key where that is asked for, and the rest flows", function()
      local dice = projections.dice(3)
      p:fill(300, 10, dice)
      local bad = p:append("account-007", "Deposited", { amount = 666 })
      p:fill(300, 10, dice)
      local files = source({ fault = '"hold"' }, { Deposited = raising })
      local projector <close> = p:open(files)
      local status = projector:run()
      assert.same({ "live", 1, bad, "account-007" },
        { status.state, status.held, status.held_keys[1].position, status.held_keys[1].key })
      local skipped = p:built(files, { skips = { bad } })
      assert.not_equal(skipped.digest, status.digest)
      projector:retry()
      assert.same({ 1, status.digest }, { projector:run().held, projector:status().digest })
      assert.is_true(projector:skip(bad))
      status = projector:run()
      assert.same({ 0, skipped.digest }, { status.held, status.digest })
    end)

    it("lets a key go whose event was skipped just before it was killed", function()
      p:append("account-a", "Deposited", { amount = 1 })
      local bad = p:append("account-a", "Deposited", { amount = 666 })
      p:append("account-a", "Deposited", { amount = 1 })
      local files, view = source({ fault = '"hold"' }, { Deposited = raising }), p.views .. "/v"
      assert.equal(1, p:built(files, { view = view }).held)
      local status = p:built(files, { view = view, skips = { bad } })
      assert.same({ 0, p:built(files, { skips = { bad } }).digest }, { status.held, status.digest })
    end)
  end)

  describe("views that cannot be believed", function()
    local function damaged(change)
      p:fill(2000, 200, projections.dice(5))
      local files, view = source(), p.views .. "/v"
      local whole = p:built(files, { view = view })
      change(view .. "/data.mdb")
      local projector <close> = p:open(files, { view = view })
      assert.equal("building", projector:status().state)
      assert.equal(0, projector:status().position)
      assert.equal(whole.digest, projector:run().digest)
    end

    it("is built anew where a byte is another", function()
      damaged(function(path) program.damage(path, "account-1") end)
    end)

    it("is built anew where it is cut short", function()
      damaged(function(path) assert(os.execute("truncate -s 20000 " .. path)) end)
    end)

    it("is built anew where it is gone", function()
      damaged(function(path) assert(os.remove(path)) end)
    end)

    it("is built anew where it is of a log with another history", function()
      local other = projections.new()
      other:fill(2000, 200, projections.dice(6))
      p:fill(2000, 200, projections.dice(5))
      local view = p.views .. "/v"
      other:built(source(), { view = view })
      other:close()
      local whole = p:built(source())
      local projector <close> = p:open(source(), { view = view })
      assert.equal(0, projector:status().position)
      assert.equal(whole.digest, projector:run().digest)
    end)

    it("is built anew where it is ahead of the log", function()
      local longer = projections.new()
      longer:fill(500, 20, projections.dice(7))
      local view = p.views .. "/v"
      longer:built(source(), { view = view })
      longer:close()
      p:append("account-a", "Deposited", { amount = 1 })
      local projector <close> = p:open(source(), { view = view })
      assert.equal(0, projector:status().position)
      assert.equal(1, projector:run().rows)
    end)

    it("is built anew when an answer finds it damaged", function()
      p:fill(2000, 200, projections.dice(5))
      local view = p.views .. "/v"
      local projector <close> = p:open(source(), { view = view })
      local whole = projector:run()
      local file <close> = assert(io.open(view .. "/data.mdb", "r+b"))
      local text = file:read "a"
      for at in text:gmatch "()balance" do
        file:seek("set", at - 1)
        file:write "BALANCE"
      end
      file:flush()
      local none, why = projector:get { key = "account-001" }
      assert.is_nil(none)
      assert.matches("^CORRUPT: ", why)
      local status = projector:run()
      assert.same({ "live", whole.digest, 1 }, { status.state, status.digest, status.commits })
      assert.is_true(projector:get({ key = "account-001" }).row.n > 0)
    end)

    it("is built anew for other rules", function()
      p:fill(100, 20, projections.dice(7))
      p:built(source(), { view = p.views .. "/v" })
      local others = source { row = "{ balance = 1, n = 0 }" }
      local projector <close> = p:open(others, { view = p.views .. "/v" })
      assert.equal(0, projector:status().position)
    end)
  end)

  describe("a full disk", function()
    -- The file may have so many KiB. SIGXFSZ is a call that fails when it is ignored.
    local script = [[
      package.cpath = "%s/?.so;;"
      local m = require "moonlog"
      local projections = require "spec.support.projections"
      local store = assert(m.open { dir = %q, read_only = true })
      local projector = assert(m.projector { store = store, files = projections.source(),
        name = "balances", view = %q })
      local status = projector:run()
      print(status.state, status.position, status.error and status.error.code)
      print(projector:step())
      assert(os.execute "prlimit --pid $PPID --fsize=unlimited")
      repeat projector:step() until projector:status().state == "live"
      print(projector:status().digest)
    ]]

    it("stops with that reason, and goes on by itself when there is room", function()
      p:fill(20000, 5000, projections.dice(9))
      local view = p.views .. "/v"
      local file = program.write(p.views .. "/full.lua", script:format(
        os.getenv "MOONLOG_BUILD" or "build", p.dir .. "/log", view))
      local out, err = program.shell(
        ("trap '' XFSZ; ulimit -Sf 200; exec lua5.4 %s"):format(program.quote(file)))
      assert.equal("", err)
      local digest = p:built(source()).digest
      assert.equal("stopped\t0\tNO_SPACE\nfalse\n" .. digest .. "\n", out)
    end)
  end)

  describe("kill -9", function()
    local script = [[
      package.cpath = "%s/?.so;;"
      local m = require "moonlog"
      local projections = require "spec.support.projections"
      local store = assert(m.open { dir = %q, read_only = true })
      local projector = assert(m.projector { store = store, files = projections.source(),
        name = "balances", view = %q })
      local head = store:head().position
      for position = projector:status().position, head, 50 do projector:run(position) end
      projector:run()
      projector:close()
    ]]

    it("leaves the last commit or the one before, and the rows of a full build", function()
      p:fill(6000, 300, projections.dice(11))
      local whole, dice = p:built(source()), projections.dice(12)
      local kills, ends, resumed = 0, 0, 0
      local view = p.views .. "/killed"
      local file = program.write(p.views .. "/build.lua",
        script:format(os.getenv "MOONLOG_BUILD" or "build", p.dir .. "/log", view))
      projections.kill(file, dice, function(status, err)
        local killed = status == "killed"
        if not killed then assert.same({ 0, "" }, { status, err }) end
        kills, ends = kills + (killed and 1 or 0), ends + (killed and 0 or 1)
        local projector <close> = p:open(source(), { view = view })
        if killed and projector:status().position > 0 then resumed = resumed + 1 end
        if not killed then assert.equal(whole.digest, projector:status().digest) end
        if killed and kills % 10 > 0 then return end
        assert.equal(whole.digest, projector:run().digest)
        projector:close()
        os.execute("rm -rf " .. program.quote(view))
      end, function() return kills >= 120 end)
      assert.is_true(resumed > 20, ("%d of %d resumed, %d ended"):format(resumed, kills, ends))
    end)
  end)
end)
