-- moonlog dev: rules that are loaded when they are saved, and the tour without a terminal.
local daemon = require "spec.support.daemon"
local program = require "spec.support.program"
local rules = require "spec.support.rules"
local terminal = require "spec.support.terminal"
local tmpdir = require "spec.support.tmpdir"

local function contains(text, part)
  assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("cli: dev", function()
  local dir, pack
  before_each(function()
    dir, pack = tmpdir.new() .. "/store", tmpdir.new()
    program.write(pack .. "/account.lua", rules.account)
  end)

  local function play(steps)
    local words = { "dev", pack, "--data", dir }
    return terminal.play(words, "at moonlog>\n" .. steps, { columns = 120 })
  end

  it("loads the rules, and again whenever one is saved", function()
    local out = play(([[
see aggregate/account
type account("ada"):deposit{amount=5}\r
see Deposited
at moonlog>
run touch %s/account.lua
type 40 + 2\r
row 42
at moonlog>
type account("ada"):
run sed -i 's/INSUFFICIENT_FUNDS/TOO_POOR/' %s/account.lua
see changed
type withdraw{amount=9}\r
row refused: TOO_POOR { balance = 5 }
at moonlog>
screen
type .quit\r
end
]]):format(pack, pack))
    assert.is_nil(out:find("as they were", 1, true))
    assert.truthy(out:match "\naggregate/account +account.lua +%x+ +changed\nmoonlog> acc", out)
  end)

  it("shows what is wrong with rules, and keeps the old ones", function()
    local out = play(([[
run sed -i 's/commands =/comands =/' %s/account.lua
see refused: the rules
type account("ada"):deposit{amount=5}\r
see Deposited
at moonlog>
run sed -i 's/comands =/commands =/' %s/account.lua
see the rules are as they were
screen
type .quit\r
end
]]):format(pack, pack))
    contains(out, 'account.lua:10: error SHAPE: aggregate: unknown key "comands" ' ..
      '(did you mean "commands"?)\n  10 | comands = {\n     | ^\nrefused: ')
  end)

  it("begins with rules that are wrong, for someone is there to put them right", function()
    program.shell(("mv %s/account.lua %s/right"):format(pack, pack))
    program.write(pack .. "/account.lua", "return {")
    local out = play(([[
see refused
run cp %s/right %s/account.lua
see aggregate/account
type .quit\r
end
]]):format(pack, pack))
    contains(out, "status 0")
  end)

  it("sees files that come and go, also in folders that came later", function()
    play(([[
run mkdir %s/lib && printf 'return 1' > %s/lib/one.lua
run printf 'require "lib.one" return { upcast = "X", latest = 2, [1] = {} }' > %s/.x.lua
run mv %s/.x.lua %s/x.lua
see upcast/X
run printf 'return nil +' > %s/lib/one.lua
see lib/one.lua
see refused
run rm %s/x.lua %s/lib/one.lua
see the rules are as they were
type .quit\r
end
]]):gsub("%%s", pack))
  end)

  it("takes its daemon with it, or leaves the one that was there", function()
    play "type .quit\\r\nend\n"
    assert.equal(1, select(3, program.shell("test -e " .. dir .. "/moonlog.sock")))
    local server = daemon.start(dir)
    play(("type status().pid\\r\nrow %s\nat moonlog>\ntype .quit\\r\nend\n"):format(server.pid))
    assert.equal(0, (server:stop()))
  end)

  it("plays the tour of an example without a terminal, and has its exit status", function()
    program.shell(("mkdir %s/rules && mv %s/account.lua %s/rules"):format(pack, pack, pack))
    program.write(pack .. "/tour.sh", '"$MOONLOG" rules ls -o ndjson --data "$DATA"\nexit 5\n')
    local out, err, status = terminal.without { "dev", pack, "--data", dir }
    assert.equal(5, status, err)
    assert.truthy(out:match '^{"unit":"aggregate/account"', out)
  end)

  it("without a tour takes statements, as repl does", function()
    local out, err, status = terminal.without({ "dev", pack, "--data", dir },
      'account("ada"):deposit{amount=5}[1].type\n')
    assert.equal(0, status, err)
    assert.equal('"Deposited"\n', out)
    out = terminal.without { "dev", pack, "--data", dir, "-e", 'account("ada"):state().balance' }
    assert.equal("5\n", out)
  end)

  it("refuses wrong rules without a terminal, and a directory that is not there", function()
    program.write(pack .. "/account.lua", "return {")
    local out, err, status = terminal.without({ "dev", pack, "--data", dir }, "1\n")
    assert.equal(7, status)
    assert.equal("", out)
    contains(err, "account.lua:1: error COMPILE: ")
    out, err, status = terminal.without { "dev", pack .. "/none", "--data", dir }
    assert.equal(3, status, out)
    contains(err, "moonlog: NOT_FOUND: there is no directory " .. pack .. "/none")
  end)

  it("plays the tour of the bank to its end", function()
    local out, err, status = terminal.without { "dev", "examples/bank", "--data", dir }
    assert.equal(0, status, err)
    contains(out, "That was the tour.")
    out, err, status = terminal.without { "dev", "examples/bank", "--data", dir }
    assert.equal(0, status, err)
    contains(out, "That was the tour.")
  end)
end)
