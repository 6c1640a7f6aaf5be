-- The contract of an append in moonlog.h: form, retries, expectations, conditions.
local stores = require "spec.support.stores"
local append, event, id = stores.append, stores.event, stores.id

-- "CODE: stream …": what a refused expectation says.
local function wrong(stream, expected, actual)
  return "^WRONG_EXPECTED_REVISION: stream " .. stream:gsub("%p", "%%%0") .. ": expected " ..
         expected .. ", but it " .. actual .. ";"
end

local function refused(pattern, receipt, why)
  assert.is_nil(receipt)
  assert.matches(pattern, why)
end

describe("store/admit: expected", function()
  local store
  before_each(function() store = stores.new() end)

  it("any, no_stream, stream_exists or a revision of a stream that is not there", function()
    refused(wrong("a-1", "revision 0", "does not exist"),
            append(store, "a-1", { "T" }, { expected = 0 }))
    refused(wrong("a-1", "an existing stream", "does not exist"),
            append(store, "a-1", { "T" }, { expected = "stream_exists" }))
    assert.equal(0, assert(append(store, "a-1", { "T" }, { expected = "no_stream" })).revisions[1])
    assert.equal(1, assert(append(store, "a-2", { "T", "T" }, { expected = "any" })).revisions[1])
  end)

  it("any, no_stream, stream_exists or a revision of a stream that is there", function()
    assert(append(store, "a-1", { "T", "T", "T" }))
    refused(wrong("a-1", "no stream", "is at revision 2"),
            append(store, "a-1", { "T" }, { expected = "no_stream" }))
    for _, revision in ipairs { 0, 1, 3, math.maxinteger } do
      refused(wrong("a-1", "revision " .. revision, "is at revision 2"),
              append(store, "a-1", { "T" }, { expected = revision }))
    end
    assert.same({ 3 }, assert(append(store, "a-1", { "T" }, { expected = 2 })).revisions)
    assert.same({ 4 }, assert(append(store, "a-1", { "T" }, { expected = "any" })).revisions)
    assert.same({ 5 }, assert(append(store, "a-1", { "T" },
                                     { expected = "stream_exists" })).revisions)
    assert.equal(6, store:head().position)
  end)

  it("holds after reopening, and with a cache of heads that holds few or none", function()
    for _, options in ipairs { {}, { heads_bytes = 1 }, { heads_bytes = 1400 } } do
      local one, disk = stores.new(options)
      for round = 0, 20 do
        for n = 1, 30 do
          assert(append(one, "a-" .. n, { "T" },
                        { expected = round > 0 and round - 1 or "no_stream" }))
        end
        if round % 7 == 6 then
          one:close()
          one = stores.open(disk, options)
        end
      end
      refused(wrong("a-5", "revision 3", "is at revision 20"),
              append(one, "a-5", { "T" }, { expected = 3 }))
    end
  end)

  it("is no other number", function()
    for _, expected in ipairs { -4, math.mininteger } do
      refused("^BAD_REQUEST: expected is " .. ("%d"):format(expected):gsub("%-", "%%-"), nil,
              select(2, append(store, "a", { "T" }, { expected = expected })))
    end
  end)

  it("is held against each write, where the write before left the stream", function()
    local function write(stream, expected, count)
      local events = {}
      for n = 1, count or 1 do events[n] = { type = "T" .. n } end
      return { stream = stream, expected = expected, events = events }
    end
    local receipt = assert(store:append { writes = {
      write("a", "no_stream", 2), write("b", "no_stream"), write("a", 1, 3),
        write("b", "stream_exists"),
      write("a", 4), write("c", "any") } })
    assert.same({ 1, 9, { 1, 0, 4, 1, 5, 0 } }, { receipt.first, receipt.last, receipt.revisions })
    local found = {}
    for i, one in ipairs(stores.all(store)) do found[i] = one.stream .. one.revision end
    assert.same({ "a0", "a1", "b0", "a2", "a3", "a4", "b1", "a5", "c0" }, found)
    -- All of it or nothing.
    refused(wrong("a", "revision 6", "is at revision 7"), store:append { writes = {
      write("d", "no_stream"), write("a", 5, 2), write("a", 6) } })
    refused(wrong("d", "no stream", "is at revision 0"), store:append { writes = {
      write("d", "no_stream"), write("d", "no_stream") } })
    assert.equal(9, store:head().position)
    assert.is_nil(store:head "d")
    assert.equal(10, assert(append(store, "a", { "T" }, { expected = 5 })).first)
  end)
end)

