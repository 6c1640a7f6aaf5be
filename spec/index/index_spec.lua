-- The contract in core/index/index.h: one ascending list for each key, however it is spread
-- over runs and tables.
local core = require "coretest"
local disk, index = core.disk, core.index

local LOG <const> = ("i"):rep(16)

local function new_disk()
  local sim = assert(disk.sim { file_bytes = 16 << 20, files = 300 })
  sim:sys_make_dir "index"
  return sim
end

local function open(on, more)
  local options = { log = LOG, head = 0, memory_events = 64 }
  for key, value in pairs(more or {}) do options[key] = value end
  return assert(index.open(on, options))
end

local function key_of(n) return n * 0x9e3779b97f4a7c15 end

-- Which keys an event has: 1 all, 2 every second, … and one of its own.
local function keys_of(position)
  local keys = { key_of(1), key_of(1000000 + position) }
  for n = 2, 12 do if position % n == 0 then keys[#keys + 1] = key_of(n) end end
  if position > 3000 and position < 3300 then keys[#keys + 1] = key_of(13) end
  return keys
end

local function feed(one, from, to)
  for position = from, to do
    one:feed(position, keys_of(position))
    assert.is_true(one:tend(position))
  end
end

local function every(step, to)
  local list = {}
  for position = step, to, step do list[#list + 1] = position end
  return list
end

local function walked(one, key, to)
  local list, postings = {}, one:postings(key, 1, to)
  local position = postings:seek(1)
  while position and position ~= "damaged" do
    list[#list + 1] = position
    position = postings:next()
  end
  return list, position
end

local function check(one, to)
  for n = 1, 12 do assert.same(every(n, to), walked(one, key_of(n), to)) end
end

describe("index", function()
  it("gives every list, through tables and runs", function()
    local one = open(new_disk())
    local at = 0
    for _, to in ipairs { 10, 63, 64, 65, 130, 300, 1000, 5000 } do
      feed(one, at + 1, to)
      at = to
      assert.equal(to, one:covered())
      check(one, to)
      assert.same({ to }, (walked(one, key_of(1000000 + to), to)))
      assert.same({}, (walked(one, key_of(-5), to)))
    end
  end)

  it("keeps a few runs and little memory, however much it was fed", function()
    local one = open(new_disk())
    local at, most, memory = 0, 0, nil
    for to = 500, 20000, 500 do
      feed(one, at + 1, to)
      at = to
      local state = one:state()
      most = math.max(most, state.runs)
      if to == 2000 then memory = state.memory_bytes end
      assert.is_true(state.memory_events <= 128)
      if memory then assert.is_true(state.memory_bytes <= 2 * memory) end
    end
    -- 20,000 / 64 tables: five sizes of at most three runs, and one that is about to be merged.
    assert.is_true(most <= 3 * 5 + 1, most)
    check(one, 20000)
  end)

  it("does the same with a thread of its own", function()
    local dir = require("spec.support.tmpdir").new()
    local real = assert(disk.real(dir, false))
    real:sys_make_dir "index"
    local one = open(real, { threads = true })
    feed(one, 1, 5000)
    check(one, 5000)
    assert.is_true(one:state().memory_events <= 4 * 64)
    assert.is_true(one:save(5000))
    one:close()
  end)

  it("writes nothing that is not settled", function()
    local sim = new_disk()
    local one = open(sim)
    for position = 1, 200 do
      one:feed(position, keys_of(position))
      assert.is_true(one:tend(40))
    end
    assert.same({}, sim:list "index")
    check(one, 200)
  end)

  it("takes back what was fed and not settled after all", function()
    for _, last in ipairs { 100, 101, 128, 149 } do
      local one = open(new_disk())
      feed(one, 1, 100)
      for position = 101, 150 do one:feed(position, keys_of(position)) end
      for position = 150, last + 1, -1 do
        for _, key in ipairs(keys_of(position)) do one:retract(key, position - 1) end
      end
      one:uncover(last)
      assert.equal(last, one:covered())
      check(one, last)
      feed(one, last + 1, 400)
      check(one, 400)
    end
  end)

  it("takes back what it has frozen already", function()
    local one = open(new_disk())
    feed(one, 1, 10)
    for position = 11, 200 do
      one:feed(position, keys_of(position))
      assert.is_true(one:tend(10))
    end
    for position = 200, 11, -1 do
      for _, key in ipairs(keys_of(position)) do one:retract(key, position - 1) end
    end
    one:uncover(10)
    check(one, 10)
    feed(one, 11, 500)
    check(one, 500)
  end)
end)

describe("index: postings", function()
  -- The lists as sorted arrays, and what the calls should answer.
  local function model_of(list)
    local at
    local function answer(n)
      at = n
      return list[n]
    end
    return {
      seek = function(position)
        for n, value in ipairs(list) do if value >= position then return answer(n) end end
      end,
      seek_back = function(position)
        for n = #list, 1, -1 do if list[n] <= position then return answer(n) end end
      end,
      next = function() if list[at + 1] then return answer(at + 1) end end,
      prev = function() if at > 1 then return answer(at - 1) end end,
      nth = function(n) if list[n + 1] then return answer(n + 1) end end,
    }
  end

  local function ops_on(postings, list, last, steps)
    local model, standing, trace = model_of(list), false, {}
    for _ = 1, steps do
      local op = ({ "seek", "seek_back", "next", "prev", "nth" })[math.random(5)]
      local argument
      if op == "seek" or op == "seek_back" then argument = math.random(0, last + 5)
      elseif op == "nth" then argument = math.random(0, #list + 1)
      elseif not standing then goto continue end
      local want, got = model[op](argument), postings[op](postings, argument)
      trace[#trace + 1] = ("%s(%s) = %s"):format(op, argument, want)
      if want ~= got then
        error(("got %s\n%s"):format(got, table.concat(trace, "\n", math.max(1, #trace - 8))), 0)
      end
      standing = want ~= nil
      ::continue::
    end
  end

  it("answer as a sorted array does, over runs and tables", function()
    local seed = tonumber(os.getenv "MOONLOG_SEED") or os.time()
    math.randomseed(seed)
    for _, last in ipairs { 40, 100, 700, 4321 } do
      local one = open(new_disk())
      feed(one, 1, last)
      for n = 1, 13 do
        local list = every(n, last)
        if n == 13 then
          list = {}
          for position = 3001, math.min(3299, last) do list[#list + 1] = position end
        end
        local postings = one:postings(key_of(n), 1, last)
        assert.equal(#list, postings:count())
        local good, why = pcall(ops_on, postings, list, last, 150)
        assert(good, ("MOONLOG_SEED=%d, key %d of %d: %s"):format(seed, n, last, tostring(why)))
      end
    end
  end)

  it("of a range hold all that is in it", function()
    local one = open(new_disk())
    feed(one, 1, 1000)
    for _, range in ipairs { { 1, 1 }, { 64, 65 }, { 500, 510 }, { 999, 1000 }, { 700, 2000 } } do
      local postings = one:postings(key_of(3), range[1], range[2])
      local position = postings:seek(range[1])
      for want = (range[1] + 2) // 3 * 3, math.min(range[2], 999), 3 do
        assert.equal(want, position)
        position = postings:next()
      end
    end
    assert.is_nil(one:postings(key_of(3), 1, 1000):seek(1000))
    assert.equal(999, one:postings(key_of(3), 1, 1000):seek_back(math.maxinteger))
  end)
end)

describe("index: opened again", function()
  local sim
  before_each(function()
    sim = new_disk()
    local one = open(sim)
    feed(one, 1, 1000)
    assert.is_true(one:save(1000))
    one:close()
  end)

  local function covered(more)
    local options = { head = 1000 }
    for key, value in pairs(more or {}) do options[key] = value end
    local one = open(sim, options)
    local position = one:covered()
    if not (more and more.read_only) then
      feed(one, position + 1, 1100)
      check(one, 1100)
    end
    one:close()
    return position
  end

  it("has what was written", function() assert.is_true(covered() >= 1000 - 128) end)

  it("begins anew when it is of another log", function()
    assert.equal(0, covered { log = ("j"):rep(16) })
  end)

  it("begins anew when its anchors are of another history", function()
    assert.equal(0, covered { salt = 1 })
  end)

  it("drops what is ahead of the log", function()
    local position = covered { head = 700 }
    assert.is_true(position <= 700)
    assert.is_true(position > 0)
  end)

  it("begins anew when it was deleted, or has a hole", function()
    for _, name in ipairs(sim:list("index", ".run")) do
      if name:match "^0+1%-" then assert(sim:remove("index/" .. name)) end
    end
    assert.equal(0, covered())
    local names = sim:list("index", ".run")
    assert.is_true(#names > 1)
    for i, name in ipairs(names) do if i > 1 then assert(sim:remove("index/" .. name)) end end
    assert.equal(math.tointeger(names[1]:match "%-(%d+)"), covered { head = 1100 })
  end)

  it("drops runs with a bad header, and what is behind them", function()
    local names = sim:list("index", ".run")
    sim:flip("index/" .. names[2], 8 * 50)
    assert.equal(math.tointeger(names[1]:match "%-(%d+)"), covered())
  end)

  it("takes the longest of runs that overlap, and removes the others for good", function()
    local strays = { ("index/%020d-%020d.run"):format(1, 5),
                     ("index/%020d-%020d.run"):format(1, 7) }
    local head = { log = LOG, first = 1, last = 5, anchor = (5 * 2654435761) & 0xffffffff }
    assert.equal(strays[1], index.write(sim, head, { { 1, { 1, 2 } } }))
    local half = "index/" .. ("%020d-%020d.run~"):format(1, 9)
    assert(sim:open(strays[2], "create"))
    assert(sim:open(half, "create"))
    sim:settle()
    assert.is_true(covered() >= 1000 - 128)
    local image = sim:crash("", 0)
    for _, stray in ipairs { strays[1], strays[2], half } do
      assert.is_nil(image:open(stray), stray)
    end
  end)

  it("for reading only removes nothing", function()
    assert(sim:open(("index/%020d-%020d.run"):format(1, 5), "create"))
    local names = sim:list "index"
    assert.equal(0, covered { read_only = true, salt = 1 })
    assert.same(names, sim:list "index")
  end)

  it("for reading only takes up the runs that a writer makes", function()
    local reader = open(sim, { head = 1000, read_only = true })
    local one = open(sim, { head = 1000 })
    local from = reader:covered()
    for position = from + 1, 1000 do reader:feed(position, keys_of(position)) end
    for to = 1100, 3000, 100 do
      feed(one, one:covered() + 1, to)
      assert.is_true(reader:refresh(to))
      for position = reader:covered() + 1, to do reader:feed(position, keys_of(position)) end
      check(reader, to)
      assert.is_true(reader:state().memory_events <= 64 + 100 + 64)
    end
  end)
end)

describe("index: damage behind a header", function()
  local function damaged_at(offset_of, read_only)
    local sim = new_disk()
    local one = open(sim)
    feed(one, 1, 1000)
    one:close()
    local names = sim:list("index", ".run")
    local name = names[2]
    local run = assert(index.run(sim, "index/" .. name))
    local at = offset_of(run:head())
    run:close()
    sim:flip("index/" .. name, at * 8)
    one = open(sim, { head = 1000, read_only = read_only })
    for position = one:covered() + 1, 1000 do one:feed(position, keys_of(position)) end
    return sim, one, names
  end

  -- Walks a list and does what the owner does.
  local function walk_and_repair(one, key)
    for _ = 1, 3 do
      local postings = one:postings(key, 1, 1000)
      local position, list = postings:seek(1), {}
      while position and position ~= "damaged" do
        list[#list + 1] = position
        position = postings:next()
      end
      if position ~= "damaged" then return list end
      postings:note_damage()
      one:drop_damaged()
      for at = one:covered() + 1, 1000 do one:feed(at, keys_of(at)) end
    end
  end

  local places = {
    filter = function(fields) return fields.filter_at + 62 end,
    ["the table"] = function(fields) return fields.table_at + 63 end,
    ["a list"] = function(fields) return fields.size - 2 end,
  }

  for what, place in pairs(places) do
    it("in " .. what .. " is found, and the run made anew", function()
      local sim, one, names = damaged_at(place)
      for n = 1, 12 do assert.same(every(n, 1000), walk_and_repair(one, key_of(n))) end
      for position = 900, 1000 do
        assert.same({ position }, walk_and_repair(one, key_of(1000000 + position)))
      end
      for position = 1, 1000 do
        assert.same({ position }, walk_and_repair(one, key_of(1000000 + position)))
      end
      assert.not_same(names, sim:list("index", ".run"))
      check(one, 1000)
    end)
  end

  it("is not repaired on the disk by a handle that only reads", function()
    local sim, one, names = damaged_at(places["the table"], true)
    for n = 1, 12 do assert.same(every(n, 1000), walk_and_repair(one, key_of(n))) end
    for position = 1, 1000 do
      assert.same({ position }, walk_and_repair(one, key_of(1000000 + position)))
    end
    assert.same(names, sim:list("index", ".run"))
  end)

  it("is found by a merge too, and said by tend", function()
    local sim = new_disk()
    local one = open(sim)
    local at = 0
    repeat
      at = at + 1
      feed(one, at, at)
    until #sim:list("index", ".run") == 2
    local name = "index/" .. sim:list("index", ".run")[2]
    local run = assert(index.run(sim, name))
    sim:flip(name, (run:head().table_at + 63) * 8)
    local said
    repeat
      at = at + 1
      one:feed(at, keys_of(at))
      local good, code = one:tend(at)
      if not good then
        said = code
        one:drop_damaged()
        assert.is_true(one:covered() < at)
        for position = one:covered() + 1, at do one:feed(position, keys_of(position)) end
      end
    until at == 1000
    assert.equal("CORRUPT", said)
    check(one, 1000)
  end)

  it("is not what a full disk is: memory keeps what cannot be written", function()
    local sim = new_disk()
    local one = open(sim)
    feed(one, 1, 200)
    sim:set_space(0)
    feed(one, 201, 700)
    check(one, 700)
    sim:set_space(1 << 24)
    feed(one, 701, 1500)
    check(one, 1500)
    assert.is_true(one:state().memory_events <= 128)
  end)
end)
