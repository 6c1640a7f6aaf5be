-- Appends that ask for too much, or for two things at once. The numbers are those of the list
-- of hostile inputs that the daemon is held against.
local daemon = require "spec.support.daemon"
local hostile = require "spec.support.hostile"
local m = require "moonlog"

local MIB = 1 << 20

describe("hostile appends", function()
  local served, bad, head
  setup(function() served = daemon.start() end)
  teardown(function() assert.equal(0, served:stop()) end)
  before_each(function()
    bad = hostile.connect(served.uri)
    head = bad:call("head").position
  end)
  after_each(function()
    bad:close()
    hostile.wait_alone(served)
  end)

  local function nothing_written() assert.equal(head, bad:call("head").position) end

  local function events(count, event)
    local list = m.array {}
    for n = 1, count do list[n] = event or { type = "T" } end
    return list
  end

  --- Parameters of packed events, over what m.pack takes.
  local function large(packed, count)
    local list = "\xdc" .. (">I2"):pack(count) .. packed
    return hostile.map { "stream", m.pack "large-1", "events", list }
  end

  it("25: 1,025 events at once", function()
    local _, why, number = bad:call("append", { stream = "many-1", events = events(1025) })
    assert.equal("TOO_LARGE: more than 1024 events in one append; split it", why)
    assert.equal(8, number)
    local writes = m.array { { stream = "many-1", events = events(1000) },
      { stream = "many-2", events = events(25) } }
    _, why = bad:call("append", { writes = writes })
    assert.equal("TOO_LARGE: more than 1024 events in one append; split it", why)
    writes = m.array {}
    for n = 1, 1025 do writes[n] = { stream = "many-1", events = events(1) } end
    _, why = bad:call("append", { writes = writes })
    assert.equal("TOO_LARGE: more than 1024 writes in one append; split it", why)
    nothing_written()
    assert.equal(head + 1024, bad:call("append", { stream = "many-1", events = events(1024) }).last)
  end)

  it("25: no event, no write", function()
    for _, params in ipairs { { stream = "none-1" }, { stream = "none-1", events = m.array {} },
      { writes = m.array {} }, {} } do
      local _, why = bad:call("append", params)
      assert.truthy(why:match "^BAD_REQUEST: ", why)
    end
    nothing_written()
  end)

  it("26: a batch of more than 8 MiB in a message that is not over its limit", function()
    local one = m.pack { type = "T", data = m.bytes(("x"):rep(MIB - 16)) }
    local _, why, number = bad:call("append", large(one:rep(8) .. m.pack { type = "T" }, 9))
    assert.truthy(why:match "^TOO_LARGE: ", why)
    assert.equal(8, number)
    nothing_written()
  end)

  it("26: a message that is over its limit ends the connection, and nobody else's", function()
    local params = large(m.pack { type = "T", data = m.bytes(("x"):rep(MIB - 16)) }:rep(9), 9)
    local function round()
      local other = hostile.connect(served.uri)
      other:send(hostile.request(1, "append", params))
      local _, why = other:answer()
      assert.equal("TOO_LARGE: the message is over 8454144 bytes; send less at once", why)
      assert.is_true(other:is_closed())
      other:close()
    end
    bad:close()
    local grown = hostile.growth(served, round)
    if hostile.measures then assert.is_true(grown <= MIB, grown) end
    bad = hostile.connect(served.uri)
    nothing_written()
  end)

  it("26: an event over 1 MiB", function()
    local event = { type = "T", data = m.bytes(("x"):rep(MIB + 1)) }
    local _, why, number = bad:call("append", { stream = "large-1", events = m.array { event } })
    assert.truthy(why:match "^TOO_LARGE: ", why)
    assert.equal(8, number)
    nothing_written()
  end)

  it("27: one event id twice in a batch", function()
    local same = { type = "T", id = "0190a3c4-0000-7000-8000-000000000001" }
    local _, why, number = bad:call("append", { stream = "twice-1", events = events(2, same) })
    assert.equal("BAD_REQUEST", why:match "^[A-Z_]+", why)
    assert.equal(1, number)
    nothing_written()
  end)

  it("28: a stream that must be new, and at revision 5, in one batch", function()
    local writes = m.array { { stream = "both-1", events = events(1), expected = "no_stream" },
      { stream = "both-1", events = events(1), expected = 5 } }
    local _, why, number = bad:call("append", { writes = writes })
    assert.equal("WRONG_EXPECTED_REVISION", why:match "^[A-Z_]+", why)
    assert.equal(6, number)
    nothing_written()
  end)

  it("28: both ways of saying what to write", function()
    local _, why = bad:call("append", { stream = "both-1", events = events(1),
      writes = m.array { { stream = "both-2", events = events(1) } } })
    assert.equal("BAD_REQUEST: give writes, or stream and events; not both", why)
    nothing_written()
  end)

  it("23, 24: data is kept as it was sent: an ext of type -128, a time of the year 292 billion, "
    .. "a key twice", function()
    local late = "\xc7\x0c\xff" .. (">I4i8"):pack(999999999, math.maxinteger)
    local twice = "\x82\xa1k\1\xa1k\2"
    for _, data in ipairs { "\xd4\x80x", late, twice, "\x93" .. late .. twice .. "\xc7\0\x80" } do
      local event = "\x91" .. hostile.map { "type", m.pack "T", "data", data }
      local params = hostile.map { "stream", m.pack "kept-1", "events", event }
      local receipt = bad:call("append", params)
      bad:send(hostile.request(1, "read", { from = receipt.first, limit = 1 }))
      assert.is_true(bad:wait_for(data))
    end
  end)

  it("20: data that no MessagePack is, in what looks like it", function()
    local wrong = { "\xa2\xff\xfe", ("\x91"):rep(31) .. "\xc0", "\xcf" .. ("\xff"):rep(8) }
    for _, data in ipairs(wrong) do
      local event = "\x91" .. hostile.map { "type", m.pack "T", "data", data }
      local _, why = bad:call("append", hostile.map { "stream", m.pack "bad-1", "events", event })
      assert.truthy(why:match "^BAD_REQUEST: event 1: data ", why)
    end
    nothing_written()
  end)

  it("29: 100,000 appends in one go without reading what is said to them", function()
    local params = { stream = "flood-1", events = m.array { { type = "T", data = 1 } } }
    local one = hostile.request(1, "append", params)
    local left, taken = one:rep(1000), 0
    local before = hostile.status(served).memory_bytes
    -- As many as the daemon takes; then it does not read on, and its memory stays.
    repeat
      local sent = bad.socket:send(left, 500)
      taken = taken + sent
    until sent < #left or taken >= 100000 * #one
    if hostile.measures then
      assert.is_true(hostile.status(served).memory_bytes - before < 32 * MIB)
    end
    -- What was cut is completed, while the answers are read: none is missing.
    local rest = taken % #one
    local answers, asked = 0, taken // #one
    if rest > 0 then
      asked = asked + 1
      bad:pump(one:sub(rest + 1), function() answers = answers + 1 end)
    end
    while asked < 100000 do
      bad:pump(one:rep(1000), function() answers = answers + 1 end)
      asked = asked + 1000
    end
    while answers < asked do
      assert.equal(0, bad:answer().revisions["flood-1"] - answers)
      answers = answers + 1
    end
    assert.equal(head + asked, bad:call("head").position)
  end)
end)
