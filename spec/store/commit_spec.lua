-- The contract of durability, ml_submit, ml_settle and ml_flush in moonlog.h.
local core = require "coretest"
local stores = require "spec.support.stores"
local tmpdir = require "spec.support.tmpdir"
local append, event, id = stores.append, stores.event, stores.id

local function write(stream, type, more)
  local proposal = { writes = { { stream = stream, events = { { type = type or "T" } } } } }
  for key, value in pairs(more or {}) do proposal[key] = value end
  proposal.writes[1].expected = proposal.expected
  return proposal
end

describe("store/commit: durability", function()
  local store, disk
  before_each(function() store, disk = stores.new() end)

  local function after_power_loss() return stores.open(stores.crash(disk)):head().position end
  local function after_kill() return stores.open(stores.crash(disk, true)):head().position end

  it("disk: survives power loss", function()
    local receipt = assert(append(store, "a", { "T" }))
    assert.equal("disk", receipt.durability)
    assert.equal(1, after_power_loss())
    assert.equal(1, store:stats().durable)
  end)

  it("os: survives the death of the process", function()
    assert(append(store, "a", { "T" }))
    assert.equal("os", assert(append(store, "a", { "T" }, { durability = "os" })).durability)
    assert.same({ 2, 1 }, { store:stats().position, store:stats().durable })
    assert.equal(2, after_kill())
    assert.equal(1, after_power_loss())
    assert.is_true(store:flush "disk")
    assert.equal(2, after_power_loss())
    assert.equal(2, store:stats().durable)
  end)

  it("memory: is written by the next append of another level", function()
    assert.equal("memory", assert(append(store, "a", { "T" },
                                         { durability = "memory" })).durability)
    assert(append(store, "a", { "T" }, { durability = "memory", expected = 0 }))
    assert.equal(0, after_kill())
    assert(append(store, "b", { "T" }))
    assert.equal(3, after_power_loss())
  end)

  for what, trigger in pairs {
    ["a read"] = function() assert.equal(1, #stores.positions(store)) end,
    ["a head"] = function() assert.equal(0, store:head("a").revision) end,
    ["a listing"] = function() assert.equal(1, #store:streams {}) end,
    ["stats"] = function() assert.equal(1, store:stats().position) end,
    ["a poll"] = function() assert.equal(1, store:subscribe({}):poll().position) end,
    ["flush os"] = function() assert.is_true(store:flush "os") end,
    ["flush disk"] = function() assert.is_true(store:flush "disk") end,
    ["close"] = function() assert.is_true(store:close()) end,
    ["an append of level os"] = function()
      assert(append(store, "b", { "T" }, { durability = "os" }))
    end,
  } do
    it("memory: is written by " .. what, function()
      assert(append(store, "a", { "T" }, { durability = "memory" }))
      trigger()
      assert.is_true(after_kill() >= 1)
    end)
  end

  it("flush costs no sync where there is nothing to sync", function()
    local recorder = core.disk.recorder(stores.disk())
    store = stores.open(recorder)
    local function syncs()
      recorder:clear()
      assert.is_true(store:flush "disk")
      return recorder:count "sync"
    end
    assert.equal(0, syncs()) -- as the opening has left it
    assert(append(store, "a", { "T" }))
    assert.equal(1, syncs()) -- the WATERMARK
    assert.equal(0, syncs())
    assert(append(store, "a", { "T" }, { durability = "os" }))
    assert.is_true(syncs() > 0)
  end)

  it("rest syncs what is not on the disk, and the WATERMARK, with the next settle", function()
    local recorder = core.disk.recorder(stores.disk())
    store = stores.open(recorder)
    assert(append(store, "a", { "T" }, { durability = "os" }))
    recorder:clear()
    assert.is_true(store:rest())
    assert.same({ 0, "staged" }, { recorder:count "sync", store:work() })
    assert.is_true(store:rest()) -- once is enough
    assert.is_true(store:settle(true))
    assert.same({ 2, "done" }, { recorder:count "sync", store:work() })
    assert.equal(1, store:stats().durable)
    assert.is_true(store:rest())
    assert.equal("done", store:work())
  end)

  it("rest waits for nobody: another thread does it", function()
    store = stores.open(tmpdir.new(), { no_threads = false })
    assert(append(store, "a", { "T" }, { durability = "os" }))
    assert.is_true(store:rest())
    assert.is_true(store:settle(false))
    assert.equal("flying", store:work())
    assert.is_true(store:settle(true))
    assert.equal(1, store:stats().durable)
  end)

  it("memory: is not written by flush memory", function()
    assert(append(store, "a", { "T" }, { durability = "memory" }))
    assert.is_true(store:flush "memory")
    assert.equal(0, after_kill())
  end)

  it("memory: is written when a megabyte has gathered", function()
    local big = event("T", { data = core.base.pack("b", ("x"):rep(100000)) })
    for _ = 1, 9 do assert(append(store, "a", { big }, { durability = "memory" })) end
    assert.equal(0, after_kill())
    for _ = 1, 3 do assert(append(store, "a", { big }, { durability = "memory" })) end
    assert.is_true(after_kill() >= 9)
  end)

  it("memory: is seen by expectations, conditions and retries before it is written", function()
    assert(append(store, "a", { event("T", { id = id(1), tags = { "x" } }) },
                  { durability = "memory" }))
    assert.is_nil(append(store, "a", { "T" }, { durability = "memory", expected = "no_stream" }))
    assert.is_nil(append(store, "b", { "T" }, { durability = "memory",
                                                condition = { { tags = { "x" } } } }))
    local again = assert(append(store, "a", { event("T", { id = id(1), tags = { "x" } }) },
                                { durability = "memory" }))
    assert.same({ true, 1 }, { again.duplicate, again.first })
    assert.equal(0, after_kill())
    assert.equal(2, assert(append(store, "a", { "T" }, { expected = 0 })).last)
    assert.same({ "a", "a" }, { stores.all(store)[1].stream, stores.all(store)[2].stream })
  end)

  it("costs one write, one sync and the WATERMARK", function()
    local recorder = assert(core.disk.recorder(stores.disk()))
    local one = stores.open(recorder, { segment_bytes = 1 << 20, memory_events = 10000 })
    assert(append(one, "a", { "T" }))
    for _, case in ipairs { { "disk", 2, 1 }, { "os", 2, 0 }, { "memory", 0, 0 } } do
      recorder:clear()
      assert(append(one, "a", { "T" }, { durability = case[1] }))
      assert.same({ case[2], case[3], case[2] + case[3] },
                  { recorder:count "pwrite", recorder:count "sync", recorder:count() }, case[1])
    end
    recorder:clear()
    assert(append(one, "a", { "T" }))
    local ops = {}
    for call in recorder:trace():gmatch "(%S+ %S+)[^\n]*\n" do ops[#ops + 1] = call end
    assert.same({ "pwrite log/new", "sync log/new", "pwrite WATERMARK" }, ops)
  end)
end)

describe("store/commit: submit and settle", function()
  local store, disk, answers
  local function open(more)
    store, disk = stores.new(more)
    answers = {}
  end
  before_each(function() open() end)

  local function submit(name, proposal, more)
    return store:submit(proposal, function(receipt, why)
      answers[#answers + 1] = { name, receipt and receipt.first, why }
      if more then more() end
    end)
  end

  local function names()
    local list = {}
    for i, answer in ipairs(answers) do list[i] = answer[1] end
    return table.concat(list)
  end

  it("answers in the order in which was submitted, after settle", function()
    for n = 1, 5 do assert.is_true(submit(tostring(n), write("a-" .. n))) end
    assert.equal("", names())
    assert.equal(0, store:head().position)
    assert.is_nil(store:head "a-1")
    assert.is_true(store:settle(true))
    assert.equal("12345", names())
    for n = 1, 5 do assert.same({ tostring(n), n }, answers[n]) end
    assert.equal(5, store:head().position)
    assert.equal(5, stores.open(stores.crash(disk)):head().position)
  end)

  it("puts what was submitted together into one frame and one sync", function()
    local recorder = assert(core.disk.recorder(stores.disk()))
    store = stores.open(recorder, { segment_bytes = 1 << 20, memory_events = 10000 })
    recorder:clear()
    for n = 1, 100 do assert(submit("x", write("a-" .. n % 7))) end
    assert.equal(0, recorder:count())
    assert.is_true(store:settle(true))
    assert.same({ 2, 1, 3 }, { recorder:count "pwrite", recorder:count "sync", recorder:count() })
    assert.equal(100, #answers)
  end)

  it("says what becomes of what was submitted, if nobody does anything", function()
    assert.equal("done", store:work())
    assert(submit("1", write "a", function() assert(submit("2", write "a")) end))
    assert.equal("staged", store:work())
    assert.is_true(store:settle(false)) -- written at once; what the answer has submitted is not
    assert.equal("1", names())
    assert.equal("staged", store:work())
    assert.is_true(store:settle(true))
    assert.same({ "12", "done" }, { names(), store:work() })
    open { no_threads = false }
    assert(submit("3", write "a"))
    assert.is_true(store:settle(false)) -- by another thread, and answered by the next settle
    assert.equal("flying", store:work())
    assert.is_true(store:settle(true))
    assert.same({ "3", "done" }, { names(), store:work() })
  end)

  it("does not sync if nobody wants the disk", function()
    assert(submit("a", write("a", "T", { durability = "os" })))
    assert(submit("b", write("a", "T", { durability = "memory" })))
    assert.is_true(store:settle(true))
    assert.same({ 2, 0 }, { store:stats().position, store:stats().durable })
    assert(submit("c", write("a", "T", { durability = "os" })))
    assert(submit("d", write("a", "T")))
    assert.is_true(store:settle(true))
    assert.same({ 4, 4 }, { store:stats().position, store:stats().durable })
  end)

  it("admits against what was submitted before, and refuses at once", function()
    assert(submit("1", write("a", "T", { expected = "no_stream" })))
    local good, why = submit("2", write("a", "T", { expected = "no_stream" }))
    assert.is_nil(good)
    assert.matches("^WRONG_EXPECTED_REVISION: stream a: expected no stream, but it is at", why)
    assert(submit("3", write("a", "T", { expected = 0 })))
    assert.matches("^TOO_LARGE", select(2, submit("4", write(("a"):rep(600)))))
    assert.is_true(store:settle(true))
    assert.equal("13", names())
    assert.equal(1, store:head("a").revision)
  end)

  it("says LIMIT when the group is full, and goes on after settle", function()
    local half = event("T", { data = core.base.pack("b", ("x"):rep(1 << 19)) })
    local big = { writes = { { stream = "a", events = { half } } } }
    local count = 0
    local good, why
    repeat
      good, why = submit("x", big)
      count = count + 1
    until not good
    assert.matches("^LIMIT: ", why)
    assert.is_true(count > 14 and count <= 17)
    assert.is_true(store:settle(true))
    assert.equal(count - 1, #answers)
    assert(submit("y", big))
    assert.is_true(store:settle(true))
    assert.equal(count, store:head().position)
    -- A small one still fits where a large one does not.
    repeat until not submit("z", big)
    assert(submit("small", write "b"))
    assert.is_true(store:settle(true))
  end)

  it("may be used from an answer", function()
    local function chain(n)
      return function() if n > 0 then assert(submit("c" .. n, write("c"), chain(n - 1))) end end
    end
    assert(submit("a", write "a", chain(3)))
    assert.is_true(store:settle(true))
    assert.equal("ac3c2c1", names())
    assert.equal(4, store:head().position)
    assert.is_true(store:settle(true))
  end)

  it("is the only thing that an answer may ask for", function()
    local asked = {
      function() return append(store, "b", { "T" }) end,
      function() return store:settle(true) end,
      function() return store:flush "disk" end,
    }
    for n, ask in ipairs(asked) do
      local said
      assert(submit(tostring(n), write "a", function() said = select(2, ask()) end))
      assert.is_true(store:settle(true))
      assert.matches("^BAD_REQUEST", said)
    end
    assert.equal("123", names())
    assert.same({ 1, 2, 3 }, stores.positions(store))
  end)

  it("is waited for by append, which comes behind", function()
    assert(submit("1", write "a"))
    assert(submit("2", write "b"))
    assert.equal(3, assert(append(store, "a", { "T" }, { expected = 0 })).first)
    assert.equal("12", names())
    assert(submit("3", write "a"))
    assert.is_true(store:settle(false))
    assert.equal(5, assert(append(store, "a", { "T" }, { durability = "memory" })).first)
    assert(submit("4", write "b"))
    assert.is_true(store:settle(true))
    assert.equal("1234", names())
    assert.equal(6, store:head().position)
  end)

  it("is written by close", function()
    assert(submit("1", write "a"))
    assert.is_true(store:close())
    assert.equal("1", names())
    assert.equal(1, stores.open(disk):head().position)
  end)

  it("has nothing to do without anything submitted", function()
    assert.is_true(store:settle(true))
    assert.is_true(store:settle(false))
  end)

  it("on a full disk answers NO_SPACE to all, and goes on when there is room", function()
    assert(append(store, "a", { "T", "T" }))
    local large = event("Big", { data = core.base.pack("b", ("x"):rep(1 << 15)), id = id(1),
                                 tags = { "t" } })
    local big = { writes = { { stream = "b", events = { large } } } }
    disk:set_space(0)
    assert(submit("1", write("a", "T", { expected = 1 })))
    assert(submit("2", big))
    local good, why = store:settle(true)
    assert.is_nil(good)
    assert.matches("^NO_SPACE", why)
    assert.equal("12", names())
    for _, answer in ipairs(answers) do assert.matches("^NO_SPACE", answer[3]) end
    -- Nothing happened: no position, revision, id, key or head was used.
    assert.equal(2, store:head().position)
    assert.is_nil(store:head "b")
    assert.same({}, stores.positions(store, { query = { { tags = { "t" } } } }))
    assert.matches("^NO_SPACE", select(2, append(store, "b", big.writes[1].events)))
    disk:set_space(1 << 20)
    local receipt = assert(append(store, "b", big.writes[1].events, { expected = "no_stream" }))
    assert.same({ 3, false }, { receipt.first, receipt.duplicate })
    assert.equal(4, assert(append(store, "a", { "T" }, { expected = 1 })).first)
    assert.same({ 3 }, stores.positions(store, { query = { { tags = { "t" } } } }))
    assert.same({ 3 }, stores.positions(stores.open(stores.crash(disk)),
                                        { query = { { types = { "Big" } } } }))
  end)

  it("after a failed sync answers STORE_FAILED to all, and so from then on", function()
    local faulty = assert(core.disk.faulty(stores.disk()))
    store = stores.open(faulty)
    assert(append(store, "a", { "T" }))
    faulty:fail(1, "EIO", false, "sync")
    assert(submit("1", write "a"))
    assert(submit("2", write "b"))
    assert.matches("^STORE_FAILED", select(2, store:settle(true)))
    assert.equal("12", names())
    for _, answer in ipairs(answers) do assert.matches("^STORE_FAILED: .*reopen", answer[3]) end
    assert.matches("^STORE_FAILED", select(2, submit("3", write "a")))
    assert.matches("^STORE_FAILED", select(2, append(store, "a", { "T" })))
    assert.same({ 1 }, stores.positions(store))
    assert.equal(0, store:head("a").revision)
  end)
end)

describe("store/commit: the thread", function()
  local store, dir
  before_each(function()
    dir = tmpdir.new()
    store = stores.open(dir, { no_threads = false, notify = true })
  end)
  after_each(function() store:close() end)

  it("calls notify when there is something to answer", function()
    local first
    assert(store:submit(write "a", function(receipt) first = receipt.first end))
    assert.equal(0, store:told())
    assert.is_true(store:settle(false))
    local deadline = os.time() + 10
    while store:told() == 0 and os.time() < deadline do os.execute "sleep 0.001" end
    assert.equal(1, store:told())
    assert.is_nil(first)
    assert.is_true(store:settle(false))
    assert.equal(1, first)
  end)

  it("writes one group while the next is filled, and loses none", function()
    local answered, refused, submitted = {}, 0, 0
    for round = 1, 300 do
      for n = 1, round % 17 do
        local good = store:submit(write("s-" .. n, "T" .. round,
                                        { durability = n % 3 == 0 and "disk" or "os" }),
                                  function(receipt) answered[#answered + 1] = receipt.first end)
        if good then submitted = submitted + 1 else refused = refused + 1 end
      end
      assert.is_true(store:settle(round % 50 == 0))
    end
    assert.is_true(store:settle(true))
    assert.same({ submitted, 0 }, { #answered, refused })
    for n, position in ipairs(answered) do assert.equal(n, position) end
    assert.equal(submitted, #stores.positions(store))
    store:close()
    store = stores.open(dir, { no_threads = false })
    assert.equal(submitted, store:head().position)
  end)

  it("takes what was submitted on top of a group down with it", function()
    for error, code in pairs { EIO = "STORE_FAILED", ENOSPC = "NO_SPACE" } do
      local faulty = assert(core.disk.faulty(stores.disk()))
      local one = stores.open(faulty, { no_threads = false })
      assert(append(one, "a", { "T" }))
      faulty:fail(1, error, false, "pwrite")
      local said = {}
      local function note(receipt, why) said[#said + 1] = receipt or why:match "^[%u_]+" end
      assert(one:submit(write("a", "T", { expected = 0 }), note))
      assert.is_true(one:settle(false))
      assert(one:submit(write("a", "T", { expected = 1 }), note))
      assert.same({}, said)
      assert.matches("^" .. code, select(2, one:settle(true)))
      assert.same({ code, code }, said)
      assert.same({ 1 }, stores.positions(one))
      local receipt, why = append(one, "a", { "T" }, { expected = 0 })
      if code == "NO_SPACE" then assert.equal(2, receipt.first)
      else assert.matches("^STORE_FAILED", why) end
      one:close()
    end
  end)

  it("admits against the group in flight", function()
    for n = 1, 200 do
      local expected = n > 1 and n - 2 or "no_stream"
      assert(store:submit(write("a", "T", { expected = expected, durability = "os" }),
                          function() end))
      assert.is_nil(store:submit(write("a", "T", { expected = expected, durability = "os" }),
                                 function() end))
      assert.is_nil(store:submit(write("b", "T",
                                       { condition = { { types = { "T" } } }, after = n - 1 }),
                                       print))
      store:settle(false)
    end
    assert.is_true(store:settle(true))
    assert.equal(199, store:head("a").revision)
  end)
end)