describe("store/admit: form", function()
  local store
  before_each(function() store = stores.new() end)

  it("needs writes, events, and a durability there is", function()
    refused("^BAD_REQUEST: the append has no writes", store:append { writes = {} })
    refused("^BAD_REQUEST: the write to a has no events", append(store, "a", {}))
    refused("^BAD_REQUEST: durability", append(store, "a", { "T" }, { no_durability = true }))
  end)

  it("needs ids that differ", function()
    local events = {}
    for n = 1, 1024 do events[n] = event("T", { id = id(n) }) end
    assert(append(store, "a", events))
    for n = 1, 1024 do events[n] = event("T", { id = id(2000 + n) }) end
    events[1024].id = id(2001)
    refused("^BAD_REQUEST: the event id 11223344%-5566%-7788%-0000%-0000000007d1 is there twice",
            append(store, "a", events))
  end)

  it("checks the names of a condition", function()
    for pattern, item in pairs {
      ["BAD_REQUEST: the type in the query is empty"] = { types = { "" } },
      ["BAD_REQUEST: the tag in the query is not"] = { tags = { "\xff" } },
      ["TOO_LARGE: the tag in the query"] = { tags = { ("x"):rep(257) } },
    } do
      refused("^" .. pattern, append(store, "a", { "T" }, { condition = { item } }))
      refused("^" .. pattern, append(store, "a", { "T" }, { condition = { item }, after = 100 }))
    end
    local items, terms = {}, {}
    for n = 1, 65 do items[n] = { types = { "X" } } end
    refused("^TOO_LARGE: the query has 65 items",
            append(store, "a", { "T" }, { condition = items }))
    for n = 1, 257 do terms[n] = "x" .. n end
    refused("^TOO_LARGE: the query names 257",
            append(store, "a", { "T" }, { condition = { { tags = terms } } }))
    items[65] = nil
    assert(append(store, "a", { "T" }, { condition = items }))
    terms[257] = nil
    assert(append(store, "a", { "T" }, { condition = { { types = terms } } }))
  end)
end)

