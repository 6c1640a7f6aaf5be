-- core/server/methods_append.c over the wire: what is admitted, and that each append is answered
-- once, when it is as durable as it asked to be.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local peer = require "spec.support.peer"

describe("server/methods_append", function()
  local served, one

  before_each(function()
    served = daemon.start()
    one = peer.connect(served.uri)
  end)
  after_each(function()
    one:close()
    assert.equal(0, (served:stop()))
  end)

  local function append(stream, more)
    local params = { stream = stream, events = { { type = "T" } } }
    for key, value in pairs(more or {}) do params[key] = value end
    return one:call("append", params)
  end

  local function refused(stream, more)
    local result, why = append(stream, more)
    assert(not result, "it was not refused")
    return why[2]
  end

  it("tells the positions, and of each stream the last revision", function()
    assert.same({ first = 1, last = 3, revisions = { a = 2 }, durability = "disk" },
      one:fill("a", 3))
    assert.same({ first = 4, last = 7, revisions = { a = 5, b = 0 }, durability = "disk" },
      assert(one:call("append", { writes = {
        { stream = "a", events = { { type = "T" } } },
        { stream = "b", events = { { type = "T" } } },
        { stream = "a", events = { { type = "T" }, { type = "T" } } } } })))
  end)

  it("goes to no stream of the system, alone or beside others; reading one is no matter", function()
    assert.match("^FORBIDDEN: the stream %$rules is the system's", refused "$rules")
    assert.match("^FORBIDDEN: ", refused "$")
    assert.match("^FORBIDDEN: .*%$made%-1", one:refused("append", { writes = {
      { stream = "a", events = { { type = "T" } } },
      { stream = "$made-1", events = { { type = "T" } } } } }))
    assert.equal(0, one:call("head").position)
    assert(append "a$")
    assert.match("^NOT_FOUND: ", one:refused("read", { stream = "$rules" }))
  end)

  it("is as durable as it is asked to be, and says so", function()
    for _, level in ipairs { "disk", "os", "memory" } do
      assert.equal(level, assert(append("a", { durability = level })).durability)
    end
    assert.match("^BAD_REQUEST: durability", refused("a", { durability = "paper" }))
  end)

  it("is where the stream is expected to be, or refused", function()
    assert.match("^WRONG_EXPECTED_REVISION: ", refused("a", { expected = "stream_exists" }))
    assert.match("^WRONG_EXPECTED_REVISION: ", refused("a", { expected = 0 }))
    assert(append("a", { expected = "no_stream" }))
    assert.match("^WRONG_EXPECTED_REVISION: ", refused("a", { expected = "no_stream" }))
    assert(append("a", { expected = "stream_exists" }))
    assert(append("a", { expected = 1 }))
    assert.match("^WRONG_EXPECTED_REVISION: ", refused("a", { expected = 1 }))
    assert(append("a", { expected = "any" }))
    assert.match("^BAD_REQUEST: expected", refused("a", { expected = "none" }))
    assert.match("^BAD_REQUEST: expected", refused("a", { expected = -1 }))
    assert.equal(4, one:call("head").position)
  end)

  it("is under a condition", function()
    one:fill("a", 2, { tags = { "x" } })
    local condition = { query = { { tags = { "x" } } }, after = 1 }
    assert.match("^CONDITION_FAILED: ", refused("b", { condition = condition }))
    condition.after = 2
    assert(append("b", { condition = condition }))
    assert.match("^BAD_REQUEST: ", refused("b", { condition = { after = 2 } }))
  end)

  it("is a duplicate when its ids were written", function()
    local events = { { type = "T", id = moonlog.uuid() } }
    assert.is_nil(append("a", { events = events }).duplicate)
    local again = append("a", { events = events })
    assert.same({ true, 1, 1 }, { again.duplicate, again.first, again.last })
    assert.equal(1, one:call("status").appended)
  end)

  it("refuses what is no append, and writes none of it", function()
    local event = { type = "T" }
    for _, case in ipairs {
      { "give writes, or stream and events",
        { stream = "a", writes = { { stream = "b", events = { event } } } } },
      { "an event has no parameter typ; did you mean type",
        { stream = "a", events = { event, { typ = "T" } } } },
      { "a write has no parameter", { writes = { { stream = "a", event = { event } } } } },
      { "type is no str", { stream = "a", events = { { type = 1 } } } },
      { "id is neither", { stream = "a", events = { { type = "T", id = "x" } } } },
      { "schema is 0", { stream = "a", events = { { type = "T", schema = 0 } } } },
      { "occurred is no time", { stream = "a", events = { { type = "T", occurred = "soon" } } } },
      { "tags is no array", { stream = "a", events = { { type = "T", tags = "x" } } } },
      { "tags holds something", { stream = "a", events = { { type = "T", tags = { 1 } } } } },
    } do
      local why = one:refused("append", case[2])
      assert.is_truthy(why:find("BAD_REQUEST: " .. case[1], 1, true), why)
    end
    local tags, events = {}, {}
    for n = 1, 33 do tags[n] = "t" .. n end
    for n = 1, 1025 do events[n] = event end
    assert.match("^TOO_LARGE: 33 tags", refused("a", { events = { { type = "T", tags = tags } } }))
    assert.match("^TOO_LARGE: more than 1024 events", refused("a", { events = events }))
    assert.equal(0, one:call("head").position)
  end)

  it("works without an answer, as a notification", function()
    one:notify("append", { stream = "a", events = { { type = "T" } } })
    one:notify("append", { stream = "a", evnts = {} })
    assert.equal(1, assert(append "a").revisions.a)
    assert.same({}, one.pushed)
  end)

  it("waits for room where the group is full, and none is lost", function()
    local COUNT, data = 70, ("x"):rep(150000) -- 10 MB, of which a group takes 8 MiB
    local others, revisions = {}, {}
    for n = 1, COUNT do others[n] = peer.connect(served.uri) end
    local before = assert(one:call "status").requests
    served:signal "STOP" -- so that they come in one turn
    for n = 1, COUNT do
      others[n]:ask("append", { stream = "a", events = { { type = "T", data = data } } })
    end
    served:signal "CONT"
    for n = 1, COUNT do
      revisions[n] = assert(others[n]:answer(1)).revisions.a
      others[n]:close()
    end
    table.sort(revisions)
    for n = 1, COUNT do assert.equal(n - 1, revisions[n]) end
    local status = one:call "status"
    assert.equal(COUNT, status.position)
    -- One that is looked at again and again until there is room was asked once.
    assert.equal(before + COUNT + 1, status.requests)
  end)

  it("is answered once for each of many that come at once, in order", function()
    local bytes = {}
    for n = 1, 1500 do
      bytes[n] = moonlog.pack { 0, n + 1000, "append",
        { { stream = "a", events = { { type = "T" } } } } }
    end
    bytes[#bytes + 1] = moonlog.pack { 0, 99, "head", { {} } }
    local last, position = 0, nil
    for _, message in ipairs(peer.raw_at_once(served, table.concat(bytes), 1501)) do
      if message[2] == 99 then
        position = message[4].position
      else
        last = last + 1
        assert.same({ 1, last + 1000, last }, { message[1], message[2], message[4].first })
      end
    end
    assert.equal(1500, last)
    -- 1,024 may wait for the disk at once: what comes behind them is not looked at before.
    assert.is_true(position >= 1500 - 1024)
  end)

  it("keeps the answers of connections apart", function()
    local others = {}
    for n = 1, 20 do
      others[n] = peer.connect(served.uri)
      others[n]:ask("append", { stream = "s-" .. n, events = { { type = "T" }, { type = "T" } } })
    end
    for n = 1, 20 do
      assert.same({ ["s-" .. n] = 1 }, assert(others[n]:answer(1)).revisions)
      others[n]:close()
    end
    assert.equal(40, one:call("head").position)
  end)
end)
