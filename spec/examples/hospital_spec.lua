-- examples/hospital: the walk of its README, and the specs of its rules. What its read models say,
-- row by row, is held against plain Lua in spec/real/projections_spec.lua.
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"
local walk = require "spec.support.walk"

describe("examples/hospital", function()
  it("is a walk whose every step prints what its README says", function()
    local scratch = tmpdir.new()
    local steps = walk.check("examples/hospital/README.md", scratch .. "/store",
      { ["/tmp/hospital-rules"] = scratch .. "/rules" })
    assert.is_true(#steps >= 18)
  end)

  it("has rules whose specs pass", function()
    local out, err, status = program.shell(
      ("MOONLOG_LUA=lua %s test examples/hospital/rules"):format(program.path))
    assert.equal(0, status, out .. err)
    assert.truthy(out:match "\n(%d+) passed, 0 failed\n$")
  end)

  it("has a sample of forty events", function()
    local count = 0
    for _ in io.lines "examples/hospital/sample.ndjson" do count = count + 1 end
    assert.equal(40, count)
  end)
end)
