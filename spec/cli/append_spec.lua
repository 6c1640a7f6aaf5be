-- moonlog append: what it prints, what it keeps, what it refuses.
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local ID = "019b8000-0000-7000-8000-00000000abcd"

describe("cli: append", function()
  local on
  before_each(function() on = program.on(tmpdir.new() .. "/store") end)

  local function refused(code, wanted, words, stdin)
    local out, err, status = on(words, stdin)
    assert.equal(wanted, status, err)
    assert.equal("", out)
    assert.truthy(err:match("^moonlog: " .. code .. ": [^\n]+\n$"), err)
    return err
  end

  local function first(stream) return json.read((on { "read", stream, "--limit", "1" })) end

  it("prints position, revision and stream", function()
    assert.equal('{"position":1,"revision":0,"stream":"a"}\n', (on { "append", "a", "T" }))
    assert.equal('{"position":2,"revision":0,"stream":"b"}\n', (on { "append", "b", "T" }))
    assert.equal('{"position":3,"revision":1,"stream":"a"}\n', (on { "append", "a", "T" }))
  end)

  it("refuses data in which a key is twice, at any depth", function()
    for text, key in pairs { ['{"a":1,"b":2,"a":3}'] = "a", ['[{"x":{"k":1,"k":1}}]'] = "k" } do
      local err = refused("BAD_REQUEST", 1, { "append", "a", "T", text })
      assert.truthy(err:find("data, key " .. key .. " is there twice", 1, true), err)
      refused("BAD_REQUEST", 1, { "append", "a", "T", "-" }, text)
      refused("BAD_REQUEST", 1, { "append", "a", "T", "--meta", text })
    end
    local _, _, status = on { "append", "a", "T", '[{"a":{"a":1}},{"a":1,"b":"a"}]' }
    assert.equal(0, status)
  end)

  it("tells a parent that is not there from one that takes no directory", function()
    local _, err = program.run { "append", "a", "T", "--data", "/proc/x" }
    assert.truthy(err:find("its parent /proc/ takes no new directories", 1, true), err)
    _, err = program.run { "append", "a", "T", "--data", "/nowhere/x" }
    assert.truthy(err:find("its parent /nowhere/ does not exist", 1, true), err)
  end)

  it("keeps every field it was given", function()
    local out = on {
      "append", "order-1", "Created", '{"n":35.0}', "--tag", "x", "--tag", "y", "--id", ID,
      "--meta", '{"actor":"ann"}', "--occurred", "2026-01-31T12:00:00.5+01:00", "--schema", "7",
    }
    assert.equal(1, json.read(out).position)
    local event = first "order-1"
    assert.same({ "x", "y" }, event.tags)
    assert.equal(ID, event.id)
    assert.equal("ann", event.meta.actor)
    assert.equal("2026-01-31T11:00:00.500000Z", event.occurred)
    assert.equal(7, event.schema)
    assert.equal("float", math.type(event.data.n))
    assert.truthy(event.time:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$")
  end)

  it("reads the data from stdin, and has null without any", function()
    on({ "append", "a", "T", "-" }, ' {"big":"' .. ("x"):rep(500000) .. '"}\n')
    assert.equal(500000, #first("a").data.big)
    on { "append", "b", "T" }
    assert.equal(json.null, first("b").data)
  end)

  it("keeps what JSON has no words for", function()
    local text = '[{"$float":"nan"},{"$float":"inf"},{"$float":"-inf"},{"$bin":"AP8="},35.0,35,'
      .. '1e300,-0.0,9223372036854775807,-9223372036854775808,{"$map":[[1,2]]}]'
    on { "append", "a", "T", text }
    local out = on { "read", "a" }
    assert.truthy(out:find('"data":' .. text, 1, true), out)
  end)

  it("says that a repeated id was there already", function()
    on { "append", "a", "T", "1", "--id", ID }
    local out, _, status = on { "append", "a", "T", "1", "--id", ID }
    assert.equal(0, status)
    assert.same({ position = 1, revision = 0, stream = "a", duplicate = true }, json.read(out))
    assert.equal(1, json.read((on { "head" })).position)
  end)

  it("echoes a durability that was asked for", function()
    for i, level in ipairs { "disk", "os", "memory" } do
      local out = on { "append", "a", "T", "--durability", level }
      assert.equal(level, json.read(out).durability)
      assert.equal(i, json.read((on { "head" })).position)
    end
  end)

  it("holds --expected against the stream", function()
    refused("WRONG_EXPECTED_REVISION", 4, { "append", "a", "T", "--expected", "stream_exists" })
    refused("WRONG_EXPECTED_REVISION", 4, { "append", "a", "T", "--expected", "0" })
    local _, _, status = on { "append", "a", "T", "--expected", "no_stream" }
    assert.equal(0, status)
    refused("WRONG_EXPECTED_REVISION", 4, { "append", "a", "T", "--expected", "no_stream" })
    local err = refused("WRONG_EXPECTED_REVISION", 4, { "append", "a", "T", "--expected", "3" })
    assert.truthy(err:find "a" and err:find "3" and err:find "0", err)
    for _, expected in ipairs { "any", "stream_exists", "2" } do
      _, err, status = on { "append", "a", "T", "--expected", expected }
      assert.equal(0, status, err)
    end
    assert.equal(4, json.read((on { "head" })).position)
  end)

  it("says a conflict in JSON", function()
    local _, err, status = on { "append", "a", "T", "--expected", "9", "-o", "json" }
    assert.equal(4, status)
    assert.equal("WRONG_EXPECTED_REVISION", json.read(err).error.code)
    assert.equal(6, json.read(err).error.number)
  end)

  it("refuses what is no JSON, naming the column", function()
    local err = refused("BAD_REQUEST", 1, { "append", "a", "T", '{"a":}' })
    assert.truthy(err:find("column 6", 1, true), err)
    refused("BAD_REQUEST", 1, { "append", "a", "T", "{} {}" })
    refused("BAD_REQUEST", 1, { "append", "a", "T", "" })
    refused("BAD_REQUEST", 1, { "append", "a", "T", "-" }, "")
    refused("BAD_REQUEST", 1, { "append", "a", "T", "nan" })
    refused("BAD_REQUEST", 1, { "append", "a", "T", '"\xff"' })
    refused("BAD_REQUEST", 1, { "append", "a", "T", "9223372036854775808" })
    refused("BAD_REQUEST", 1, { "append", "a", "T", '{"$bin":"?"}' })
    refused("BAD_REQUEST", 1, { "append", "a", "T", "--meta", "{" })
    refused("BAD_REQUEST", 1, { "append", "a", "T", "--meta", "[1]" })
  end)

  it("takes data 30 levels deep and refuses 31", function()
    local _, err, status = on { "append", "a", "T", ("["):rep(30) .. ("]"):rep(30) }
    assert.equal(0, status, err)
    refused("BAD_REQUEST", 1, { "append", "a", "T", ("["):rep(31) .. ("]"):rep(31) })
  end)

  it("refuses names that are empty, too long or no UTF-8", function()
    local _, err, status = on { "append", ("s"):rep(512), ("t"):rep(256), "--tag", ("x"):rep(256) }
    assert.equal(0, status, err)
    refused("[%u_]+", 1, { "append", ("s"):rep(513), "T" })
    refused("[%u_]+", 1, { "append", "a", ("t"):rep(257) })
    refused("[%u_]+", 1, { "append", "a", "T", "--tag", ("x"):rep(257) })
    refused("BAD_REQUEST", 1, { "append", "", "T" })
    refused("BAD_REQUEST", 1, { "append", "a", "" })
    refused("BAD_REQUEST", 1, { "append", "\xff", "T" })
    refused("BAD_REQUEST", 1, { "append", "a", "T\xc0\x80" })
    refused("BAD_REQUEST", 1, { "append", "a", "T", "--tag", "\xed\xa0\x80" })
    refused("BAD_REQUEST", 1, { "append", "a\27", "T" })
    refused("BAD_REQUEST", 1, { "append", "a", "T", "--tag", "x", "--tag", "x" })
    local many = { "append", "a", "T" }
    for i = 1, 33 do many[#many + 1] = "--tag=" .. i end
    refused("[%u_]+", 1, many)
    assert.equal(1, json.read((on { "head" })).position)
  end)

  it("refuses an event over 1 MiB", function()
    refused("TOO_LARGE", 1, { "append", "a", "T", "-" }, '"' .. ("x"):rep(1 << 20) .. '"')
    local _, err, status = on({ "append", "a", "T", "-" }, '"' .. ("x"):rep(1048000) .. '"')
    assert.equal(0, status, err)
  end)

  it("waits for other writers, so that ten at once all succeed", function()
    local dir = tmpdir.new()
    local command = program.command { "append", "a", "T", "--data", dir .. "/store" }
    local script = "set --\n"
      .. "for i in 1 2 3 4 5 6 7 8 9 10; do " .. command .. " & set -- $* $!; done\n"
      .. "for child; do wait $child || echo exit $?; done"
    local out, err = program.shell(script)
    assert.equal("", err)
    assert.is_nil(out:find("exit", 1, true), out)
    local revisions = {}
    for _, said in ipairs(json.lines(out)) do revisions[said.revision + 1] = said.position end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, revisions)
  end)

  it("gives the first result for the same id, whatever the data, in the same stream", function()
    on { "append", "a", "T", "1", "--id", ID }
    local out = on { "append", "a", "U", "2", "--id", ID, "--expected", "no_stream" }
    assert.is_true(json.read(out).duplicate)
    assert.equal(1, first("a").data)
    refused("BAD_REQUEST", 1, { "append", "b", "T", "1", "--id", ID })
  end)

  it("shows a table where that is asked for", function()
    local out = on { "append", "a", "T", "-o", "table" }
    assert.equal("position  1\nrevision  0\nstream    a\n", out)
    out = on { "append", "a b", "T", "-o", "lua" }
    assert.equal('{position=2,revision=0,stream="a b"}\n', out)
  end)
end)
