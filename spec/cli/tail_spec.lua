-- moonlog tail: where it begins, what it selects, how it ends.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

describe("cli: tail", function()
  local dir, on, server
  setup(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    server = daemon.start(dir)
    for i, stream in ipairs { "account-1", "order-1", "account-2", "account-1" } do
      on { "append", stream, i % 2 == 0 and "Even" or "Odd", tostring(i), "--tag", "n" .. i }
    end
  end)
  teardown(function() assert.equal(0, (server:stop())) end)

  local function positions(...)
    local out, err, status = on { "tail", "--until-end", ... }
    assert.equal(0, status, err)
    local list = {}
    for i, event in ipairs(json.lines(out)) do list[i] = event.position end
    return table.concat(list, " ")
  end

  it("begins at the start, the end, a position or a time", function()
    assert.equal("1 2 3 4", positions("--from", "start"))
    assert.equal("", positions("--from", "end"))
    assert.equal("", positions())
    assert.equal("3 4", positions("--from", "3"))
    assert.equal("", positions("--from", "99"))
    for i, event in ipairs(json.lines((on { "export" }))) do
      local wanted = { "1 2 3 4", "2 3 4", "3 4", "4" }
      assert.equal(wanted[i], positions("--from", "@" .. event.time))
    end
    assert.equal("1 2 3 4", positions("--from", "@0"))
    assert.equal("", positions("--from", "@2100-01-01T00:00:00Z"))
  end)

  it("selects as read does", function()
    assert.equal("1 4", positions("account-1", "--from", "start"))
    assert.equal("1 3 4", positions("$category:account", "--from", "start"))
    assert.equal("2 4", positions("--type", "Even", "--from", "start"))
    assert.equal("3", positions("$all", "--tag", "n3", "--from", "start"))
    assert.equal("4", positions("account-1", "--from", "2"))
  end)

  it("prints the same object as read, in every shape", function()
    for _, shape in ipairs { "ndjson", "json", "lua", "table" } do
      assert.equal((on { "read", "$all", "-o", shape }),
        (on { "tail", "--from", "start", "--until-end", "-o", shape }))
    end
  end)

  it("follows until it is interrupted", function()
    local tail = daemon.spawn { "tail", "live-1", "--from", "start", "--data", dir }
    for i = 1, 3 do
      on { "append", "live-1", "T", tostring(i) }
      on { "append", "other", "T", "0" }
      assert.equal(i, json.read(tail:line()).data)
    end
    local status, rest = tail:stop "INT"
    assert.equal(130, status)
    assert.equal("", rest)
  end)

  it("ends when nobody reads it any more, although nothing comes", function()
    local words = program.command { "tail", "--from", "4", "--data", dir }
    local out, err = program.shell(("{ timeout 60 %s; echo $? >&2; } | head -1"):format(words))
    assert.equal(4, json.read(out).position)
    assert.equal("141\n", err)
  end)

  it("begins a table wide enough for what may come", function()
    local tail = daemon.spawn { "tail", "$category:account", "--from", "4", "-o", "table",
      "--data", dir }
    local head, first = tail:line(), tail:line()
    on { "append", "account-longer", "LongerType", "7" }
    local row = tail:line()
    tail:stop "INT"
    assert.equal(head:find "data", first:find "4 *$")
    assert.equal(head:find "data", row:find "7 *$")
  end)

  it("gets every event of many, in order", function()
    local lines = {}
    for i = 1, 20000 do lines[i] = ('{"stream":"many","type":"T","data":%d}'):format(i) end
    on({ "import" }, table.concat(lines, "\n"))
    local out = on { "tail", "many", "--from", "start", "--until-end" }
    local n = 0
    for text in out:gmatch "[^\n]+" do
      n = n + 1
      assert.truthy(text:find('"data":' .. n .. "}", 1, true))
    end
    assert.equal(20000, n)
  end)

  it("ends with its daemon, and says so", function()
    local other = tmpdir.new() .. "/store"
    local own = daemon.start(other)
    program.on(other) { "append", "a", "T" }
    local tail = daemon.spawn { "tail", "--from", "start", "--data", other }
    assert.equal(1, json.read(tail:line()).position)
    assert.equal(0, (own:stop()))
    assert.equal(6, (tail:wait()))
    assert.equal("moonlog: UNREACHABLE: the daemon went away; go on with `--from 2`\n", tail:said())
  end)

  it("guesses what was meant by a name that is none", function()
    for word, meant in pairs { ["$al"] = "$all", ["$category"] = "$category:C",
                               ["$categroy:account"] = "$category:C" } do
      for _, words in ipairs { { "tail", "--until-end", word }, { "read", word } } do
        local _, err, status = on(words)
        assert.equal(2, status)
        assert.truthy(err:find(("did you mean '%s'?"):format(meant), 1, true), err)
      end
    end
    assert.equal("", positions("$rules"))
  end)

  it("refuses an unknown --from, and a directory that is not there", function()
    for _, from in ipairs { "soon", "0", "-1", "@soon", "1.5" } do
      local _, err, status = on { "tail", "--from=" .. from }
      assert.equal(2, status)
      assert.truthy(err:find("--from wants start, end", 1, true), err)
    end
    local none = tmpdir.new() .. "/none"
    local _, err, status = program.run { "tail", "--data", none }
    assert.equal(3, status, err)
    _, _, status = program.shell("test -e " .. none)
    assert.equal(1, status)
  end)
end)
