-- Thousands of random operations on a store with tiny segments and tables, each compared with
-- a plain list of events. MOONLOG_SEED repeats a failure, MOONLOG_STEPS makes it longer.
local core = require "coretest"
local model = require "spec.model.model"
local stores = require "spec.support.stores"
local tmpdir = require "spec.support.tmpdir"

local STREAMS <const> = { "a-1", "a-2", "a-3", "b-1", "b-2", "c", "$s-1", "a" }
local CATEGORIES <const> = { "a", "b", "c", "$s", "d" }
local TYPES <const> = { "T1", "T2", "T3", "T4" }
local TAGS <const> = { "x:1", "x:2", "y:1", "y:2", "z" }
local WINDOW <const> = 40
local random = math.random

local function pick(list) return list[random(#list)] end
local function chance(percent) return random(100) <= percent end

local function some(list, most)
  local chosen, seen = {}, {}
  for _ = 1, random(0, most) do
    local one = pick(list)
    if not seen[one] then chosen[#chosen + 1] = one end
    seen[one] = true
  end
  return chosen
end

local function some_query(most)
  local items = {}
  for i = 1, random(0, most) do
    items[i] = { types = chance(50) and some(TYPES, 2) or nil,
                 tags = chance(60) and some(TAGS, 3) or nil }
  end
  return items
end

local function some_stream()
  return chance(25) and ("%s-%d"):format(pick { "a", "b", "$s" }, random(30)) or pick(STREAMS)
end

-- ---- a world: the store, the model, and what is open beside them --------------------------

local World = {}
World.__index = World

local function new_world(on, options, sim)
  local world = setmetatable({ on = on, options = options, sim = sim, model = model.new(WINDOW),
                               told = {}, next_id = 0, sent = {}, pending = {},
                               subscriptions = {} }, World)
  world:open()
  return world
end

function World:note(...) self.told[#self.told + 1] = (...):format(select(2, ...)) end

function World:open()
  self.options.heads_bytes = pick { 1, 1400, 0 }
  self.store = stores.open(self.on, self.options)
end

-- Streams of different sizes of data, so that frames and segments end anywhere.
function World:event()
  local event = { type = pick(TYPES), tags = some(TAGS, 3) }
  if chance(70) then
    self.next_id = self.next_id + 1
    event.id = stores.id(self.next_id)
  end
  local big = chance(2) and random(3000)
  event.data = big and core.base.pack("b", ("d"):rep(big)) or stores.str(("d"):rep(random(0, 60)))
  if chance(1) and chance(20) then event.data = core.base.pack("b", ("D"):rep(20000)) end
  return event
end

function World:expected(stream)
  local head = self.model.heads[stream]
  local dice = random(10)
  if dice <= 4 then return "any" end
  if dice <= 5 then return "stream_exists" end
  if dice <= 6 then return "no_stream" end
  if not head then return dice <= 9 and "no_stream" or 0 end
  return dice <= 9 and head.revision or math.max(0, head.revision + random(-2, 2))
end

function World:proposal()
  if #self.sent > 0 and chance(15) then return self:retry() end
  local proposal = { writes = {}, durability = pick { "disk", "os", "os", "memory" } }
  for i = 1, chance(75) and 1 or random(4) do
    local stream = some_stream()
    local events = {}
    for n = 1, chance(80) and 1 or random(12) do events[n] = self:event() end
    local expects = i == 1 or chance(30)
    proposal.writes[i] = { stream = stream, events = events,
                           expected = expects and self:expected(stream) or nil }
  end
  if chance(25) then
    proposal.condition = some_query(2)
    proposal.after = math.max(0, self.model:count() - random(0, 20))
  end
  self.sent[#self.sent + 1] = proposal
  return proposal
end

-- An earlier proposal again: the same, or with something changed.
function World:retry()
  local recent = math.max(1, #self.sent - random(0, 12))
  local old = self.sent[chance(60) and recent or random(#self.sent)]
  if chance(70) then return old end
  local writes = {}
  for i, write in ipairs(old.writes) do
    writes[i] = { stream = chance(10) and some_stream() or write.stream,
                  expected = chance(20) and "any" or write.expected,
                  events = { table.unpack(write.events) } }
  end
  local events = pick(writes).events
  if chance(50) then events[#events + 1] = self:event()
  elseif #events > 1 then table.remove(events, random(#events)) end
  return { writes = writes, durability = "os" }
end

local function describe_proposal(proposal)
  local parts = {}
  for i, write in ipairs(proposal.writes) do
    parts[i] = ("%s:%d(%s)"):format(write.stream, #write.events, write.expected)
  end
  return table.concat(parts, " ") .. (proposal.condition and " if" or "")
end

-- ---- operations ------------------------------------------------------------------------------

local ops = {}  -- at any time
local calm = {} -- when all that was submitted is settled

local function same_receipt(want, got)
  assert.same({ want.first, want.last, want.revisions, want.duplicate },
              { got.first, got.last, got.revisions, got.duplicate })
end

function World:settled_all()
  assert.same(#self.pending, self.answered or 0)
  self.pending, self.answered = {}, 0
  self.public = nil
end

function ops.append(world)
  local proposal = world:proposal()
  world:note("append %s %s", describe_proposal(proposal), proposal.durability)
  local receipt, why = world.store:append(proposal)
  local want, code = world.model:admit(proposal)
  if want then
    assert(receipt, why)
    same_receipt(want, receipt)
    if proposal.durability == "disk" then world.durable = world.model:count() end
  else
    assert.is_nil(receipt)
    assert.matches("^" .. code .. ": ", why)
  end
  if world.public and (world.answered or 0) == #world.pending then world:settled_all() end
end

function ops.submit(world)
  world.public = world.public or world.model:count()
  for _ = 1, random(6) do
    local proposal = world:proposal()
    local number = #world.pending + 1
    local want
    local good, why = world.store:submit(proposal, function(receipt, said)
      assert(receipt, said)
      world.answered = (world.answered or 0) + 1
      assert.equal(number, world.answered)
      same_receipt(want, receipt)
    end)
    local code
    want, code = world.model:admit(proposal)
    world:note("submit %s -> %s", describe_proposal(proposal), want and want.first or code)
    if want then
      assert(good, why)
      world.pending[number] = proposal
    else
      assert.is_nil(good)
      assert.matches("^" .. code .. ": ", why)
    end
  end
  if chance(70) then ops.settle(world) end
end

function ops.settle(world)
  world:note "settle"
  assert(world.store:settle(true))
  if world.public then world:settled_all() end
end

function ops.settle_some(world)
  world:note "settle, not waiting"
  assert(world.store:settle(false))
  if world.public and (world.answered or 0) == #world.pending then world:settled_all() end
end

-- Readers see a prefix: what was settled before, and of what is submitted what is settled.
function ops.glance(world)
  local seen = assert(stores.positions(world.store, { system = true }))
  assert(#seen >= (world.public or world.model:count()) and #seen <= world.model:count())
  assert.equal(#seen, seen[#seen] or 0)
end

local function some_selection(world)
  local selection = { backward = chance(40) or nil, system = chance(30) or nil }
  if chance(40) then selection.stream = some_stream()
  elseif chance(40) then selection.category = pick(CATEGORIES) end
  if chance(50) then selection.query = some_query(3) end
  if chance(40) then selection.limit = random(chance(50) and 5 or 400) end
  if chance(40) then
    local head = selection.stream and world.model.heads[selection.stream]
    selection.from = random(0, (head and head.revision or world.model:count()) + 2)
  end
  return selection
end

local function read_on(world, store)
  local selection = some_selection(world)
  world:note("read %s%s %s from %s limit %s%s", selection.stream or selection.category or "all",
             selection.query and (" ?" .. #selection.query) or "",
             selection.backward and "back" or "on", selection.from, selection.limit,
             store == world.store and "" or " beside")
  local got, why = stores.positions(store, selection)
  local want = world.model:read(selection)
  if want then assert.same(want, got or why)
  else assert.matches("^NOT_FOUND", why) end
end

function calm.read(world)
  read_on(world, world.store)
end

function calm.read_events(world)
  local from = random(1, math.max(1, world.model:count()))
  world:note("events from %d", from)
  local list = assert(stores.all(world.store, { from = from, limit = 20, system = true }))
  for _, event in ipairs(list) do
    local want = world.model.events[event.position]
    assert.same({ want.stream, want.revision, want.type, want.list, want.data },
                { event.stream, event.revision, event.type, event.tags, event.data })
    if want.id then assert.equal(want.id, event.id) end
  end
end

function calm.read_beside(world)
  assert(world.store:flush "os")
  if not world.reader or chance(10) then
    if world.reader then world.reader:close() end
    world.reader = stores.open(world.on, { read_only = true, segment_bytes = 16384,
                                           memory_events = 64,
                                           no_threads = world.options.no_threads })
  end
  assert.equal(world.model:count(), world.reader:head().position)
  read_on(world, world.reader)
end

function calm.head(world)
  local stream = some_stream()
  local head, why = world.store:head(stream)
  local want = world.model.heads[stream]
  if want then
    assert.same({ world.model:count(), want.revision, want.first },
                { head.position, head.revision, head.first })
  else
    assert.matches("^NOT_FOUND", why)
  end
end

function calm.streams(world)
  local category = chance(50) and pick(CATEGORIES) or nil
  local prefix = chance(40) and pick { "a", "a-1", "$", "b-" } or nil
  local after, want = random(0, world.model:count()), {}
  local system = (category or ""):sub(1, 1) == "$" or (prefix or ""):sub(1, 1) == "$"
  for _, head in ipairs(world.model.begun) do
    local name = head.stream
    if head.first > after and (not category or name:match "^[^-]*" == category) and
       name:sub(1, #(prefix or "")) == (prefix or "") and (system or name:sub(1, 1) ~= "$") then
      want[#want + 1] = head
    end
  end
  world:note("streams %s %s after %d", category, prefix, after)
  assert.same(want, world.store:streams { category = category, prefix = prefix, after = after })
end

function ops.subscribe(world)
  local selection = some_selection(world)
  selection.backward, selection.limit, selection.from = nil, nil, nil
  local after = random(0, world.model:count())
  world.subscriptions[random(5)] = { selection = selection, after = after,
                                     cursor = assert(world.store:subscribe(selection, after)) }
end

function calm.poll(world)
  for _, one in pairs(world.subscriptions) do
    one.cursor = one.cursor or assert(world.store:subscribe(one.selection, one.after))
    local want = {}
    for position = one.after + 1, world.model:count() do
      if model.matches(one.selection, world.model.events[position]) then
        want[#want + 1] = position
      end
    end
    world:note("poll behind %d", one.after)
    local got = {}
    if chance(50) then
      got = assert(one.cursor:positions(true))
      assert.equal(world.model:count(), one.cursor:position())
    else
      for n = 1, random(3) do
        local event = one.cursor:poll()
        got[n] = event and event.position
      end
      want = { table.unpack(want, 1, #got) }
    end
    assert.same(want, got)
    one.after = one.cursor:position()
  end
end

function calm.flush(world)
  assert(world.store:flush "disk")
  world.durable = world.model:count()
end

-- Handles of a store that is gone.
function World:forget()
  for _, one in pairs(self.subscriptions) do
    if one.cursor then one.cursor:free() end
    one.cursor = nil
  end
  if self.reader then self.reader:close() end
  self.reader, self.public, self.pending, self.answered = nil, nil, {}, 0
end

function calm.reopen(world)
  world:note "reopen"
  world:forget()
  assert(world.store:close())
  world.durable = world.model:count()
  if chance(30) then world:spoil() end
  world:open()
  assert.equal(world.model:count(), world.store:head().position)
end

-- Deletes or damages files of the index.
function World:spoil()
  self:note "spoil the index"
  local disk = self.sim and self.on or assert(core.disk.real(self.on, false))
  for _, name in ipairs(disk:list "index") do
    local path = "index/" .. name
    local dice = random(4)
    if dice == 1 then
      assert(disk:remove(path))
    elseif dice == 2 then
      local file = assert(disk:open(path, "rw"))
      local at = random(0, disk:size(file) - 1)
      assert(disk:write(file, string.char(disk:read(file, 1, at):byte() ~ 1 << random(0, 7)), at))
      disk:close(file)
    end
  end
  if not self.sim then disk:free() end
end

function calm.crash(world)
  if not world.sim or chance(50) then return end
  local kind = random(3)
  world:note("crash %d", kind)
  local before, units = world.model:count(), world.on:pending()
  local kept = {}
  for n = 1, units do kept[n] = kind == 1 and 1 or kind == 2 and 0 or random(0, 1) end
  local _, dir_ops = world.on:pending()
  local image = kind == 1 and world.on:crash(table.concat(kept)) or
                world.on:crash(table.concat(kept), random(0, dir_ops))
  world:forget()
  world.store:close()
  world.on = image
  world:open()
  local position = world.store:head().position
  assert.is_false(world.store:stats().damaged)
  assert(position <= before and position >= (world.durable or 0),
         ("%d of %d, %s durable"):format(position, before, world.durable))
  world.model:cut(position)
  world.durable = position
  for _, one in pairs(world.subscriptions) do one.after = math.min(one.after, position) end
  -- A retry of what was lost is no repeat any more; of what the model cannot know, forget it.
  world.sent = {}
end

function calm.full_disk(world)
  if not world.sim then return end
  assert(world.store:flush "os")
  world.on:set_space(0)
  local proposal = world:proposal()
  proposal.durability = "disk"
  world:note("append on a full disk %s", describe_proposal(proposal))
  local receipt, why = world.store:append(proposal)
  if receipt or not why:find "^NO_SPACE" then
    local want, code = world.model:admit(proposal)
    if want then same_receipt(want, assert(receipt, why)) else assert.matches("^" .. code, why) end
  else
    assert.equal(world.model:count(), world.store:head().position)
  end
  world.on:set_space(-1)
end

local weights = { append = 40, submit = 8, settle = 2, settle_some = 2, glance = 2, read = 14,
                  read_events = 3, read_beside = 6, head = 4, streams = 2, subscribe = 2, poll = 6,
                  flush = 1, reopen = 1, crash = 2, full_disk = 1 }
local wheel = {}
for name, weight in pairs(weights) do for _ = 1, weight do wheel[#wheel + 1] = name end end
table.sort(wheel)

local function play(seed, steps, on, options, sim)
  math.randomseed(seed)
  local world = new_world(on, options, sim)
  for step = 1, steps do
    local name = pick(wheel)
    if calm[name] and world.public then ops.settle(world) end
    local good, why = xpcall(ops[name] or calm[name], function(raised)
      return type(raised) == "table" and tostring(raised.message) or debug.traceback(raised, 2)
    end, world)
    if not good then
      local last = table.concat(world.told, "\n  ", math.max(1, #world.told - 6))
      error(("MOONLOG_SEED=%d, step %d (%s): %s\n  %s"):format(seed, step, name, why, last), 0)
    end
  end
  if world.public then ops.settle(world) end
  local everything = assert(stores.positions(world.store, { system = true }))
  assert.equal(world.model:count(), #everything)
  world:forget()
  assert(world.store:close())
end

describe("the store is what a plain list of events is", function()
  local seed, steps = stores.seed(), tonumber(os.getenv "MOONLOG_STEPS") or 1500
  local options = { segment_bytes = 16384, memory_events = 64, window_events = WINDOW }

  it("on a disk that loses power and fills up", function()
    for n = 0, 2 do
      options.no_threads = true
      play(seed + n, steps, stores.disk(), options, true)
    end
  end)

  it("on a real disk, with threads", function()
    options.no_threads = false
    play(seed, steps, tmpdir.new(), options, false)
  end)
end)
