-- Who does not read, follows too much, or goes away in odd ways. The numbers are those of the
-- list of hostile inputs that the daemon is held against.
local coretest = require "coretest"
local daemon = require "spec.support.daemon"
local hostile = require "spec.support.hostile"
local m = require "moonlog"

local MIB = 1 << 20

describe("hostile followers and goers", function()
  local served, bad
  setup(function()
    served = daemon.start_tcp()
    local good <close> = assert(m.connect(served.uri))
    local event = { type = "T", data = m.bytes(("x"):rep(50000)) }
    for _ = 1, 40 do
      local list = {}
      for n = 1, 20 do list[n] = event end
      assert(good:append("long-1", list))
    end
  end)
  teardown(function() assert.equal(0, served:stop()) end)
  before_each(function() bad = hostile.connect(served.uri) end)
  after_each(function()
    bad:close()
    hostile.wait_alone(served)
  end)

  it("30: who subscribes and never reads costs a megabyte, not the 40 that there are", function()
    local good <close> = assert(m.connect(served.uri))
    for _ in good:read "$all" do end -- so that the log's own pages are counted before
    local before = hostile.status(served).memory_bytes
    local many = {}
    for n = 1, 5 do
      many[n] = hostile.connect(served.uri)
      many[n]:send(hostile.request(1, "subscribe", { after = "start" }))
    end
    local grown = hostile.status(served).memory_bytes - before
    if hostile.measures then assert.is_true(grown < 5 * 2 * MIB, grown) end
    -- And none of it is lost for who then reads.
    local count, last = 0, 0
    assert(many[1]:answer())
    while count < 800 do
      local message = assert(many[1]:message())
      for _, event in ipairs(message[3][1].events or {}) do
        assert.equal(last + 1, event.position)
        count, last = count + 1, event.position
      end
    end
    for _, one in ipairs(many) do one:close() end
  end)

  it("30: who asks for a page again and again and never reads is not read from", function()
    local before = hostile.status(served).memory_bytes
    bad.socket:send(hostile.request(1, "read", {}):rep(1000), 200)
    if hostile.measures then
      local grown = hostile.status(served).memory_bytes - before
      assert.is_true(grown < 20 * MIB, grown)
    end
  end)

  it("30: who has read its answers holds nothing any more", function()
    for _ = 1, 3 do assert(bad:call("read", { limit = 3 })) end
    local deadline = os.time() + 20
    repeat
      local held = hostile.status(served).buffered_bytes
      assert.is_true(os.time() < deadline, held)
    until held < 20000
  end)

  it("6: many large messages that do not come whole fill 256 MiB, and others are still served",
    function()
      local part = hostile.request(1, "append", "\xc6\0\x7f\0\0") .. ("x"):rep(5000000)
      local many, stopped = {}, 0
      for n = 1, 60 do
        many[n] = hostile.connect(served.uri)
        if many[n].socket:send(part, 100) < #part then stopped = stopped + 1 end
      end
      assert.is_true(stopped > 10)
      local held = hostile.status(served).buffered_bytes
      assert.is_true(held > 256 * MIB and held < 280 * MIB, held)
      assert.equal(800, bad:call("head").position)
      assert.equal(2, #bad:call("read", { limit = 2 }).events)
      for _, one in ipairs(many) do one:close() end
      bad:close()
      hostile.wait_alone(served)
      assert.is_true(hostile.status(served).buffered_bytes < MIB)
    end)

  it("31: 65 subscriptions on a connection, listeners among them", function()
    for n = 1, 64 do
      local params = n % 2 == 0 and { after = "end" } or { subject = "a." .. n }
      assert(bad:call(n % 2 == 0 and "subscribe" or "listen", params))
      if n % 2 == 0 then assert.equal("caught_up", bad:message()[2]) end
    end
    local sentence = "LIMIT: 64 subscriptions on one connection; end one, or open another "
      .. "connection"
    local _, why, number = bad:call("subscribe", { after = "end" })
    assert.equal(sentence, why)
    assert.equal(9, number)
    _, why = bad:call("listen", { subject = "b" })
    assert.equal(sentence, why)
  end)

  it("32: unsubscribe and unlisten twice, or of what is another's", function()
    local one = bad:call("subscribe", { after = "end" }).subscription
    assert.equal("caught_up", bad:message()[2])
    local other = bad:call("listen", { subject = "a" }).subscription
    assert(bad:call("unsubscribe", { subscription = one }))
    assert(bad:call("unlisten", { subscription = other }))
    for method, id in pairs { unsubscribe = one, unlisten = other } do
      local _, why, number = bad:call(method, { subscription = id })
      assert.truthy(why:match "^NOT_FOUND: this connection has no ", why)
      assert.equal(5, number)
    end
    local mine = bad:call("subscribe", { after = "end" }).subscription
    assert.equal("caught_up", bad:message()[2])
    local thief = hostile.connect(served.uri)
    for method, params in pairs { unsubscribe = {}, credit = { events = 1 } } do
      params.subscription = mine
      local _, why = thief:call(method, params)
      assert.truthy(why:match "^NOT_FOUND: ", why)
    end
    thief:close()
  end)

  it("33: a place to go on that is of the future is waited for", function()
    local head = bad:call("head").position
    assert(bad:call("subscribe", { after = head + 1 }))
    local good <close> = assert(m.connect(served.uri))
    assert(good:append("short-1", { { type = "T" }, { type = "T" } }))
    local message
    repeat message = bad:message() until message[2] == "event"
    assert.equal(head + 2, message[3][1].events[1].position)
  end)

  it("33: a place to go on that no position is", function()
    for _, after in ipairs { "begin", "7", "", -1, 1.5 } do
      local _, why = bad:call("subscribe", { after = after })
      assert.truthy(why:match "^BAD_REQUEST: ", why)
    end
  end)

  it("36: 10,000 connections that are reset at once", function()
    local function round() assert.equal(10000, coretest.socket.flood(served.tcp, 10000)) end
    bad:close()
    local grown = hostile.growth(served, round)
    if hostile.measures then assert.is_true(grown <= MIB, grown) end
  end)

  it("37: who has sent all and says so gets all answers, and is then left", function()
    local one = hostile.request(1, "append", { stream = "half-1",
      events = m.array { { type = "T" } } })
    bad:send(one:rep(3000) .. hostile.request(2, "read", { limit = 100 }) .. one:sub(1, 10))
    bad:finish()
    local answers, pages = 0, 0
    while true do
      local result, why = bad:answer()
      if not result then
        assert.equal("closed", why)
        break
      end
      if result.events then pages = pages + 1 else answers = answers + 1 end
    end
    assert.equal(3000, answers)
    assert.equal(1, pages)
  end)

  it("37: also who leaves at once", function()
    local events = m.array { { type = "T" } }
    local requests = hostile.request(1, "append", { stream = "half-1", events = events }):rep(20)
    for _ = 1, 50 do
      local other = hostile.connect(served.uri)
      other:send(requests)
      other:finish()
      for _ = 1, 20 do assert(other:answer()) end
      assert.is_true(other:is_closed())
      other:close()
    end
  end)

  it("37: also over TCP; what is sent behind the end reaches nobody", function()
    local other = hostile.connect(served.tcp)
    other:send(hostile.request(1, "head", {}):rep(100))
    other:finish()
    assert.is_false(other:send "\x94\0\1\xa4head\x90")
    for _ = 1, 100 do assert(other:answer()) end
    assert.is_true(other:is_closed())
    other:close()
  end)

  it("37: a subscription ends with its client's last word", function()
    bad:send(hostile.request(1, "subscribe", { after = "end" }))
    bad:finish()
    repeat local message, why = bad:message() until not message and why == "closed"
  end)

  it("a listener that does not read holds few megabytes, however large signals are", function()
    assert(bad:call("listen", { subject = "large", buffer = 65536 }))
    local before = hostile.status(served).memory_bytes
    local teller = hostile.connect(served.uri)
    for _ = 1, 100 do
      assert(teller:call("signal", { subject = "large", data = m.bytes(("x"):rep(1000000)) }))
    end
    if hostile.measures then
      local grown = hostile.status(served).memory_bytes - before
      assert.is_true(grown < 16 * MIB, grown)
    end
    teller:close()
    local told, missed = 0, 0
    repeat
      local message = assert(bad:message())
      if message[2] == "gap" then missed = missed + message[3][1].missed else told = told + 1 end
    until told + missed == 100
    assert.is_true(missed > 80)
  end)

  it("a listener that wants to be disconnected rather than miss a signal is", function()
    assert(bad:call("listen", { subject = "large", buffer = 1, policy = "disconnect" }))
    local teller = hostile.connect(served.uri)
    for _ = 1, 10 do
      assert(teller:call("signal", { subject = "large", data = m.bytes(("x"):rep(1000000)) }))
    end
    teller:close()
    hostile.wait_alone(served)
  end)
end)

describe("hostile listeners", function()
  it("what is listened to and left again costs nothing", function()
    local served = daemon.start() -- a fresh one has no memory to spare
    local function round(seed)
      local bad = hostile.connect(served.uri)
      for n = 1, 10000 do
        local subject = ("a%d.b%d.*.c%d"):format(seed, n, n)
        local id = bad:call("listen", { subject = subject }).subscription
        assert(bad:call("unlisten", { subscription = id }))
      end
      bad:close()
    end
    local grown = hostile.growth(served, round)
    if hostile.measures then assert.is_true(grown <= MIB, grown) end
    assert.equal(0, served:stop())
  end)
end)
