-- lua/moonlog/meta: what editors are told are the words that there are.
local moonlog = require "moonlog"
local program = require "spec.support.program"
local rules = require "spec.support.rules"

local function slurp(name) return program.slurp("lua/moonlog/meta/" .. name .. ".lua") end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- Functions and values that a page gives a table: name.word.
local function words_of(page, name)
  local set = {}
  for word in page:gmatch("\nfunction " .. name .. "[.:]([%w_]+)%(") do set[word] = true end
  for word in page:gmatch("\n" .. name .. "%.([%w_]+) =") do set[word] = true end
  return sorted(set)
end

--- Named fields of a class.
local function fields_of(page, class)
  local set = {}
  local body = page:match("\n%-%-%-@class " .. class:gsub("%p", "%%%0") .. "\n(.-)\n\n")
    or page:match("\n%-%-%-@class " .. class:gsub("%p", "%%%0") .. "\n(.-)\n$")
  for word in ("\n" .. body):gmatch "\n%-%-%-@field ([%a_][%w_]*)" do set[word] = true end
  return sorted(set)
end

--- The names of a list in the source that checks them.
local function names_in(file, name)
  local set = {}
  local body = program.slurp(file):match(name .. "%[%] = {(.-)NULL")
  for word in body:gmatch '"([^"]+)"' do set[word] = true end
  return sorted(set)
end

describe("lua/moonlog/meta", function()
  it("has every word of the module, and no other", function()
    local set = {}
    for name in pairs(moonlog) do set[name] = true end
    assert.same(sorted(set), words_of(slurp "moonlog", "moonlog"))
  end)

  it("says of the words that rules have that they are theirs", function()
    local r = rules.new()
    r:load(rules.file("", { act = [[
      local words = {}
      for name in pairs(moonlog) do words[#words + 1] = name end
      return moonlog.event("Happened", { words = words })]] }))
    local decided = assert(r:act("thing", "a", "act"))
    r:close()
    local page = slurp("moonlog"):match "^(.-)\n%-%- %-%-%-%- programs"
    local theirs = words_of(page, "moonlog")
    local words = {}
    for _, name in ipairs(decided.events[1].data.words) do words[#words + 1] = name end
    assert.same(words, theirs)
  end)

  it("has the fields of an aggregate, an upcaster and its steps", function()
    local page = slurp "rules"
    assert.same(names_in("core/rules/shape.c", "aggregate_keys"),
      fields_of(page, "moonlog.Aggregate"))
    assert.same(names_in("core/rules/shape.c", "snapshot_keys"),
      fields_of(page, "moonlog.Snapshot"))
    assert.same(names_in("core/rules/upcast_chain.c", "words"), fields_of(page, "moonlog.Upcaster"))
    assert.same(names_in("core/rules/upcast_chain.c", "part_names"),
      fields_of(page, "moonlog.Step"))
  end)

  it("has the fields of a projection, and of what stands in it", function()
    local page, source = slurp "rules", "core/rules/shape_projection.c"
    assert.same(names_in(source, "keys"), fields_of(page, "moonlog.Projection"))
    assert.same(names_in(source, "from_keys"), fields_of(page, "moonlog.From"))
    assert.same(names_in(source, "sql_keys"), fields_of(page, "moonlog.Sql"))
  end)

  it("has the fields of an event and of ctx", function()
    local page = slurp "rules"
    assert.same(names_in("core/script/envelope.c", "names"), fields_of(page, "moonlog.Event"))
    assert.same(names_in("core/rules/decide.c", "known"), fields_of(page, "moonlog.Ctx"))
  end)

  it("has the words of specs", function()
    local t = require "moonlog.testing"
    local page = slurp "testing"
    assert.same(sorted(t), words_of(page, "testing"))
    local aggregate = t.aggregate "../../examples/bank/rules/account.lua"
    assert.same(sorted(getmetatable(aggregate).__index), words_of(page, "aggregate"))
    local upcaster = t.upcaster "../../examples/bank/rules/upcast_opened.lua"
    assert.same(sorted(getmetatable(upcaster).__index), words_of(page, "upcaster"))
    local projection = t.projection "../../examples/bank/rules/balances.lua"
    assert.same(sorted(getmetatable(projection).__index), words_of(page, "projection"))
    local pack = t.pack "../../examples/bank/rules"
    assert.same(sorted(pack), fields_of(page, "moonlog.testing.Pack"))
  end)

  it("is loaded by nobody, and is Lua all the same", function()
    for _, name in ipairs { "moonlog", "rules", "testing" } do
      assert(load(slurp(name), name, "t"))
      assert.match("^%-%-%-@meta", slurp(name))
    end
  end)
end)
