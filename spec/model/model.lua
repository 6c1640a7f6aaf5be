--- A store as a plain list of events: what moonlog.h promises, in the slowest way.
local model = {}
local methods = {}
local meta = { __index = methods }

--- An empty store whose idempotence window holds `window` events.
function model.new(window)
  return setmetatable({ events = {}, heads = {}, begun = {}, window = window, durable = 0 }, meta)
end

local function copy_tags(tags)
  local set = {}
  for _, tag in ipairs(tags or {}) do set[tag] = true end
  return set
end

function methods:count() return #self.events end

--- Adds what a proposal admitted at `first`; gives the last revision of each write.
function methods:add(proposal)
  local revisions = {}
  for i, write in ipairs(proposal.writes) do
    for _, event in ipairs(write.events) do
      local head = self.heads[write.stream]
      local revision = head and head.revision + 1 or 0
      local position = #self.events + 1
      if not head then
        head = { stream = write.stream, first = position }
        self.heads[write.stream] = head
        self.begun[#self.begun + 1] = head
      end
      head.revision, head.last = revision, position
      self.events[position] = { position = position, revision = revision, stream = write.stream,
                                category = write.stream:match "^[^-]*", type = event.type,
                                tags = copy_tags(event.tags), list = event.tags or {},
                                id = event.id, data = event.data }
      revisions[i] = revision
    end
  end
  return revisions
end

--- Takes back everything behind `count`: power was lost.
function methods:cut(count)
  local events = self.events
  self.events, self.heads, self.begun = {}, {}, {}
  for position = 1, count do
    local event = events[position]
    local draft = { type = event.type, tags = event.list, id = event.id, data = event.data }
    self:add { writes = { { stream = event.stream, events = { draft } } } }
  end
end

-- ---- reading ----------------------------------------------------------------------------

local function item_matches(item, event)
  local typed = item.types == nil or #item.types == 0
  for _, type in ipairs(item.types or {}) do typed = typed or type == event.type end
  if not typed then return false end
  for _, tag in ipairs(item.tags or {}) do if not event.tags[tag] then return false end end
  return true
end

local function query_matches(query, event)
  if query == nil or #query == 0 then return true end
  for _, item in ipairs(query) do if item_matches(item, event) then return true end end
  return false
end

function model.matches(selection, event)
  if selection.stream then
    if selection.stream ~= event.stream then return false end
  elseif selection.category then
    if selection.category ~= event.category then return false end
  elseif not selection.system and event.stream:sub(1, 1) == "$" then
    return false
  end
  return query_matches(selection.query, event)
end

--- Positions of a selection, or nil if its stream is not there.
function methods:read(selection)
  local list, limit = {}, selection.limit or math.maxinteger
  if selection.stream and not self.heads[selection.stream] then return nil end
  local from, to, step = 1, #self.events, 1
  if selection.backward then from, to, step = to, 1, -1 end
  for position = from, to, step do
    local event = self.events[position]
    local at = selection.stream and event.revision or position
    local wanted = selection.from == nil or selection.backward and at <= selection.from or
                   not selection.backward and at >= selection.from
    if wanted and #list < limit and model.matches(selection, event) then
      list[#list + 1] = position
    end
  end
  return list
end

-- ---- admission ---------------------------------------------------------------------------

local function each_event(proposal)
  return coroutine.wrap(function()
    for _, write in ipairs(proposal.writes) do
      for _, event in ipairs(write.events) do coroutine.yield(write.stream, event) end
    end
  end)
end

--- The newest position in the window that has the id.
function methods:find_id(id)
  for position = #self.events, math.max(1, #self.events - self.window + 1), -1 do
    if self.events[position].id == id then return position end
  end
end

function methods:is_repeat(proposal, first)
  for stream, event in each_event(proposal) do
    local there = self.events[first]
    if not event.id or not there or there.id ~= event.id or there.stream ~= stream then
      return false
    end
    first = first + 1
  end
  return true
end

-- True if every write finds its stream as it expects, each after the ones before it.
function methods:as_expected(proposal)
  local now = {}
  for _, write in ipairs(proposal.writes) do
    local revision = now[write.stream]
    if revision == nil then
      local head = self.heads[write.stream]
      revision = head and head.revision or -1
    end
    local expected = write.expected or "any"
    local good = expected == "any" or expected == "no_stream" and revision < 0 or
                 expected == "stream_exists" and revision >= 0 or expected == revision
    if not good then return false end
    now[write.stream] = revision + #write.events
  end
  return true
end

-- Where the first write that expects a revision put its first event; the start before it.
function methods:after_expected(proposal)
  local before = 0
  for _, write in ipairs(proposal.writes) do
    local expected = write.expected
    if expected == "no_stream" or math.type(expected) == "integer" then
      local revision = expected == "no_stream" and 0 or expected + 1
      for position, event in ipairs(self.events) do
        if event.stream == write.stream and event.revision == revision then
          return position - before
        end
      end
      return nil
    end
    before = before + #write.events
  end
end

local function revisions_at(self, proposal, first)
  local list, position = {}, first
  for i, write in ipairs(proposal.writes) do
    position = position + #write.events
    list[i] = self.events[position - 1].revision
  end
  return { first = first, last = position - 1, revisions = list, duplicate = true }
end

--- What becomes of a proposal: a receipt (the events are added), or nil and a code.
function methods:admit(proposal)
  local first_id = proposal.writes[1].events[1].id
  local at = first_id and self:find_id(first_id)
  if at and self:is_repeat(proposal, at) then return revisions_at(self, proposal, at) end
  if not self:as_expected(proposal) then
    local old = first_id and not at and self:after_expected(proposal)
    if old and old >= 1 and self:is_repeat(proposal, old) then
      return revisions_at(self, proposal, old)
    end
    return nil, "WRONG_EXPECTED_REVISION"
  end
  for _, event in each_event(proposal) do
    if event.id and self:find_id(event.id) then return nil, "BAD_REQUEST" end
  end
  if proposal.condition then
    for position = (proposal.after or 0) + 1, #self.events do
      if query_matches(proposal.condition, self.events[position]) then
        return nil, "CONDITION_FAILED"
      end
    end
  end
  local first = #self.events + 1
  local revisions = self:add(proposal)
  return { first = first, last = #self.events, revisions = revisions, duplicate = false }
end

return model
