-- core/rules/rulepack.h, unit.h, shape.h: from files to units, and what is wrong with files.
local rules = require "spec.support.rules"

describe("rules/rulepack", function()
  local r
  before_each(function() r = rules.new() end)
  after_each(function() r:close() end)

  local empty = "return { aggregate = %q, on = { A = function() end } }"
  local function aggregate(name) return empty:format(name) end

  describe("files", function()
    it("are units, but for those in lib/, specs, and what is no Lua", function()
      local report = r:load {
        ["account.lua"] = rules.account, ["lib/money.lua"] = "return {}",
        ["account_spec.lua"] = "this is no Lua", ["README.md"] = "# rules",
          ["sales/order.lua"] = aggregate "order",
      }
      assert.same({ "aggregate/account", "aggregate/order" },
        { report.units[1].unit, report.units[2].unit })
      assert.same({ "account.lua", "sales/order.lua" },
        { report.units[1].file, report.units[2].file })
      assert.match("^%x%x%x%x%x%x%x%x%x%x%x%x$", report.hash)
      assert.match("^%x%x%x%x%x%x%x%x%x%x%x%x$", report.units[1].hash)
    end)

    it("have plain names", function()
      for _, name in ipairs { "../x.lua", "/x.lua", "a/../x.lua", "a//.lua", ".x.lua", "a b.lua",
        "é.lua", ("x"):rep(300) .. ".lua" } do
        local report, found = r:stage { [name] = aggregate "x" }
        assert.is_false(report.ok, name)
        assert.equal("SHAPE", found.code)
        assert.match("^a file's name", found.message)
      end
    end)

    it("are 256 at most", function()
      local files = {}
      for n = 1, 256 do files["lib/f" .. n .. ".lua"] = "return {}" end
      assert.is_true(r:stage(files).ok)
      files["lib/more.lua"] = "return {}"
      local report, found = r:stage(files)
      assert.is_false(report.ok)
      assert.match("over 256 files", found.message)
    end)

    it("may be none, which is a pack without rules", function()
      assert.same({}, r:load({}).units)
    end)
  end)

  describe("what a file returns", function()
    local function refused(source, code, pattern, line)
      local report, found = r:stage(source)
      assert.is_false(report.ok)
      assert.equal(code, found.code)
      assert.match(pattern, found.message)
      if line then assert.equal(line, found.line) end
      assert.equal("unit.lua", found.file)
      return found
    end

    it("is one table of a known kind", function()
      refused("return 5", "SHAPE", "^number is what the file returns")
      refused("", "SHAPE", "^nil is what the file returns")
      refused("return { on = {} }", "SHAPE", "key aggregate, upcast, projection or reactor")
      refused("return { agregate = 'x' }", "SHAPE", 'did you mean "aggregate"')
      refused("return { aggregate = 'x', projection = 'y' }", "SHAPE",
        "projection and another kind")
    end)

    it("has no keys that are not known; the line is named", function()
      local found = refused("return {\n  aggregate = 'x',\n  on = { A = function() end },\n  "
        .. "comands = {},\n}", "SHAPE",
        'aggregate: unknown key "comands" %(did you mean "commands"%?%)', 4)
      assert.equal("comands = {},", found.source)
      refused("return { aggregate = 'x', on = { A = function() end }, snapshot = { evry = 5 } }",
        "SHAPE",
        'snapshot: unknown key "evry" %(did you mean "every"')
      refused("return { aggregate = 'x', on = { A = function() end }, [1] = 5 }", "SHAPE",
        "keys are names")
      refused("return { projection = 'x', on = { A = function() end }, rows = {} }", "SHAPE",
        'did you mean "row"')
      refused("return { reactor = 'x', on = { A = function() end }, correlated = 'stream' }",
        "SHAPE", 'did you mean "correlate"')
    end)

    it("has handlers that are functions", function()
      refused("return { aggregate = 'x', on = 5 }", "SHAPE", "on must be a table of functions")
      refused("return { aggregate = 'x' }", "SHAPE", "on is missing")
      refused("return { aggregate = 'x', on = {} }", "SHAPE", "on is missing")
      refused("return {\n aggregate = 'x',\n on = {\n A = 5 } }", "SHAPE",
        '"A" in on must be a function, not a number', 4)
      refused("return { aggregate = 'x', on = { function() end } }", "SHAPE", "key that is no name")
      refused("return { aggregate = 'x', on = { A = function() end }, commands = { a = 'b' } }",
        "SHAPE",
        '"a" in commands must be a function')
    end)

    it("has a name that can be a category, a state with names, and a policy", function()
      refused("return { aggregate = 5, on = { A = function() end } }", "SHAPE",
        "aggregate must be a string")
      for _, name in ipairs { "", "a-b", "$x", "a/b", "a b", ("x"):rep(81) } do
        refused(aggregate(name), "SHAPE", "aggregate must be a name")
      end
      assert.is_true(r:stage(aggregate "Fahrräder.2_x").ok)
      refused("return { aggregate = 'x', on = { A = function() end }, initial = 5 }", "SHAPE",
        "initial must be a table")
      refused("return { aggregate = 'x', on = { A = function() end }, initial = { 1 } }", "SHAPE",
        "initial is a list")
      refused("return { aggregate = 'x', on = { A = function() end }, initial = { f = print } }",
        "RAISED", "print")
      refused("return { aggregate = 'x', on = { A = function() end }, initial = { f = pairs } }",
        "SHAPE",
        "initial%.f is a function")
      refused("return { aggregate = 'x', on = { A = function() end }, snapshot = 5 }", "SHAPE",
        "snapshot must be a table")
      refused("return { aggregate = 'x', on = { A = function() end }, snapshot = { every = 1 } }",
        "SHAPE", "every must be from 10")
      refused("return { aggregate = 'x', on = { A = function() end }, snapshot = {} }", "SHAPE",
        "every is missing")
    end)

    it("comes from text that Lua can compile and run", function()
      refused("return {\n\n x = = }", "COMPILE", "unexpected symbol", 3)
      refused("local x\nreturn x.y", "RAISED", "attempt to index a nil value", 2)
      refused("while true do end", "OVERSTAY", "longer than it may")
      refused("return require 'lib.none'", "RAISED", "lib.none")
      refused("\27Lua", "COMPILE", ".")
    end)

    it("is a projection or a reactor too, which is listed", function()
      local report = r:load {
        ["a.lua"] = "return { projection = 'balances', from = {category = 'a'}, key = 'stream', "
          .. "row = {}, on = { A = function() end } }",
        ["b.lua"] = "return { reactor = 'payment', correlate = 'stream', initial = {}, on = { "
          .. "['@unpaid'] = function() end } }",
      }
      assert.same({ "projection/balances", "reactor/payment" },
        { report.units[1].unit, report.units[2].unit })
      assert.equal(1, #report.diagnostics) -- of the reactor
      local found = report.diagnostics[1]
      assert.same({ "LATER", "warning", "b.lua" }, { found.code, found.severity, found.file })
    end)

    it("has a name that no other unit of its kind has", function()
      local report, found = r:stage { ["a.lua"] = aggregate "x", ["b.lua"] = aggregate "x" }
      assert.is_false(report.ok)
      assert.equal("aggregate/x is in a.lua too; give one of them another name", found.message)
      report = r:stage {
        ["a.lua"] = "return { upcast = 'A', latest = 2, [1] = { drop = { 'x' } } }",
        ["b.lua"] = "return { upcast = 'A', latest = 2, [1] = { drop = { 'y' } } }",
      }
      assert.is_false(report.ok)
    end)

    it("is said of all files at once", function()
      local report = r:stage { ["a.lua"] = "return 5", ["b.lua"] = "return {",
        ["c.lua"] = aggregate "c" }
      assert.equal(2, #report.diagnostics)
      assert.is_false(report.ok)
    end)
  end)

  describe("the hash of a unit", function()
    local files
    before_each(function()
      files = {
        ["account.lua"] = "local money = require 'lib.money'\nreturn { aggregate = 'account', on = "
          .. "{ Deposited = function(s, d) money.add(s, d) end } }",
        ["other.lua"] = aggregate "other",
        ["lib/money.lua"] = "local units = require 'lib.units'\nreturn { add = function(s, d) s.n "
          .. "= d.amount * units.one end }",
        ["lib/units.lua"] = "return { one = 1 }",
        ["lib/unused.lua"] = "return {}",
        ["deposited.lua"] = "return { upcast = 'Deposited', latest = 2, [1] = { rename = { sum = "
          .. "'amount' } } }",
        ["unknown.lua"] = "return { upcast = 'Unknown', latest = 2, [1] = { rename = { sum = "
          .. "'amount' } } }",
      }
      r:load(files)
    end)

    -- The units whose hash is another when `path` is.
    local function changed(path)
      local edited = {}
      for name, source in pairs(files) do edited[name] = source end
      edited[path] = files[path] .. "\n"
      local names = {}
      for _, unit in ipairs(r:stage(edited).units) do
        assert.is_true(unit.status == "same" or unit.status == "changed")
        if unit.status == "changed" then names[#names + 1] = unit.unit end
      end
      return names
    end

    it("is that of the file, what it requires, and the upcasters of its types", function()
      assert.same({ "aggregate/account" }, changed "account.lua")
      assert.same({ "aggregate/other" }, changed "other.lua")
      assert.same({ "aggregate/account" }, changed "lib/money.lua")
      assert.same({ "aggregate/account" }, changed "lib/units.lua")
      assert.same({}, changed "lib/unused.lua")
      assert.same({ "aggregate/account", "upcast/Deposited" }, changed "deposited.lua")
      assert.same({ "upcast/Unknown" }, changed "unknown.lua")
    end)

    it("does not depend on the other files, or on their order", function()
      local one = r:stage({ ["other.lua"] = files["other.lua"] }).units[1].hash
      for _, unit in ipairs(r:stage(files).units) do
        if unit.unit == "aggregate/other" then assert.equal(one, unit.hash) end
      end
    end)

    it("is said with new, changed and same", function()
      local report = r:stage { ["other.lua"] = files["other.lua"], ["new.lua"] = aggregate "new" }
      assert.same({ "new", "same" }, { report.units[1].status, report.units[2].status })
    end)
  end)

  it("upcasts types that events can have", function()
    for _, type in ipairs { [[\xff]], [[a\0b]], [[a\nb]], "" } do
      local report, found = r:stage { ["x.lua"] =
        ("return { upcast = '%s', latest = 2, [1] = { drop = { 'a' } } }"):format(type) }
      assert.is_false(report.ok)
      assert.match("^upcast: upcast must be the type of an event", found.message)
    end
  end)
end)
