-- examples/fines: the walk of its README; what its rules make of the sample, and of the real file
-- where that is at hand, against sums that are made here without them.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local moonlog = require "moonlog"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"
local walk = require "spec.support.walk"

local RULES = "examples/fines/rules"
local HEAD = '^{"stream":"fine%-([^"]*)","type":"([^"]*)","occurred":"([^"]*)"'

--- Cents of "36.0", by its digits.
local function cents(text)
  local units, rest = text:match "^(%d+)%.(%d%d?)$"
  assert(units, text)
  return math.tointeger(units * 100 + (#rest == 1 and rest * 10 or rest))
end

--- What the lines say of each fine until a day, fine by fine.
local function add_up(lines, day)
  local fines = {}
  for _, line in ipairs(lines) do
    local stream, kind, on = line:match(HEAD)
    fines[stream] = fines[stream] or { amount = 0, expense = 0, paid = 0, payments = 0 }
    local fine = fines[stream]
    if on <= day then
      if kind == "CreateFine" or kind == "AddPenalty" then
        fine.amount = cents(line:match '"amount":([%d.]+)')
      elseif kind == "SendFine" then
        fine.expense = fine.expense + cents(line:match '"expense":([%d.]+)')
      elseif kind == "Payment" then
        fine.paid = fine.paid + math.tointeger(line:match '"paymentamount":(%d+)[,}]') * 10
        fine.payments = fine.payments + 1
      end
    end
  end
  return fines
end

--- Sums over all fines, and how many there are.
local function totals(fines)
  local sum = { fines = 0, amount = 0, expense = 0, paid = 0, payments = 0, due = 0 }
  for _, fine in pairs(fines) do
    sum.fines, sum.amount, sum.expense = sum.fines + 1, sum.amount + fine.amount,
      sum.expense + fine.expense
    sum.paid, sum.payments = sum.paid + fine.paid, sum.payments + fine.payments
    sum.due = sum.due + (fine.due or fine.amount + fine.expense - fine.paid)
  end
  return sum
end

--- The same as the daemon folds them.
local function folded(log, fines, day)
  local states = {}
  for id in pairs(fines) do
    local answer = assert(log:call("state", { aggregate = "fine", id = id, as_of = day }))
    states[id] = answer.state
  end
  return states
end

--- Fails at the first fine of which the two say something else.
local function compare(fines, states)
  for id, fine in pairs(fines) do
    local state = states[id]
    for name, value in pairs(fine) do
      if state[name] ~= value then
        error(("fine %s: %s is %s, not %s"):format(id, name, state[name], value), 2)
      end
    end
    assert(state.due == fine.amount + fine.expense - fine.paid, id)
  end
  assert.same(totals(fines), totals(states))
end

local function hashes(dir)
  local out, err, status = program.shell("sha256sum " .. dir .. "/log/*.seg")
  assert.equal(0, status, err)
  return out
end

--- All events, as the program prints them.
local function read(dir, more)
  return (program.shell(("%s --data %s read '$all' -o ndjson %s"):format(program.path, dir, more)))
end

--- A daemon with the events of a file and the rules active, and a connection.
local function start(dir, import)
  local command = program.command { "import", "--data", dir }
  local _, err, status = program.shell(import .. " | " .. command)
  assert.equal(0, status, err)
  local server = daemon.start(dir, { "--rules", RULES })
  return server, assert(moonlog.connect(server.uri, { timeout_ms = 120000 }))
end

describe("examples/fines", function()
  it("is a walk whose every step prints what its README says", function()
    local scratch = tmpdir.new()
    local steps = walk.check("examples/fines/README.md", scratch .. "/store",
      { ["/tmp/fines-rules"] = scratch .. "/rules" })
    assert.is_true(#steps >= 12)
  end)

  it("has rules whose specs pass", function()
    local command = ("MOONLOG_LUA=lua %s test %s"):format(program.path, RULES)
    local out, err, status = program.shell(command)
    assert.equal(0, status, out .. err)
    assert.truthy(out:match "\n(%d+) passed, 0 failed\n$")
  end)

  it("has a sample of forty events, whose sums are those of its lines at any date", function()
    local lines = {}
    for line in io.lines "examples/fines/sample.ndjson" do lines[#lines + 1] = line end
    assert.equal(40, #lines)
    local server, log = start(tmpdir.new() .. "/store", "cat examples/fines/sample.ndjson")
    local days = { "2012-01-31T00:00:00Z", "2012-06-15T00:00:00Z", "2014-12-31T00:00:00Z" }
    for _, day in ipairs(days) do
      local fines = add_up(lines, day)
      compare(fines, folded(log, fines, day))
    end
    assert.equal(10, totals(add_up(lines, "9")).fines)
    log:close()
    server:stop()
  end)

  it("changes no stored byte by translating", function()
    local dir = tmpdir.new() .. "/store"
    local _, err, status = program.run({ "import", "--data", dir },
      program.slurp "examples/fines/sample.ndjson")
    assert.equal(0, status, err)
    local raw, bytes = read(dir, "--raw"), hashes(dir)
    local server = daemon.start(dir, { "--rules", RULES })
    local sealed = hashes(dir) -- with the rules, which are an event
    local new = read(dir, "")
    assert.truthy(new:find('"type":"Payment","schema":2,', 1, true))
    assert.is_nil(new:find("totalpaymentamount", 1, true))
    assert.equal(raw, read(dir, "--raw"))
    assert.equal(sealed, hashes(dir))
    assert.not_equal(bytes, sealed)
    server:stop()
    assert.equal(raw, read(dir, "--raw"))
  end)
end)

describe("examples/fines: the real ones #real", function()
  local folder = os.getenv "MOONLOG_TEST_DATA" or "../shared/data"
  local path = folder .. "/traffic_fines.ndjson.gz"
  local file = io.open(path, "rb")
  if not file then
    pending("needs " .. path .. ", which is not there; MOONLOG_TEST_DATA can name its folder")
    return
  end
  file:close()
  local dir, server, log, lines

  setup(function()
    lines = {}
    local pipe = assert(io.popen("zcat " .. program.quote(path)))
    for line in pipe:lines() do lines[#lines + 1] = line end
    pipe:close()
    dir = tmpdir.new() .. "/store"
    server, log = start(dir, "zcat " .. program.quote(path))
  end)

  teardown(function()
    log:close()
    server:stop()
  end)

  it("have a fine A10005, paid the day after", function()
    local answer = json.read((program.on(dir) { "state", "fine", "A10005", "-o", "json" }))
    assert.same({ status = "created", amount = 3600, expense = 0, paid = 3600, payments = 1,
      due = 0, article = 157 }, answer.state)
    assert.equal(1, answer.revision)
    local first = json.read((program.on(dir) { "state", "fine", "A10005", "-o", "json", "--as-of",
      "2007-03-20T12:00:00Z" }))
    assert.equal(3600, first.state.due)
  end)

  for _, day in ipairs { "2007-06-30T00:00:00Z", "2009-12-31T00:00:00Z", "2012-12-31T00:00:00Z" } do
    it("are folded to what the lines add up to, on " .. day:sub(1, 10), function()
      local fines = add_up(lines, day)
      assert.equal(10000, totals(fines).fines)
      compare(fines, folded(log, fines, day))
    end)
  end

  it("are read in cents, and stored as they were", function()
    local raw, bytes = read(dir, "--raw"), hashes(dir)
    local payments, tenths = 0, 0
    for text in read(dir, "--type Payment"):gmatch "[^\n]+" do
      payments = payments + math.tointeger(text:match '"data":{"amount":(%d+)}')
    end
    for _, line in ipairs(lines) do tenths = tenths + (line:match '"paymentamount":(%d+)' or 0) end
    assert.equal(tenths * 10, payments)
    read(dir, "")
    assert.equal(raw, read(dir, "--raw"))
    assert.equal(bytes, hashes(dir))
    local count = 0
    for text in raw:gmatch "[^\n]+" do
      count = count + 1
      local data = lines[count]:match '"data":(.*)}$'
      if not text:find('"data":' .. data, 1, true) then
        assert.same(json.read(data), json.read(text).data)
      end
    end
    assert.equal(#lines, count)
  end)
end)
