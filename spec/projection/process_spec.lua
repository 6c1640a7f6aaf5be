-- core/projection/process.h: a projection in a process of its own, within its walls.
local json = require "spec.support.json"
local program = require "spec.support.program"
local projections = require "spec.support.projections"

--- As JSON: lists are lists, other tables objects; text has no control characters but newlines.
local function write(value)
  local parts = {}
  if type(value) == "string" then
    return '"' .. value:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif #value > 0 then
    for n, item in ipairs(value) do parts[n] = write(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for name, item in pairs(value) do parts[#parts + 1] = write(name) .. ":" .. write(item) end
  return "{" .. table.concat(parts, ",") .. "}"
end

describe("projection/process", function()
  local p
  before_each(function() p = projections.new() end)
  after_each(function() p:close() end)

  --- Says all of it to a worker; what it answered, line by line.
  local function talk(orders)
    local lines, answers = {}, {}
    for n, order in ipairs(orders) do lines[n] = write(order) end
    local command = ("python3 spec/support/worker.py %s %s projection"):format(
      program.quote(program.path), program.quote(p.dir .. "/log"))
    local out, err, status = program.shell(command, table.concat(lines, "\n") .. "\n")
    assert.same({ "", 0 }, { err, status })
    for line in out:gmatch "[^\n]+" do answers[#answers + 1] = json.read(line) end
    return answers
  end

  local function project(more)
    local about = { files = projections.source(), name = "balances", dir = "views/balances",
      boot = "b", log = "l", start = 0, paused = false }
    for name, value in pairs(more or {}) do about[name] = value end
    return { "call", "project", about }
  end

  it("builds up to what is durable, follows, and answers", function()
    p:fill(2000, 50, projections.dice(1))
    local whole = p:built(projections.source())
    local said = talk { { "call", "status" }, project(), { "call", "get", { key = "account-001" } },
      { "tell", "head", 1500 }, { "wait", "state", "live" }, { "tell", "head", 2000 },
      { "wait", "position", 2000 }, { "call", "get", { key = "account-001" } },
      { "call", "scan", { limit = 1 } }, { "end" } }
    assert.matches("has no projection yet", said[1][1][2])
    assert.same({ "building", 0 }, { said[2][2].state, said[2][2].position })
    assert.equal(0, said[3][2].position)
    assert.equal(1500, said[5].position)
    assert.same({ "live", whole.digest }, { said[7].state, said[7].digest })
    assert.equal(2000, said[8][2].position)
    assert.is_true(said[8][2].row.n > 0)
    assert.equal(1, #said[9][2].rows)
    assert.equal(0, said[10])
  end)

  it("goes on where the one before was", function()
    p:fill(1000, 50, projections.dice(2))
    talk { project(), { "tell", "head", 1000 }, { "wait", "position", 1000 }, { "end" } }
    local said = talk { project(), { "end" } }
    assert.equal(1000, said[1][2].position)
  end)

  it("tells that it stopped, and goes on when it is told to", function()
    p:append("account-a", "Deposited", { amount = 1 })
    p:append("account-a", "Deposited", { amount = 666 })
    local files = projections.source(nil, {
      Deposited = "function(r, d) r.n = r.n + 1; if d.amount == 666 then error 'no' end end",
    })
    local said = talk { project { files = files }, { "tell", "head", 2 },
      { "wait", "state", "stopped" }, { "call", "retry" }, { "wait", "state", "stopped" },
      { "call", "skip", 1 }, { "call", "skip", 2 }, { "wait", "position", 2 },
      { "call", "pause" }, { "call", "resume" }, { "end" } }
    assert.same({ 1, "no", 2 },
      { said[3].position, said[3].error.message, said[3].error.position })
    assert.equal("stopped", said[5].state)
    assert.matches("^NOT_FOUND: ", said[6][1][2])
    assert.same({ "live", 1 }, { said[8].state, said[8].skipped })
    assert.same({ "paused", "live" }, { said[9][2].state, said[10][2].state })
  end)

  it("keeps copies, and begins with one to look at the past", function()
    p:fill(2500, 50, projections.dice(4))
    local files = projections.source { snapshot = "{ every = 1000 }" }
    local said = talk { project { files = files }, { "tell", "head", 1100 },
      { "wait", "position", 1100 }, { "tell", "head", 2400 }, { "wait", "position", 2400 },
      { "call", "status" }, { "end" } }
    assert.same({ 1100, 2400 }, said[6][2].kept)
    local function look(more)
      local about = { files = files, dir = "views/.past", past = "views/balances" }
      for name, value in pairs(more) do about[name] = value end
      return project(about)
    end
    said = talk { look { past_at = 2000 }, { "tell", "head", 2000 }, { "wait", "position", 2000 },
      { "end" } }
    assert.equal(1100, said[1][2].position)
    local plain <close> = p:open(files)
    assert.equal(plain:run(2000).digest, said[3].digest)
    -- The view itself, where it is no further.
    assert(os.execute(("rm -r %s/log/views/.past %s/log/views/balances/kept"):format(p.dir, p.dir)))
    for at, begins in pairs { [2399] = 0, [2400] = 2400 } do
      said = talk { look { past_at = at, past_whole = true, dir = "views/at" .. at }, { "end" } }
      assert.equal(begins, said[1][2].position)
    end
    said = talk { look { past = "../other" }, { "end" } }
    assert.matches("^BAD_REQUEST: ", said[1][1][2])
  end)

  it("writes below views, and nowhere else", function()
    p:append("account-a", "Deposited", { amount = 1 })
    for _, dir in ipairs { "other", "../views/x", "views/../x", "/tmp/x" } do
      local said = talk { project { dir = dir }, { "end" } }
      assert.matches("^BAD_REQUEST: the request to a worker has no directory below views",
        said[1][1][2])
    end
  end)

  it("says what is wrong with the pack", function()
    p:append("account-a", "Deposited", { amount = 1 })
    local said = talk { project { files = { ["a.lua"] = "return {" } }, { "end" } }
    assert.matches("^SCRIPT_ERROR: the pack has errors", said[1][1][2])
    assert.equal("a.lua", said[1][2].diagnostics[1].file)
  end)

  it("makes a table for SQL as well", function()
    p:fill(500, 20, projections.dice(3))
    local files = projections.source {
      sql = "{ table = 'balances', columns = { owner = 'text', balance = 'integer' } }",
    }
    local said = talk { project { files = files }, { "tell", "head", 500 },
      { "wait", "position", 500 }, { "end" } }
    local out = program.shell(("python3 -c %s %s"):format(program.quote [[
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("select count(*) from balances").fetchone()[0],
      db.execute("select position from moonlog").fetchone()[0])]],
      program.quote(p.dir .. "/log/views/balances/rows.sqlite")))
    assert.equal(("%d 500\n"):format(said[3].rows), out)
  end)
end)
