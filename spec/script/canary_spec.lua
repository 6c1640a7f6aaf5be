-- The contract in core/script/canary.h.
local script = require("coretest").script

describe("script/canary", function()
  it("tells of each known bug of Lua, and no crash reaches rules", function()
    local seen = {}
    for _, canary in ipairs(script.canaries()) do
      seen[canary.name] = canary
      assert.truthy(canary.fix:find "^%x%x%x%x%x%x%x%x$")
      assert.truthy(("ok affected crashed"):find(canary.plain, 1, true), canary.name)
      assert.truthy(("ok affected"):find(canary.rules, 1, true), canary.name)
    end
    for _, name in ipairs { "concat", "close chain", "gmatch again", "weak tables", "constants" } do
      assert.equal("ok", seen[name].rules, name)
    end
  end)

  it("agrees with what this Lua does right here", function()
    local parts = { "local t = {" }
    for n = 1, 300 do parts[#parts + 1] = n .. ".5," end
    parts[#parts + 1] = "} return 1 ~ (2 or 3)"
    local right = load(table.concat(parts))() == 3
    for _, canary in ipairs(script.canaries()) do
      local is_it = canary.name == "constants"
      if is_it then assert.equal(right and "ok" or "affected", canary.plain) end
    end
  end)
end)
