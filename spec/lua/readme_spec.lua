-- Every block of lua/README.md runs: those with a file's name in their first line are a pack of
-- rules, those with `$` are a session with it, and the others are one program, which prints what it
-- says it prints.
local program = require "spec.support.program"
local rules = require "spec.support.rules"
local tmpdir = require "spec.support.tmpdir"
local walk = require "spec.support.walk"

local PAGE = "lua/README.md"

--- The blocks of Lua: files by their names, and all others in order.
local function blocks()
  local files, others = {}, {}
  for block in program.slurp(PAGE):gmatch "\n```lua\n(.-)\n```" do
    local name = block:match "^%-%- (rules/[%w_/]+%.lua)\n"
    if name then files[name] = block .. "\n" else others[#others + 1] = block end
  end
  return files, others
end

--- Writes the pack; gives the directory that has it as rules/.
local function write_pack()
  local dir = tmpdir.new()
  assert(os.execute(("mkdir -p %s/rules/lib"):format(dir)))
  local count = 0
  for name, text in pairs((blocks())) do
    program.write(dir .. "/" .. name, text)
    count = count + 1
  end
  assert.equal(6, count)
  return dir
end

describe("lua/README.md", function()
  it("does what it says", function()
    local promised, printed = {}, {}
    local _, source = blocks()
    for _, block in ipairs(source) do
      for text in (block .. "\n"):gmatch "%-%-> (.-)\n" do promised[#promised + 1] = text end
    end
    assert.is_true(#source >= 8)

    local dir = tmpdir.new()
    local text = table.concat(source, "\n"):gsub('"%./(%w+)"', '"' .. dir .. '/%1"')
    local env = setmetatable({
      print = function(...)
        local words = table.pack(...)
        for i = 1, words.n do words[i] = tostring(words[i]) end
        printed[#printed + 1] = table.concat(words, "\t")
      end,
    }, { __index = _G })
    assert(load(text, "@" .. PAGE, "t", env))()
    assert.same(promised, printed)
  end)

  it("has a pack whose own specs pass", function()
    local dir = write_pack()
    local out, err, status = program.shell(("MOONLOG_LUA=lua %s test %s/rules"):format(
      program.path, dir))
    assert.equal(0, status, out .. err)
    assert.equal("", err)
    assert.truthy(out:match "\n5 passed, 0 failed\n$", out)
  end)

  it("is a session with that pack, in which every command says what it promises", function()
    local dir = write_pack()
    local steps = walk.check(PAGE, dir .. "/store", { ["./rules"] = dir .. "/rules",
      ["./wrong"] = dir .. "/wrong" })
    assert.is_true(#steps >= 12)
  end)

  it("says of nothing that a rule may not do it, which it may", function()
    local section = program.slurp(PAGE):match "\n### What a rule may not do.-\n### "
    local count = 0
    for code in section:gmatch "\n| `(.-)` |" do
      local r = rules.new { command_ms = 30 }
      local report = r.engine:stage { ["thing.lua"] = rules.file("", { act = code }) }
      if report.ok then
        assert(r.engine:activate())
        local answer, why = r.engine:command { aggregate = "thing", id = "a", name = "act" }
        assert.is_nil(answer, code)
        assert.match("^SCRIPT_ERROR: ", why)
      end
      r:close()
      count = count + 1
    end
    assert.equal(12, count)
  end)

  it("shows a difference as it is shown", function()
    local dir = write_pack()
    local path = dir .. "/rules/basket_spec.lua"
    program.write(path, (program.slurp(path):gsub("total = 7100", "total = 7000")))
    local out, _, status = program.shell(("MOONLOG_LUA=lua %s test %s/rules"):format(
      program.path, dir))
    assert.equal(7, status)
    local shown = program.slurp(PAGE):match "\n    rules/basket_spec.lua:%d+: (.-)\n\n"
    local lines = shown:gsub("\n    ", "\n")
    assert.truthy(out:find(lines, 1, true), out)
    assert.truthy(out:match "\n4 passed, 1 failed\n$")
  end)
end)
