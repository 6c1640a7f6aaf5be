-- The contract of ml_read, ml_next, ml_subscribe, ml_poll in moonlog.h.
local stores = require "spec.support.stores"
local append, event, positions = stores.append, stores.event, stores.positions

-- 400 events: streams, types and tags follow from the position.
local COUNT <const> = 400
local STREAMS <const> = { "account-ada", "account-bob", "order-1", "$sys-1", "plain", "account" }

local function stream_of(position) return STREAMS[position % #STREAMS + 1] end
local function type_of(position) return "T" .. position % 4 end
local function tags_of(position)
  local tags = {}
  for n = 2, 7 do if position % n == 0 then tags[#tags + 1] = "by:" .. n end end
  if position == 333 then tags[#tags + 1] = "rare" end
  return tags
end

local function where(accept)
  local list = {}
  for position = 1, COUNT do if accept(position) then list[#list + 1] = position end end
  return list
end

local function reversed(list)
  local other = {}
  for i = #list, 1, -1 do other[#other + 1] = list[i] end
  return other
end

local function with(selection, more)
  local both = {}
  for key, value in pairs(selection) do both[key] = value end
  for key, value in pairs(more) do both[key] = value end
  return both
end

local function public(position) return stream_of(position):sub(1, 1) ~= "$" end
local function category(position) return stream_of(position):match "^[^-]*" end

-- Appends the events from … to.
local function fill(one, from, to)
  for position = from, to do
    local draft = event(type_of(position), { tags = tags_of(position) })
    assert(append(one, stream_of(position), { draft }, { durability = "os" }))
  end
end

local store, disk = stores.new()
fill(store, 1, COUNT)

describe("store/cursor: a read", function()
  local selections = {
    { "everything", {}, public },
    { "everything with the system's", { system = true }, function() return true end },
    { "a stream", { stream = "account-ada" },
      function(p) return stream_of(p) == "account-ada" end },
    { "a stream of the system", { stream = "$sys-1" },
      function(p) return stream_of(p) == "$sys-1" end },
    { "a category", { category = "account" }, function(p) return category(p) == "account" end },
    { "a category of the system", { category = "$sys" },
      function(p) return category(p) == "$sys" end },
    { "a category that is a whole name", { category = "plain" },
      function(p) return category(p) == "plain" end },
    { "a category that is not there", { category = "acc" }, function() return false end },
    { "a type", { query = { { types = { "T1" } } } },
      function(p) return public(p) and p % 4 == 1 end },
    { "one of some types", { query = { { types = { "T1", "no", "T2", "T1" } } } },
      function(p) return public(p) and (p % 4 == 1 or p % 4 == 2) end },
    { "a tag", { query = { { tags = { "by:5" } } } },
      function(p) return public(p) and p % 5 == 0 end },
    { "all of some tags", { query = { { tags = { "by:5", "by:2", "by:7" } } } },
      function(p) return public(p) and p % 70 == 0 end },
    { "a type and tags", { query = { { types = { "T0", "T3" }, tags = { "by:3" } } } },
      function(p) return public(p) and p % 3 == 0 and (p % 4 == 0 or p % 4 == 3) end },
    { "items side by side", { query = { { tags = { "rare" } },
                                        { types = { "T2" }, tags = { "by:7" } },
                                        { tags = { "by:5", "by:6" } } } },
      function(p) return public(p) and (p == 333 or p % 4 == 2 and p % 7 == 0 or p % 30 == 0) end },
    { "an item that is empty, beside others", { query = { { tags = { "rare" } }, {} } }, public },
    { "a query of the system's too", { query = { { tags = { "by:3" } } }, system = true },
      function(p) return p % 3 == 0 end },
    { "a query within a stream", { stream = "account-bob",
                                   query = { { types = { "T1" } }, { tags = { "by:7" } } } },
      function(p) return stream_of(p) == "account-bob" and (p % 4 == 1 or p % 7 == 0) end },
    { "a query within a category", { category = "account",
                                     query = { { types = { "T1" }, tags = { "by:5" } } } },
      function(p) return category(p) == "account" and p % 4 == 1 and p % 5 == 0 end },
    { "an empty item within a category", { category = "order", query = { {} } },
      function(p) return category(p) == "order" end },
    { "what is not there", { query = { { tags = { "by:2", "no" } }, { types = { "no" } } } },
      function() return false end },
  }

  for _, case in ipairs(selections) do
    local what, selection, accept = case[1], case[2], case[3]
    local all = where(accept)

    it("of " .. what .. " goes forward and backward", function()
      assert.same(all, positions(store, selection))
      assert.same(reversed(all), positions(store, with(selection, { backward = true })))
    end)

    it("of " .. what .. " has a limit", function()
      for _, limit in ipairs { 1, 2, 10, #all, #all + 1, 1000 } do
        local want = limit > 0 and { table.unpack(all, 1, limit) } or all
        assert.same(want, positions(store, with(selection, { limit = limit })))
        local back = limit > 0 and { table.unpack(reversed(all), 1, limit) } or reversed(all)
        assert.same(back, positions(store, with(selection, { limit = limit, backward = true })))
      end
    end)

    it("of " .. what .. " begins where it is asked to", function()
      local by_revision = selection.stream ~= nil
      for _, from in ipairs { 0, 1, 2, 63, 64, 65, 128, 399, 400, 401, 5000, math.maxinteger,
                              -1 } do
        local forward, back, revision = {}, {}, -1
        for position = 1, COUNT do
          if by_revision and stream_of(position) == selection.stream then
            revision = revision + 1
          end
          local at = by_revision and revision or position
          if accept(position) and not math.ult(at, from) then forward[#forward + 1] = position end
          if accept(position) and not math.ult(from, at) then table.insert(back, 1, position) end
        end
        assert.same(forward, positions(store, with(selection, { from = from })), "from " .. from)
        assert.same(back, positions(store, with(selection, { from = from, backward = true })),
                    "back from " .. from)
        assert.same({ table.unpack(forward, 1, 3) },
                    positions(store, with(selection, { from = from, limit = 3 })))
      end
    end)
  end

  it("stops before the event that would pass max_bytes, but gives one", function()
    for _, selection in ipairs { {}, { backward = true }, { stream = "plain" },
                                 { category = "account" } } do
      local all = stores.all(store, selection)
      for _, max_bytes in ipairs { 1, #all[1].wire - 1, #all[1].wire, #all[1].wire + 1, 500, 1000,
                                   1 << 30 } do
        local want, bytes = {}, 0
        for i, one in ipairs(all) do
          bytes = bytes + #one.wire
          if i > 1 and bytes > max_bytes then break end
          want[i] = one.position
        end
        assert.same(want, positions(store, with(selection, { max_bytes = max_bytes })), max_bytes)
        assert.same({ table.unpack(want, 1, 2) },
                    positions(store, with(selection, { max_bytes = max_bytes, limit = 2 })))
      end
    end
  end)

  it("may be gone on with from its position", function()
    for _, more in ipairs { { limit = 7 }, { max_bytes = 700 },
                            { limit = 50, max_bytes = 2000 } } do
      for _, selection in ipairs { {}, { category = "account" },
                                   { query = { { tags = { "by:3" } } } } } do
        local whole, from, rounds = {}, 1, 0
        repeat
          local cursor = assert(store:read(with(selection, with(more, { from = from }))))
          local some = assert(cursor:positions())
          table.move(some, 1, #some, #whole + 1, whole)
          from = cursor:position() + 1
          rounds = rounds + 1
        until #some == 0 or rounds > COUNT
        assert.same(positions(store, selection), whole)
      end
    end
  end)

  it("of a stream that has no event is NOT_FOUND", function()
    for _, more in ipairs { {}, { from = 3 }, { backward = true } } do
      local list, why = positions(store, with({ stream = "nobody" }, more))
      assert.is_nil(list)
      assert.matches("^NOT_FOUND: there is no stream nobody", why)
    end
  end)

  it("is refused with a selection that contradicts itself or names nonsense", function()
    for pattern, selection in pairs {
      ["BAD_REQUEST: stream and category"] = { stream = "a", category = "b" },
      ["TOO_LARGE: the stream has 513"] = { stream = ("a"):rep(513) },
      ["BAD_REQUEST: the stream is not UTF%-8"] = { stream = "\xff" },
      ["BAD_REQUEST: the category holds"] = { category = "a\n" },
      ["BAD_REQUEST: the type in the query is empty"] = { query = { { types = { "" } } } },
      ["TOO_LARGE: the tag in the query has 257"] = { query = { { tags = { ("a"):rep(257) } } } },
    } do
      assert.matches("^" .. pattern, select(2, store:read(selection)))
      assert.matches("^" .. pattern, select(2, store:subscribe(selection)))
    end
  end)

  it("is of what was there when it began", function()
    local one = stores.new()
    assert(append(one, "a", { "T", "T" }))
    local cursor, stream = assert(one:read {}), assert(one:read { stream = "a" })
    assert.equal(1, cursor:next().position)
    for _ = 1, 200 do assert(append(one, "a", { "T" }, { durability = "os" })) end
    assert.equal(2, cursor:next().position)
    assert.is_nil(cursor:next())
    assert.is_nil(cursor:next())
    assert.same({ 1, 2 }, stream:positions())
    assert.matches("^BAD_REQUEST", select(2, cursor:poll()))
  end)

  it("goes on while runs are written, merged and segments rolled below it", function()
    local one = stores.new()
    local function add(n)
      local draft = event("T", { tags = { "x" } })
      assert(append(one, "a-" .. n % 3, { draft }, { durability = "os" }))
    end
    for n = 1, 150 do add(n) end
    local cursors = { one:read {}, one:read { category = "a" },
                      one:read { query = { { tags = { "x" } } } },
                      one:read { backward = true } }
    for n = 1, 150 do
      for i, cursor in ipairs(cursors) do
        assert.equal(i == 4 and 151 - n or n, cursor:next().position)
      end
      for _ = 1, 8 do add(n) end
    end
    for _, cursor in ipairs(cursors) do assert.is_nil(cursor:next()) end
  end)

  it("gives the same after reopening, with and without the index, and to a reader", function()
    local image = stores.crash(disk, true)
    local function same(other)
      for _, case in ipairs(selections) do
        assert.same(where(case[3]), positions(other, case[2]), case[1])
        assert.same(reversed(where(case[3])), positions(other, with(case[2], { backward = true })),
                    case[1])
      end
    end
    local one = stores.open(image)
    same(one)
    one:close()
    for _, name in ipairs(image:list "index") do assert(image:remove("index/" .. name)) end
    same(stores.open(image, { read_only = true }))
    assert.same({}, image:list "index")
    one = stores.open(image)
    same(one)
    one:close()
    same(stores.open(image, { memory_events = 100000 }))
  end)
end)

describe("store/cursor: a subscription", function()
  local subscribed = {
    { {}, public },
    { { system = true }, function() return true end },
    { { stream = "account-ada" }, function(p) return stream_of(p) == "account-ada" end },
    { { stream = "later" }, function() return false end },
    { { category = "account" }, function(p) return category(p) == "account" end },
    { { query = { { types = { "T1" } }, { tags = { "by:5" } } } },
      function(p) return public(p) and (p % 4 == 1 or p % 5 == 0) end },
    { { category = "order", query = { { tags = { "by:7" } } } },
      function(p) return category(p) == "order" and p % 7 == 0 end },
  }

  -- A cursor for each, and a list for what it will give.
  local function subscribe_all(one)
    local cursors, seen = {}, {}
    for i, case in ipairs(subscribed) do
      cursors[i], seen[i] = assert(one:subscribe(case[1])), {}
    end
    return cursors, seen
  end

  it("gives every event once, in order, as they are appended", function()
    local one = stores.new()
    local cursors, seen = subscribe_all(one)
    for position = 1, COUNT, 5 do
      fill(one, position, position + 4)
      for i, cursor in ipairs(cursors) do
        if (position // 5 + i) % 3 == 0 then -- not every time
          local some = assert(cursor:positions(true))
          table.move(some, 1, #some, #seen[i] + 1, seen[i])
          assert.equal(position + 4, cursor:position())
        end
      end
    end
    for i, cursor in ipairs(cursors) do
      local some = assert(cursor:positions(true))
      table.move(some, 1, #some, #seen[i] + 1, seen[i])
      assert.same(where(subscribed[i][2]), seen[i])
      assert.is_nil(cursor:poll())
    end
  end)

  it("begins behind any position, there already or not", function()
    for _, case in ipairs(subscribed) do
      for _, after in ipairs { 0, 1, 200, 399, 400, 500 } do
        local want = {}
        for _, position in ipairs(where(case[2])) do
          if position > after then want[#want + 1] = position end
        end
        assert.same(want, assert(store:subscribe(case[1], after)):positions(true))
      end
    end
    for _, after in ipairs { 450, math.maxinteger, -1 } do
      local one = stores.new()
      local cursor = assert(one:subscribe({}, after))
      fill(one, 1, 460)
      local want = {}
      for position = 451, 460 do
        if after == 450 and public(position) then want[#want + 1] = position end
      end
      assert.same(want, cursor:positions(true))
    end
  end)

  it("is resumed from its position without gap or repetition", function()
    for _, case in ipairs(subscribed) do
      local one = stores.new()
      local seen, after = {}, 0
      for position = 1, COUNT, 10 do
        fill(one, position, position + 9)
        local cursor = assert(one:subscribe(case[1], after))
        for _ = 1, position % 4 + 1 do
          local found = cursor:poll()
          if found then seen[#seen + 1] = found.position end
          assert.is_true(cursor:position() >= after)
        end
        after = cursor:position()
        cursor:free()
      end
      local rest = assert(one:subscribe(case[1], after)):positions(true)
      table.move(rest, 1, #rest, #seen + 1, seen)
      assert.same(where(case[2]), seen)
    end
  end)

  it("does not give what is submitted and not settled", function()
    local one = stores.new()
    local cursor = assert(one:subscribe {})
    assert(one:submit({ writes = { { stream = "a", events = { { type = "T" } } } } },
                      function() end))
    assert.is_nil(cursor:poll())
    assert.is_true(one:settle(true))
    assert.equal(1, cursor:poll().position)
  end)

  it("has no end, beginning, limit or direction of its own", function()
    for _, selection in ipairs { { from = 1 }, { limit = 5 }, { max_bytes = 10 },
                                 { backward = true } } do
      assert.matches("^BAD_REQUEST: a subscription", select(2, store:subscribe(selection)))
    end
  end)

  it("follows a writer beside it, across segments and runs", function()
    local one, on = stores.new()
    fill(one, 1, 3)
    local reader = stores.open(on, { read_only = true })
    local cursors, seen = subscribe_all(reader)
    for position = 4, COUNT do
      fill(one, position, position)
      if position % 7 == 0 or position == COUNT then
        for i, cursor in ipairs(cursors) do
          local some = assert(cursor:positions(true))
          table.move(some, 1, #some, #seen[i] + 1, seen[i])
        end
        assert.equal(position, reader:head().position)
        local got = positions(reader, { stream = stream_of(position), backward = true, limit = 1 })
        assert.same({ position }, got)
      end
    end
    for i, case in ipairs(subscribed) do assert.same(where(case[2]), seen[i]) end
    assert.is_true(reader:stats().segments > 1)
    assert.is_true(reader:stats().index_runs > 0)
  end)
end)
