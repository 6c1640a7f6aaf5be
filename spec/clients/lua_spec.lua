-- lua/moonlog/client.lua against a real daemon: what a store does, a connection does.
local m = require "moonlog"
local daemon = require "spec.support.daemon"
local program = require "spec.support.program"

describe("clients/lua", function()
  local served, log

  setup(function() served = daemon.start_tcp() end)
  teardown(function() assert.equal(0, daemon.stop(served)) end)
  before_each(function() log = assert(m.connect(served.uri)) end)
  after_each(function() log:close() end)

  local count = 0
  --- A stream that no other spec uses.
  local function fresh()
    count = count + 1
    return "account-" .. count
  end

  local function collect(...)
    local list = {}
    for event in ... do list[#list + 1] = event end
    return list
  end

  local function numbered(from, to)
    local list = {}
    for n = from, to do list[#list + 1] = { type = "Counted", data = { n = n } } end
    return list
  end

  describe("credit", function()
    it("is used up by what is pushed, and by nothing else", function()
      local stream = fresh()
      assert(log:append(stream, numbered(1, 10)))
      local of = assert(log:call("subscribe", { stream = stream, after = "start", credit = 3 }))
      local function left(more)
        return assert(log:call("credit", { subscription = of.subscription, events = more })).credit
      end
      assert.equal(0, left(0))
      assert.equal(5, left(5))
      assert.equal(0, left(0))
      assert.equal(7, left(7)) -- two events are left to push
      assert.equal(5, left(0))
      assert.equal(10, assert(log:call("unsubscribe", { subscription = of.subscription })).position
                       - assert(log:head(stream)).first + 1)
    end)
  end)

  describe("connect", function()
    it("says whom it is connected to", function()
      assert.equal("moonlog.connection (" .. served.uri .. ")", tostring(log))
      assert.is_true(log:close())
      assert.is_true(log:close())
      assert.equal("moonlog.connection (closed)", tostring(log))
      assert.error_matches(function() log:head() end, "connection is closed")
    end)

    it("goes over TCP as well", function()
      local far <close> = assert(m.connect(served.tcp))
      assert.same(log:head(), far:head())
      assert.is_table(assert(m.connect((served.tcp:gsub("127.0.0.1", "localhost")))):head())
    end)

    it("gives UNREACHABLE where nobody listens", function()
      local none, why = m.connect "unix:/nowhere/moonlog.sock"
      assert.is_nil(none)
      assert.match("^UNREACHABLE: no daemon answers at unix:/nowhere/moonlog.sock: No such", why)
      assert.match("^UNREACHABLE: .*Connection refused", select(2, m.connect "tcp:127.0.0.1:1"))
    end)

    it("refuses what is no address", function()
      for _, uri in ipairs { "", "nowhere", "unix:", "tcp:host", "tcp::1", "tcp:host:" } do
        local none, why = m.connect(uri)
        assert.is_nil(none)
        assert.match("^BAD_REQUEST: .*write unix:PATH or tcp:HOST:PORT$", why)
      end
      assert.match("^BAD_REQUEST: .*too long", select(2, m.connect("unix:" .. ("x"):rep(150))))
      assert.error_matches(function() m.connect(served.uri, { timout = 1 }) end,
        'moonlog.connect: unknown key "timout"')
    end)

    it("says so when moonlog.client cannot be found", function()
      local out = program.shell(("LUA_PATH=/nowhere/?.lua LUA_CPATH=%s/?.so lua5.4 -e %s")
        :format(program.path:match "^(.*)/", program.quote
        'print(require "moonlog".connect "unix:x")'))
      assert.match("^nil\tUNSUPPORTED: .*package%.path.*make install", out)
    end)

    it("comes to its end when the daemon does not answer", function()
      daemon.signal(served, "STOP")
      local slow, why = m.connect(served.uri, { timeout_ms = 50 })
      daemon.signal(served, "CONT")
      assert.is_nil(slow)
      assert.match("^TIMEOUT: ", why)
      assert.is_table(log:head())
    end)
  end)

  describe("append and read", function()
    it("gives back what was appended, value for value", function()
      local stream = fresh()
      local sent = { type = "Opened", schema = 3, tags = { "a", "b" }, id = m.uuid(),
        occurred = 1795268446000000, meta = { actor = "ada" },
        data = { int = 2^53 | 0, big = math.maxinteger, float = 1.0, none = m.null,
          raw = m.bytes "\xff", list = m.array {}, map = {}, text = "grün" } }
      local receipt = assert(log:append(stream, sent))
      assert.equal(0, receipt.revision)
      assert.equal(0, receipt.revisions[stream])
      assert.equal(receipt.first, receipt.last)
      assert.equal("disk", receipt.durability)
      local event = log:read(stream)()
      for name, value in pairs(sent) do assert.same(value, event[name]) end
      assert.equal("float", math.type(event.data.float))
      assert.equal(m.pack(sent.data), m.pack(event.data))
      assert.equal(receipt.first, event.position)
      assert.equal(stream, event.stream)
      assert.is_true(event.time > 1700000000000000)
    end)

    it("gives what is nil as absent, like a store", function()
      local stream = fresh()
      assert(log:append(stream, { type = "Bare" }))
      local event = log:read(stream)()
      assert.is_nil(event.data)
      assert.is_nil(event.meta)
      assert.is_nil(event.occurred)
      assert.same({}, event.tags)
      assert.equal(1, event.schema)
      assert.equal(36, #event.id)
    end)

    it("refuses a conflict with the stream, the actual and the expected revision", function()
      local stream = fresh()
      assert(log:append(stream, { type = "Opened" }, { expected = "no_stream" }))
      local none, why = log:append(stream, { type = "Opened" }, { expected = 7 })
      assert.is_nil(none)
      assert.equal("WRONG_EXPECTED_REVISION: stream " .. stream .. ": expected revision 7, but it "
        .. "is at revision 0; read it again and decide anew", why)
      assert.equal(1, assert(log:append(stream, { type = "Closed" }, { expected = 0 })).revision)
    end)

    it("appends to several streams at once, under a condition, and knows a retry", function()
      local one, two, tag, id = fresh(), fresh(), fresh(), m.uuid()
      local writes = {
        { stream = one, expected = "no_stream",
          events = { type = "Sent", tags = { tag }, id = id } },
        { stream = two, events = { { type = "Received" } } },
      }
      local condition = { query = { { types = { "Sent" }, tags = { tag } } }, after = 0 }
      local receipt = assert(log:append(writes, { condition = condition }))
      assert.same({ [one] = 0, [two] = 0 }, receipt.revisions)
      assert.is_nil(receipt.revision)
      assert.match("^CONDITION_FAILED: ", select(2, log:append(two, { type = "X" },
        { condition = condition })))
      local again = assert(log:append(one, { type = "Sent", tags = { tag }, id = id },
        { expected = "no_stream" }))
      assert.is_true(again.duplicate)
    end)

    it("appends elsewhere what was read", function()
      local one, two = fresh(), fresh()
      assert(log:append(one, numbered(1, 2)))
      for event in log:read(one) do
        event.id = nil
        assert(log:append(two, event))
      end
      assert.equal(1, log:head(two).revision)
    end)

    it("reads as many pages as it takes, in both directions", function()
      local stream = fresh()
      assert(log:append(stream, numbered(1, 1000)))
      assert(log:append(stream, numbered(1001, 2000)))
      local forward = collect(log:read(stream))
      assert.equal(2000, #forward)
      for n, event in ipairs(forward) do assert.equal(n, event.data.n) end
      local backward = collect(log:read(stream, { backward = true }))
      assert.equal(2000, #backward)
      for n, event in ipairs(backward) do assert.equal(2001 - n, event.data.n) end
      assert.equal(1500, #collect(log:read(stream, { limit = 1500 })))
      assert.same({ 1, 0 }, { #collect(log:read(stream, { from = 1999 })),
        #collect(log:read(stream, { from = 2000 })) })
      local bounded = #collect(log:read(stream, { max_bytes = 10000 }))
      assert.is_true(bounded > 1 and bounded < 500)
    end)

    it("reads what was there when it began", function()
      local stream = fresh()
      assert(log:append(stream, numbered(1, 1000)))
      assert(log:append(stream, numbered(1001, 1001)))
      local other <close> = assert(m.connect(served.uri))
      local seen = 0
      for _ in log:read(stream) do
        seen = seen + 1
        if seen == 1 then assert(other:append(stream, numbered(1002, 1010))) end
      end
      assert.equal(1001, seen)
    end)

    it("selects by category, query and system, and picks fields", function()
      local stream, tag = fresh(), fresh()
      assert(log:append(stream, { { type = "A", tags = { tag } }, { type = "B" } }))
      assert.match("^FORBIDDEN: ", select(2, log:append("$made-" .. tag, { type = "A" })))
      local query = { { types = { "A" }, tags = { tag } } }
      assert.equal(1, #collect(log:read { query = query }))
      assert.equal(1, #collect(log:read({ query = query }, { system = true })))
      assert.equal(1, #collect(log:read({ query = query, category = "account" })))
      local picked = log:read("$category:account", { backward = true, fields = { "type" } })()
      assert.same({ type = "B" }, picked)
      assert.equal(0, #collect(log:read "account-none"))
    end)

    it("holds data 30 levels deep, and no deeper", function()
      local stream, deep = fresh(), 1
      for _ = 1, 30 do deep = { deep } end
      assert(log:append({ { stream = stream, events = { { type = "Deep", data = deep } } } }))
      assert.same(deep, log:read(stream)().data)
      local following <close> = assert(log:subscribe(stream))
      assert.same(deep, following:poll(2000).data)
      assert.match("^BAD_REQUEST: .*30 levels", select(2, log:append(stream,
        { type = "Deep", data = { deep } })))
    end)

    it("says where a value cannot be sent, and goes on", function()
      local stream = fresh()
      local _, why = log:append(stream, { type = "T", data = { f = print } })
      assert.equal("BAD_REQUEST: events[1].data.f is a function, which cannot be stored; store "
        .. "what it stands for", why)
      assert.match("^BAD_REQUEST: .*positoin", select(2, log:append(stream,
        { type = "T", positoin = 1 })))
      assert.match("^BAD_REQUEST: ", select(2, log:append(stream, {})))
      assert.match("^TOO_LARGE: ", select(2, log:append(stream, { type = "T",
        data = ("x"):rep(9 << 20) })))
      assert.equal(0, #collect(log:read(stream)))
    end)

    it("raises mistakes of the program at its line", function()
      local function raised(pattern, method, ...)
        local arguments = table.pack(...)
        local ok, message = pcall(function()
          log[method](log, table.unpack(arguments, 1, arguments.n)) -- this line
        end)
        assert.is_false(ok)
        assert.match("lua_spec%.lua:%d+: " .. pattern, message)
      end
      raised('append: unknown key "expcted"', "append", "a-1", { type = "T" }, { expcted = 1 })
      raised('writes%[1%]: unknown key "event"', "append", { { event = {} } })
      raised("read: the stream is named", "read", "")
      raised('read: unknown key "form"', "read", "a-1", { form = 1 })
      raised('read: unknown key "strem"', "read", { strem = "a" })
      raised('read: there is no field "tpye"', "read", "a-1", { fields = { "tpye" } })
      raised('subscribe: unknown key "from"', "subscribe", "a-1", { from = 1 })
      assert.error_matches(function() log:read("a-1", { limit = 0 }) end, "BAD_REQUEST: limit is 0")
    end)

    it("carries a full append while pushes wait to be read", function()
      local stream, large = fresh(), { type = "Large", data = ("x"):rep(1000000) }
      local events = { large, large, large, large, large, large, large, large }
      assert(log:append(stream, events))
      local following <close> = assert(log:subscribe(stream))
      for _ = 1, 3 do assert(log:append(stream, events)) end
      for revision = 0, 31 do assert.equal(revision, following:poll(5000).revision) end
    end)
  end)

  describe("heads, streams, status", function()
    it("say where the log and its streams are", function()
      local stream = fresh()
      local receipt = assert(log:append(stream, numbered(1, 3)))
      assert.same({ position = receipt.last }, log:head())
      assert.same({ position = receipt.last, revision = 2, first = receipt.first },
        log:head(stream))
      assert.match("^NOT_FOUND: ", select(2, log:head "account-none"))
      assert.equal(receipt.last, log:status().position)
    end)

    it("list streams in the order they were begun", function()
      for n = 1, 5 do assert(log:append("listed-" .. n, { type = "T" })) end
      local all = assert(log:streams { category = "listed" })
      assert.equal(5, #all)
      for n, info in ipairs(all) do assert.equal("listed-" .. n, info.stream) end
      assert.equal(2, #log:streams { category = "listed", limit = 2 })
      assert.equal(1, #log:streams { prefix = "listed-", after = all[4].first })
      assert.same({}, log:streams { category = "none" })
    end)

    it("let any method be called", function()
      assert.equal("moonlog", log:call("hello", {}).server)
      assert.match("^UNKNOWN_METHOD: .*did you mean head", select(2, log:call "haed"))
      assert.match("^BAD_REQUEST: ", select(2, log:call("read", { stream = "" })))
      local stream = fresh()
      assert(log:append(stream, numbered(1, 4)))
      for _, limit in ipairs { 1, 2, 4 } do -- a page that ends at the first event is the last
        local page = log:call("read", { stream = stream, backward = true, limit = limit,
          from = limit - 1 })
        assert.same({ limit, true }, { #page.events, page["end"] })
      end
    end)
  end)

  describe("subscribe", function()
    it("goes from the past to what is new, with credit", function()
      local stream = fresh()
      assert(log:append(stream, numbered(1, 1000)))
      local following <close> = assert(log:subscribe(stream, { credit = 7 }))
      assert.is_false(following:caught_up())
      for n = 1, 1000 do assert.equal(n, assert(following:poll(2000)).data.n) end
      assert.is_nil(following:poll(100))
      assert.is_true(following:caught_up())
      for n = 1001, 1100 do
        assert(log:append(stream, numbered(n, n)))
        assert.equal(n, assert(following:poll(2000)).data.n)
      end
      assert.equal(log:head(stream).position, following:position())
    end)

    it("goes on after a position, and from the end", function()
      local stream = fresh()
      local receipt = assert(log:append(stream, numbered(1, 3)))
      local later <close> = assert(log:subscribe(stream, { after = receipt.first }))
      assert.equal(2, later:poll(2000).data.n)
      local new <close> = assert(log:subscribe("$all", { after = "end" }))
      assert.equal(log:head().position, new:position())
      assert.is_nil(new:poll())
      assert(log:append(stream, numbered(4, 4)))
      assert.equal(4, new:poll(2000).data.n)
    end)

    it("moves its position past what does not match", function()
      local following <close> = assert(log:subscribe("account-not-there", { after = "start" }))
      assert(log:append(fresh(), numbered(1, 10)))
      assert.is_nil(following:poll(1500))
      assert.equal(log:head().position, following:position())
    end)

    it("ends when it is closed", function()
      local following = assert(log:subscribe "$all")
      following:close()
      following:close()
      assert.error_matches(function() following:poll() end, "subscription is closed")
      local _, why = log:subscribe("$all", { after = "now" })
      assert.match("^BAD_REQUEST: after is none", why)
    end)
  end)

  describe("read models", function()
    local WALLETS = [[
return {
  projection = "wallets", from = "wallet", key = function(d) return d.owner or 7 end,
  row = { n = 0 }, index = { "n" },
  on = { Counted = function(row, d) row.n = row.n + d.n end },
}
]]
    local DAILY = [[
local moonlog = require "moonlog"
return {
  projection = "daily", from = "wallet", key = "type", row = { n = 0 },
  window = moonlog.tumbling("1d", { time = "occurred" }),
  on = { Counted = function(row) row.n = row.n + 1 end },
}
]]
    local DAY = 86400000000
    local last
    setup(function()
      local first = assert(m.connect(served.uri))
      local files = { ["wallets.lua"] = WALLETS, ["daily.lua"] = DAILY }
      assert.is_true(assert(first:call("rules.load", { files = files })).active)
      local writes = {}
      for n = 1, 1200 do
        writes[n] = { type = "Counted", occurred = n * DAY // 400,
          data = { n = n, owner = ("w%04d"):format(n) } }
      end
      for from = 1, 1200, 600 do
        last = assert(first:append("wallet-1", table.move(writes, from, from + 599, 1, {}))).last
      end
      last = assert(first:append("wallet-1", { type = "Counted", data = { n = 5 },
        occurred = 4 * DAY })).last
      first:close()
    end)

    it("gives a row, and none", function()
      assert.same({ row = { n = 17 }, position = last },
        assert(log:get("wallets", "w0017", { after = last })))
      assert.same({ position = last }, assert(log:get("wallets", "nobody")))
      assert.same({ n = 5 }, assert(log:get("wallets", 7)).row)
      assert.match("^NOT_FOUND: .*wallets", select(2, log:get "wallet"))
      assert.match("^TIMEOUT: ", select(2, log:get("wallets", 7, { after = 10 ^ 9 // 1,
        timeout_ms = 0 })))
      assert.error_matches(function() log:get("wallets", 7, { afetr = 1 }) end,
        'get: unknown key "afetr"')
    end)

    it("gives the row of a window", function()
      local got = assert(log:get("daily", "Counted", { window = DAY + 5, after = last }))
      assert.same({ from = DAY, to = 2 * DAY, closed = true }, got.window)
      assert.equal(400, got.row.n)
    end)

    it("scans page by page, by keys and by an index, both ways", function()
      local rows, before = 0, nil
      for key, row in log:scan("wallets", { after = last }) do
        assert.is_true(before == nil or type(before) ~= type(key) or before < key)
        assert.equal(key == 7 and 5 or tonumber(key:sub(2)), row.n)
        before, rows = key, rows + 1
      end
      assert.equal(1201, rows)

      local found = {}
      for key in log:scan("wallets", { index = "n", from = 1200, backward = true, limit = 1100 }) do
        found[#found + 1] = key
      end
      assert.equal(1100, #found)
      assert.equal("w1200", found[1])
      assert.equal("w0101", found[1100])

      local some = {}
      for key in log:scan("wallets", { prefix = "w000" }) do some[#some + 1] = key end
      assert.equal(9, #some)
      for key, row, window in log:scan("daily", { limit = 1 }) do
        assert.same({ "Counted", { n = 399 }, 0 }, { key, row, window.from })
      end
    end)

    it("raises out of a scan what goes wrong", function()
      assert.error_matches(function() log:scan "wallet" end, "NOT_FOUND: ")
      assert.error_matches(function() log:scan("wallets", { indx = "n" }) end,
        'scan: unknown key "indx"')
      assert.error_matches(function() log:scan("wallets", { index = "m" }) end, "it has n$")
    end)

    it("says how they are", function()
      local names = {}
      for n, one in ipairs(assert(log:projections())) do names[n] = one.name .. " " .. one.state end
      assert.same({ "daily live", "wallets live" }, names)
    end)
  end)

  describe("signals", function()
    it("reach those whose pattern matches", function()
      local one <close> = assert(log:listen "ui.*.saved")
      local rest <close> = assert(log:listen "ui.>")
      assert.equal(2, log:signal("ui.order.saved", { id = 7 }))
      assert.equal(1, log:signal "ui.order")
      assert.equal(0, log:signal("uix.order", 1))
      assert.same({ subject = "ui.order.saved", data = { id = 7 } }, one:poll(1000))
      assert.equal("ui.order.saved", rest:poll(1000).subject)
      assert.same({ subject = "ui.order" }, rest:poll(1000))
      assert.is_nil(one:poll())
      assert.equal(0, one:missed())
      assert.match("^BAD_REQUEST: ", select(2, log:signal "ui..order"))
    end)

    it("answer a request, or say that nobody will", function()
      local other <close> = assert(m.connect(served.uri))
      assert.match("^NO_LISTENERS: nobody listens to sum$", select(2, log:request("sum", { 1, 2 })))
      local asked <close> = assert(other:listen "sum")
      assert.equal("TIMEOUT: nobody replied to sum in time", select(2, log:request("sum", 1, 50)))
      assert.equal(1, assert(asked:poll(1000)).data)
      -- One thread: the reply is asked for and given by hand.
      local inbox <close> = assert(log:listen "inbox.1")
      assert.equal(1, log:signal("sum", { 1, 2 }, { reply = "inbox.1" }))
      local question = asked:poll(1000)
      assert(other:signal(question.reply, question.data[1] + question.data[2]))
      assert.equal(3, inbox:poll(1000).data)
    end)

    it("lose the oldest, and count them", function()
      local few <close> = assert(log:listen("many.*", { buffer = 4 }))
      for n = 1, 10 do assert(log:signal("many.x", n)) end
      assert.equal(7, few:poll(1000).data)
      assert.equal(6, few:missed())
    end)
  end)

  it("says UNREACHABLE when the daemon has gone, and finds it again", function()
    local own = daemon.start()
    local lost = assert(m.connect(own.uri))
    local following = assert(lost:subscribe "$all")
    assert(lost:append("a-1", { type = "Kept" }))
    assert.equal(0, daemon.stop(own))
    local none, why = lost:append("a-1", { type = "Lost" })
    assert.is_nil(none)
    assert.match("^UNREACHABLE: the connection to unix:.* is closed", why)
    assert.equal("Kept", following:poll(1000).type) -- it had come
    assert.match("^UNREACHABLE: ", select(2, following:poll(10)))
    own = daemon.start(own.dir)
    local back <close> = assert(m.connect(own.uri))
    assert.same({ position = 1 }, back:head())
    back:close()
    assert.equal(0, daemon.stop(own))
  end)
end)
