-- Short runs of every trial of `make crash`, which prints the full figures.
local program = require "spec.support.program"

local crash = (os.getenv "MOONLOG_BUILD" or "build") .. "/crash"

local function run(words) return program.shell(crash .. " " .. words) end

--- "1,234" as a number.
local function number(text) return tonumber((text:gsub(",", ""))) end

describe("power lost after every disk call", function()
  for _, workload in ipairs { "single", "levels", "batch", "streams", "conditional", "import",
                              "pipeline", "reopen", "crash" } do
    it("loses and mistakes nothing: " .. workload, function()
      local out, err, status = run("simulate --workload " .. workload)
      assert.equal("", err)
      assert.equal(0, status, out)
      local states, distinct = out:match "^simulate: ([%d,]+) states %(([%d,]+) distinct images%)"
      assert.is_true(number(states) >= number(distinct))
      assert.is_true(number(distinct) > 400)
      assert.matches("0 lost acknowledgements, 0 torn appends, 0 torn%-as%-corrupt, "
                       .. "0 corrupt%-as%-torn", out)
    end)
  end

  it("can be replayed: one call, one fate", function()
    local out, _, status = run "simulate --workload single --op 20 --fate 0:0000000000000001"
    assert.equal(0, status, out)
    assert.matches("^simulate: 1 states %(1 distinct", out)
  end)
end)

describe("a disk call that fails", function()
  it("gives an error or a success, never a wrong answer", function()
    local out, err, status = run "faulty --every 23"
    assert.equal("", err)
    assert.equal(0, status, out)
    local plays, real =
      out:match "^faulty: ([%d,]+) plays.*, ([%d,]+) of them on the real disk"
    assert.is_true(number(plays) > 500)
    assert.is_true(number(real) > 3)
    assert.matches("0 wrong answers, 0 lost acknowledgements, 0 refused appends found, 0 hangs",
                   out)
  end)
end)

describe("damage in files at rest", function()
  it("is detected in every bit of a segment, and at every length", function()
    local out, err, status = run "flip --part bits --every 331"
    assert.equal("", err)
    assert.equal(0, status, out)
    local bits, detected = out:match
      "flip: ([%d,]+) bits of a 64 KiB segment flipped, one by one: ([%d,]+) detected"
    assert.equal(bits, detected)
    assert.matches("0 undetected; 0 wrong events, 0 cut off", out)
  end)

  it("is detected in missing, swapped or forged segments, and healed in the index", function()
    local out, err, status = run "flip --part files --every 97"
    assert.equal("", err)
    assert.equal(0, status, out)
    assert.matches("arrangements of the segments of two logs, and forgeries with good checksums: "
                       .. "all detected", out)
    assert.matches("0 wrong answers", out)
  end)
end)

describe("kill -9 of an import", function()
  it("loses nothing and leaves no gap", function()
    local out, err, status = run "kill --rounds 8"
    assert.equal("", err)
    assert.equal(0, status, out)
    assert.matches("^kill: 8 kills .* 0 lost, 0 gaps, 0 twice, verify finds 0 problems", out)
  end)
end)

describe("the list of planted bugs", function()
  local bugs = dofile "spec/mutants/list.lua"

  it("is long enough, and each is told once", function()
    local names = {}
    for _, bug in ipairs(bugs) do
      assert.is_nil(names[bug.name])
      names[bug.name] = true
    end
    assert.is_true(#bugs >= 100)
  end)

  it("fits the source: each place is there exactly once", function()
    local function is_once(file, from, name)
      local text = program.slurp(file)
      local first, last = text:find(from, 1, true)
      assert.is_truthy(first, name)
      assert.is_nil(text:find(from, last + 1, true), name)
    end
    for _, bug in ipairs(bugs) do
      is_once(bug.file, bug.from, bug.name)
      for _, pair in ipairs(bug.also or {}) do is_once(bug.file, pair[1], bug.name) end
      if bug.file2 then is_once(bug.file2, bug.from2, bug.name) end
    end
  end)

  it("names specs that are there", function()
    for _, bug in ipairs(bugs) do
      local spec = bug.killed_by:match "^spec/%S+"
      if spec then assert.is_truthy(program.slurp(spec)) end
    end
  end)
end)

describe("the crash program", function()
  it("refuses what it does not know", function()
    for _, words in ipairs { "", "dance", "simulate --workload none", "simulate --states",
                             "faulty --every 0" } do
      local _, err, status = run(words)
      assert.equal(2, status)
      assert.matches("crash simulate", err, 1, true)
    end
  end)
end)
