-- The contract in core/script/pattern.h: what Lua's own functions give, and bounds.
local pattern = require("coretest").script.pattern

--- Dice with a seed: a failure comes again.
local function dice(seed)
  local state = seed
  return function(n)
    state = state ~ (state << 13)
    state = state ~ (state >> 7)
    state = state ~ (state << 17)
    return (state >> 11) % n + 1
  end
end

local ATOMS = { "a", "b", "ab", ".", "%a", "%d", "%s", "%w", "%p", "%S", "%A", "%x", "%u", "%z",
  "%%", "%.", "[ab]", "[^a]", "[a-c]", "[%a_]", "[]]", "[^]]", "[a-]", "[-a]", "[%-x]", "[%w%s]",
  "[+-/]", "[^%d]", "%b()", "%bab", "%f[%w]", "%f[^a]", "()", "%1", "%2", "\0", "\xe4", "-", "1",
  "é", "^", "$", "%0" }
local BROKEN = { "[", "[^", "[a", "%", "%b", "%bx", "%f", "%fa", "(", ")", "(()", "[%", "[a-%",
  "%9", "[]", "[^]", "*", "+", "?" }
local SUFFIXES = { "", "", "", "*", "+", "-", "?" }
local LETTERS = { "a", "b", "c", "ab", "(", ")", " ", "1", "_", "\0", "\xe4", ".", "-", "]", "é",
  "%", "^", "$", "A", "\n" }

