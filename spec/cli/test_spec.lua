-- moonlog test DIR: the pack is checked, its specs are run, and how it ended is told to scripts.
local packs = require "spec.support.packs"
local program = require "spec.support.program"

local RULE = packs.COUNTER

local function spec(body)
  return ([[
local t = require "moonlog.testing"
describe("counter", function()
  it("counts", function() %s end)
end)
]]):format(body)
end

local PASSES = spec [[t.aggregate "counter.lua":when "count":when "count":state { n = 2 }]]
local FAILS = spec [[t.aggregate "counter.lua":when "count":state { n = 2 }]]

describe("cli: test", function()
  --- Runs the verb on a pack of these files.
  local function test(files, environment, words)
    local dir = packs.directory(files)
    local out, err, status = program.shell(("env %s MOONLOG_LUA=$PWD/lua %s test %s %s"):format(
      environment or "", program.path, program.quote(dir), words or ""))
    return out, err, status, dir
  end

  it("runs the specs of a pack and ends with how many passed", function()
    local out, err, status = test { ["counter.lua"] = RULE, ["counter_spec.lua"] = PASSES,
      ["more/deep_spec.lua"] = PASSES:gsub('"counter.lua"', '"../counter.lua"'),
      ["not_a_spec.txt"] = "?" }
    assert.equal(0, status, out .. err)
    assert.equal("", err)
    assert.match("\n2 passed, 0 failed\n$", out)
  end)

  it("exits 7 if a spec fails, and shows at which line", function()
    local out, _, status = test { ["counter.lua"] = RULE, ["counter_spec.lua"] = FAILS,
      ["other_spec.lua"] = PASSES }
    assert.equal(7, status)
    assert.match("\n1 passed, 1 failed\n$", out)
    assert.match("counter_spec%.lua:3: the state is another", out)
    assert.match("\n%- +n = 2\n%+ +n = 1\n", out)
  end)

  it("exits 7 if a spec cannot be loaded, skipped ones are counted", function()
    local out, _, status = test { ["counter.lua"] = RULE, ["a_spec.lua"] = "it(",
      ["b_spec.lua"] = spec "pending 'later'", ["c_spec.lua"] = PASSES }
    assert.equal(7, status)
    assert.match("\n1 passed, 1 failed, 1 skipped\n$", out)
  end)

  it("exits 7 if many fail, also where their number would not show in a status", function()
    local many = [[
describe("many", function()
  for n = 1, 256 do it("fails " .. n, function() error "no" end) end
end)]]
    local out, _, status = test { ["counter.lua"] = RULE, ["many_spec.lua"] = many }
    assert.equal(7, status)
    assert.match("\n0 passed, 256 failed\n$", out)
  end)

  it("exits 7 if there is no spec", function()
    local out, _, status = test { ["counter.lua"] = RULE }
    assert.equal(7, status)
    assert.match("\n0 passed, %d+ failed\n$", out)
  end)

  it("checks the pack first, and runs no spec of one that is wrong", function()
    local out, err, status = test { ["counter.lua"] = packs.WRONG, ["counter_spec.lua"] = PASSES }
    assert.equal(7, status)
    assert.equal("", out)
    assert.match('counter%.lua:6: error: SHAPE: .*did you mean "commands"', err)
    assert.match("\nmoonlog: SCRIPT_ERROR: 1 error; no spec was run\n$", err)
  end)

  it("lets warnings pass, and shows them", function()
    local warned = RULE:gsub("local moonlog", "local seen = {}\nlocal moonlog", 1)
      :gsub("s.n = s.n %+ 1", "seen.last = 1 s.n = s.n + 1")
    local out, err, status = test { ["counter.lua"] = warned, ["counter_spec.lua"] = PASSES }
    assert.equal(0, status, out .. err)
    assert.match("^counter%.lua:%d+: warning: UPVALUE: ", err)
  end)

  it("takes no notice of a .busted that is another project's", function()
    local dir = packs.directory { ["counter.lua"] = RULE, ["counter_spec.lua"] = PASSES,
      [".busted"] = "return { _all = { helper = '/nowhere.lua', pattern = '_nothing' } }" }
    local out, err, status = program.shell(
      ("lua=$PWD/lua; program=$(realpath %s); cd %s && MOONLOG_LUA=$lua $program test ."):format(
        program.path, program.quote(dir)))
    assert.equal(0, status, out .. err)
    assert.match("\n1 passed, 0 failed\n$", out)
  end)

  it("takes a directory by any name", function()
    local dir = packs.directory { ["a, b's/counter.lua"] = RULE,
      ["a, b's/counter_spec.lua"] = PASSES } .. "/a, b's"
    local out, err, status = program.shell(("MOONLOG_LUA=lua %s test %s"):format(program.path,
      program.quote(dir)))
    assert.equal(0, status, out .. err)
  end)

  it("says which package is missing where busted is", function()
    local out, err, status = test({ ["counter.lua"] = RULE, ["counter_spec.lua"] = PASSES },
      "LUA_PATH_5_4=/nowhere/?.lua")
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal("moonlog: UNSUPPORTED: specs need busted, which is not there: "
      .. "apt-get install lua-busted\n", err)
  end)

  it("says what directory is not there, or has no rules", function()
    local _, err, status = program.run { "test", "/nowhere" }
    assert.equal(3, status)
    assert.match("^moonlog: NOT_FOUND: ", err)
    _, err, status = test { ["counter_spec.lua"] = PASSES }
    assert.equal(3, status)
    assert.match("no rule file", err)
    _, err, status = program.run { "test" }
    assert.equal(2, status)
    assert.match("which directory", err)
  end)

  it("stops rules that hang while they are loaded", function()
    local _, err, status = test { ["counter.lua"] = "while true do end",
      ["counter_spec.lua"] = PASSES }
    assert.equal(7, status)
    assert.match("counter%.lua:1: error: OVERSTAY: ", err)
  end)
end)
