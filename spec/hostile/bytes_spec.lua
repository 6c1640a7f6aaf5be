-- Bytes that are no message. The numbers are those of the list of hostile inputs that the
-- daemon is held against. After each one a well-behaved client is served as before.
local daemon = require "spec.support.daemon"
local hostile = require "spec.support.hostile"
local m = require "moonlog"

local MIB = 1 << 20
local NO_ARRAY = "BAD_REQUEST: a message is an array that begins with 0 (request) or 2 "
  .. "(notification)"
local TOO_LARGE = "TOO_LARGE: the message is over 8454144 bytes; send less at once"
local NO_MESSAGE = "BAD_REQUEST: a message is [0, msgid, method, params] or [2, method, params]"

describe("hostile bytes", function()
  local served
  setup(function() served = daemon.start() end)
  teardown(function() assert.equal(0, served:stop()) end)
  after_each(function() assert.equal(1, hostile.wait_alone(served).connections) end)

  --- Said once, with the msgid 0, and then closed.
  local function refused(bytes, sentence)
    local bad = hostile.connect(served.uri)
    assert.is_true(bad:send(bytes))
    local result, why, number, id = bad:answer()
    assert.is_nil(result)
    assert.equal(sentence, why)
    assert.equal(why:match "^BAD_REQUEST" and 1 or 8, number)
    assert.equal(0, id)
    assert.is_true(bad:is_closed())
    bad:close()
  end

  it("1: a map of 4 billion pairs, alone", function()
    refused("\xdf\xff\xff\xff\xff", TOO_LARGE)
  end)

  it("1: an array of 4 billion items, alone", function()
    refused("\xdd\xff\xff\xff\xff", TOO_LARGE)
  end)

  it("2: a map of 268 million pairs", function() refused("\xdf\x10\0\0\0", TOO_LARGE) end)

  it("3: 31 arrays of 65,535 in each other cost nothing but the wait for the rest", function()
    local before = hostile.status(served).memory_bytes
    local clients = {}
    for n = 1, 50 do
      clients[n] = hostile.connect(served.uri)
      assert.is_true(clients[n]:send(("\xdc\xff\xff"):rep(30)))
    end
    for n = 1, 50 do
      hostile.status(served) -- so that the pieces come as two
      assert.is_true(clients[n]:send "\xdc\xff\xff")
    end
    local status = hostile.status(served)
    assert.is_true(status.buffered_bytes > 50 * 93)
    assert.is_true(status.buffered_bytes < 51 * 8192, status.buffered_bytes)
    if hostile.measures then assert.is_true(status.memory_bytes - before < MIB) end
    for _, one in ipairs(clients) do one:close() end
  end)

  it("3: arrays in each other that together promise more than a message has bytes", function()
    refused(("\xdd\0\x70\0\0"):rep(2), TOO_LARGE)
  end)

  it("4: 41 arrays in each other", function()
    refused(("\x91"):rep(41), "BAD_REQUEST: the message nests more than 40 levels deep; flatten it")
  end)

  it("4: 40 arrays in each other around a nil", function()
    refused(("\x91"):rep(40) .. "\xc0", NO_ARRAY)
  end)

  it("5: the reserved byte", function()
    refused("\xc1", "BAD_REQUEST: byte c1 at offset 0 is no MessagePack; check the encoder")
    refused("\x94\0\1\xa4head\xc1",
      "BAD_REQUEST: byte c1 at offset 8 is no MessagePack; check the encoder")
  end)

  it("6: a str that claims 4 GiB", function()
    refused("\x94\0\1\xdb\xff\xff\xff\xff", TOO_LARGE)
  end)

  it("6: a bin and an ext that claim 4 GiB", function()
    refused("\xc6\xff\xff\xff\xff", TOO_LARGE)
    refused("\xc9\xff\xff\xff\xff\1", TOO_LARGE)
  end)

  it("8: a request cut after every byte, then the end", function()
    local params = { stream = "cut-1", events = { { type = "Cut", data = { n = 1.5 } } } }
    local whole = hostile.request(1, "append", params)
    for size = 0, #whole - 1 do
      local bad = hostile.connect(served.uri)
      assert.is_true(bad:send(whole:sub(1, size)))
      bad:finish()
      assert.is_true(bad:is_closed(), size)
      bad:close()
    end
    local good <close> = assert(m.connect(served.uri))
    assert.equal(0, good:head().position)
  end)

  it("8: a request in pieces of every size is one all the same", function()
    local good = hostile.connect(served.uri)
    local whole = hostile.request(7, "head", {})
    for size = 1, #whole do
      for at = 1, #whole, size do assert.is_true(good:send(whole:sub(at, at + size - 1))) end
      assert.equal(0, good:answer().position)
    end
    good:close()
  end)

  it("9: 10 MB of zero bytes: each is a message, and the first is refused", function()
    local zeros = ("\0"):rep(10000000)
    local function round()
      local bad = hostile.connect(served.uri)
      bad:send(zeros)
      local _, why = bad:answer()
      assert.equal(NO_ARRAY, why)
      bad:close()
    end
    local grown = hostile.growth(served, round)
    if hostile.measures then assert.is_true(grown <= MIB, grown) end
  end)

  it("10: 20 MB of random bytes, as long as the daemon takes any", function()
    local noise = hostile.noise(2100000)
    local function round(seed)
      for n = 1, 200 do
        local bad = hostile.connect(served.uri)
        local at = (n * 99991 * seed) % 2000000
        bad:send(noise:sub(at + 1, at + 100000))
        local message, why = bad:message()
        assert.is_true(message ~= nil or why == "closed", why)
        if message then assert.truthy(message[3][2]:match "^[A-Z_]+: ") end
        bad:close()
      end
    end
    local grown = hostile.growth(served, round)
    if hostile.measures then assert.is_true(grown <= MIB, grown) end
  end)

  it("10: random bytes inside messages that are whole", function()
    local noise = hostile.noise(400000, 3)
    local methods = { "append", "read", "head", "streams", "subscribe", "signal", "listen" }
    local function round()
      for at = 1, #noise, 400 do
        local bytes = noise:sub(at, at + 99)
        local params = m.pack { [methods[at % 3 + 1]] = m.bytes(bytes), stream = m.bytes(bytes) }
        local bad = hostile.connect(served.uri)
        bad:send(hostile.request(at, methods[at % #methods + 1], params))
        local _, why, _, id = bad:answer()
        assert.truthy(why and why:match "^BAD_REQUEST: ", why)
        assert.equal(at, id)
        bad:close()
      end
    end
    local grown = hostile.growth(served, round)
    if hostile.measures then assert.is_true(grown <= MIB, grown) end
  end)

  it("11, 12, 38: HTTP, SSH and TLS on the port, which is plain: there is no TLS yet", function()
    local _, why = hostile.ask(served, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.equal(NO_ARRAY, why)
    _, why = hostile.ask(served, "SSH-2.0-OpenSSH_9.2\r\n")
    assert.equal(NO_ARRAY, why)
    _, why = hostile.ask(served, "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" .. hostile.noise(508))
    assert.equal(NO_ARRAY, why)
  end)

  it("14: what is no request, notification or response", function()
    refused("\x90", NO_ARRAY)
    refused("\x91\0", NO_MESSAGE)
    refused("\x93\0\1\xa4head", NO_MESSAGE)
    refused("\x95\0\1\xa4head\x90\x90", NO_MESSAGE)
    refused("\x94\3\1\xa4head\x90", NO_MESSAGE)
    refused("\x94\xff\1\xa4head\x90", NO_MESSAGE)
    refused("\x80", NO_ARRAY)
    refused("\xa4head", NO_ARRAY)
  end)

  it("14: responses that answer nothing are passed over", function()
    local good = hostile.connect(served.uri)
    for id = 0, 99 do good:send("\x94\1" .. m.pack(id) .. "\xc0\x80") end
    assert.equal(0, good:call("head").position)
    good:close()
  end)
end)
