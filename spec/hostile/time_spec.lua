-- Who takes his time. The numbers are those of the list of hostile inputs that the daemon is
-- held against. All of them at once, since each takes the daemon's patience: some seconds.
local daemon = require "spec.support.daemon"
local hostile = require "spec.support.hostile"
local m = require "moonlog"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local TOKEN = "0123456789abcdef0123"
local UNFINISHED = "TIMEOUT: a message that had begun did not come whole in time; send it in one go"
local NO_HELLO = "TIMEOUT: no hello with the token in time; begin with it"

describe("hostile slowness", function()
  local served
  setup(function()
    local file = program.write(tmpdir.new() .. "/token", TOKEN .. "\n")
    served = daemon.start_tcp(nil, { "--token-file", file })
    local good <close> = assert(m.connect(served.uri))
    local data = m.bytes(("x"):rep(1000000))
    for _ = 1, 5 do assert(good:append("long-1", { { type = "T", data = data } })) end
  end)
  teardown(function() assert.equal(0, served:stop()) end)

  it("6, 7: ends for who is too slow, and for nobody else", function()
    local idle = hostile.connect(served.uri)
    local follower = hostile.connect(served.uri)
    local deaf = hostile.connect(served.uri)
    follower:send(hostile.request(1, "subscribe", { after = "start" }))
    deaf:send(hostile.request(1, "read", {}):rep(50))

    local whole = hostile.request(1, "hello", { client = ("x"):rep(100) })
    local slow = {
      { "6: a str that is promised and does not come", served.uri, "\x94\0\1\xda\xff\xff",
        UNFINISHED },
      { "7: a byte now and then", served.uri, "\x94", UNFINISHED, dribbles = true },
      { "7: a byte now and then behind a whole request", served.uri,
        hostile.request(1, "head", {}) .. "\x94", UNFINISHED, answers = 1, dribbles = true },
      { "35: no hello", served.tcp, "", NO_HELLO },
      { "35: a hello in single bytes", served.tcp, "\x94", NO_HELLO, dribbles = true },
    }
    for _, one in ipairs(slow) do
      one.client = hostile.connect(one[2])
      one.client:send(one[3])
      for _ = 1, one.answers or 0 do assert(one.client:answer()) end
      one.at = 2
    end
    local left = #slow
    for _ = 1, 60 do
      for _, one in ipairs(slow) do
        if one.dribbles and not one.said then
          one.client:send(whole:sub(one.at, one.at))
          one.at = one.at + 1
        end
        local message = not one.said and one.client:message(100)
        if message then
          assert.equal(one[4], message[3][2], one[1])
          assert.is_true(one.client:is_closed(), one[1])
          one.said, left = true, left - 1
        end
      end
      if left == 0 then break end
    end
    assert.equal(0, left)

    hostile.wait_for(served, 3) -- the deaf one has gone, too
    assert.truthy(served:said():find("a client took none of its answers for 10 s", 1, true))
    assert.equal(5, idle:call("head").position)
    assert(follower:answer())
    local events = 0
    while events < 5 do events = events + #(follower:message()[3][1].events or {}) end
    for _, one in ipairs { idle, follower, deaf } do one:close() end
    hostile.wait_alone(served)
  end)
end)
