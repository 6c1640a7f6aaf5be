-- core/rules/temporal.c: a state at any moment, by what was recorded and by what happened.
local m = require "moonlog"
local rules = require "spec.support.rules"

describe("rules/temporal", function()
  local r, times
  local day = 24 * 3600 * 1000000
  local first_day = m.time "2026-01-01T00:00:00Z"

  before_each(function()
    r = rules.new()
    r:load { ["account.lua"] = rules.account }
    times = {}
    local amounts = { 0, 500, -200, 1000 }
    for n, amount in ipairs(amounts) do
      r:append("other-" .. n, { { "Noise" } }) -- positions and revisions part
      local type = n == 1 and "AccountOpened" or amount < 0 and "Withdrawn" or "Deposited"
      -- The withdrawal was recorded third, and had happened before the deposits.
      local occurred = first_day + (n == 3 and 1 or n + 9) * day
      local stored = r:append("account-ada", { { type,
        { owner = "Ada", amount = math.abs(amount) }, { occurred = occurred } } })
      times[n] = stored[1].time
    end
  end)
  after_each(function() r:close() end)

  local function at(moment) return assert(r:state("account", "ada", { at = moment })) end
  local function as_of(moment, more)
    local request = { as_of = moment }
    for key, value in pairs(more or {}) do request[key] = value end
    return assert(r:state("account", "ada", request))
  end

  it("is at a revision, the one itself included", function()
    for revision, balance in pairs { [0] = 0, 500, 300, 1300 } do
      local answer = at(revision)
      assert.equal(balance, answer.state.balance)
      assert.same({ revision, 2 * revision + 2 }, { answer.revision, answer.position })
    end
    assert.equal(1300, at(1000).state.balance)
  end)

  it("is at a position, of any stream", function()
    for position, balance in pairs { [2] = 0, [3] = 0, [4] = 500, [5] = 500, [6] = 300, [8] = 1300,
      [99] = 1300 } do
      assert.equal(balance, at("#" .. position).state.balance, "position " .. position)
    end
    local before = at "#1"
    assert.same({ open = false, balance = 0 }, before.state)
    assert.same({ nil, 0 }, { before.revision ~= m.null and before.revision or nil,
      before.position })
  end)

  it("is at a recorded time, as microseconds or text", function()
    for n = 1, 4 do
      local later = n
      while later < 4 and times[later + 1] == times[n] do later = later + 1 end
      assert.equal(later - 1, at(times[n]).revision)
      assert.equal(later - 1, at(m.time(times[n])).revision)
    end
    assert.equal(0, at(times[1] - 1).position)
    assert.equal(0, at(m.time(times[1] - 1)).position)
    assert.equal(1300, at "2999-01-01T00:00:00Z".state.balance)
  end)

  it("is as of a business time, whenever it was recorded", function()
    assert.equal(-200, as_of(first_day + 5 * day).state.balance)
    assert.is_false(as_of(first_day + 5 * day).state.open)
    assert.equal(-200, as_of(first_day + 10 * day).state.balance)
    assert.equal(300, as_of(first_day + 11 * day).state.balance)
    assert.equal(1300, as_of(first_day + 13 * day).state.balance)
    assert.equal(1300, as_of "2026-01-20T00:00:00Z".state.balance)
    assert.equal(0, as_of(first_day).position)
    assert.equal(6, as_of(first_day + 5 * day).position)
  end)

  it("is as of a business time, as it was known at a recorded one", function()
    assert.equal(500, as_of(first_day + 30 * day, { at = 1 }).state.balance)
    assert.equal(0, as_of(first_day + 5 * day, { at = 1 }).position)
  end)

  it("counts events by their time where nobody said when they occurred", function()
    local stored = r:append("account-bob", { { "AccountOpened", { owner = "Bob" } } })
    local function known(moment)
      return assert(r:state("account", "bob", { as_of = moment })).state.open
    end
    assert.is_true(known(stored[1].time))
    assert.is_false(known(stored[1].time - 1))
  end)

  it("is never as of a business time by way of a snapshot", function()
    r:close()
    r = rules.new { snapshots = true }
    r:load { ["account.lua"] = rules.account }
    local events = {}
    for n = 1, 30 do events[n] = { "Deposited", { amount = 1 },
      { occurred = first_day + (31 - n) * day } } end
    r:append("account-ada", events)
    assert.equal(30, r:state("account", "ada").state.balance)
    assert.is_true(r.engine:stats().snapshots_written > 0)
    assert.equal(5, as_of(first_day + 5 * day).state.balance)
    assert.equal(0, r.engine:stats().snapshots_read)
    assert.equal(25, at(24).state.balance)
    assert.equal(1, r.engine:stats().snapshots_read)
    assert.equal(22, at("#22").state.balance)
    assert.equal(2, r.engine:stats().snapshots_read)
  end)

  it("does not touch what is remembered of now", function()
    assert(r:act("account", "ada", "deposit", { amount = 1 }))
    at(1)
    as_of(first_day)
    local before = r.engine:stats().log_reads
    assert.equal(1301, r:state("account", "ada").state.balance)
    assert.equal(before, r.engine:stats().log_reads)
  end)

  it("says what a moment looks like", function()
    local function refused(request, pattern)
      local nothing, why = r:state("account", "ada", request)
      assert.is_nil(nothing)
      assert.match(pattern, why)
    end
    refused({ at = -1 }, "^BAD_REQUEST: at must be a revision from 0, a position")
    refused({ at = "#" }, "^BAD_REQUEST: at must be a position")
    refused({ at = "#12x" }, "^BAD_REQUEST: at must be a position")
    refused({ at = "#99999999999999999999999" }, "^BAD_REQUEST: at must be a position")
    refused({ at = "yesterday" }, "^BAD_REQUEST: at must be a revision from 0, .*or a time")
    refused({ at = 1.5 }, "^BAD_REQUEST: at must be a revision from 0, .*or a time")
    refused({ as_of = {} }, "^BAD_REQUEST: as_of must be a time")
  end)

  it("says NOT_FOUND of a stream that has no event, at any moment", function()
    local nothing, why = r:state("account", "none", { at = 5 })
    assert.is_nil(nothing)
    assert.match("^NOT_FOUND: ", why)
  end)
end)
