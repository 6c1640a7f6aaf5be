-- Very short runs of the trials of the daemon under load and faults. `make crash` has the long
-- ones, and the three that are about time: `slow`, `half` and `pace`.
local program = require "spec.support.program"

local siege = (os.getenv "MOONLOG_BUILD" or "build") .. "/siege"
local sanitized = siege:match "asan" or siege:match "tsan"

local function run(words) return program.shell(siege .. " " .. words) end

--- Runs a trial to its end; gives its line of figures.
local function pass(words)
  local out, err, status = run(words)
  assert.equal("", err)
  assert.equal(0, status, out)
  return out
end

--- A number of a line: "1,234" is 1234.
local function number(line, pattern) return tonumber((line:match(pattern):gsub(",", ""))) end

describe("the daemon besieged", function()
  it("loses nothing to kill -9, and has nothing twice", function()
    local out = pass "kill --kills 6"
    assert.is_true(number(out, "^kill: ([%d,]+) kills") >= 6)
    assert.is_true(number(out, "([%d,]+) appends acknowledged") > 50)
    assert.is_true(number(out, "([%d,]+) of unknown outcome") > 10)
    assert.matches("0 lost, 0 twice, 0 torn, 0 out of order, verify finds 0 problems", out)
  end)

  it("has each command once, and each state right, whatever is killed", function()
    local out = pass "rules --kills 8"
    assert.is_true(number(out, "^rules: ([%d,]+) kills") >= 8)
    assert.is_true(number(out, "([%d,]+) commands acknowledged") > 50)
    assert.is_true(number(out, "([%d,]+) refused,") > 20)
    assert.is_true(number(out, "([%d,]+) states between") > 20)
    assert.matches("0 lost, 0 twice, 0 refused ones found, 0 states or refusals but the model's",
                   out, 1, true)
  end)

  it("has each row right, whatever is killed", function()
    local out = pass "views --kills 12 --events 20000"
    assert.is_true(number(out, "^views: ([%d,]+) kills") >= 12)
    assert.is_true(number(out, "([%d,]+) appends acknowledged") > 50)
    assert.is_true(number(out, "([%d,]+) rows read") > 100)
    assert.matches("0 steps back, 0 rows gone, 0 rows other than the log's, by key and by index; "
                   .. "digests as built from nothing", out, 1, true)
  end)

  it("changes versions, and no reader notices", function()
    local out = pass "reloads --reloads 12"
    assert.is_true(number(out, "^reloads: ([%d,]+) loads") >= 12)
    assert.is_true(number(out, "([%d,]+) rows read") > 100)
    assert.matches("0 failed reads, 0 steps back, 0 rows gone", out, 1, true)
  end)

  it("delivers without a gap or a duplicate", function()
    local out = pass "resume --deliveries 5000"
    assert.is_true(number(out, "^resume: ([%d,]+) deliveries") >= 5000)
    assert.is_true(number(out, "%(([%d,]+) gone on where they were") > 10)
    assert.matches("across 2 restarts", out)
    assert.matches("0 gaps, 0 duplicates, 0 over credit", out)
  end)

  it("has little to do with idle connections", function()
    -- A sanitizer's own memory is not the daemon's.
    if sanitized then return pending "measured without sanitizers" end
    local out = pass "idle --connections 1000"
    assert.matches("^idle: 1,000 connections", out)
  end)

  it("is the same after clients that were cut off", function()
    if sanitized then return pending "measured without sanitizers" end
    local out = pass "storm --connections 300"
    assert.matches("^storm: 300 connections", out)
  end)

  it("does without descriptors", function()
    local out = pass "descriptors --connections 150"
    assert.matches("EMFILE in accept", out)
  end)

  it("does without space", function()
    local out = pass "full --rounds 1"
    if out:match "^full: SKIPPED" then return pending(out) end
    assert.is_true(number(out, "([%d,]+) appends refused with NO_SPACE") >= 400)
    assert.matches("0 lost, 0 refused ones found", out)
  end)

  it("answers everything, good or bad", function()
    local out = pass "mixed --clients 16 --requests 3000"
    assert.is_true(number(out, "%(([%d,]+) refused%)") > 100)
    assert.matches("every request answered", out)
  end)
end)

describe("the siege program", function()
  it("refuses what it does not know", function()
    for _, words in ipairs { "", "dance", "kill --kills", "kill --kills many", "full --size 3" } do
      local _, err, status = run(words)
      assert.equal(2, status)
      assert.matches("siege kill", err, 1, true)
    end
  end)
end)