local function make_pattern(roll)
  local out = { roll(6) == 1 and "^" or "" }
  for _ = 1, roll(5) do
    local atom = ATOMS[roll(#ATOMS)]
    if roll(40) == 1 then atom = BROKEN[roll(#BROKEN)] end
    atom = atom .. SUFFIXES[roll(#SUFFIXES)]
    if roll(5) == 1 then atom = "(" .. atom .. ")" end
    out[#out + 1] = atom
  end
  if roll(6) == 1 then out[#out + 1] = "$" end
  return table.concat(out)
end

local function make_text(roll)
  local out = {}
  for i = 1, roll(14) - 1 do out[i] = LETTERS[roll(#LETTERS)] end
  return table.concat(out)
end

--- What a call gave, or how it failed, in one string. Lua knows its own functions by name.
local function outcome(call, ...)
  local got = table.pack(pcall(call, ...))
  if not got[1] then got[2] = got[2]:gsub("to '[%a.?]+'", "to it") end
  for i = 1, got.n do
    if math.type(got[i]) ~= "integer" then got[i] = ("%q"):format(got[i]) end
  end
  return table.concat(got, " ", 1, got.n)
end

local function walked(library, ...)
  local out = {}
  for a, b, c in library.gmatch(...) do
    out[#out + 1] = ("%s|%s|%s"):format(a, b, c)
    if #out > 40 then break end
  end
  return table.concat(out, ";")
end

local REPLACEMENTS = {
  "", "x", "<%0>", "%1", "%2", "%%", "%", "%x", 7, { a = "A", b = false, ab = 3, [""] = "-" },
  { a = {} },
  function(a, b) if a == "a" then return nil end return tostring(b) .. "!" end,
  function() return false end,
}

describe("script/pattern", function()
  local function compare(name, ...)
    local theirs, ours = outcome(string[name], ...), outcome(pattern[name], ...)
    if theirs ~= ours then
      local given = table.pack(...)
      for i = 1, given.n do
        local quoted = type(given[i]) == "string" and ("%q"):format(given[i])
        given[i] = quoted or tostring(given[i])
      end
      local call = ("%s(%s)"):format(name, table.concat(given, ", "))
      error(("%s\n  Lua:  %s\n  ours: %s"):format(call, theirs, ours))
    end
  end

  it("finds and matches what Lua does, 20,000 random patterns long", function()
    local roll, hits = dice(0x5eed), 0
    for _ = 1, 20000 do
      local p, s = make_pattern(roll), make_text(roll)
      local start = roll(3) == 1 and roll(30) - 15 or nil
      compare("find", s, p, start)
      compare("match", s, p, start)
      if pcall(string.find, s, p) and string.find(s, p) then hits = hits + 1 end
    end
    assert.is_true(hits > 4000 and hits < 19000) -- the dice are worth throwing
  end)

  it("walks what Lua walks, 10,000 random patterns long", function()
    local roll = dice(0xcafe)
    for _ = 1, 10000 do
      local p, s = make_pattern(roll), make_text(roll)
      local start = roll(3) == 1 and roll(30) - 15 or nil
      local theirs = outcome(walked, string, s, p, start)
      assert.equal(theirs, outcome(walked, pattern, s, p, start), ("gmatch(%q, %q)"):format(s, p))
    end
  end)

  it("replaces what Lua replaces, 15,000 random patterns long", function()
    local roll = dice(0xbeef)
    for _ = 1, 15000 do
      local p, s = make_pattern(roll), make_text(roll)
      compare("gsub", s, p, REPLACEMENTS[roll(#REPLACEMENTS)], roll(4) == 1 and roll(4) - 2 or nil)
    end
  end)

  it("finds plain text as Lua does", function()
    local roll = dice(0xf00d)
    for _ = 1, 3000 do
      compare("find", make_text(roll), make_text(roll), roll(20) - 10, true)
    end
    compare("find", "", "", 1, true)
    compare("find", "abc", "", 4)
    compare("find", "abc", "", 5)
    compare("find", ("x"):rep(600) .. "y", ("x"):rep(600)) -- no pattern, so no limit
  end)

  it("refuses what Lua refuses, in the same words", function()
    for _, p in ipairs(BROKEN) do
      for _, s in ipairs { "", "a", "(a)", "xa%" } do
        compare("find", s, p)
        compare("gsub", s, p .. "a", "")
      end
    end
    compare("gsub", "a", "a", true)
    compare("gsub", "a")
    compare("match", {}, "a")
    compare("find", "a", ("("):rep(33))
    compare("gsub", "a", "a", "%2")
    compare("gsub", "a", "(a", "%1")
    compare("gsub", "a", "a", function() return {} end)
    compare("find", ("a"):rep(300), ("a?"):rep(210))
    compare("find", ("a"):rep(300), ("a?"):rep(199))
    compare("find", ("a"):rep(300), ("a?"):rep(200))
    compare("find", 12345, 34)
    compare("gsub", "abc", "%w", "%0%0", 2)
  end)

  it("stops a match that backtracks for ever", function()
    for _, p in ipairs { ("a-"):rep(9) .. "b", ("a*"):rep(12) .. "b", ("(a?)"):rep(28) .. "b",
      ("x*"):rep(8) .. "%1" } do
      local done, why = pcall(pattern.find, ("a"):rep(60), p)
      assert.is_false(done)
      assert.truthy(why:find("too complex", 1, true) or why:find("invalid capture", 1, true), why)
    end
    local text, bad = ("a"):rep(60), ("a-"):rep(9) .. "b"
    assert.has_error(function() pattern.gsub(text, bad, "") end)
    assert.has_error(function() pattern.gmatch(text, bad)() end)
  end)

  it("walks a long text once, however long", function()
    local text = ("word "):rep(200000)
    assert.equal(1000001, (pattern.find(text .. "!", "!")))
    assert.equal(200000, select(2, pattern.gsub(text, "%w+", "")))
    assert.is_nil(pattern.match(text, "%d+"))
  end)

  it("refuses a pattern over 512 bytes", function()
    assert.equal(1, (pattern.find(("a"):rep(600), ("a"):rep(511) .. ".")))
    assert.has_error(function() pattern.find(("a"):rep(600), ("a"):rep(512) .. ".") end,
      "a pattern of 513 bytes is too long: 512 is the most")
  end)

  it("can use a gmatch again after it failed", function()
    local each = pattern.gmatch(("a"):rep(3000), ("a?"):rep(250))
    for _ = 1, 5 do assert.is_false((pcall(each))) end
  end)
end)
