-- `moonlog bench` prints what it promises. How fast anything is, is not judged here.
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local function bench(dir, ...)
  local words = { "bench", "-o", "ndjson", "--dir", dir, "--events", "2000", "--seconds", "0.01" }
  for _, word in ipairs { ... } do words[#words + 1] = word end
  local out, err, status = program.run(words)
  assert.equal(0, status, err)
  assert.equal("", err:gsub("moonlog: %S+ is memory[^\n]+\n", ""))
  local figures = {}
  for _, figure in ipairs(json.lines(out)) do figures[figure.name] = figure end
  return figures
end

local function list(dir)
  local out = program.shell("ls -A " .. program.quote(dir))
  return out
end

describe("cli: bench", function()
  it("prints every figure, and leaves nothing behind", function()
    local dir = tmpdir.new()
    local figures = bench(dir)
    local timed = {
      "append.disk.1", "append.disk.10", "append.disk.100",
      "append.os.1", "append.os.10", "append.os.100",
      "limit.append.1", "limit.bare.1", "limit.append.100", "limit.bare.100",
      "condition.os.without", "condition.os.holds", "condition.os.conflicts",
      "condition.disk.without", "condition.disk.holds", "condition.disk.conflicts",
      "tag", "tag.and", "scan", "load100", "load10",
    }
    local plain = {
      "import", "fill", "fill.early", "fill.late", "rss", "rss.anonymous", "size", "size.log",
      "open.cold", "open.warm",
    }
    for _, name in ipairs(timed) do
      local figure = assert(figures[name], name)
      assert.is_true(figure.value > 0, name)
      assert.is_true(figure.p50_us > 0, name)
      assert.is_true(figure.p50_us <= figure.p99_us, name)
      assert.is_true(figure.p99_us <= figure.p999_us, name)
    end
    for _, name in ipairs(plain) do
      local figure = assert(figures[name], name)
      assert.is_true(figure.value > 0, name)
      assert.equal(json.null, figure.p50_us)
    end
    assert.equal("events/s", figures.scan.unit)
    assert.truthy(figures["size.index"]) -- so few events are not in a run yet
    assert.equal("", list(dir))
  end)

  it("measures only what is named, with medians over rounds", function()
    local dir = tmpdir.new()
    local figures = bench(dir, "scan", "size", "--rounds", "3", "--payload", "500")
    local names = {}
    for name in pairs(figures) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "scan", "size", "size.index", "size.log" }, names)
    assert.is_true(figures["size.log"].value > 500)
    assert.equal("", list(dir))
  end)

  it("keeps its directory if asked to, with stores that verify", function()
    local dir = tmpdir.new()
    local _, err, status = program.run {
      "bench", "scan", "--dir", dir, "--events", "2000", "--seconds", "0.01", "--keep",
    }
    assert.equal(0, status)
    local kept = assert(err:match "moonlog: kept ([^\n]+)")
    local out
    out, err, status = program.run { "verify", "--deep", "--data", kept .. "/data" }
    assert.equal(0, status, err)
    assert.equal(2000, json.read(out).events)
  end)

  it("works beside the store, never in it", function()
    local dir = tmpdir.new()
    local _, err, status = program.run {
      "bench", "size", "--data", dir .. "/store", "--events", "1000",
    }
    assert.equal(0, status, err)
    assert.equal("", list(dir))
  end)

  it("refuses what it does not know", function()
    local function refused(sentence, ...)
      local _, err, status = program.run { "bench", ... }
      assert.equal(2, status)
      assert.truthy(err:find(sentence, 1, true), err)
    end
    refused("did you mean scan?", "scna")
    refused("it has append,", "quux")
    refused("--events wants", "--events", "10")
    refused("--streams wants", "--events", "1000", "--streams", "5")
    refused("--seconds wants", "--seconds", "soon")
    refused("--payload wants", "--payload", "64")
  end)

  it("tells of every workload in its help", function()
    local help = program.run { "help", "bench" }
    local _, err = program.run { "bench", "quux" }
    local names = assert(err:match "it has ([^\n]+)"):gsub(" and ", ", ")
    for name in names:gmatch "[%w-]+" do
      assert.truthy(help:find("\n  " .. name .. " ", 1, true), name)
    end
    assert.truthy(help:find("p99_us", 1, true))
  end)

  it("leaves blank in a table what was not timed", function()
    local out, err, status = program.run {
      "bench", "size", "--dir", tmpdir.new(), "--events", "1000", "-o", "table",
    }
    assert.equal(0, status, err)
    assert.is_nil(out:find "null")
  end)

  it("says why it cannot work", function()
    local _, err, status = program.run { "bench", "scan", "--dir", "/nowhere/at/all" }
    assert.equal(3, status)
    assert.truthy(err:match "^moonlog: NOT_FOUND: [^\n]+\n$", err)
  end)
end)
