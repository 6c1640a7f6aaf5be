-- core/server/push.c over the wire: what is pushed to a subscription, when, and how much.
local daemon = require "spec.support.daemon"
local moonlog = require "moonlog"
local peer = require "spec.support.peer"
local program = require "spec.support.program"

describe("server/push", function()
  local served, one

  before_each(function()
    served = daemon.start()
    one = peer.connect(served.uri)
  end)
  after_each(function()
    one:close()
    assert.equal(0, (served:stop()))
  end)

  local function subscribe(params, by)
    params.after = params.after or "start"
    return assert((by or one):call("subscribe", params)).subscription
  end

  --- The data of all events pushed up to now, the names of other pushes between them.
  local function told(by)
    local list = {}
    for _, message in ipairs((by or one):pushes()) do
      local map = message[3][1]
      if message[2] ~= "event" then list[#list + 1] = message[2] end
      for _, event in ipairs(map.events or {}) do list[#list + 1] = event.data end
    end
    return list
  end

  --- Takes pushes until one that is no event: gives how many events came, and that one.
  local function events_until_other(by)
    local count = 0
    while true do
      local name, map = by:push()
      if name ~= "event" then return count, name, map end
      for _, event in ipairs(map.events) do
        count = count + 1
        assert.equal(count, event.data)
      end
    end
  end

  describe("after", function()
    it("start is the first event, a position the one behind it, end none", function()
      one:fill("a", 3)
      subscribe {}
      assert.same({ 1, 2, 3, "caught_up" }, told())
      subscribe { after = 1 }
      assert.same({ 2, 3, "caught_up" }, told())
      subscribe { after = 3 }
      assert.same({ "caught_up" }, told())
      subscribe { after = "end" }
      assert.same({ "caught_up" }, told())
    end)

    it("goes on with what is appended, without gap or duplicate", function()
      one:fill("a", 2)
      local id = subscribe { after = "end" }
      assert.same({ "caught_up" }, told())
      one:fill("a", 3)
      assert.same({ 1, 2, 3, "caught_up" }, told())
      one:fill("a", 1)
      assert.same({ 1, "caught_up" }, told())
      assert.equal(6, assert(one:call("unsubscribe", { subscription = id })).position)
    end)

    it("is a word or a position", function()
      assert.match("^BAD_REQUEST: after is none", one:refused("subscribe", { after = "now" }))
      assert.match("^BAD_REQUEST: after", one:refused("subscribe", { after = -1 }))
      assert.match("^BAD_REQUEST: after", one:refused("subscribe", { after = 1.5 }))
    end)
  end)

  describe("credit", function()
    it("bounds what is pushed, and is used up by it", function()
      one:fill("a", 9)
      local id = subscribe { credit = 2 }
      assert.same({ 1, 2 }, told())
      one:fill("a", 1)
      assert.same({}, told())
      assert.equal(0, assert(one:call("credit", { subscription = id, events = 0 })).credit)
      assert.equal(3, assert(one:call("credit", { subscription = id, events = 3 })).credit)
      assert.same({ 3, 4, 5 }, told())
      one:notify("credit", { subscription = id, events = 1 })
      one:notify("credit", { subscription = id, events = 1 })
      assert.same({ 6, 7 }, told())
    end)

    it("is added to what is left", function()
      local id = subscribe { credit = 2 }
      assert.equal(5, assert(one:call("credit", { subscription = id, events = 3 })).credit)
      one:fill("a", 9)
      assert.same({ "caught_up", 1, 2, 3, 4, 5 }, told())
    end)

    it("is no matter to one that was given none to count", function()
      one:fill("a", 600)
      subscribe {}
      assert.equal(600, (events_until_other(one)))
    end)

    it("is for a subscription of this connection", function()
      local id = subscribe { credit = 1 }
      local other <close> = peer.connect(served.uri)
      for _, method in ipairs { "credit", "unsubscribe" } do
        assert.equal("NOT_FOUND: this connection has no subscription " .. id,
          other:refused(method, { subscription = id }))
        assert.match("^BAD_REQUEST: subscription", one:refused(method, { subscription = 0 }))
      end
      assert.match("^BAD_REQUEST: credit", one:refused("subscribe", { credit = -1 }))
    end)
  end)

  describe("caught_up", function()
    it("comes behind the last event, with the head's position", function()
      one:fill("a", 600) -- more than one turn pushes
      subscribe {}
      local count, name, map = events_until_other(one)
      assert.same({ 600, "caught_up", 600 }, { count, name, map.position })
    end)

    it("is told once, and again only behind further events", function()
      subscribe { stream = "a" }
      assert.same({ "caught_up" }, told())
      assert.same({}, told())
      one:fill("b", 3)
      assert.same({}, told())
      one:fill("a", 1)
      assert.same({ 1, "caught_up" }, told())
    end)

    it("does not wait for credit where the credit ended exactly at the head", function()
      one:fill("a", 3)
      local id = subscribe { credit = 3 }
      local count, name, map = events_until_other(one)
      assert.same({ 3, "caught_up", 3 }, { count, name, map.position })
      one:fill("a", 1)
      assert.same({}, told())
      one:call("credit", { subscription = id, events = 1 })
      assert.same({ 1, "caught_up" }, told())
      subscribe { credit = 0, after = "end" }
      assert.same({ "caught_up" }, told())
    end)

    it("is not told to one whose credit ended before the head", function()
      one:fill("a", 4)
      subscribe { credit = 3 }
      assert.same({ 1, 2, 3 }, told())
      subscribe { credit = 0 }
      assert.same({}, told())
    end)
  end)

  describe("checkpoint", function()
    it("says how far a subscription has looked where nothing matched", function()
      local id = subscribe { stream = "none" }
      assert.same({ "caught_up" }, told())
      one:fill("a", 7)
      assert.same({}, told())
      local name, map = one:push(5000)
      assert.same({ "checkpoint", { subscription = id, position = 7 } }, { name, map })
    end)
  end)

  describe("selection", function()
    before_each(function()
      one:close()
      served:stop()
      local store = assert(moonlog.open { dir = served.dir }) -- no client may write to $a-1
      assert(store:append {
        { stream = "a-1", events = { { type = "A", data = 1, tags = { "x", "y" } } } },
        { stream = "b-1", events = { { type = "A", data = 2, tags = { "x" } } } },
        { stream = "a-2", events = { { type = "B", data = 3, tags = { "y" } } } },
        { stream = "$a-1", events = { { type = "B", data = 4 } } },
      })
      store:close()
      served = daemon.start(served.dir)
      one = peer.connect(served.uri)
    end)

    it("is a stream, a category, a query, or all but the system's", function()
      local function selected(params)
        local id = subscribe(params)
        local list = told()
        assert.equal("caught_up", table.remove(list))
        assert(one:call("unsubscribe", { subscription = id }))
        return list
      end
      assert.same({ 1 }, selected { stream = "a-1" })
      assert.same({ 4 }, selected { stream = "$a-1" })
      assert.same({ 1, 3 }, selected { category = "a" })
      assert.same({}, selected { category = "c" })
      assert.same({ 1, 2, 3 }, selected {})
      assert.same({ 1, 2, 3, 4 }, selected { system = true })
      assert.same({ 3 }, selected { query = { { types = { "B" } } } })
      assert.same({ 1, 3 }, selected { query = { { tags = { "y" } } } })
      assert.same({ 1 }, selected { query = { { tags = { "x", "y" } } } })
      assert.same({ 1, 2 }, selected { query = { { types = { "A" }, tags = { "x" } } } })
    end)

    it("is refused where a read's is", function()
      assert.match("^BAD_REQUEST: .*named \"\"", one:refused("subscribe", { stream = "" }))
      assert.match("^BAD_REQUEST: .*did you mean query", one:refused("subscribe", { qurey = {} }))
    end)
  end)

  describe("unsubscribe", function()
    it("ends the pushing and gives the position to go on from", function()
      one:fill("a", 5)
      local id = subscribe { credit = 3 }
      assert.same({ 1, 2, 3 }, told())
      assert.equal(3, assert(one:call("unsubscribe", { subscription = id })).position)
      assert.same({}, told())
      assert.match("^NOT_FOUND: ", one:refused("credit", { subscription = id, events = 1 }))
      one:fill("a", 1)
      assert.same({}, told())
    end)

    it("leaves the others of the connection alone", function()
      local ids = { subscribe { stream = "a" }, subscribe { stream = "b" }, subscribe {} }
      assert(one:call("unsubscribe", { subscription = ids[2] }))
      told()
      one:fill("b", 2)
      assert.same({ 1, 2, "caught_up" }, told())
      one:fill("a", 1)
      assert.same({ 1, 1, "caught_up", "caught_up" }, (function()
        local list = told()
        table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
        return list
      end)())
    end)
  end)

  it("keeps to 64 subscriptions a connection, listeners included", function()
    local first = subscribe { after = "end" }
    for _ = 2, 63 do subscribe { after = "end" } end
    assert(one:call("listen", { subject = "a" }))
    assert.match("^LIMIT: 64 subscriptions", one:refused("subscribe", { after = "end" }))
    assert.match("^LIMIT: 64 subscriptions", one:refused("listen", { subject = "a" }))
    assert(one:call("unsubscribe", { subscription = first }))
    subscribe { after = "end" }
  end)

  it("gives events as hello wants them", function()
    one:fill("a", 1, { tags = { "x" }, meta = { actor = "ada" }, schema = 2, occurred = 5 })
    subscribe {}
    local _, map = one:push()
    assert.same({ 1, 0, "a", "T", 2, { "x" }, 1, { actor = "ada" }, 5 }, (function(event)
      return { event.position, event.revision, event.stream, event.type, event.schema, event.tags,
        event.data, event.meta, event.occurred }
    end)(map.events[1]))
    assert(one:call("hello", { events = "array" }))
    subscribe {}
    one:push()
    _, map = one:push()
    local event = map.events[1]
    assert.same({ 1, 0, "a", "T", 2, { "x" }, 1, { actor = "ada" }, 5 },
      { event[1], event[2], event[4], event[5], event[6], event[8], event[9], event[10],
        event[11] })
    assert.equal(11, #event)
  end)

  it("holds back from a connection that does not read, and costs no memory", function()
    local function anonymous_mib()
      local text = program.slurp("/proc/" .. served.pid .. "/status")
      return tonumber(text:match "RssAnon:%s+(%d+) kB") // 1024
    end
    for n = 1, 6 do -- 42 MB
      local events = {}
      for i = 1, 7 do events[i] = { type = "T", data = ("x"):rep(1000000), schema = n } end
      assert(one:call("append", { stream = "a", events = events }))
    end
    local before = anonymous_mib()
    local slow <close> = peer.connect(served.uri)
    subscribe({}, slow)
    for _ = 1, 300 do assert(one:call "head") end -- as many turns
    assert.is_true(anonymous_mib() - before < 8)
    local count, name = 0, "event"
    while name == "event" do
      local map
      name, map = slow:push()
      count = count + #(map.events or {})
    end
    assert.same({ 42, "caught_up" }, { count, name })
  end)

  it("reaches all of many that begin at once, more than a turn gives", function()
    local COUNT, EVENTS, data = 48, 12, ("x"):rep(20000) -- 11.5 MB, of which a turn gives 8 MiB
    local events, others = {}, {}
    for n = 1, EVENTS do events[n] = { type = "T", data = data } end
    assert(one:call("append", { stream = "a", events = events }))
    for n = 1, COUNT do others[n] = peer.connect(served.uri) end
    assert(one:call "head")
    served:signal "STOP" -- so that they come in one turn
    for n = 1, COUNT do others[n]:ask("subscribe", { after = "start" }) end
    served:signal "CONT"
    for n = 1, COUNT do
      assert(others[n]:answer(1))
      local name, map = others[n]:push()
      assert.same({ "event", EVENTS }, { name, #map.events })
      assert.equal("caught_up", (others[n]:push()))
    end
    one:fill("b", 1)
    for n = 1, COUNT do
      assert.equal(EVENTS + 1, select(2, others[n]:push()).events[1].position)
      others[n]:close()
    end
  end)

  it("says failed of an event that cannot be read, and pushes nothing more", function()
    one:call("append", { stream = "a", events = {
      { type = "T", data = 1 }, { type = "T", data = "damage me" }, { type = "T", data = 3 } } })
    program.damage(served.dir .. "/log/00000000000000000001.seg", "damage me")
    local id = subscribe { credit = 10 }
    local name, map = one:push()
    assert.same({ "event", 1 }, { name, #map.events })
    name, map = one:push()
    assert.same({ "failed", id }, { name, map.subscription })
    assert.match("^CORRUPT: .*position 2", map.error)
    assert(one:call("credit", { subscription = id, events = 5 }))
    one:fill("b", 1)
    assert.same({}, told())
    assert.is_nil((one:receive(1200))) -- no checkpoint goes past it either
    assert.equal(2, assert(one:call("unsubscribe", { subscription = id })).position)
    subscribe { after = 2 }
    assert.same({ 3, 1, "caught_up" }, told())
  end)
end)
