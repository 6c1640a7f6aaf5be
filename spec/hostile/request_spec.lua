-- Requests that are whole messages and make no sense. The numbers are those of the list of
-- hostile inputs that the daemon is held against. Each is answered, and the connection goes on.
local daemon = require "spec.support.daemon"
local hostile = require "spec.support.hostile"
local m = require "moonlog"

local MIB = 1 << 20
local pack, map = m.pack, hostile.map

describe("hostile requests", function()
  local served, bad
  setup(function()
    served = daemon.start()
    local good <close> = assert(m.connect(served.uri))
    assert(good:append("there-1", { { type = "T", data = 1 }, { type = "T", data = 2 } }))
  end)
  teardown(function() assert.equal(0, served:stop()) end)
  before_each(function() bad = hostile.connect(served.uri) end)
  after_each(function()
    assert.equal(2, bad:call("head", {}, 99).position) -- still heard, and nothing was written
    bad:close()
    assert.equal(1, hostile.wait_alone(served).connections)
  end)

  local function refused(code, sentence, method, params)
    local result, why, number, id = bad:call(method, params, 5)
    assert.is_nil(result)
    assert.equal(code .. ": " .. sentence, why)
    assert.equal(({ BAD_REQUEST = 1, UNKNOWN_METHOD = 2, NOT_FOUND = 5, TOO_LARGE = 8,
      LIMIT = 9 })[code], number)
    assert.equal(5, id)
  end

  it("13: one msgid in flight many times: as many answers", function()
    local params = { stream = "there-1", events = { { type = "T" } }, expected = 7 }
    bad:send(hostile.request(3, "append", params):rep(20) .. hostile.request(3, "head", {}))
    local refusals = 0
    for _ = 1, 21 do
      local result, why, _, id = bad:answer()
      assert.equal(3, id)
      if result then assert.equal(2, result.position) else refusals = refusals + 1 end
      if why then assert.truthy(why:match "^WRONG_EXPECTED_REVISION: ") end
    end
    assert.equal(20, refusals)
  end)

  it("13: a msgid that is none ends the connection", function()
    local none = { "\xff", "\xcf\0\0\0\1\0\0\0\0", "\xa1x", "\xc0", "\xcb\x3f\xf0\0\0\0\0\0\0" }
    for _, id in ipairs(none) do
      local other = hostile.connect(served.uri)
      other:send("\x94\0" .. id .. "\xa4head\x90")
      local _, why = other:answer()
      assert.equal("BAD_REQUEST: msgid is no integer of 32 bits", why)
      assert.is_true(other:is_closed())
      other:close()
    end
  end)

  it("15: notifications to methods that answer are passed over", function()
    for _, method in ipairs { "head", "read", "subscribe", "listen", "hello", "api", "nothing" } do
      bad:send("\x93\2" .. pack(method) .. "\x91\x80")
    end
    bad:send "\x93\2\7\x91\x80"
    bad:send "\x93\2\xa6append\x93\1\2\3"
  end)

  it("16: methods of 1 MiB, of NULs, of what is no UTF-8, with dots and slashes", function()
    local none = "there is no method of that name; ask `api` for those there are"
    local function unknown(name, sentence)
      bad:send("\x94\0\5" .. name .. "\x90")
      local _, why, number = bad:answer()
      assert.equal("UNKNOWN_METHOD: " .. sentence, why)
      assert.equal(2, number)
    end
    unknown("\xdb\0\x10\0\0" .. ("m"):rep(MIB), none)
    unknown("\xa4\0\0\0\0", none)
    unknown("\xa4\xff\xfe\xfd\xfc", none)
    unknown("\xa7a\nERROR", none)
    unknown("\xa0", "there is no method ; ask `api` for those there are")
    unknown("\xac../../passwd", "there is no method ../../passwd; ask `api` for those there are")
    unknown("\xa5heads", "there is no method heads; did you mean head?")
    bad:send "\x94\0\5\xc4\4head\x90"
    local _, why = bad:answer()
    assert.equal("BAD_REQUEST: the method's name is no str", why)
  end)

  it("17: parameters of every wrong type and count", function()
    local wrong = { "\xc0", "\xc2", "\x00", "\xff", "\xcb\x3f\xf8\0\0\0\0\0\0", "\xa1x", "\xc4\1x",
      "\xd4\5x", "\x80", "\x91\1", "\x92\x80\x80" }
    for _, params in ipairs(wrong) do
      bad:send("\x94\0\5\xa4head" .. params)
      local _, why = bad:answer()
      local none = params == "\x91\1"
      assert.equal("BAD_REQUEST: " .. (none and "head takes one map of parameters"
        or "params is no array of one map"), why)
    end
    wrong = { "\xc3", "\7", "\xcb\x3f\xf8\0\0\0\0\0\0", "\xc4\1x", "\xd4\5x", "\x81\1\1" }
    for _, value in ipairs(wrong) do
      for _, case in ipairs { { "head", "stream" }, { "append", "stream" }, { "append", "events" },
        { "read", "category" }, { "subscribe", "stream" }, { "signal", "subject" },
        { "hello", "client" }, { "hello", "token" }, { "hello", "events" },
        { "listen", "policy" }, { "append", "durability" }, { "append", "condition" } } do
        local _, why = bad:call(case[1], map { case[2], value })
        assert.truthy(why and why:match "^BAD_REQUEST: ", case[2])
      end
    end
  end)

  it("18: positions and limits that are no such numbers", function()
    local big = { "\xcf\x80\0\0\0\0\0\0\0", "\xcf" .. ("\xff"):rep(8) } -- 2^63, 2^64 - 1
    local odd = { "\xcb\x3f\xf8\0\0\0\0\0\0", "\xcb\x7f\xf8\0\0\0\0\0\0",
      "\xcb\x7f\xf0\0\0\0\0\0\0", "\xcb\xff\xf0\0\0\0\0\0\0", "\xca\x7f\xc0\0\0" } -- 1.5, NaN, …
    for _, value in ipairs { big[1], big[2], table.unpack(odd) } do
      refused("BAD_REQUEST", "from is no integer", "read", map { "from", value })
      refused("BAD_REQUEST", "limit is no integer", "read", map { "limit", value })
      refused("BAD_REQUEST", "after is no integer", "subscribe", map { "after", value })
      refused("BAD_REQUEST", "credit is no integer", "subscribe", map { "credit", value })
      refused("BAD_REQUEST", "expected is no integer", "append", map {
        "stream", pack "there-1", "events", "\x91\x81\xa4type\xa1T", "expected", value })
      refused("BAD_REQUEST", "subscription is no integer", "unsubscribe",
        map { "subscription", value })
    end
    refused("BAD_REQUEST", "from is -1; it goes from 0 to 9223372036854775807", "read",
      { from = -1 })
    refused("BAD_REQUEST", "after is -9223372036854775808; it goes from 0 to 9223372036854775807",
      "subscribe", { after = math.mininteger })
    assert.same({}, bad:call("read", { from = math.maxinteger }).events)
    assert.equal(2, #bad:call("read", map { "from", "\xcb\x3f\xf0\0\0\0\0\0\0" }).events) -- 1.0
  end)

  it("19: a limit of 0 and one of 2^32", function()
    refused("BAD_REQUEST", "limit is 0; it goes from 1 to 9223372036854775807", "read",
      { limit = 0 })
    assert.equal(2, #bad:call("read", { limit = 1 << 32 }).events)
    refused("BAD_REQUEST", "limit is 4294967296; it goes from 1 to 10000", "streams",
      { limit = 1 << 32 })
    refused("BAD_REQUEST", "max_bytes is 0; it goes from 1 to 9223372036854775807", "read",
      { max_bytes = 0 })
  end)

  it("20: a key twice, also where one of them is nil", function()
    local there, other = pack "there-1", pack "other-1"
    refused("BAD_REQUEST", "head has the parameter stream twice", "head",
      map { "stream", there, "stream", other })
    refused("BAD_REQUEST", "head has the parameter stream twice", "head",
      map { "stream", "\xc0", "stream", other })
    refused("BAD_REQUEST", "head has the parameter stream twice", "head",
      map { "stream", there, "stream", "\xc0" })
    local event = "\x91" .. map { "type", pack "A", "type", pack "B" }
    refused("BAD_REQUEST", "an event has the parameter type twice", "append",
      map { "stream", there, "events", event })
    refused("BAD_REQUEST", "a query's item has the parameter tags twice", "read",
      map { "query", "\x91" .. map { "tags", "\x90", "tags", "\x90" } })
  end)

  it("20: a key that there is not, and one that is no word", function()
    refused("BAD_REQUEST", "head has no parameter streem; did you mean stream?", "head",
      { streem = "a" })
    refused("BAD_REQUEST", "head has no parameter of that name; ask `api` for those it has",
      "head", "\x81\xa3\xff\xfe\xfd\1")
    refused("BAD_REQUEST", "head has no parameter of that name; ask `api` for those it has",
      "head", "\x81\xa3a\nb\1")
  end)

  it("21: a map, an array, a number as a key", function()
    for _, key in ipairs { "\x80", "\x90", "\7", "\xc0", "\xc4\6stream", "\xd4\5x" } do
      refused("BAD_REQUEST", "head has a parameter whose name is no str", "head",
        "\x81" .. key .. pack "there-1")
    end
  end)

  it("22: bin where str is expected, and str where bin is", function()
    refused("BAD_REQUEST", "stream is no str", "head", map { "stream", "\xc4\7there-1" })
    refused("BAD_REQUEST", "tags holds something that is no str", "append", map {
      "stream", pack "there-1",
      "events", "\x91" .. map { "type", pack "T", "tags", "\x91\xc4\1t" } })
    refused("BAD_REQUEST", "id is neither 16 bytes of bin nor a UUID", "append", map {
      "stream", pack "there-1",
      "events", "\x91" .. map { "type", pack "T", "id", pack(("i"):rep(16)) } })
  end)

  it("23: an ext of type -128 is no parameter", function()
    local ext = "\xd4\x80x"
    refused("BAD_REQUEST", "stream is no str", "head", map { "stream", ext })
    refused("BAD_REQUEST", "from is no integer", "read", map { "from", ext })
    refused("BAD_REQUEST", "events is no array", "append",
      map { "stream", pack "there-1", "events", ext })
  end)

  it("24: a timestamp of the year 292 billion is no time", function()
    local late = "\xc7\x0c\xff" .. (">I4i8"):pack(999999999, math.maxinteger)
    refused("BAD_REQUEST", "occurred is no time; give microseconds since 1970 or RFC 3339",
      "append", map { "stream", pack "there-1",
        "events", "\x91" .. map { "type", pack "T", "occurred", late } })
    for _, text in ipairs { "292277026596-12-04T15:30:07Z", "2026-13-40T99:99:99Z", "", "now" } do
      refused("BAD_REQUEST", "occurred is no time; give microseconds since 1970 or RFC 3339",
        "append", { stream = "there-1", events = m.array { { type = "T", occurred = text } } })
    end
  end)
end)
