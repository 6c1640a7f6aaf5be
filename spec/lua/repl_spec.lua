-- lua/moonlog/repl: how values look, how errors are told, what is completed, and the session
-- around them, on a real daemon.
local complete = require "moonlog.repl.complete"
local daemon = require "spec.support.daemon"
local fault = require "moonlog.repl.fault"
local m = require "moonlog"
local program = require "spec.support.program"
local repl = require "moonlog.repl"
local rules = require "spec.support.rules"
local show = require "moonlog.repl.show"

describe("repl: values", function()
  local function shown(value, options) return show.value(value, options) end

  it("are Lua, on one line if they fit", function()
    assert.equal("nil", shown(nil))
    assert.equal("true", shown(true))
    assert.equal("3", shown(3))
    assert.equal("3.0", shown(3.0))
    assert.equal("0.1", shown(0.1))
    assert.equal("nan", shown(0 / 0))
    assert.equal("-inf", shown(-1 / 0))
    assert.equal("-9223372036854775808", shown(math.mininteger))
    assert.equal('"a\\n\\"\\\\\\x1b[0m"', shown 'a\n"\\\27[0m')
    assert.equal('"äö"', shown "äö")
    assert.equal('"\\xff"', shown "\xff")
    assert.equal("{}", shown {})
    assert.equal("null", shown(m.null))
    assert.equal('bytes "01ff"', shown(m.bytes "\1\255"))
    assert.equal("<function in C>", shown(print))
    assert.truthy(shown(shown):match "^<function .*repl_spec.lua:%d+>$")
    assert.equal("<coroutine>", shown(coroutine.create(print)))
  end)

  it("have their keys sorted: the list, other numbers, names, the rest", function()
    assert.equal('{ 1, 2, [-1] = 0, [1.5] = 4, a = 1, ["c d"] = 3, ["end"] = 5, [true] = 6 }',
      shown { 1, 2, [-1] = 0, [1.5] = 4, ["end"] = 5, a = 1, ["c d"] = 3, [true] = 6 })
  end)

  it("go over several lines if they must", function()
    assert.equal('{\n  a = {\n    "12345",\n    "12345"\n  },\n  b = { 1 }\n}',
      shown({ a = { "12345", "12345" }, b = { 1 } }, { width = 20 }))
  end)

  it("are bounded in depth, in items, in text, and in a circle", function()
    assert.equal("{ { {…} } }", shown({ { { { 1 } } } }, { depth = 2 }))
    assert.equal("{ { {} } }", shown({ { {} } }, { depth = 2 }))
    local many = {}
    for i = 1, 150 do many[i] = i end
    assert.truthy(shown(many):find("  100,\n  … 50 more\n}", 1, true))
    assert.truthy(#shown(("x"):rep(10000)) < 2100)
    assert.truthy(shown(("x"):rep(10000)):find("… 10000 bytes", 1, true))
    local a = { name = "a" }
    a.b = { a = a }
    a.again = a.b
    assert.equal('{ again = { a = <cycle> }, b = { a = <cycle> }, name = "a" }', shown(a))
    local wide = {}
    for i = 1, 100 do
      wide[i] = {}
      for j = 1, 100 do wide[i][j] = { j, { j }, { j } } end
    end
    assert.truthy(#shown(wide) < 150000)
  end)

  it("are looked at raw: no metamethod runs", function()
    local trap = setmetatable({ 1 }, { __index = error, __pairs = error, __len = error,
      __tostring = error, __name = error })
    assert.equal("{ 1 }", shown(trap))
    assert.equal("{ t = { 1 } }", shown { t = trap })
  end)

  it("have dates where they are times", function()
    assert.equal("{ n = 1795268446000000, time = 1795268446000000 (2026-11-21T13:40:46.000000Z) }",
      shown { time = 1795268446000000, n = 1795268446000000 })
    assert.equal("{ occurred = 7 }", shown { occurred = 7 })
  end)

  it("are events one a line, cut at the width where that is asked", function()
    local event = { position = 7, revision = 0, time = 1795268446000000, stream = "a-1",
      type = "Told\27", data = { n = 1 }, tags = { "vip" } }
    local line = "#7  2026-11-21T13:40:46.000000Z  a-1@0  Told\\x1b  { n = 1 }  [vip]"
    assert.equal(line .. "\n" .. line, shown { event, event })
    assert.equal("#7  2026-11-21T13:40:46.…", shown({ event }, { cut = true, width = 25 }))
    assert.truthy(shown { event, 1 }:find "position = 7")
  end)
end)

describe("repl: errors", function()
  local function source(text) return function() return text end end

  it("show the line they speak of, with a caret under what they name", function()
    assert.equal("repl:3: unexpected symbol near '*'\n  3 | 1 +* 2\n    |    ^",
      fault.text("repl:3: unexpected symbol near '*'", source "1 +* 2"))
    assert.equal("repl:1: attempt to index a nil value (field 'b')\n  1 | \ta.b.c()\n    | \t  ^",
      fault.text("repl:1: attempt to index a nil value (field 'b')", source "\ta.b.c()"))
    assert.equal("SCRIPT_ERROR: x.lua:1: it broke\n  1 |   f()\n    |   ^",
      fault.text("SCRIPT_ERROR: x.lua:1: it broke", source "  f()"))
    assert.equal("repl:1: 'end' expected near <eof>\n  1 | do\n    |   ^",
      fault.text("repl:1: 'end' expected near <eof>", source "do"))
  end)

  it("are as they are without one", function()
    for _, text in ipairs { "NOT_FOUND: there is no stream a", "repl:9: gone", "12:30: x", "" } do
      assert.equal(text, fault.text(text, source(nil)))
    end
  end)

  it("find the line in the file that they name", function()
    assert.truthy(fault.text("spec/lua/repl_spec.lua:1: x", source(nil)):find(
      "\n  1 | -- lua/moonlog/repl: how values look", 1, true))
  end)

  it("guess at names, if they are near", function()
    local names = { "read", "state", "streams" }
    assert.equal("read", fault.nearest("raed", names))
    assert.equal("state", fault.nearest("sate", names))
    assert.is_nil(fault.nearest("xyzzy", names))
    assert.is_nil(fault.nearest("", names))
    assert.is_nil(fault.nearest(("x"):rep(10000), names))
  end)
end)

describe("repl: a session", function()
  local server, connection, session
  setup(function()
    server = daemon.start()
    connection = assert(m.connect(server.uri))
    assert(connection:append("account-ada", { type = "AccountOpened", data = { owner = "Ada" } }))
    assert(connection:append("account-ann", { type = "AccountOpened", data = { owner = "Ann" } }))
    assert(connection:append("order-1", { type = "Opened", tags = { "x" } }))
    local files = { ["account.lua"] = rules.account }
    local report = assert(connection:call("rules.load", { files = files }))
    assert.is_true(report.active)
  end)
  teardown(function()
    connection:close()
    assert.equal(0, (server:stop()))
  end)
  before_each(function()
    session = repl.new { connection = connection, name = "repl", terminal = true, width = 100,
      read_pack = function() return nil, "NOT_FOUND: no files here" end }
  end)

  local function said(line)
    local status, text = session:feed(line)
    assert.equal("done", status, text)
    return text
  end

  local function refused(line)
    local status, text = session:feed(line)
    assert.equal("failed", status)
    return text
  end

  it("tries an expression first, then a statement", function()
    assert.equal("3", said "1 + 2")
    assert.equal("3", said "= 1 + 2")
    assert.equal('1\n"two"\nnil', said '1, "two", nil')
    assert.is_nil(said "x = 4")
    assert.equal("4", said "x")
    assert.equal("nil", said "y")
    assert.is_nil(said "print()")
    assert.is_nil(said "   ")
  end)

  it("keeps results: the last, and nine before it", function()
    for i = 1, 12 do said(tostring(i)) end
    assert.equal("12", said "_")
    assert.equal("12\n12\n11\n4", said "_, _1, _2, _9")
    said "x = 1"
    said "nil"
    assert.equal("12", said "_")
  end)

  it("is done with a statement when it is whole", function()
    for _, line in ipairs { "f(", "{", "x = ", "1 +", "if x then", "function f()", "[[", "'a' ..",
      "= {", "--[[" } do
      assert.equal("more", (session:feed(line)), line)
      assert.equal("      -> ", session:prompt())
      session:cancel()
      assert.equal("moonlog> ", session:prompt())
    end
    assert.equal("more", (session:feed "x = {"))
    local status, text, statement = session:feed "1 }"
    assert.equal("done", status)
    assert.is_nil(text)
    assert.equal("x = {\n1 }", statement)
    assert.equal("more", (session:feed "x = {"))
    assert.equal("-- given up", said "")
    assert.equal("{ 1 }", said "x")
  end)

  it("counts the lines of all statements", function()
    session:feed "function f()"
    session:feed "  error 'here'"
    session:feed "end"
    said "1"
    assert.equal("repl:2: here\n  2 |   error 'here'\n    |   ^", refused "f()")
    assert.equal("repl:6: attempt to call a nil value (global 'raed'); did you mean read?\n" ..
      '  6 | raed "x"\n    | ^', refused 'raed "x"')
    assert.truthy(refused "error{ a = 1 }":find("{ a = 1 }", 1, true))
  end)

  it("tells mistakes in a word's arguments without its own files", function()
    assert.equal('read: the stream is named ""; say "$all" for all events', refused 'read ""')
    assert.equal('read: unknown key "limt"', refused 'read("a", { limt = 1 })')
    assert.truthy(refused 'account("ada").deposit{ amount = 1 }':find(
      "write a colon before deposit, as in (…):deposit{…}", 1, true))
    assert.truthy(refused "account()":find('account wants an id, as in account "ada"', 1, true))
  end)

  it("says how a word is written when something is missing, or is no table", function()
    local state = "BAD_REQUEST: write state(AGGREGATE, ID, {at=, as_of=})"
    for _, line in ipairs { "state()", "state 'account'", "state('account', nil, {})",
      "state('account', 'ada', 0)", "account 'ada':state(0)" } do
      assert.equal(state, refused(line), line)
    end
    assert.truthy(refused "read('$all', 3)":find("BAD_REQUEST: write read(STREAM, ", 1, true))
    assert.truthy(refused "append()":find("BAD_REQUEST: write append(STREAM, TYPE, ", 1, true))
    assert.truthy(refused "command('account', 'ada', 'open', 1)":find("write command(", 1, true))
    assert.truthy(refused "account('ada'):deposit(30)":find(
      'deposit takes a table, as in account "ada":deposit{…}', 1, true))
    assert.truthy(said "state('account', 'ada', nil)":find("revision 0", 1, true))
    assert.truthy(said "#read()":find "^%d+$")
  end)

  it("tails what is asked for, and nothing that is not understood", function()
    for _, line in ipairs { ".tail", ".tail on", ".tail $all", ".tail account-ada type=A tag=x" } do
      assert.truthy(said(line):find("as they come", 1, true), line)
    end
    assert.truthy(refused ".tail stream=a-1":find(
      ".tail knows no 'stream=a-1'; `.help tail`", 1, true))
    assert.truthy(refused ".tail a-1 b-1":find(".tail knows no 'b-1'", 1, true))
    assert.equal("no more", said ".tail off")
  end)

  it("says how to ask for what had happened, where nothing was recorded", function()
    assert.truthy(refused ".at 2001-01-01":find("state(AGGREGATE, ID, {as_of=TIME})", 1, true))
  end)

  it("tells nothing that plays with the terminal", function()
    for _, line in ipairs { 'head "a\27[31m\xc2\x9b31m"', 'error "a\27[31m\xc2\x9b31m"',
      'raed"\27\xc2\x9b"' } do
      assert.is_nil(refused(line):find "[\27\x9b]", line)
    end
    assert.equal('"\\x1b\\xc2\\x9b\\xff"', show.value "\27\xc2\x9b\xff")
    assert.equal('"\\u{9b}ä"', show.value "\xc2\x9bä")
  end)

  it("bounds a read that has no limit, and says so", function()
    local events = {}
    for i = 1, 600 do events[i] = { type = "N", data = i } end
    assert(connection:append("many", events))
    assert(connection:append("many", events))
    assert.equal("1000", said "#read 'many'")
    assert.truthy(said "read 'many'":find("-- the first 1000; ask for more with limit =", 1, true))
    assert.equal("1200", said "#read('many', { limit = 2000 })")
    assert.equal("7", said "#read('many', { limit = 7 })")
    assert.is_nil(said "read('many', { limit = 7 })":find "%-%- the first")
    assert.equal("-- no events", said "read 'nobody'")
    assert.equal("1", said "#read { query = { { tags = { 'x' } } } }")
  end)

  it("has one table of commands, and help on each", function()
    local all = said ".help"
    for _, command in ipairs(session.commands) do
      assert.truthy(all:find("\n  ." .. command.name, 1, true), command.name)
      assert.truthy(said(".help " .. command.name):find("." .. command.name, 1, true))
      assert.equal(command, session:find_command(command.name))
    end
    for line in all:gmatch "[^\n]+" do assert.truthy(utf8.len(line) <= 80, line) end
    assert.truthy(all:find("\n  read ", 1, true))
    assert.truthy(all:find('\n  account "ID"', 1, true))
    assert.truthy(said ".help read":find("read(STREAM", 1, true))
    assert.truthy(said ".help account":find("commands: open deposit withdraw", 1, true))
    assert.truthy(refused ".help raed":find("did you mean read?", 1, true))
    assert.truthy(refused ".hlp":find("there is no command .hlp; did you mean .help?", 1, true))
    assert.truthy(said ".h":find "commands")
    assert.truthy(refused ".state":find("write .state AGGREGATE ID [AT]", 1, true))
    assert.truthy(refused ".now now":find(".now stands alone", 1, true))
    assert.truthy(refused ".load":find("write .load DIR", 1, true))
    assert.truthy(refused ".reload":find("nothing was loaded yet", 1, true))
    assert.truthy(refused ".load x":find("NOT_FOUND: no files here", 1, true))
    assert.truthy(said ".rules":match "^aggregate/account +account.lua +%x+ +active$")
    assert.truthy(said ".state account ada":match '"Ada" }  %-%- revision 0, position 1$')
  end)

  it("leaves with .quit", function() assert.equal("quit", (session:feed ".quit")) end)

  it("completes what was begun", function()
    local function completed(line)
      local begun, names = complete.at(session, line)
      return line:sub(#line - begun + 1) .. ": " .. table.concat(names, " ")
    end
    assert.equal("st: state status store streams string", completed "st")
    assert.equal("acc: account", completed "x = acc")
    assert.equal("re: rep reverse", completed "string.re")
    assert.equal(": ", completed "nothing.at.all.")
    assert.equal("re: reload", completed ".re")
    assert.equal("a: ada ann", completed ".state account a")
    assert.equal("acc: account", completed '.state acc')
    assert.equal("account-a: account-ada account-ann", completed 'read("account-a')
    assert.equal("a: ada ann", completed 'account "a')
    assert.equal("a: ada ann", completed "account('a")
    assert.equal("a: ada ann", completed 'state("account", "a')
    assert.equal("acc: account", completed 'command("acc')
    assert.equal("wi: withdraw", completed 'account("ada"):wi')
    assert.equal("h: history", completed 'account "ada":h')
    said "t = setmetatable({ fine = 1, find = 2 }, { __index = { first = 3 } })"
    assert.equal("fi: find fine first", completed "t.fi")
    said "u = setmetatable({ fine = 1 }, { __index = error })"
    assert.equal("fi: fine", completed "u.fi")
    assert.equal(": ", completed "u.x.n")
  end)

  it("shows what is pushed, and only what the filter lets through", function()
    assert.truthy(said ".tail $category:order type=Told tag=x":find "as they come")
    assert(connection:append("order-1", { type = "Told", tags = { "x" }, data = "yes" }))
    assert(connection:append("order-1", { type = "Told", data = "no" }))
    assert(connection:append("account-ada", { type = "Told", tags = { "x" }, data = "no" }))
    assert(connection:append("order-2", { type = "Told", tags = { "x" }, data = "last" }))
    local text = ""
    repeat text = text .. (session:pushed() or "") until text:find "last"
    assert.equal(2, select(2, text:gsub("#%d", "")), text)
    assert.is_nil(text:find('"no"', 1, true))
    assert.equal("no more", said ".tail off")
    assert(connection:append("order-2", { type = "Told", tags = { "x" } }))
    assert.is_nil((session:pushed()))
  end)

  it("asks a word of the aggregate's for what another word hides", function()
    said "append('account-zoe', 'AccountOpened', {})"
    said "append('account-zoe', 'Deposited', { amount = 1300 })"
    assert.equal("1300", said "aggregate 'account' 'zoe':state().balance")
    assert.equal("account \"zoe\"", said "aggregate 'account' 'zoe'")
    assert.equal("2", said "#read(account 'zoe')")
  end)
end)

describe("repl: read models", function()
  local server, connection, session
  setup(function()
    server = daemon.start()
    connection = assert(m.connect(server.uri))
    local report = assert(connection:call("rules.load", { files = { ["sums.lua"] = [[
return { projection = "sums", from = "account", key = "id", row = { sum = 0 },
  on = { Deposited = function(row, d) row.sum = row.sum + d.amount end } }]] } }))
    assert.is_true(report.active)
    for n, who in ipairs { "ada", "ben", "ada" } do
      local event = { type = "Deposited", data = { amount = n } }
      assert(connection:append("account-" .. who, event))
    end
    assert(connection:get("sums", "ada", { after = 4 }))
    session = repl.new { connection = connection, name = "repl", terminal = true, width = 100,
      read_pack = function() return nil, "NOT_FOUND: no files here" end }
  end)
  teardown(function()
    connection:close()
    assert.equal(0, (server:stop()))
  end)

  local function said(line)
    local status, text = session:feed(line)
    assert.equal("done", status, text)
    return text
  end

  it("are words: a row, rows, and how they all are", function()
    assert.equal("{ sum = 4 }  -- position 4", said 'row("sums", "ada")')
    assert.equal("nil", said 'row("sums", "eve")')
    assert.match('{ key = "ada", row = { sum = 4 } }.*{ key = "ben", row = { sum = 2 } }',
      said 'rows "sums"')
    assert.match('state = "live"', said "projections()")
    assert.match("^sums +live +#4 +2 rows$", said ".projections")
  end)
end)

describe("repl: the files", function()
  it("are all installed", function()
    local out = program.shell("make -n install DESTDIR=/tmp/x OUT=" .. program.path:match "^(.*)/")
    for _, name in ipairs { "client", "repl", "repl/show", "repl/words", "repl/commands" } do
      assert.truthy(out:find("moonlog/" .. name .. ".lua", 1, true), name)
    end
  end)
end)
