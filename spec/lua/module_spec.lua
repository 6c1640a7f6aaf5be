-- require "moonlog": the store from a Lua program, as lua/README.md promises it.
local m = require "moonlog"
local tmpdir = require "spec.support.tmpdir"

local function collect(...)
  local list = {}
  for event in ... do list[#list + 1] = event end
  return list
end

local function field(events, name)
  local list = {}
  for i, event in ipairs(events) do list[i] = event[name] end
  return list
end

describe("lua/module", function()
  local dir, store

  before_each(function()
    dir = tmpdir.new()
    store = assert(m.open { dir = dir })
  end)
  after_each(function() store:close() end)

  local function deposit(amount, more)
    local event = { type = "Deposited", data = { amount = amount } }
    for key, value in pairs(more or {}) do event[key] = value end
    return event
  end

  describe("open", function()
    it("makes a store and says what it is", function()
      assert.equal("moonlog.store (open)", tostring(store))
      assert.match("^%d+%.%d+%.%d+$", m.version)
    end)

    it("raises for keys it does not know, at the caller's line", function()
      local ok, message = pcall(function() m.open { dir = dir, segment_byte = 1 } end)
      assert.is_false(ok)
      assert.match('^%./?spec/lua/module_spec%.lua:%d+: moonlog%.open: unknown key "segment_byte" '
        .. '%(did you mean "segment_bytes"%?%)$', "./" .. message:gsub("^%./", ""))
      assert.error_matches(function() m.open { dir = dir, colour = 1 } end, "there are: dir, ")
      assert.error_matches(function() m.open { dir = dir, [1] = 1 } end, "keys are names")
    end)

    it("raises for values of the wrong type", function()
      assert.error_matches(function() m.open {} end, "dir is missing")
      assert.error_matches(function() m.open { dir = 5 } end, "dir must be a string, not a number")
      assert.error_matches(function() m.open { dir = dir, read_only = 1 } end, "true or false")
      assert.error_matches(function() m.open { dir = dir, segment_bytes = 1.5 } end, "an integer")
      assert.error_matches(function() m.open { dir = dir, heads_bytes = -1 } end, "must be from 0")
      assert.error_matches(function() m.open(dir) end, "a table like {dir")
    end)

    it("gives nil and a sentence for what the world did wrong", function()
      local nothing, why = m.open { dir = tmpdir.new() .. "/none", must_exist = true }
      assert.is_nil(nothing)
      assert.match("^NOT_FOUND: ", why)
      nothing, why = m.open { dir = dir }
      assert.is_nil(nothing)
      assert.match("^LOCKED: ", why)
    end)

    it("follows a writer when it is read-only, and refuses to write", function()
      local reader = assert(m.open { dir = dir, read_only = true })
      store:append("a-1", deposit(1))
      local seen
      for _ = 1, 100 do
        seen = collect(reader:read "a-1")
        if #seen > 0 then break end
      end
      assert.same({ 1 }, field(seen, "position"))
      local nothing, why = reader:append("a-1", deposit(1))
      assert.is_nil(nothing)
      assert.match("^READ_ONLY: ", why)
      reader:close()
    end)
  end)

  describe("close", function()
    it("is done once, and again without harm; then every use raises", function()
      local reading = store:read "$all"
      local following = store:subscribe "$all"
      assert.is_true(store:close())
      assert.is_true(store:close())
      assert.equal("moonlog.store (closed)", tostring(store))
      local uses = {
        function() store:append("a", deposit(1)) end, function() store:read "a" end,
        function() store:head() end, function() store:streams() end, function() store:stats() end,
        function() store:flush() end, function() store:subscribe() end,
        function() reading() end, function() following:poll() end,
        function() following:position() end,
      }
      for _, use in ipairs(uses) do assert.error_matches(use, "store is closed") end
      following:close()
      reading:close()
    end)

    it("happens at the end of a <close> variable, and lets the next open", function()
      do
        local other <close> = assert(m.open { dir = dir .. "/other" })
        assert.truthy(other:append("a-1", deposit(1)))
      end
      local again <close> = assert(m.open { dir = dir .. "/other" })
      assert.equal(1, again:head().position)
    end)

    it("happens when a forgotten store is collected, with its cursors, in any order", function()
      for turn = 1, 4 do
        local path = dir .. "/lost" .. turn
        do
          local lost = assert(m.open { dir = path })
          lost:append("a-1", { deposit(1), deposit(2) })
          local reading, following = lost:read "a-1", lost:subscribe "$all"
          reading()
          following:poll()
        end
        collectgarbage()
        collectgarbage()
        local again = assert(m.open { dir = path })
        again:close()
      end
    end)
  end)

  describe("append", function()
    it("gives the receipt", function()
      local receipt = assert(store:append("account-ada", { deposit(1), deposit(2) }))
      assert.same({ first = 1, last = 2, revision = 1, revisions = { ["account-ada"] = 1 },
        durability = "disk" }, receipt)
      assert.same(3, store:append("account-ada", deposit(3)).first)
    end)

    it("keeps every field of an event", function()
      local id = m.uuid()
      local given = { type = "Opened", data = { owner = "ada", n = 1, f = 1.0, list = m.array {} },
        tags = { "vip", "eu" }, meta = { actor = "ann" }, id = id, schema = 3, occurred = 1500 }
      assert(store:append("account-ada", given))
      local read = store:read "account-ada"()
      for key, value in pairs(given) do assert.same(value, read[key]) end
      assert.equal(1, read.position)
      assert.equal(0, read.revision)
      assert.equal("account-ada", read.stream)
      assert.equal("integer", math.type(read.time))
      assert.equal("integer", math.type(read.data.n))
      assert.equal("float", math.type(read.data.f))
      assert.equal(m.pack(given.data), m.pack(read.data))
      assert.equal(m.pack(given.tags), m.pack(read.tags))
    end)

    it("leaves absent what was not given", function()
      assert(store:append("a-1", { type = "Bare" }))
      local read = store:read "a-1"()
      assert.is_nil(read.data)
      assert.is_nil(read.meta)
      assert.is_nil(read.occurred)
      assert.equal(1, read.schema)
      assert.same({}, read.tags)
      assert.match("^%x+%-%x+%-7%x+%-%x+%-%x+$", read.id)
      assert.equal(36, #read.id)
    end)

    it("takes a business time as text", function()
      assert(store:append("a-1", deposit(1, { occurred = "2026-11-21T13:40:46Z" })))
      assert.equal(m.time "2026-11-21T13:40:46Z", store:read "a-1"().occurred)
    end)

    it("takes any value as data", function()
      for i, value in ipairs { 5, 1.5, "text", true, { 1, 2 }, m.bytes "\0\xff", m.array {} } do
        assert(store:append("any-" .. i, { type = "T", data = value }))
        local read = store:read("any-" .. i)().data
        assert.equal(m.pack(value), m.pack(read))
      end
    end)

    it("writes to several streams at once, or to none", function()
      local receipt = assert(store:append {
        { stream = "a-1", events = { deposit(1), deposit(2) } },
        { stream = "b-1", events = deposit(3), expected = "no_stream" },
      })
      assert.same({ first = 1, last = 3, revisions = { ["a-1"] = 1, ["b-1"] = 0 },
        durability = "disk" }, receipt)
      local nothing, why = store:append({
        { stream = "a-1", events = deposit(4) },
        { stream = "b-1", events = deposit(5), expected = "no_stream" },
      }, { durability = "os" })
      assert.is_nil(nothing)
      assert.match("^WRONG_EXPECTED_REVISION: .*b%-1", why)
      assert.equal(3, store:head().position)
    end)

    it("checks what is expected", function()
      assert(store:append("a-1", deposit(1), { expected = "no_stream" }))
      assert(store:append("a-1", deposit(2), { expected = 0 }))
      assert(store:append("a-1", deposit(3), { expected = "stream_exists" }))
      assert(store:append("a-1", deposit(4), { expected = "any" }))
      for _, expected in ipairs { "no_stream", 0, 7 } do
        local nothing, why = store:append("a-1", deposit(5), { expected = expected })
        assert.is_nil(nothing)
        assert.match("^WRONG_EXPECTED_REVISION: ", why)
      end
      local _, why = store:append("b-1", deposit(1), { expected = "stream_exists" })
      assert.match("^WRONG_EXPECTED_REVISION: ", why)
    end)

    it("checks a condition", function()
      assert(store:append("a-1", deposit(1, { tags = { "seat-7" } })))
      local query = { { types = { "Deposited" }, tags = { "seat-7" } }, { types = { "Other" } } }
      local nothing, why = store:append("b-1", deposit(1), { condition = { query = query } })
      assert.is_nil(nothing)
      assert.match("^CONDITION_FAILED: .*1", why)
      assert(store:append("b-1", deposit(1), { condition = { query = query, after = 1 } }))
    end)

    it("knows a retry again", function()
      local event = deposit(1, { id = m.uuid() })
      assert.is_nil(store:append("a-1", event).duplicate)
      local second = assert(store:append("a-1", event))
      assert.is_true(second.duplicate)
      assert.equal(1, second.first)
      assert.equal(1, store:head().position)
    end)

    it("takes an event as it was read, so that stores can be copied", function()
      assert(store:append("a-1", { deposit(1), deposit(2, { tags = { "x" } }) }))
      local copy <close> = assert(m.open { dir = dir .. "/copy" })
      for event in store:read "$all" do assert(copy:append(event.stream, event)) end
      local function fields(from)
        local list = collect(from:read "$all")
        for _, event in ipairs(list) do event.time = nil end
        return list
      end
      assert.same(fields(store), fields(copy))
    end)

    it("is as durable as was asked for", function()
      for _, level in ipairs { "disk", "os", "memory" } do
        local receipt = assert(store:append("a-1", deposit(1), { durability = level }))
        assert.equal(level, receipt.durability)
      end
      assert.is_true(store:flush())
      assert.is_true(store:flush "os")
      assert.equal(3, store:stats().durable)
    end)

    describe("refuses", function()
      local function refused(...)
        local nothing, why = store:append(...)
        assert.is_nil(nothing)
        return why
      end

      it("data that cannot be stored, and names the way to it", function()
        assert.match("^BAD_REQUEST: data%.items%[3%]%.f is a function",
          refused("a", { type = "T", data = { items = { 1, 2, { f = print } } } }))
        assert.match("^BAD_REQUEST: events%[2%]%.data%.x is a thread",
          refused("a", { { type = "T" }, { type = "T", data = { x = coroutine.create(print) } } }))
        assert.match("^BAD_REQUEST: writes%[1%]%.events%[1%]%.meta%.x is a userdata", refused {
          { stream = "a", events = { { type = "T", meta = { x = io.stdout } } } } })
        assert.match("^BAD_REQUEST: data%[2%] is in a table with holes",
          refused("a", { type = "T", data = { 1, nil, 3 } }))
        assert.match("^TOO_LARGE: data", refused("a", { type = "T", data = ("x"):rep(2 << 20) }))
      end)

      it("events that are not quite events", function()
        assert.match('^BAD_REQUEST: event: unknown key "typ" %(did you mean "type"%?%)',
          refused("a", { typ = "T" }))
        assert.match('^BAD_REQUEST: events%[2%]: unknown key "dat"',
          refused("a", { { type = "T" }, { type = "T", dat = 1 } }))
        assert.match("type must be a string, not a number", refused("a", { type = 5 }))
        assert.match("schema must be from 1", refused("a", { type = "T", schema = 0 }))
        assert.match("id must be a UUID", refused("a", { type = "T", id = "x" }))
        assert.match("occurred must be", refused("a", { type = "T", occurred = "soon" }))
        assert.match("occurred must be", refused("a", { type = "T", occurred = 1.5 }))
        assert.match("tags must be a list of strings", refused("a", { type = "T", tags = "x" }))
        assert.match("tags must be a list", refused("a", { type = "T", tags = { "x", a = 1 } }))
        assert.match("tags%[1%] must be a string", refused("a", { type = "T", tags = { 5 } }))
        assert.match("^BAD_REQUEST: ", refused("a", { data = 1 }))
        assert.match("^BAD_REQUEST: ", refused("a", {}))
        assert.match("^BAD_REQUEST: ", refused("a", "Deposited"))
        assert.match("^BAD_REQUEST: ", refused("a"))
        assert.match("^BAD_REQUEST: ", refused("a", { 5 }))
        assert.match("neither an event nor a list", refused("a", { deposit(1), type = "T" }))
        assert.match("^BAD_REQUEST: ", refused("", deposit(1)))
        assert.match("^BAD_REQUEST: .*meta", refused("a", { type = "T", meta = 5 }))
        assert.match("^BAD_REQUEST: .*writes", refused { type = "T" })
        assert.match("writes%[1%]: unknown key", refused { { strem = "a", events = {} } })
      end)

      it("too much at once", function()
        local many = {}
        for i = 1, 1025 do many[i] = { type = "T" } end
        assert.match("^TOO_LARGE: ", refused("a", many))
        local big = {}
        for i = 1, 20 do big[i] = { type = "T", data = ("x"):rep(1000000) } end
        assert.match("^TOO_LARGE: ", refused("a", big))
        assert.equal(0, store:head().position)
      end)

      it("wrong options, by raising", function()
        local function raises(text, ...)
          local arguments = table.pack(...)
          assert.error_matches(function()
            store:append(table.unpack(arguments, 1, arguments.n))
          end, text)
        end
        raises('unknown key "expect"', "a", deposit(1), { expect = 1 })
        raises('did you mean "no_stream"', "a", deposit(1), { expected = "nostream" })
        raises("expected must be", "a", deposit(1), { expected = -1 })
        raises("expected must be", "a", deposit(1), { expected = true })
        raises('durability "ram"', "a", deposit(1), { durability = "ram" })
        raises("condition: unknown key", "a", deposit(1), { condition = { before = 1 } })
        raises("query must be a list", "a", deposit(1), { condition = { query = { types = {} } } })
        raises('query%[1%]: unknown key "type"', "a", deposit(1),
          { condition = { query = { { type = "T" } } } })
        raises("expected stands in each", { { stream = "a", events = deposit(1) } },
          { expected = 1 })
        raises("stream's name or a list", 5, deposit(1))
        raises("options come second", { { stream = "a", events = deposit(1) } }, nil, {})
        assert.equal(0, store:head().position)
      end)
    end)
  end)

  describe("read", function()
    before_each(function()
      for i = 1, 3 do
        assert(store:append("account-ada", deposit(i, { tags = { "n" .. i } })))
        assert(store:append("order-" .. i, { type = "Ordered" }))
      end
    end)

    it("goes over a stream, everything, a category or a query", function()
      assert.same({ 1, 3, 5 }, field(collect(store:read "account-ada"), "position"))
      assert.same({ 1, 2, 3, 4, 5, 6 }, field(collect(store:read "$all"), "position"))
      assert.same({ 1, 2, 3, 4, 5, 6 }, field(collect(store:read()), "position"))
      assert.same({ 1, 2, 3, 4, 5, 6 }, field(collect(store:read {}), "position"))
      assert.same({ 2, 4, 6 }, field(collect(store:read "$category:order"), "position"))
      assert.same({ 2, 4, 6 }, field(collect(store:read { category = "order" }), "position"))
      assert.same({ 1, 3, 5 }, field(collect(store:read { stream = "account-ada" }), "position"))
      assert.same({ 2, 3, 4, 6 }, field(collect(store:read { query = {
        { types = { "Ordered" } }, { types = { "Deposited" }, tags = { "n2" } } } }), "position"))
      assert.same({ 3 }, field(collect(store:read { category = "account", query = {
        { tags = { "n2" } } } }), "position"))
    end)

    it("begins, ends and turns where the options say", function()
      assert.same({ 1, 2 }, field(collect(store:read("account-ada", { from = 1 })), "revision"))
      assert.same({ 5, 6 }, field(collect(store:read("$all", { from = 5 })), "position"))
      assert.same({ 1, 2 }, field(collect(store:read("$all", { limit = 2 })), "position"))
      assert.same({ 6, 5 }, field(collect(store:read("$all", { backward = true, limit = 2 })),
        "position"))
      assert.same({ 1 }, field(collect(store:read("$all", { max_bytes = 1 })), "position"))
    end)

    it("decodes only the fields asked for", function()
      local read = store:read("account-ada", { fields = { "data", "id" } })()
      assert.equal(1, read.data.amount)
      assert.equal(36, #read.id)
      read.data, read.id = nil, nil
      assert.is_nil(next(read))
      assert.same({ occurred = 7 }, (function()
        store:append("account-bob", deposit(1, { occurred = 7 }))
        return store:read("account-bob", { fields = { "occurred" } })()
      end)())
    end)

    it("finds a stream without events empty", function()
      assert.same({}, collect(store:read "account-bob"))
      assert.same({}, collect(store:read "$category:none"))
    end)

    it("leaves out what was appended after it began", function()
      local count = 0
      for _ in store:read "$all" do
        count = count + 1
        assert(store:append("order-9", { type = "Ordered" }))
      end
      assert.equal(6, count)
    end)

    it("may be left in the middle, by break, error or close", function()
      for event in store:read "$all" do
        if event.position == 2 then break end
      end
      assert.has_error(function() for _ in store:read "$all" do error "x" end end)
      local reading = store:read "$all"
      assert.equal(1, reading().position)
      reading:close()
      assert.is_nil(reading())
      reading:close()
    end)

    it("goes on being at its end", function()
      local reading = store:read "order-1"
      assert.equal(2, reading().position)
      assert.is_nil(reading())
      assert.is_nil(reading())
    end)

    it("may run beside others and inside them", function()
      local pairs_seen = 0
      for outer in store:read "account-ada" do
        for inner in store:read "account-ada" do
          pairs_seen = pairs_seen + (inner.position <= outer.position and 1 or 0)
        end
      end
      assert.equal(6, pairs_seen)
    end)

    it("raises for what cannot be read", function()
      local function raises(text, ...)
        local arguments = table.pack(...)
        assert.error_matches(function()
          store:read(table.unpack(arguments, 1, arguments.n))
        end, text)
      end
      raises('unknown key "strem"', { strem = "a" })
      raises('unknown key "form" %(did you mean "from"%?%)', "a", { form = 1 })
      raises('field "dat" %(did you mean "data"%?%)', "a", { fields = { "dat" } })
      raises("list of names of fields", "a", { fields = {} })
      raises("list of names of fields", "a", { fields = "data" })
      raises("list of names of fields", "a", { fields = { "data", 5 } })
      raises("limit must be from 1", "a", { limit = 0 })
      raises("named \"\"", "")
      raises("stream is empty", { stream = "" })
      raises("expected, not a number", 5)
      raises("^BAD_REQUEST: ", { stream = "a", category = "b" })
      raises("query%[2%]: tags%[1%] must be a string", { query = { {}, { tags = { 1 } } } })
    end)

    it("is safe from finalizers that use the store while an event is made", function()
      local appended = 0
      local function litter()
        setmetatable({}, { __gc = function()
          if appended >= 200 then return end
          appended = appended + 1
          store:append("gc-1", { type = "Collected", data = { n = appended } })
          store:read("gc-1", { backward = true, limit = 1 })()
        end })
      end
      collectgarbage "generational"
      for _ = 1, 50 do
        for event in store:read "account-ada" do
          litter()
          assert.equal("account-ada", event.stream)
          assert.equal(event.revision + 1, event.data.amount)
          assert.same({ "n" .. event.revision + 1 }, event.tags)
        end
      end
      collectgarbage "incremental"
      collectgarbage()
      assert.is_true(appended > 0)
      local n = 0
      for event in store:read "gc-1" do
        n = n + 1
        assert.equal(n, event.data.n)
      end
      assert.equal(appended, n)
    end)
  end)

  describe("subscribe", function()
    it("gives every event once, in order, and nil while there is none", function()
      store:append("a-1", { deposit(1), deposit(2) })
      local following = assert(store:subscribe "$category:a")
      assert.equal(1, following:poll().data.amount)
      assert.equal(2, following:poll().data.amount)
      assert.is_nil(following:poll())
      store:append("b-1", deposit(9))
      store:append("a-2", deposit(3))
      assert.equal(3, following:poll().data.amount)
      assert.is_nil(following:poll())
      assert.equal(4, following:position())
      following:close()
      assert.error_matches(function() following:poll() end, "subscription is closed")
    end)

    it("begins at the start, at the end or behind a position", function()
      store:append("a-1", { deposit(1), deposit(2), deposit(3) })
      assert.equal(1, store:subscribe("$all", { after = "start" }):poll().position)
      assert.equal(3, store:subscribe("a-1", { after = 2 }):poll().position)
      local from_now = assert(store:subscribe({}, { after = "end" }))
      assert.is_nil(from_now:poll())
      store:append("a-1", deposit(4))
      assert.equal(4, from_now:poll().position)
    end)

    it("resumes from its position without gap or repetition", function()
      for i = 1, 10 do store:append("a-1", deposit(i)) end
      local first = store:subscribe "a-1"
      for _ = 1, 4 do first:poll() end
      local second = store:subscribe("a-1", { after = first:position() })
      assert.equal(5, second:poll().data.amount)
    end)

    it("may wait for a stream that is not there yet", function()
      local following = assert(store:subscribe "later-1")
      assert.is_nil(following:poll())
      store:append("later-1", deposit(1))
      assert.equal(1, following:poll().position)
    end)

    it("raises for wrong options", function()
      assert.error_matches(function() store:subscribe("a", { after = "now" }) end, 'after "now"')
      assert.error_matches(function() store:subscribe("a", { after = true }) end, "after must be")
      assert.error_matches(function() store:subscribe("a", { from = 1 }) end, 'unknown key "from"')
    end)
  end)

  describe("head, streams, stats", function()
    it("tell where the log and a stream are", function()
      assert.same({ position = 0 }, store:head())
      store:append("a-1", { deposit(1), deposit(2) })
      store:append("b-1", deposit(1))
      assert.same({ position = 3 }, store:head())
      assert.same({ position = 3, revision = 1, first = 1 }, store:head "a-1")
      local nothing, why = store:head "c-1"
      assert.is_nil(nothing)
      assert.match("^NOT_FOUND: ", why)
      assert.has_error(function() store:head(5) end)
    end)

    it("list streams", function()
      store:append("a-1", { deposit(1), deposit(2) })
      store:append("b-1", deposit(1))
      store:append("a-2", deposit(1))
      assert.same({
        { stream = "a-1", revision = 1, first = 1, last = 2 },
        { stream = "b-1", revision = 0, first = 3, last = 3 },
        { stream = "a-2", revision = 0, first = 4, last = 4 },
      }, store:streams())
      assert.same({ "a-1", "a-2" }, field(store:streams { category = "a" }, "stream"))
      assert.same({ "b-1" }, field(store:streams { prefix = "b" }, "stream"))
      assert.same({ "a-1", "b-1" }, field(store:streams { limit = 2 }, "stream"))
      assert.same({ "a-2" }, field(store:streams { after = 3 }, "stream"))
      assert.same({}, store:streams { prefix = "none" })
      assert.error_matches(function() store:streams { catgory = "a" } end, 'mean "category"')
    end)

    it("count", function()
      store:append("a-1", { deposit(1), deposit(2) })
      local stats = store:stats()
      assert.equal(2, stats.position)
      assert.equal(2, stats.durable)
      assert.is_false(stats.damaged)
      assert.is_false(stats.read_only)
      for _, name in ipairs { "segments", "log_bytes", "used_bytes", "index_bytes", "index_runs",
        "memory_events", "torn_bytes" } do
        assert.equal("integer", math.type(stats[name]))
      end
    end)
  end)

  describe("verify", function()
    it("finds a healthy store healthy", function()
      store:append("a-1", { deposit(1), deposit(2) })
      store:close()
      local report = assert(m.verify(dir, { deep = true }))
      assert.is_true(report.ok)
      assert.equal(2, report.events)
      assert.same({}, report.problems)
      assert.equal(0, report.found)
    end)

    it("says why it could not look", function()
      local nothing, why = m.verify(dir .. "/none")
      assert.is_nil(nothing)
      assert.match("^NOT_FOUND: [^A-Z]", why)
      assert.error_matches(function() m.verify(dir, { depp = true }) end, 'mean "deep"')
    end)
  end)

  describe("words", function()
    it("uuid makes version 7 ids that differ", function()
      local first, second = m.uuid(), m.uuid()
      assert.match("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-7%x%x%x%-[89ab]%x%x%x%-%x+$", first)
      assert.not_equal(first, second)
    end)

    it("time goes both ways", function()
      assert.equal(1795268446000001, m.time "2026-11-21T13:40:46.000001Z")
      assert.equal("2026-11-21T13:40:46.000001Z", m.time(1795268446000001))
      local nothing, why = m.time "soon"
      assert.is_nil(nothing)
      assert.match("^BAD_REQUEST: ", why)
      assert.has_error(function() m.time {} end)
    end)

    it("are the same ones after a second require", function()
      package.loaded.moonlog = nil
      local again = require "moonlog"
      package.loaded.moonlog = m
      assert.equal(m.null, again.null)
      assert.equal("90", again.pack(m.array {}) == "\x90" and "90" or "")
    end)
  end)
end)
