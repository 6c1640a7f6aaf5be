-- examples/bank: the tour plays to its end, and says the same when it is played again.
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

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
      assert.equal("1300", said(out, "lua5.4 examples/bank/balance.lua account-ada"))
      assert.equal("300", said(out, "lua5.4 examples/bank/balance.lua account-ada --at 2"))
      local ada = said(out, "moonlog read account-ada")
      assert.truthy(ada:match "AccountOpened.*500.*200.*1000")
      local transfer = said(out, "moonlog read '$all' --tag transfer:1")
      assert.truthy(transfer:match "account%-ben.*MoneySent.*account%-cy.*MoneyReceived")
      assert.truthy(out:find("moonlog: WRONG_EXPECTED_REVISION: ", 1, true))
      assert.truthy(out:find("\nexit status 4\n", 1, true))
      assert.truthy(said(out, "moonlog verify --deep"):match "^ok +true\n")
    end
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
          ("MOONLOG_DATA=%s %s %s"):format(dir, program.path, example))
        assert.equal(0, status, example .. ": " .. err)
      end
    end
    dir = before
  end)

  it("has the balances that its README names", function()
    local readme = program.slurp "examples/bank/README.md"
    local build = program.path:match "^(.*)/"
    for account, balance in pairs { ada = "1300", ben = "400", cy = "250", dee = "100" } do
      local out, err = program.shell(
        ("LUA_CPATH_5_4='%s/?.so' MOONLOG_DATA=%s lua5.4 examples/bank/balance.lua account-%s")
          :format(build, dir, account))
      assert.equal(balance .. "\n", out, err)
      assert.truthy(readme:find(account .. " | " .. balance, 1, true), account)
    end
  end)
end)
