-- core/server/signals.c over the wire: who hears what, and what a slow listener loses.
local daemon = require "spec.support.daemon"
local peer = require "spec.support.peer"

describe("server/signals", function()
  local served, one

  setup(function() served = daemon.start() end)
  teardown(function() assert.equal(0, (served:stop())) end)
  before_each(function() one = peer.connect(served.uri) end)
  after_each(function() one:close() end)

  local function listen(subject, more, by)
    local params = { subject = subject }
    for key, value in pairs(more or {}) do params[key] = value end
    return assert((by or one):call("listen", params)).subscription
  end

  local function listeners(subject)
    return assert(one:call("signal", { subject = subject })).listeners
  end

  describe("a pattern", function()
    local function hears(pattern, subjects)
      local id = listen(pattern)
      for subject, heard in pairs(subjects) do
        assert.equal(heard and 1 or 0, listeners(subject), pattern .. " of " .. subject)
      end
      assert(one:call("unlisten", { subscription = id }))
    end

    it("is a subject", function()
      hears("ui.alert", { ["ui.alert"] = true, ui = false, ["ui.alert.red"] = false,
        ["ui.alerts"] = false, ["UI.alert"] = false, ["alert"] = false })
    end)

    it("has * for any one token", function()
      hears("ui.*.red", { ["ui.alert.red"] = true, ["ui.x.red"] = true, ["ui.red"] = false,
        ["ui.a.b.red"] = false, ["ui.alert.blue"] = false })
      hears("*", { ui = true, ["ui.alert"] = false })
      hears("ui.*", { ui = false, ["ui.alert"] = true, ["ui.alert.red"] = false })
    end)

    it("has > at its end for one token or more", function()
      hears("ui.>", { ui = false, ["ui.a"] = true, ["ui.a.b.c"] = true, ["uix.a"] = false })
      hears(">", { ui = true, ["ui.a.b"] = true })
      hears("*.b.>", { ["a.b"] = false, ["a.b.c"] = true, ["a.c.b"] = false })
    end)

    it("is counted once for each listener that it lets hear", function()
      for _, pattern in ipairs { "n.a", "n.a", "n.*", "n.>", ">", "n.b", "n" } do
        listen(pattern)
      end
      assert.equal(5, listeners "n.a")
    end)

    it("is found among many, in whatever order they came and go", function()
      local COUNT, ids, others = 60, {}, {} -- so many may listen on a connection
      for n = 1, 5 do
        others[n] = peer.connect(served.uri)
        for i = 1, COUNT do
          local name = ("inbox.%d"):format((n * COUNT + i) * 7919 % 1009)
          local heard = assert(others[n]:call("listen", { subject = name }))
          ids[name] = { others[n], heard.subscription }
        end
      end
      for name in pairs(ids) do assert.equal(1, listeners(name), name) end
      assert.equal(0, listeners "inbox.x")
      others[2]:close()
      assert(one:call "head")
      for name, id in pairs(ids) do
        assert.equal(id[1] == others[2] and 0 or 1, listeners(name), name)
      end
      for name, id in pairs(ids) do
        if id[1] ~= others[2] then assert(id[1]:call("unlisten", { subscription = id[2] })) end
        assert.equal(0, listeners(name), name)
      end
      for n = 1, 5 do others[n]:close() end
    end)

    it("is refused if it is none", function()
      for _, subject in ipairs { "", ".", "a.", ".a", "a..b", "a b", "a.>.b", "a\n",
                                 "a*", "*a.b", "a>", ("x"):rep(257), ("a."):rep(16) .. "a" } do
        assert.match("^BAD_REQUEST: the pattern is no subject",
          one:refused("listen", { subject = subject }))
      end
      for _, subject in ipairs { "", "a.*", ">", "a.>", "a..b", "a*" } do
        assert.match("^BAD_REQUEST: the subject is no subject",
          one:refused("signal", { subject = subject }))
      end
      assert.match("^BAD_REQUEST: the reply is no subject",
        one:refused("signal", { subject = "a", reply = "b.*" }))
      assert.match("^BAD_REQUEST: policy", one:refused("listen", { subject = "a", policy = "x" }))
      assert.match("^BAD_REQUEST: buffer", one:refused("listen", { subject = "a", buffer = 0 }))
    end)
  end)

  it("carries subject, data and reply, whatever the data is", function()
    local id = listen "told"
    for _, data in ipairs { 1, "x", 1.5, false, { a = { 1 } } } do
      one:notify("signal", { subject = "told", data = data })
      local name, map = one:push()
      assert.same({ "signal", { subscription = id, subject = "told", data = data } },
        { name, map })
    end
    assert(one:call("signal", { subject = "told", data = 1, reply = "inbox" }))
    assert.equal("inbox", select(2, one:push()).reply)
  end)

  it("says NO_LISTENERS to a request that nobody hears, and 0 to all else", function()
    assert.equal("NO_LISTENERS: nobody listens to ask",
      one:refused("signal", { subject = "ask", reply = "inbox" }))
    assert.equal(0, listeners "ask")
  end)

  it("is not stored", function()
    listen "told"
    listeners "told"
    assert.equal(0, assert(one:call "head").position)
  end)

  describe("unlisten", function()
    it("ends it", function()
      local id = listen "a"
      assert.equal(0, assert(one:call("unlisten", { subscription = id })).missed)
      assert.equal(0, listeners "a")
      assert.equal("NOT_FOUND: this connection has no listener " .. id,
        one:refused("unlisten", { subscription = id }))
    end)

    it("is for a listener of this connection, and so is the end of the connection", function()
      local other = peer.connect(served.uri)
      local id = listen("a", nil, other)
      assert.match("^NOT_FOUND: ", one:refused("unlisten", { subscription = id }))
      assert.match("^NOT_FOUND: ", other:refused("unsubscribe", { subscription = id }))
      assert.equal(1, listeners "a")
      other:close()
      repeat until assert(one:call "status").connections == 1
      assert.equal(0, listeners "a")
    end)
  end)

  describe("a listener that does not keep up", function()
    local SIGNALS, BUFFER = 20, 3

    --- Signals what is more than a socket and the daemon's output hold; then the listener reads.
    -- Gives the numbers that it got, with { missed } where it was told of a gap.
    local function overrun(policy)
      local slow = peer.connect(served.uri)
      local id = listen("much", { policy = policy, buffer = BUFFER }, slow)
      for n = 1, SIGNALS do
        assert(one:call("signal", { subject = "much", data = { n = n, fill = ("x"):rep(400000) } }))
      end
      local got, missed = {}, 0
      repeat
        local name, map = slow:push()
        if name == "gap" then
          assert.equal(id, map.subscription)
          missed = missed + map.missed
          got[#got + 1] = { map.missed }
        else
          got[#got + 1] = map.data.n
        end
        -- Of those that wait, the last one to come.
        local ends = policy == "drop_new" and slow:answer(slow:ask "head")
      until got[#got] == SIGNALS or ends and #slow.pushed == 0
      assert.equal(missed, assert(slow:call("unlisten", { subscription = id })).missed)
      slow:close()
      return got, missed
    end

    it("loses the oldest that wait, and is told how many before it goes on", function()
      local got, missed = overrun()
      assert.is_true(missed > 5)
      assert.equal(SIGNALS, got[#got])
      local next_one, gaps = 1, 0
      for _, n in ipairs(got) do
        if type(n) == "table" then
          gaps = gaps + 1
          next_one = next_one + n[1]
        else
          assert.equal(next_one, n)
          next_one = n + 1
        end
      end
      assert.equal(1, gaps)
      assert.same({ 18, 19, 20 }, { table.unpack(got, #got - BUFFER + 1) })
    end)

    it("loses the newest with drop_new", function()
      local got, missed = overrun "drop_new"
      assert.is_true(missed > 5)
      local last = 0
      for _, n in ipairs(got) do
        if type(n) ~= "table" then
          assert.equal(last + 1, n)
          last = n
        end
      end
      assert.equal(SIGNALS, last + missed)
    end)

    it("is disconnected with disconnect", function()
      local slow <close> = peer.connect(served.uri)
      listen("much", { policy = "disconnect", buffer = BUFFER }, slow)
      for _ = 1, SIGNALS do
        assert(one:call("signal", { subject = "much", data = ("x"):rep(400000) }))
      end
      assert.is_true(slow:is_closed()) -- also while what it had got before is read
      assert.equal(0, listeners "much")
    end)
  end)
end)
