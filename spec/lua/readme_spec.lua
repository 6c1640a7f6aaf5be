-- Every block of lua/README.md runs, as one program, and prints what it says it prints.
local tmpdir = require "spec.support.tmpdir"

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

describe("lua/README.md", function()
  it("does what it says", function()
    local source, promised, printed = {}, {}, {}
    for block in slurp("lua/README.md"):gmatch "\n```lua\n(.-)\n```" do
      source[#source + 1] = block
      for text in (block .. "\n"):gmatch "%-%-> (.-)\n" do promised[#promised + 1] = text end
    end
    assert.is_true(#source >= 8)

    local dir = tmpdir.new()
    local program = table.concat(source, "\n"):gsub('"%./(%w+)"', '"' .. dir .. '/%1"')
    local env = setmetatable({
      print = function(...)
        local words = table.pack(...)
        for i = 1, words.n do words[i] = tostring(words[i]) end
        printed[#printed + 1] = table.concat(words, "\t")
      end,
    }, { __index = _G })
    assert(load(program, "@lua/README.md", "t", env))()
    assert.same(promised, printed)
  end)
end)
