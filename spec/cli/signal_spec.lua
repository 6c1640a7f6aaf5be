-- moonlog signal and listen: told, heard, answered; nothing is stored.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

describe("cli: signal and listen", function()
  local dir, on, server
  setup(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    server = daemon.start(dir)
  end)
  teardown(function() assert.equal(0, (server:stop())) end)

  --- Signals until somebody hears it.
  local function tell(subject, data)
    local heard
    repeat
      local out, err, status = on { "signal", subject, data }
      assert.equal(0, status, err)
      heard = json.read(out).listeners
    until heard > 0
  end

  it("prints who heard it, and what was heard", function()
    assert.equal('{"listeners":0}\n', (on { "signal", "nobody.here" }))
    local ears = daemon.spawn { "listen", "ui.>", "--count", "1", "--data", dir }
    tell("ui.alert.red", '{"order":7}')
    assert.equal('{"subject":"ui.alert.red","data":{"order":7}}', ears:line())
    assert.equal(0, (ears:wait()))
    assert.equal('{"listeners":0}\n', (on { "signal", "ui.alert.red" }))
    assert.equal(0, json.read((on { "head" })).position)
  end)

  it("hears until it is interrupted", function()
    local ears = daemon.spawn { "listen", "a.*", "--data", dir }
    tell("a.b", "1")
    assert.equal(1, json.read(ears:line()).data)
    on { "signal", "a.b.c", "2" }
    on { "signal", "a.d" }
    assert.same({ subject = "a.d", data = json.null }, json.read(ears:line()))
    assert.equal(130, (ears:stop "INT"))
  end)

  it("ends when nobody reads it any more, or the daemon went away", function()
    local own = daemon.start()
    local words = program.command { "listen", "a", "--data", own.dir }
    local ears = assert(io.popen(("{ timeout 60 %s; echo $? >%s/status; } | head -1"):format(words,
      own.dir)))
    local heard
    repeat heard = json.read((program.run { "signal", "a", "1", "--data", own.dir })).listeners
    until heard == 1
    assert.equal(1, json.read(ears:read "l").data)
    assert.is_true(ears:close())
    assert.equal("141\n", program.slurp(own.dir .. "/status"))
    local deaf = daemon.spawn { "listen", "a", "--data", own.dir }
    repeat heard = json.read((program.run { "signal", "a", "1", "--data", own.dir })).listeners
    until heard == 1
    assert.equal(0, (own:stop()))
    assert.equal(6, (deaf:wait()))
    assert.truthy(deaf:said():match "^moonlog: UNREACHABLE: the daemon went away; ", deaf:said())
  end)

  it("waits for an answer with --reply", function()
    local ears = daemon.spawn { "listen", "ask.me", "--count", "2", "--data", dir }
    tell("ask.me", "0")
    assert.is_nil(json.read(ears:line()).reply)
    local asking = daemon.spawn { "signal", "ask.me", "41", "--reply", "--data", dir }
    local heard = json.read(ears:line())
    assert.equal(41, heard.data)
    on { "signal", heard.reply, "42" }
    assert.equal(42, json.read(asking:line()).data)
    assert.equal(0, (asking:wait()))
    assert.equal(0, (ears:wait()))
  end)

  it("says at once that nobody listens, and later that nobody answered", function()
    local out, err, status = on { "signal", "nobody.here", "--reply" }
    assert.equal(3, status)
    assert.equal("", out)
    assert.truthy(err:match "^moonlog: NO_LISTENERS: ", err)
    local ears = daemon.spawn { "listen", "mute", "--data", dir }
    tell("mute", "0")
    out, err, status = on { "signal", "mute", "--reply", "--timeout", "1" }
    assert.equal(6, status)
    assert.equal("", out)
    assert.truthy(err:match "^moonlog: TIMEOUT: ", err)
    ears:stop "INT"
  end)

  it("refuses what is no subject, no pattern, no JSON", function()
    for _, words in ipairs {
      { "signal", "a..b" }, { "signal", "a.*" }, { "signal", "" }, { "signal", "a b" },
      { "signal", "ui*" },
      { "listen", ">.a" }, { "listen", "" }, { "signal", "a", "{" },
    } do
      local out, err, status = on(words)
      assert.equal(1, status, table.concat(words, " "))
      assert.equal("", out)
      assert.truthy(err:match "^moonlog: BAD_REQUEST: ", err)
    end
  end)
end)
