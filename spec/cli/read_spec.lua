-- moonlog read: what is selected, in which order, in which shape.
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local history = [[
{"stream":"account-1","type":"Opened","data":{"owner":"ann"},"tags":["red"]}
{"stream":"account-2","type":"Opened","data":{"owner":"bob"}}
{"stream":"account-1","type":"Deposited","data":{"amount":5},"tags":["red","blue"]}
{"stream":"order-1","type":"Placed","data":{"total":7},"tags":["blue"]}
{"stream":"account-1","type":"Withdrawn","data":{"amount":2}}
]]

describe("cli: read", function()
  local on
  setup(function()
    on = program.on(tmpdir.new() .. "/store")
    local _, err, status = on({ "import" }, history)
    assert.equal(0, status, err)
  end)

  --- The positions read, as text.
  local function positions(...)
    local out, err, status = on { "read", ... }
    assert.equal(0, status, err)
    local list = {}
    for i, event in ipairs(json.lines(out)) do list[i] = event.position end
    return table.concat(list, " ")
  end

  it("reads a stream, a category, or all", function()
    assert.equal("1 3 5", positions "account-1")
    assert.equal("1 2 3 5", positions "$category:account")
    assert.equal("1 2 3 4 5", positions "$all")
    assert.equal("1 2 3 4 5", positions("$all", "--system"))
    assert.equal("1 3 5", positions("account-1", "--raw"))
    assert.equal("", positions "$category:nothing")
  end)

  it("begins at a revision of a stream, or at a position", function()
    assert.equal("3 5", positions("account-1", "--from", "1"))
    assert.equal("3 4 5", positions("$all", "--from", "3"))
    assert.equal("3 5", positions("$category:account", "--from", "3"))
    assert.equal("", positions("account-1", "--from", "9"))
  end)

  it("reads backward, and no more than --limit", function()
    assert.equal("5 3 1", positions("account-1", "--backward"))
    assert.equal("5 4", positions("$all", "--backward", "--limit", "2"))
    assert.equal("3 1", positions("account-1", "--backward", "--from", "1"))
    assert.equal("1", positions("account-1", "--limit", "1"))
  end)

  it("ORs types, ANDs tags, and ANDs the two", function()
    assert.equal("1 2", positions("$all", "--type", "Opened"))
    assert.equal("1 2 4", positions("$all", "--type", "Opened", "--type", "Placed"))
    assert.equal("1 3", positions("$all", "--tag", "red"))
    assert.equal("3", positions("$all", "--tag", "red", "--tag", "blue"))
    assert.equal("1", positions("$all", "--type", "Opened", "--tag", "red"))
    assert.equal("3", positions("account-1", "--type", "Deposited"))
    assert.equal("", positions("$all", "--tag", "green"))
  end)

  it("exits 3 for a stream that has no event", function()
    local out, err, status = on { "read", "account-9" }
    assert.equal(3, status)
    assert.equal("", out)
    assert.truthy(err:match "^moonlog: NOT_FOUND: [^\n]*account%-9[^\n]*\n$", err)
  end)

  it("prints fields in a fixed order, empty ones left out", function()
    local out = on { "read", "account-2" }
    assert.truthy(out:match(
      '^{"position":2,"revision":0,"time":"[^"]+","stream":"account%-2","type":"Opened",'
        .. '"schema":1,"id":"%x+%-%x+%-7%x+%-%x+%-%x+","data":{"owner":"bob"}}\n$'), out)
    out = on { "read", "order-1" }
    assert.truthy(out:find('","tags":["blue"],"data":{"total":7}}', 1, true), out)
  end)

  it("prints one array with -o json, an empty one too", function()
    assert.equal(3, #json.read((on { "read", "account-1", "-o", "json" })))
    assert.equal("[]\n", (on { "read", "$category:nothing", "-o", "json" }))
  end)

  it("prints a table with columns in line", function()
    local out = on { "read", "$all", "-o", "table" }
    local lines = {}
    for text in out:gmatch "[^\n]+" do lines[#lines + 1] = text end
    assert.equal(6, #lines)
    assert.truthy(lines[1]:match "^position  revision  time +stream +type +data$")
    local column = lines[1]:find "type"
    assert.equal(column, lines[2]:find "Opened")
    assert.equal(column, lines[5]:find "Placed")
    assert.truthy(lines[6]:match '^       5         2  20.* {"amount":2}$', lines[6])
  end)

  it("shows whole seconds, and no column that says nothing", function()
    local function heading(...)
      local out = on { "read", "-o", "table", ... }
      assert.truthy(out:match "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ ", out)
      return (out:match "^[^\n]+":gsub(" +", " "))
    end
    assert.equal("position revision time type data", heading "account-1")
    assert.equal("position revision time type tags data", heading("account-1", "--tag", "red"))
    assert.equal("position revision time stream type data", heading "$category:account")
  end)

  it("leaves thirty columns to the data on a narrow terminal", function()
    local words = program.command { "read", "wide", "--data" }
    local dir = tmpdir.new() .. "/store"
    local other = program.on(dir)
    other { "append", "wide", ("T"):rep(30), '"' .. ("x"):rep(100) .. '"' }
    local out = program.shell(("script -qec %s /dev/null"):format(
      program.quote("stty cols 80; NO_COLOR=1 " .. words .. " " .. dir)))
    assert.truthy(out:find(' "' .. ("x"):rep(28) .. "…", 1, true), out)
  end)

  it("lets no name play with the terminal", function()
    local other = program.on(tmpdir.new() .. "/store")
    other { "append", "b\xc2\x9bc", "T", '"x\\u007fy\\u009bz"' }
    local out = other { "read", "$all", "-o", "table" }
    assert.truthy(out:find("b\\u009bc", 1, true), out)
    assert.truthy(out:find('"x\\u007fy\\u009bz"', 1, true), out)
  end)

  it("prints many rows of a table", function()
    local other = program.on(tmpdir.new() .. "/store")
    local rows = {}
    for i = 1, 3000 do rows[i] = ('{"stream":"s","type":"T","data":%d}'):format(i) end
    other({ "import" }, table.concat(rows, "\n"))
    local _, count = (other { "read", "s", "-o", "table" }):gsub("\n", "")
    assert.equal(3001, count)
  end)
end)
