-- core/projection/rebuild.h: a view made from that of another version is that of a full build.
local program = require "spec.support.program"
local projections = require "spec.support.projections"

local source = projections.source

-- Another handler of the one type that is rare, or none, or one that was not there.
local rare = {
  "function(r, d) r.rare = (r.rare or 0) + d.amount end",
  "function(r, d) r.rare = (r.rare or 0) + 2 * d.amount end",
  "function(r, d) if r.n > 3 then return moonlog.delete end r.rare = r.n end",
  false,
}

describe("projection/rebuild", function()
  local p
  before_each(function() p = projections.new() end)
  after_each(function() p:close() end)

  --- The view of the second from that of the first; the status, and that of a full build.
  local function both(first, second, more)
    local base = ("%s/base%d"):format(p.views, p.count)
    p:built(first, { view = base })
    local options = { base = base, base_files = first }
    for name, value in pairs(more or {}) do options[name] = value end
    local full = { skips = options.skips, start = options.start }
    return p:built(second, options), p:built(second, full)
  end

  it("gives what a full build gives, for random logs and random changes", function()
    local made = 0
    for seed = 1, 30 do
      local dice = projections.dice(seed)
      local run = projections.new()
      p, run = run, p
      p:fill(300 + dice(700), 20 + dice(80), dice)
      local keys = { '"stream"', '"id"', "function(d, e) return e.stream:sub(1, 10) end",
        "function(d, e) return { e.stream, 'all' } end" }
      local key = keys[dice(#keys)]
      local before, after = rare[dice(#rare)], rare[dice(#rare)]
      local first = source({ key = key }, { Rare = before })
      local second = source({ key = key }, { Rare = after })
      second["balances.lua"] = second["balances.lua"] .. "\n-- another version"
      local part, full = both(first, second)
      assert.equal(full.digest, part.digest, ("seed %d, key %s"):format(seed, key))
      assert.same({ full.position, full.rows, "live" }, { part.position, part.rows, part.state })
      if part.incremental then made = made + 1 end
      p:close()
      p = run
    end
    assert.is_true(made > 15, made .. " of 30 were incremental")
  end)

  it("copies where no handler is another", function()
    p:fill(500, 50, projections.dice(2))
    local second = source()
    second["balances.lua"] = "-- a comment\n" .. second["balances.lua"]
    local part, full = both(source(), second)
    assert.same({ true, full.digest }, { part.incremental, part.digest })
  end)

  it("goes on from there as always", function()
    p:fill(500, 50, projections.dice(3))
    local first, second = source(nil, { Rare = rare[1] }), source(nil, { Rare = rare[2] })
    p:built(first, { view = p.views .. "/base" })
    p:fill(500, 50, projections.dice(4))
    local projector <close> = p:open(second, { base = p.views .. "/base", base_files = first })
    local status = projector:run()
    assert.same({ true, p:built(second).digest }, { status.incremental, status.digest })
    p:fill(100, 50, projections.dice(5))
    assert.equal(p:built(second).digest, projector:run().digest)
  end)

  it("follows a helper that is required, and an upcaster", function()
    p:fill(500, 50, projections.dice(6))
    local function files(factor)
      local made = source(nil, { Rare = "function(r, d) r.rare = money.of(d) end" })
      made["balances.lua"] = "local money = require 'lib.money'\n" .. made["balances.lua"]
      local money = "return { of = function(d) return d.amount * %d end }"
      made["lib/money.lua"] = money:format(factor)
      return made
    end
    local part, full = both(files(1), files(2))
    assert.same({ true, full.digest }, { part.incremental, part.digest })
    local cast = source(nil, { Rare = rare[1] })
    cast["rare.lua"] =
      "return { upcast = 'Rare', latest = 2, [1] = { cast = { amount = 'float' } } }"
    part, full = both(source(nil, { Rare = rare[1] }), cast)
    assert.equal(full.digest, part.digest)
  end)

  describe("is a full build", function()
    local function full_for(reason, first, second, more)
      p:fill(500, 50, projections.dice(7))
      local part, full = both(first, second, more)
      assert.is_false(part.incremental)
      assert.matches(reason, part.full, 1, true)
      assert.equal(full.digest, part.digest)
    end

    it("with another key, row, from, index", function()
      full_for("another key", source(), source { key = '"id"' })
      full_for("another row to begin with", source(), source { row = "{ balance = 1, n = 0 }" })
      local tagged = "{ category = 'account', tags = { 'a' } }"
      full_for("another `from`", source(), source { from = tagged })
      full_for("other indexes", source(), source { index = '{ "owner" }' })
      full_for("another key function", source { key = "function(d, e) return e.stream end" },
        source { key = "function(d, e) return e.stream .. 'x' end" })
      full_for("another start", source(), source { start = "5" })
    end)

    it("with a clock", function()
      full_for("windows", source { window = "moonlog.tumbling '1h'" },
        source({ window = "moonlog.tumbling '1h'" }, { Rare = rare[1] }))
      full_for("a ttl", source { ttl = '"1h"' }, source({ ttl = '"1h"' }, { Rare = rare[1] }))
    end)

    it("where most rows would be another", function()
      full_for("too many rows", source(),
        source(nil, { Deposited = "function(r, d) r.balance = d.amount end" }))
    end)

    it("where events are passed over, or keys held", function()
      full_for("events are to be passed over", source(), source(nil, { Rare = rare[1] }),
        { skips = { 3 } })
      local bad = "function(r, d) if d.amount == 1 then error 'no' end end"
      full_for("keys of the version before are held", source({ fault = '"hold"' }, { Rare = bad }),
        source({ fault = '"hold"' }, { Rare = rare[1] }))
    end)

    it("where the new handler raises: it stops where a full build does", function()
      p:fill(500, 50, projections.dice(8))
      local bad = source(nil, { Rare = "function(r, d) error 'no' end" })
      local part, full = both(source(), bad)
      assert.same({ "stopped", full.position, full.digest, false },
        { part.state, part.position, part.digest, part.incremental })
    end)

    it("where the other view is damaged or gone", function()
      p:fill(500, 50, projections.dice(9))
      local first, second = source(), source(nil, { Rare = rare[1] })
      local view = p.views .. "/base"
      p:built(first, { view = view })
      program.damage(view .. "/data.mdb", "account-0")
      local part = p:built(second, { base = view, base_files = first })
      assert.same({ false, p:built(second).digest }, { part.incremental, part.digest })
      part = p:built(second, { base = view .. "/none", base_files = first })
      assert.same({ false, p:built(second).digest }, { part.incremental, part.digest })
    end)
  end)

  it("leaves nothing half done behind when it is killed", function()
    local script = [[
      package.cpath = "%s/?.so;;"
      local m = require "moonlog"
      local projections = require "spec.support.projections"
      local store = assert(m.open { dir = %q, read_only = true })
      local function files(rare) return projections.source(nil, { Rare = rare }) end
      local projector = assert(m.projector { store = store, name = "balances", view = %q,
        files = files %q, base = %q, base_files = files %q })
      while projector:step(0) do end
      assert(projector:status().incremental or projector:status().position > 0)
      projector:close()
    ]]
    p:fill(12000, 2000, projections.dice(10))
    local first, second = source(nil, { Rare = rare[1] }), source(nil, { Rare = rare[2] })
    local base, view = p.views .. "/base", p.views .. "/v"
    p:built(first, { view = base })
    local whole, dice, kills, ends = p:built(second), projections.dice(11), 0, 0
    local file = program.write(p.views .. "/build.lua", script:format(
      os.getenv "MOONLOG_BUILD" or "build", p.dir .. "/log", view, rare[2], base, rare[1]))
    projections.kill(file, dice, function(status, err)
      local killed = status == "killed"
      if not killed then assert.same({ 0, "" }, { status, err }) end
      kills, ends = kills + (killed and 1 or 0), ends + (killed and 0 or 1)
      if killed and kills % 8 > 0 then return end
      local projector <close> = p:open(second, { view = view, base = base, base_files = first })
      assert.equal(whole.digest, projector:run().digest)
      projector:close()
      os.execute("rm -rf " .. program.quote(view))
    end, function() return kills >= 120 and ends >= 3 end)
  end)
end)
