-- core/rules/lint.h: mistakes that show before a rule runs.
local rules = require "spec.support.rules"

describe("rules/lint", function()
  local r
  before_each(function() r = rules.new() end)
  after_each(function() r:close() end)

  local function finds(source, code, severity, pattern, line)
    local report, found = r:stage(source, code)
    assert.is_truthy(found, "nothing was found")
    assert.equal(severity, found.severity)
    assert.match(pattern, found.message)
    if line then assert.equal(line, found.line) end
    assert.equal(severity == "warning", report.ok)
    return found
  end

  local function finds_nothing(source)
    local report = r:stage(source)
    assert.same({}, report.diagnostics)
    assert.is_true(report.ok)
  end

  local frame = "%s\nreturn { aggregate = 'thing', on = { A = function(s, d)\n%s\nend } }"

  it("finds nothing in what is right", function()
    finds_nothing(rules.account)
    finds_nothing(frame:format("local function f(s) local n = 0 local function g() n = n + 1 end "
      .. "g() s.n = n end", "f(s)"))
    finds_nothing(frame:format("local t = {} for n = 1, 5 do t[n] = n * n end\nlocal n = 0\nn = n "
      .. "+ 1", "s.n = t[2] + n"))
    finds_nothing(frame:format("limit = 5", "s.n = limit"))
  end)

  it("finds globals that nobody declares, in code that is never run too", function()
    finds(frame:format("", "if false then x = 1 end"), "GLOBAL", "error", "undeclared global 'x'",
      3)
    finds(frame:format("", "s.n = os.time()"), "GLOBAL", "error",
      "there is no 'os' in rules: rules see no clock", 3)
    finds(frame:format("", "s.n = amout"), "GLOBAL", "error", "undeclared global 'amout'", 3)
    finds(frame:format("local function never() return os.time() end", "s.n = never and 1"),
      "GLOBAL", "error", "'os'", 1)
    finds({ ["unit.lua"] = frame:format("local l = require 'lib.l'", "s.n = l.f"),
      ["lib/l.lua"] = "return { f = function()\n return nothing end }" },
      "GLOBAL", "error", "'nothing'", 2)
  end)

  it("says each once", function()
    assert.equal(1, #r:stage(frame:format("", "s.n = x + x + x")).diagnostics)
  end)

  it("finds variables that outlive a call and are set by a handler", function()
    finds(frame:format("local n = 0", "n = n + 1 s.n = n"), "UPVALUE", "error", "the variable 'n'",
      3)
    finds(frame:format("local n = 0\nlocal function count() n = n + 1 return n end",
      "s.n = count()"), "UPVALUE", "error", "'n'", 2)
    finds(frame:format("count = 0", "count = count + 1 s.n = count"), "UPVALUE", "error",
      "'count'", 3)
    finds("local function counter() local n = 0 return function(s) n = n + 1 s.n = n end end\n"
      .. "return { aggregate = 'thing', on = { A = counter() } }", "UPVALUE", "error", "'n'", 1)
    finds(frame:format("local n = 0", "local function inner() n = n + 1 end inner() s.n = n"),
      "UPVALUE", "error", "'n'", 3)
  end)

  it("finds them in commands", function()
    finds(rules.file("", { before = "local last", act = "last = c" }), "UPVALUE", "error", "'last'")
  end)

  it("warns of tables that outlive a call and are written to", function()
    finds(frame:format("local seen = {}", "seen[d.id] = true s.n = seen[d.id]"), "UPVALUE",
      "warning", "the table 'seen'", 3)
    finds(frame:format("local seen = {}", "seen.n = 1"), "UPVALUE", "warning", "'seen'", 3)
    finds(frame:format("local seen = { sub = {} }", "local t = seen.sub t[1] = 5"), "UPVALUE",
      "warning", "'seen'", 3)
    finds(frame:format("seen = {}", "seen[1] = 1"), "UPVALUE", "warning", "'seen'", 3)
    finds({ ["unit.lua"] = frame:format("local l = require 'lib.l'", "l.add()"),
      ["lib/l.lua"] = "local n = 0\nreturn { add = function() n = n + 1 end }" }, "UPVALUE",
        "warning", "'n'", 2)
    finds(frame:format("total = 0\nfunction add() total = total + 1 end", "add()"), "UPVALUE",
      "warning", "'total'", 2)
  end)

  it("warns of functions with more constants than Lua 5.4.4 can count", function()
    local many = {}
    for n = 1, 260 do many[n] = ("s.f%d = 1"):format(n) end
    finds(frame:format("", table.concat(many, "\n")), "CONSTANTS", "warning", "over 250 constants",
      2)
    finds_nothing(frame:format("", table.concat(many, "\n", 1, 240)))
  end)

  it("does not stop at a few", function()
    local many = {}
    for n = 1, 500 do many[n] = ("s.n = global%d"):format(n) end
    local report = r:stage(frame:format("", table.concat(many, "\n", 1, 200)))
    assert.is_true(#report.diagnostics >= 60 and #report.diagnostics <= 70)
  end)

  it("finds the line in files of many lines", function()
    local lines = ("s.x = 1\n"):rep(200) .. "if d.y then\n s.z = missing\nend\n"
      .. ("s.x = 1\n"):rep(300)
    finds(frame:format("", lines), "GLOBAL", "error", "'missing'", 2 + 200 + 2)
    finds(frame:format(("\n"):rep(400), "\n\ns.n = missing"), "GLOBAL", "error", "'missing'",
      400 + 5)
  end)

  it("hides no error behind warnings", function()
    local many = { "local t = {}" }
    for n = 1, 80 do many[n + 1] = ("t[%d] = s.n"):format(n) end
    local source = frame:format("local t, n = {}, 0", table.concat(many, "\n", 2)
      .. "\nn = n + 1")
    local report, found = r:stage(source)
    assert.is_false(report.ok)
    local errors = 0
    for _, each in ipairs(report.diagnostics) do
      if each.severity == "error" then
        errors, found = errors + 1, each
      end
    end
    assert.equal(1, errors)
    assert.match("the variable 'n'", found.message)
  end)

  it("hides no error of one unit behind another's warning", function()
    local lib = "local n = 0\nreturn { add = function() n = n + 1 return n end }"
    local report = r:stage {
      ["a.lua"] = "local l = require 'lib.l'\nreturn { aggregate = 'a', on = { A = function() "
        .. "l.add() end } }",
      ["b.lua"] = "local add = require 'lib.l'.add\nreturn { aggregate = 'b', on = { "
        .. "A = function() add() end } }",
      ["lib/l.lua"] = lib,
    }
    assert.is_false(report.ok)
  end)
end)
