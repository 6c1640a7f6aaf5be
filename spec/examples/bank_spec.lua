-- examples/bank: the tour plays to its end, and says the same when it is played again; the walk of
-- its README prints what the README says.
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"
local walk = require "spec.support.walk"

describe("examples/bank", function()
  local dir = tmpdir.new() .. "/store"

  local function play()
    local out, err, status = program.shell(
      ("MOONLOG=%s DATA=%s sh examples/bank/tour.sh"):format(program.path, dir))
    assert.equal(0, status, err)
    assert.equal("", err)
    return out
  end

  --- What follows a command in the tour's output, up to the next empty line.
  local function said(out, command)
    local _, stop = out:find("\n  $ " .. command .. "\n", 1, true)
    assert.truthy(stop, command .. " is not in the tour")
    return (out:sub(stop + 1):match "^(.-)\n\n" or out:sub(stop + 1))
  end

  it("plays the tour, and plays it again on the same store", function()
    local one, again = play(), play()
    assert.truthy(said(one, "moonlog import examples/bank/history.ndjson"):match "events +20\n")
    assert.is_nil(again:find("$ moonlog import", 1, true))
    for _, out in ipairs { one, again } do
      assert.truthy(said(out, "moonlog state account ada"):find('"balance":1300', 1, true))
      assert.truthy(said(out, "moonlog state account ada --at 2"):find('"balance":300', 1, true))
      local day = said(out, "moonlog state account ada --as-of 2026-01-07T00:00:00Z")
      assert.truthy(day:find('"balance":500', 1, true))
      local ada = said(out, "moonlog read account-ada --raw")
      assert.truthy(ada:match '"owner":"Ada".*500.*200.*1000')
      local first = said(out, "moonlog read account-ada --limit 1")
      assert.truthy(first:find('"owner":{"name":"Ada"}', 1, true))
      assert.truthy(out:find('INSUFFICIENT_FUNDS: account eve refuses withdraw: {"balance":100,',
        1, true))
      assert.truthy(out:find("moonlog: OVER_LIMIT: ", 1, true))
      assert.truthy(out:find('(did you mean "on"?)', 1, true))
      assert.truthy(out:find("moonlog: WRONG_EXPECTED_REVISION: ", 1, true))
      for _, status in ipairs { 4, 5, 7 } do
        assert.truthy(out:find("\nexit status " .. status .. "\n", 1, true))
      end
      assert.truthy(said(out, "moonlog verify --deep"):match "^ok +true\n")
    end
    local eve = json.read((program.on(dir) { "state", "account", "eve", "-o", "json" }))
    assert.equal(100, eve.state.balance)
    assert.equal(1, eve.revision)
  end)

  it("is a walk whose every step prints what its README says", function()
    local scratch = tmpdir.new()
    local steps = walk.check("examples/bank/README.md", scratch .. "/store",
      { ["/tmp/bank-rules"] = scratch .. "/rules" })
    assert.is_true(#steps > 20)
  end)

  it("has rules whose specs pass", function()
    local out, err, status = program.shell(("MOONLOG_LUA=lua %s test examples/bank/rules"):format(
      program.path))
    assert.equal(0, status, out .. err)
    assert.equal("", err)
    assert.truthy(out:match "\n(%d+) passed, 0 failed\n$")
  end)

  --- The commands of the README's session in the shell, on this store.
  local function session(store, copy)
    local text = program.slurp("README.md"):match "## From the shell\n\n(.-)\n\n%S"
    text = text:gsub("build/moonlog", program.path):gsub("/tmp/moonlog%-copy", copy)
    assert.truthy(text:find("append", 1, true))
    local out, err, status = program.shell(
      "set -e; unset MOONLOG_CONNECT; export MOONLOG_DATA=" .. store .. "\n" .. text)
    assert.equal(0, status, err)
    assert.equal("", err)
    return out
  end

  it("gets on with the session of the README, in both orders", function()
    local scratch = tmpdir.new()
    local before = dir
    dir = scratch .. "/one"
    session(dir, scratch .. "/copy-one")
    assert.truthy(play():match "events +20\n")
    dir = scratch .. "/two"
    play()
    session(dir, scratch .. "/copy-two")
    assert.is_nil(play():find("$ moonlog import", 1, true))
    dir = before
  end)

  it("is what the examples of the help work on", function()
    -- These go on until they are stopped, or for long.
    local unended = { serve = true, tail = true, listen = true, bench = true }
    local before = dir
    dir = tmpdir.new() .. "/store"
    play()
    for verb in (program.run { "help" }):match "verbs\n(.-)\n\n":gmatch "  (%l+) [^\n]+" do
      local example = program.run({ "help", verb }):match "\nexample\n  moonlog ([^\n]+)"
      if not unended[verb] then
        local _, err, status = program.shell(
          ("MOONLOG_LUA=lua MOONLOG_DATA=%s %s %s"):format(dir, program.path, example))
        assert.equal(0, status, example .. ": " .. err)
      end
    end
    dir = before
  end)
end)
