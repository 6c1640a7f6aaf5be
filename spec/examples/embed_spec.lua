-- examples/embed: the C program of the README compiles as the README says, and runs.
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local source = "examples/embed/balance.c"
local build = program.path:match "^(.*)/"
local instrumented = {
  asan = "-fsanitize=address,undefined", tsan = "-fsanitize=thread", cov = "--coverage",
}

describe("examples/embed", function()
  local dir = tmpdir.new()
  local binary = dir .. "/balance"

  setup(function()
    local flags = instrumented[build:match "[^/]+$"] or ""
    local _, err, status = program.shell(
      ("cc %s -o %s -Wall -Wextra -Werror -Icore %s/libmoonlog.a -lcrypto -lm -pthread %s")
        :format(source, binary, build, flags))
    assert.equal(0, status, err)
  end)

  it("appends, reads back, and adds up", function()
    for n = 1, 3 do
      local out, err, status = program.shell(binary .. " " .. dir .. "/store")
      assert.equal(0, status, err)
      assert.equal(("balance %d\n"):format(5 * n), out)
    end
    local out = program.on(dir .. "/store") { "read", "piggybank-1" }
    assert.equal(3, select(2, out:gsub('"type":"Deposited","schema":1,[^\n]*"data":5', "")))
  end)

  it("says why it cannot", function()
    local file = program.write(dir .. "/file", "x")
    local out, err, status = program.shell(binary .. " " .. file)
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:match "^[%u_]+: [^\n]+\n$", err)
  end)

  it("is quoted in the README, short enough to be read", function()
    local text = program.slurp(source)
    assert.truthy(program.slurp("README.md"):find("```c\n" .. text .. "```", 1, true))
    assert.is_true(select(2, text:gsub("\n", "")) <= 60)
  end)
end)