describe("store/admit: a condition", function()
  local store
  before_each(function()
    store = stores.new()
    assert(append(store, "a-1", { event("Defined", { tags = { "course:1" } }),
                                  event("Enrolled", { tags = { "course:1", "student:1" } }) }))
    assert(append(store, "$sys", { event("Hidden", { tags = { "course:9" } }) }))
  end)

  local function with(condition, after)
    return append(store, "b", { event("Enrolled", { tags = { "course:1" } }) },
                  { condition = condition, after = after })
  end

  it("refuses if an event that matches is after the position, and names it", function()
    refused("^CONDITION_FAILED: the event at position 1 matches .* after 0;",
            with { { types = { "Defined" } } })
    refused("^CONDITION_FAILED: the event at position 2 ", with({ { tags = { "course:1" } } }, 1))
    refused("^CONDITION_FAILED: the event at position 2 ",
            with { { types = { "X", "Enrolled" }, tags = { "course:1", "student:1" } } })
    refused("^CONDITION_FAILED: the event at position 2 ",
            with { { tags = { "no" } }, { tags = { "student:1" } } })
    refused("^CONDITION_FAILED: the event at position 1 ", with {})
    refused("^CONDITION_FAILED: the event at position 3 ", with({ {} }, 2))
    refused("^CONDITION_FAILED: the event at position 3 ", with { { tags = { "course:9" } } })
    assert.equal(3, store:head().position)
  end)

  it("admits otherwise", function()
    assert.equal(4, assert(with({ { tags = { "course:1" } } }, 2)).first)
    assert.equal(5, assert(with({ { types = { "Defined" }, tags = { "student:1" } } })).first)
    assert.equal(6, assert(with({ { types = { "Defined" } } }, 1)).first)
    assert.equal(7, assert(with({}, 6)).first)
    for _, after in ipairs { 7, 100, math.maxinteger, -1 } do
      assert(with({}, after), after)
    end
  end)

  it("sees what is admitted and not written yet", function()
    local answers = {}
    local function submit(after)
      return store:submit({ writes = { { stream = "b",
                                         events = { event("E", { tags = { "t" } }) } } },
                            condition = { { tags = { "t" } } }, after = after },
                          function(receipt) answers[#answers + 1] = receipt.first end)
    end
    assert(submit(0))
    refused("^CONDITION_FAILED: the event at position 4 ", submit(0))
    refused("^CONDITION_FAILED: the event at position 4 ", submit(3))
    assert(submit(4))
    assert(store:settle(true))
    assert.same({ 4, 5 }, answers)
    refused("^CONDITION_FAILED: the event at position 4 ", submit(0))
  end)

  it("is found through runs, wherever the event is", function()
    for n = 1, 600 do
      assert(append(store, "s-" .. n % 9, { event("T" .. n % 50, { tags = { "n" .. n } }) },
                    { durability = "os", condition = { { tags = { "n" .. n } } } }))
    end
    for n = 1, 600, 7 do
      refused("^CONDITION_FAILED: the event at position " .. n + 3 .. " ",
              with { { tags = { "n" .. n } } })
      refused("^CONDITION_FAILED", with({ { types = { "T" .. n % 50 }, tags = { "n" .. n } } },
                                        n + 2))
    end
    assert(with({ { tags = { "n600" } } }, 603))
  end)
end)

describe("store/admit: a retry", function()
  local store, disk
  before_each(function() store, disk = stores.new { window_events = 50 } end)

  local function again() -- the same store, opened anew
    store:close()
    store = stores.open(disk, { window_events = 50 })
  end

  local function proposal(expected, from, count, stream)
    local events = {}
    for n = 1, count or 2 do events[n] = event("T", { id = id(from + n) }) end
    return { writes = { { stream = stream or "a-1", expected = expected, events = events } } }
  end

  -- So many events that ids before them are out of the window.
  local function pass(count)
    for n = 1, count or 60 do
      assert(append(store, "other-" .. n % 3, { "X" }, { durability = "os" }))
    end
  end

  local function is_duplicate(of, asked)
    local before = store:head().position
    local receipt = assert(store:append(asked))
    assert.is_true(receipt.duplicate)
    assert.same({ of.first, of.last, of.revisions },
                { receipt.first, receipt.last, receipt.revisions })
    assert.equal(before, store:head().position)
  end

  it("with any or stream_exists is known within the window", function()
    local first = assert(store:append(proposal("any", 0)))
    assert.is_false(first.duplicate)
    is_duplicate(first, proposal("any", 0))
    is_duplicate(first, proposal("stream_exists", 0))
    pass(48)
    is_duplicate(first, proposal("any", 0))
    again()
    is_duplicate(first, proposal("any", 0))
    pass(1)
    -- The first id has left the window of 50, the second has not.
    refused("^BAD_REQUEST: the event id %S+ was used at position 2 by another",
            store:append(proposal("any", 0)))
    pass(1)
    assert.is_false(assert(store:append(proposal("any", 0))).duplicate)
  end)

  it("with no_stream or a revision is known for ever", function()
    local first = assert(store:append(proposal("no_stream", 0)))
    local second = assert(store:append(proposal(1, 10, 3)))
    assert(append(store, "a-1", { "More" }))
    for _ = 1, 3 do
      is_duplicate(first, proposal("no_stream", 0))
      is_duplicate(second, proposal(1, 10, 3))
      pass()
      again()
    end
    refused(wrong("a-1", "no stream", "is at revision 5"), store:append(proposal("no_stream", 1)))
    refused(wrong("a-1", "revision 1", "is at revision 5"), store:append(proposal(1, 0, 3)))
  end)

  it("of an append to several streams is known by the same streams", function()
    local function both(expected, more)
      return { writes = { { stream = "a", expected = expected,
                            events = { event("T", { id = id(1) }) } },
                          { stream = "b", expected = expected,
                            events = { event("T", { id = id(2) }), event("T", { id = id(3) }) } },
                          { stream = more or "a", events = { event("T", { id = id(4) }) } } } }
    end
    local first = assert(store:append(both "no_stream"))
    assert.same({ 0, 1, 1 }, first.revisions)
    is_duplicate(first, both "no_stream")
    is_duplicate(first, both "any")
    refused("^BAD_REQUEST: the event id", store:append(both("any", "b")))
    pass()
    is_duplicate(first, both "no_stream")
    refused(wrong("a", "no stream", "is at revision 1"), store:append(both("no_stream", "b")))
  end)

  it("whose first write expects nothing is known for ever by one that does", function()
    assert(append(store, "a", { "T" }))
    local function mixed()
      return { writes = { { stream = "a", events = { event("T", { id = id(1) }),
                                                     event("T", { id = id(2) }) } },
                          { stream = "b", expected = "no_stream",
                            events = { event("T", { id = id(3) }) } } } }
    end
    local first = assert(store:append(mixed()))
    is_duplicate(first, mixed())
    pass()
    is_duplicate(first, mixed())
  end)

  it("that is none is refused: other ids, other streams, only a part", function()
    assert(store:append(proposal("any", 0, 3)))
    local used = "^BAD_REQUEST: the event id %S+%-00000000000%d was used at position %d "
    refused(used, store:append(proposal("any", 0, 4)))
    refused(used, store:append(proposal("any", 0, 3, "a-2")))
    refused(used, store:append(proposal("any", 2, 2)))
    refused(used, store:append(proposal("any", -1, 2)))
    local swapped = proposal("any", 0, 3)
    local events = swapped.writes[1].events
    events[1], events[2] = events[2], events[1]
    refused(used, store:append(swapped))
    events[1].id = nil
    refused(used, store:append(swapped))
    assert.equal(3, store:head().position)
  end)

  it("is known while the first is not written yet", function()
    local answers = {}
    local function note(receipt) answers[#answers + 1] = receipt end
    assert(store:submit(proposal("no_stream", 0), note))
    assert(store:submit(proposal("no_stream", 0), note))
    assert(store:submit(proposal(1, 5), note))
    refused("^BAD_REQUEST: the event id", store:submit(proposal("any", 0, 3), note))
    assert(store:settle(true))
    assert.same({ 1, 1, 3 }, { answers[1].first, answers[2].first, answers[3].first })
    assert.same({ false, true, false }, { answers[1].duplicate, answers[2].duplicate,
                                          answers[3].duplicate })
    assert.same({ 4, 4 }, { store:head().position, store:stats().durable })
  end)

  it("does not take along what was submitted before it", function()
    local first = assert(store:append(proposal("any", 0)))
    local answers = {}
    assert(store:submit(proposal("any", 10, 1, "b"), function(receipt) answers[1] = receipt end))
    local receipt = assert(store:append(proposal("any", 0)))
    assert.same({ true, first.first }, { receipt.duplicate, receipt.first })
    assert(store:settle(true))
    assert.equal(3, answers[1].first)
    assert.equal(4, assert(append(store, "b", { "T" }, { expected = 0 })).first)
    assert.equal("T", stores.all(store, { stream = "b" })[2].type)
  end)

  it("is as durable as it asks for, not as the first was", function()
    for _, level in ipairs { "memory", "os" } do
      local one, on = stores.new()
      local asked = proposal("any", 0)
      asked.durability = level
      assert(one:append(asked))
      asked.durability = "disk"
      assert.is_true(assert(one:append(asked)).duplicate)
      assert.equal(2, one:stats().durable)
      assert.equal(2, stores.open(stores.crash(on)):head().position)
    end
  end)

  it("is known with a window of any size", function()
    for _, window in ipairs { 1, 3, 64, 65, 100 } do
      local one, on = stores.new { window_events = window }
      for n = 1, 300 do
        assert(append(one, "a", { event("T", { id = id(n) }) }, { durability = "os" }))
        if n % 100 == 50 then
          one:close()
          one = stores.open(on, { window_events = window })
        end
        local oldest = math.max(1, n - window + 1)
        for _, at in ipairs { oldest, n } do
          local receipt = assert(append(one, "a", { event("T", { id = id(at) }) }))
          assert.same({ true, at }, { receipt.duplicate, receipt.first })
        end
      end
    end
  end)

  it("is not disturbed by admissions that are refused", function()
    assert(store:append(proposal("any", 0)))
    refused("^WRONG", store:append(proposal("no_stream", 20)))
    refused("^TOO_LARGE", append(store, "a", { event(("x"):rep(300), { id = id(21) }) }))
    assert.is_false(assert(store:append(proposal("any", 20))).duplicate)
  end)
end)
