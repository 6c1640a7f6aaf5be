-- `moonlog bench` prints what it promises. How fast anything is, is not judged here.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local program = require "spec.support.program"
local redis = require "spec.support.redis"
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
      "projection.build.1k", "projection.build.1m", "projection.linear.1k",
      "projection.linear.1m", "projection.rss.1k", "projection.rss.1m", "projection.get.1k",
      "projection.get.1m", "projection.incremental",
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

-- What was measured is held against what the server then says it has.
describe("cli: bench --connect", function()
  local names = {
    "append.1", "append.64", "append.256", "append.batch100", "append.os.flight100",
    "expected.64", "scan", "load.16", "live.1k", "fanout.50", "signal.10", "signal.100k",
  }
  local commands = { "command.1", "command.64", "command.64.loads" } -- of the daemon alone
  local tiny = { "--events", "1000", "--seconds", "0.01", "-o", "ndjson" }
  local server

  local function net(uri, ...)
    local words = { "bench", "--connect", uri, table.unpack(tiny) }
    for _, word in ipairs { ... } do words[#words + 1] = word end
    local out, err, status = program.run(words)
    assert.equal(0, status, err)
    assert.equal("", err)
    local figures, all = {}, json.lines(out)
    for _, figure in ipairs(all) do figures[figure.name] = figure end
    return figures, #all
  end

  local function ask(...)
    local out, err, status = program.run { ..., "--connect", server.uri, "-o", "json" }
    assert.equal(0, status, err)
    return json.read(out)
  end

  local function length(stream)
    local out, err, status = program.run { "head", stream, "--connect", server.uri, "-o", "json" }
    assert.equal(0, status, err)
    return json.read(out).revision + 1
  end

  local function check(figures, more)
    local server_us = 0
    for _, name in ipairs(more and table.move(more, 1, #more, #names + 1, { table.unpack(names) })
      or names) do
      local figure = assert(figures[name], name)
      assert.is_true(figure.value > 0, name)
      assert.is_true(figure.count > 0, name)
      assert.is_true(figure.p50_us > 0, name)
      assert.is_true(figure.p50_us <= figure.p99_us, name)
      assert.is_true(figure.client_us > 0, name)
      server_us = server_us + figure.server_us
    end
    -- On a busy machine the server may not run at all in one of the short spans.
    assert.is_true(server_us > 0)
    assert.equal(0, figures.scan.count % 1000)
    assert.equal(0, figures["load.16"].count % 100)
    assert.equal(0, figures["append.batch100"].count % 100)
    assert.truthy(figures["signal.10"].note:match "^0 lost of ", figures["signal.10"].note)
  end

  it("stores and delivers what its figures say", function()
    server = daemon.start()
    local figures, count = net(server.uri)
    assert.equal(#names + #commands, count)
    check(figures, commands)
    assert.truthy(figures["command.64.loads"].note:match "^%d+ loads meanwhile$")
    local published = figures["live.1k"].count + figures["fanout.50"].count // 50
    local stored = 1000 + published
    for _, name in ipairs { "append.1", "append.64", "append.256", "append.batch100",
      "append.os.flight100", "expected.64", table.unpack(commands) } do
      stored = stored + figures[name].count
    end
    assert.equal(stored + length "$rules", ask("head").position)
    assert.equal(published, length "bench-live")
    assert.equal(100, length "bench-1000-000000009")
    assert.is_true(length "bench-peer-0000255" > 0)
    assert.equal(0, (server:stop()))
  end)

  it("measures over TCP what is named, by a word or a figure's name", function()
    server = daemon.start_tcp()
    local figures, count = net(server.tcp, "append.64", "scan", "--rounds", "2")
    assert.equal(2, count)
    assert.equal(1000 + figures["append.64"].count, ask("head").position)
    assert.equal(0, (server:stop()))
  end)

  it("fails when the server has another number of events than it acknowledged", function()
    server = daemon.start()
    local running = daemon.spawn {
      "bench", "append.1", "--connect", server.uri, "--seconds", "0.1", "--rounds", "99",
    }
    -- Somebody else appends to its stream until it ends, in the first round that meets it.
    program.shell(("while ! grep -q '^State:.Z' /proc/%s/status; do %s; done"):format(running.pid,
      program.command { "append", "bench-peer-0000000", "T", "--connect", server.uri }))
    assert.equal(1, (running:wait()))
    assert.truthy(running:said():match "^moonlog: INTERNAL: bench%-peer%-0000000 has %d+ events",
      running:said())
    assert.equal(0, (server:stop()))
  end)

  it("refuses a store that is not its own", function()
    server = daemon.start()
    program.run { "append", "account-ada", "T", "--connect", server.uri }
    local out, err, status = program.run { "bench", "scan", "--connect", server.uri }
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:find("(account-ada)", 1, true), err)
    assert.equal(1, ask("head").position)
    assert.equal(0, (server:stop()))
  end)

  it("measures a Redis in the same words", function()
    if not redis.known() then return pending "redis-tools is not installed" end
    local service = redis.start(tmpdir.new())
    local figures, count = net(service.uri)
    assert.equal(#names, count)
    check(figures)
    service:stop()
  end)

  it("refuses what it does not know", function()
    local function refused(sentence, ...)
      local _, err, status = program.run { "bench", "--connect", "unix:/x", ... }
      assert.equal(2, status)
      assert.truthy(err:find(sentence, 1, true), err)
    end
    refused("did you mean scan?", "scna")
    refused("it has append, expected,", "quux")
    refused("--dir is for", "--dir", "/tmp")
    refused("--keep is for", "--keep")
  end)

  it("wants the address on its command line", function()
    local dir = tmpdir.new()
    local _, err, status = program.shell(("MOONLOG_CONNECT=unix:/x %s bench size --dir %s %s")
      :format(program.path, program.quote(dir), "--events 1000"))
    assert.equal(0, status, err)
    _, err, status = program.run { "bench", "--connect", "unix:/nowhere/x.sock" }
    assert.equal(6, status)
    assert.truthy(err:match "^moonlog: UNREACHABLE: [^\n]+\n$", err)
  end)

  it("tells of every workload in its help", function()
    local help = program.run { "help", "bench" }
    local _, err = program.run { "bench", "--connect", "unix:/x", "quux" }
    local words = assert(err:match "it has ([^\n]+)"):gsub(" and ", ", ")
    for name in words:gmatch "[%w-]+" do
      assert.truthy(help:find("With %-%-connect.*\n  " .. name .. " "), name)
    end
  end)
end)
