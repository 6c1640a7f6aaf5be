-- moonlog repl: statements without a terminal, and everything that is typed on one.
local daemon = require "spec.support.daemon"
local program = require "spec.support.program"
local rules = require "spec.support.rules"
local terminal = require "spec.support.terminal"
local tmpdir = require "spec.support.tmpdir"

local function contains(text, part)
  assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

local function contains_not(text, part)
  assert.is_nil(text:find(part, 1, true), ("%q is in:\n%s"):format(part, text))
end

--- A directory with one rule file.
local function new_pack()
  local dir = tmpdir.new()
  program.write(dir .. "/account.lua", rules.account)
  return dir
end

describe("cli: repl without a terminal", function()
  local dir
  before_each(function() dir = tmpdir.new() .. "/store" end)

  local function run(stdin, ...) return terminal.without({ "repl", "--data", dir, ... }, stdin) end

  it("evaluates what comes on stdin, and prints results plain", function()
    local out, err, status = run [[
1 + 1
x = {

  b = 1, a = "two",
}
x
print(x.b)
= x.a
"end"]]
    assert.equal("", err)
    assert.equal(0, status)
    assert.equal('2\n{ a = "two", b = 1 }\n1\n"two"\n"end"\n', out)
  end)

  it("stops at the first statement that fails, and says where", function()
    local out, err, status = run "1\nfunction f(t)\n  return t.a.b\nend\nf{}\n2\n"
    assert.equal(1, status)
    assert.equal("1\n", out)
    assert.equal("moonlog: stdin:3: attempt to index a nil value (field 'a')\n" ..
      "  3 |   return t.a.b\n    |            ^\n", err)
    out, err, status = run "1 +* 2\n3\n"
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal("moonlog: stdin:1: unexpected symbol near '*'\n  1 | 1 +* 2\n    |    ^\n", err)
  end)

  it("fails where the last statement is not whole", function()
    local _, err, status = run "x = 1\nif x then\n"
    assert.equal(1, status)
    contains(err, "moonlog: stdin:2: 'end' expected near <eof>\n  2 | if x then\n    |          ^")
  end)

  it("takes statements from the command line instead", function()
    local out, err, status = run("3\n", "-e", "x = 20", "--eval=x + 1", "-e", ".quit", "-e", "99")
    assert.equal("", err)
    assert.equal(0, status)
    assert.equal("21\n", out)
    out, err, status = run("", "-e", "1", "-e", "x =", "-e", "2")
    assert.equal(1, status)
    assert.equal("1\n", out)
    contains(err, "-e:2: unexpected symbol near <eof>")
  end)

  it("begins a store, and takes its daemon with it", function()
    local out, err, status = run 'append("a-1", "Added", { n = 1 }).last\nread("a-1")[1].data.n\n'
    assert.equal(0, status, err)
    assert.equal("1\n1\n", out)
    assert.equal(1, select(3, program.shell("test -e " .. dir .. "/moonlog.sock")))
  end)

  it("joins the daemon that is there, also by its address", function()
    local server = daemon.start(dir)
    local out = run "status().pid"
    assert.equal(server.pid .. "\n", out)
    out = terminal.without({ "repl", "--connect", server.uri, "-e", "status().pid" })
    assert.equal(server.pid .. "\n", out)
    assert.equal(0, (server:stop()))
    local _, err, status = terminal.without { "repl", "--connect", server.uri, "-e", "1" }
    assert.equal(6, status)
    contains(err, "moonlog: UNREACHABLE: ")
  end)

  it("has the aggregates of the rules for words, and shows refusals as results", function()
    local out, err, status = run(".load " .. new_pack() .. [[

account("ada"):open{owner="Ada"}[1].type
account("ada"):deposit{amount=500} and nil
account("ada"):withdraw{amount=200}[1].data
account("ada"):withdraw{amount=900}
account("ada"):state()
#account("ada"):history()
account "ada"
]])
    assert.equal("", err)
    assert.equal(0, status)
    assert.truthy(out:match "^aggregate/account +account.lua +%x+ +new\n")
    assert.equal('"AccountOpened"\nnil\n{ amount = 200 }\n' ..
      "refused: INSUFFICIENT_FUNDS { balance = 300 }\n" ..
      '{ balance = 300, last = 2, open = true, owner = "Ada" }  -- revision 2, position 4\n3\n' ..
      'account "ada"\n', (out:gsub("^[^\n]*\n", "")))
  end)

  it("says what is wrong with rules, and with a command", function()
    local pack = new_pack()
    program.write(pack .. "/account.lua", (rules.account:gsub("commands =", "comands =")))
    local _, err, status = run(".load " .. pack)
    assert.equal(1, status)
    contains(err, 'account.lua:10: error SHAPE: aggregate: unknown key "comands"')
    contains(err, "\n  10 | comands = {\n     | ^\n")
    contains(err, "refused: the rules that were active before stay so")
    run(".load " .. new_pack())
    _, err, status = run 'account("ada"):withdrw{}'
    assert.equal(1, status)
    contains(err, 'did you mean "withdraw"?')
    _, err = run 'account("ada"):withdraw{amount={}}'
    contains(err, "SCRIPT_ERROR: ")
    contains(err, "account.lua:17: attempt to compare")
    contains(err, "\n  17 | if c.amount > s.balance then\n")
  end)

  it("looks at the past, where nothing is written", function()
    run(".load " .. new_pack() .. '\naccount("ada"):open{}\naccount("ada"):deposit{amount=5}\n' ..
      'account("ada"):deposit{amount=7}\nsecond = read("account-ada")[2].time\n')
    local out, err, status = run [[
account("ada"):state().balance
.at 3
account("ada"):state().balance
#read "account-ada"
#read("account-ada", { backward = true })
read("$all", { backward = true, limit = 1 })[1].position
account("ada"):state{at=0}.balance
.at 2
read("account-ada", { backward = true, limit = 1 })[1].position
.now
#read "account-ada"
time = moonlog.time(read("account-ada")[2].time)
]]
    assert.equal("", err)
    assert.equal(0, status)
    out = out:gsub("reads and states are as of #%d, [^\n]*\n", "")
    assert.equal("12\n5\n2\n2\n3\n0\n2\n3\n", out)
    for _, statement in ipairs { 'append("a", "b")', 'account("ada"):deposit{amount=1}',
      'signal("a")' } do
      _, err, status = run(".at 3\n" .. statement)
      assert.equal(1, status)
      assert.equal("moonlog: READ_ONLY: pinned at #3; `.now` comes back\n", err)
    end
    local time = run 'moonlog.time(read("account-ada")[2].time)':match '"(.*)"'
    out = run(".at " .. time .. '\n#read "account-ada"\n')
    contains(out, "as of #3, " .. time)
    contains(out, "\n2\n")
    for _, place in ipairs { "0", "5", "1999-01-01", "soon" } do
      _, _, status = run(".at " .. place)
      assert.equal(1, status, place)
    end
  end)

  it("follows events only on a terminal", function()
    local _, err, status = run ".tail"
    assert.equal(1, status)
    contains(err, "`.tail` wants a terminal; `moonlog tail` follows without one")
  end)

  it("finds its Lua files beside the program, built or installed", function()
    local function try(layout, lua)
      local root = tmpdir.new()
      program.shell(("mkdir -p %s/%s %s/%s && cp %s %s/%s && cp -r lua/moonlog %s/%s"):format(root,
        layout, root, lua, program.path, root, layout, root, lua))
      local command = "cd / && env -u MOONLOG_LUA %s/%s/moonlog repl --data %s -e 41+1"
      return program.shell(command:format(root, layout, dir))
    end
    assert.equal("42\n", (try("build", "lua")))
    assert.equal("42\n", (try("build/asan", "lua")))
    assert.equal("42\n", (try("usr/bin", "usr/share/lua/5.4")))
    local _, err, status = try("build", "elsewhere")
    assert.equal(1, status)
    contains(err, "moonlog: UNSUPPORTED: moonlog/repl.lua is not near the program")
    _, err, status = program.shell(("MOONLOG_LUA=/nowhere %s repl --data %s -e 1"):format(
      program.path, dir))
    assert.equal(1, status)
    contains(err, "MOONLOG_LUA is /nowhere")
  end)
end)

describe("cli: repl on a terminal", function()
  local dir, on, server
  setup(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    server = daemon.start(dir)
    on { "append", "account-ada", "Opened", "{}" }
    on { "append", "order-7", "Opened", "{}" }
    on { "rules", "load", new_pack() }
  end)
  teardown(function() assert.equal(0, (server:stop())) end)

  local function play(steps, options)
    return terminal.play({ "repl", "--data", dir }, "at moonlog>\n" .. steps, options)
  end

  --- A shell command that appends an event.
  local function appending(stream)
    return program.command { "append", "--data", dir, stream, "Told", '{"n":1}' }
  end

  it("greets, shows results, and leaves with .quit or Ctrl-D", function()
    local out = play [[
type 1+1\r
row 2
at moonlog>
type .quit\r
end
screen
]]
    assert.truthy(out:match "^status 0\nmoonlog 0.1.0 on [^\n]+ 3 events; .help lists", out)
    contains(out, "\nmoonlog> 1+1\n2\nmoonlog> .quit")
    contains(play "type \\x04\nend", "status 0")
  end)

  it("continues a statement, and gives it up on an empty line or Ctrl-C", function()
    local out = play [[
type x = {\r
at       ->
type 1, 2 }\r
see 2 }
at moonlog>
type x\r
row { 1, 2 }
at moonlog>
type if x then\r
at       ->
type \r
see given up
at moonlog>
type y = (\r
at       ->
type \x03
at moonlog>
type typed and\x03
at moonlog>
type 40 + 2\r
row 42
at moonlog>
screen
type \x04
end
]]
    contains(out, "moonlog> x = {\n      -> 1, 2 }\nmoonlog> x\n{ 1, 2 }\nmoonlog> if x then\n" ..
      "      ->\n-- given up\n")
    contains(out, "moonlog> y = (\n      -> ^C\nmoonlog> typed and^C\n")
    contains(out, "moonlog> typed and^C\nmoonlog> 40 + 2\n42\n")
  end)

  it("remembers whole statements, also for the next session", function()
    local state = tmpdir.new()
    play([[
type x = {\r
at       ->
type 7 }\r
see 7 }
at moonlog>
type x[1]\r
row 7
at moonlog>
type \x04
end
]], { state = state })
    assert.equal("x = {\\n7 }\nx[1]\n", program.slurp(state .. "/moonlog/history"))
    local out = play([[
type \x1b[A\x1b[A
row 7 }
type \r
at moonlog>
type x[1] + 1\r
row 8
at moonlog>
screen
type \x04
end
]], { state = state })
    contains(out, "moonlog> x = {\n7 }\nmoonlog> x[1] + 1\n8\n")
    local _, _, mode = program.shell(("test $(stat -c %%a %s/moonlog/history) = 600"):format(state))
    assert.equal(0, mode)
  end)

  it("completes commands, words, fields, streams, ids and names of commands", function()
    local out = play [[
type .qu\t\x15
type .he\t
see .help
type \x15stre\t
see streams
type \x15string.for\t
see string.format
type \x15read "ord\t
see order-7
type \x15account("a\t
see account("ada
type "):wit\t
see :withdraw
type \x15t = setmetatable({ fine = 1, find = 2 }, { __index = error })\r
see = error
at moonlog>
type t.fi\t\t
see find  fine
type \x15.state acc\t
see .state account
type  a\t
see .state account ada
type \x15\x04
end
]]
    contains(out, "status 0")
  end)

  it("takes what is pasted as text: newlines do not send, TAB does not complete", function()
    local out = play [[
paste for i = 1, 2 do\r\tprint(i * 21)\r\rend\r
row end
type \r
row 42
at moonlog>
screen
type \x04
end
]]
    contains(out, "moonlog> for i = 1, 2 do\n        print(i * 21)\nend\n21\n42\n")
  end)

  it("stops what runs for ever at Ctrl-C, and goes on", function()
    contains(play [[
type print "begun" while true do end\r
row begun
type \x03
see interrupted
at moonlog>
type 40 + 2\r
row 42
at moonlog>
type \x04
end
]], "status 0")
  end)

  it("shows events above the line that is being typed", function()
    local out = play(([[
type .tail $category:told\r
see as they come
at moonlog>
type read "acc
see read "acc
run %s
see told-1@0
run %s
run %s
see told-2@0
at moonlog> read "acc
screen
type ount-ada"\r
see Opened
at moonlog>
type .tail off\r
see no more
run %s
at moonlog>
type 40 + 2\r
row 42
at moonlog>
screen
type \x04
end
]]):format(appending "told-1", appending "other-1", appending "told-2", appending "told-3"))
    local first = out:match "^(.-)\nmoonlog 0"
    assert.truthy(first:match("told%-1@0  Told  { n = 1 }\n#%d+  [^\n]*" ..
      '  told%-2@0  Told  { n = 1 }\nmoonlog> read "acc$'), out)
    contains(out, 'moonlog> read "account-ada"\n#1 ')
    contains_not(out, "told-3")
    contains_not(out, "other-1")
  end)

  it("shows them above a line of several rows, too", function()
    local out = play(([[
type .tail\r
see as they come
at moonlog>
type x = "%s%s"\x1b[D\x1b[D
see b"
run %s
see wide-1@0
type c\r
see cb"
at moonlog>
type #x\r
row 81
at moonlog>
screen
type \x04
end
]]):format(("a"):rep(40), ("b"):rep(40), appending "wide-1"), { columns = 50 })
    assert.equal(1, select(2, out:gsub('> x = "', "")), out)
    assert.truthy(out:match('wide%-1@0[^\n]*\nmoonlog> x = "a+\n[abc]*b"\n'), out)
  end)

  it("shows events that came while a statement waited for its answer", function()
    play(([[
type .tail $category:told\r
see as they come
at moonlog>
type os.execute [=[%s >/dev/null]=] x = head()\r
see told-7@0
type \x04
end
]]):format(appending "told-7"), { columns = 400 })
  end)

  it("says when the daemon has gone, and stays", function()
    local other = daemon.start()
    local out = terminal.play({ "repl", "--connect", other.uri }, ([[
at moonlog>
type 40
run kill %s
see UNREACHABLE
type  + 2\r
row 42
at moonlog>
type head()\r
see head()
at moonlog>
screen
type \x04
end
]]):format(other.pid), { columns = 200 })
    contains(out, 'is closed; connect again\n-- no daemon is behind this prompt any more: ' ..
      '`.quit`, and begin again\nmoonlog> 40 + 2\n42\nmoonlog> head()\nUNREACHABLE: ')
    assert.equal(0, (other:wait()))
  end)

  it("hints once that a local is lost", function()
    local out = play [[
type local a = 1\r
see gone
at moonlog>
type local b = 2\r
see b = 2
at moonlog>
type 40 + 2\r
row 42
at moonlog>
screen
type \x04
end
]]
    assert.equal(1, select(2, out:gsub("a local is gone", "")), out)
  end)

  it("shows in the prompt that it looks at the past", function()
    local out = play [[
type .at 1\r
at moonlog@1>
type {\r
at         ->
type \x03
at moonlog@1>
type .now\r
see .now
at moonlog>
type 5\r
row 5
at moonlog>
screen
type \x04
end
]]
    contains(out, "\nmoonlog@1> {\n        -> ^C\nmoonlog@1> .now\nmoonlog> 5\n")
  end)
end)
