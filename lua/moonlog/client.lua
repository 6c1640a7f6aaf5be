--- A daemon from a Lua program, with the methods of an opened store.
-- One socket and one call at a time. What the daemon pushes while an answer is awaited goes
-- into the queue of its subscription or listener; a credit bounds the one, `buffer` the other.
-- What the world did wrong is nil and "CODE: sentence"; a mistake in the calling code raises.
-- @module moonlog.client
local moonlog = require "moonlog"

local client = {}
local null = moonlog.null

local TIMEOUT_MS = 30000
local PAGE_EVENTS = 1000 -- of a read that goes on
local CREDIT_EVENTS = 1024
local BUFFER_SIGNALS = 1024

-- The fields of an event, in the order in which the daemon sends them.
local FIELDS = { "position", "revision", "time", "stream", "type", "schema", "id", "tags",
  "data", "meta", "occurred" }

local connection = {}
local reading = {}
local scanning = {}
local subscription = {}
local listener = {}
local meta = {
  connection = { __index = connection, __name = "moonlog.connection" },
  reading = { __index = reading, __name = "moonlog.read" },
  scanning = { __index = scanning, __name = "moonlog.scan" },
  subscription = { __index = subscription, __name = "moonlog.subscription" },
  listener = { __index = listener, __name = "moonlog.listener" },
}

-- ---- arguments ------------------------------------------------------------------------------

local function set_of(...)
  local set = {}
  for _, name in ipairs { ... } do set[name] = true end
  return set
end

--- Raises at the line of the program that called into this file.
local function refuse(format, ...)
  local level = 2
  local here = debug.getinfo(1, "S").source
  local caller
  repeat
    level = level + 1
    caller = debug.getinfo(level, "S")
  until not caller or (caller.what ~= "C" and caller.source ~= here)
  error(format:format(...), level)
end

--- The table given for named values, or an empty one.
local function named(given, what, known)
  if given == nil then return {} end
  if type(given) ~= "table" then refuse("%s: a table expected, not a %s", what, type(given)) end
  for key in next, given do
    if not known[key] then refuse('%s: unknown key "%s"', what, tostring(key)) end
  end
  return given
end

--- A copy that is written as an array, also when it is empty. What is no table stays: the
-- daemon says best what is wrong with it.
local function list_of(items, copy_of)
  if type(items) ~= "table" then return items end
  local list = {}
  for key, item in next, items do list[key] = copy_of and copy_of(item) or item end
  return moonlog.array(list)
end

local function query_of(query)
  return list_of(query, function(item)
    if type(item) ~= "table" then return item end
    local copy = {}
    for key, value in next, item do copy[key] = list_of(value) end
    return copy
  end)
end

local selection_keys = set_of("stream", "category", "query")

--- "account-ada", "$all", "$category:account", or {stream =, category =, query =}.
local function selection_of(given, what)
  if type(given) == "string" then
    if given == "" then refuse('%s: the stream is named ""; say "$all" for all events', what) end
    if given == "$all" then return {} end
    local category = given:match "^%$category:(.+)$"
    return category and { category = category } or { stream = given }
  end
  local selection = named(given, what, selection_keys)
  return { stream = selection.stream, category = selection.category,
    query = query_of(selection.query) }
end

-- ---- events ---------------------------------------------------------------------------------

local UUID = ("%02x"):rep(4) .. ("-" .. ("%02x"):rep(2)):rep(4) .. ("%02x"):rep(4)

--- What is nil is absent from the table, as in an event that a store reads.
local function event_of(row, wanted)
  local event = {}
  for i, name in ipairs(FIELDS) do
    local value = row[i]
    if not rawequal(value, null) and (not wanted or wanted[name]) then event[name] = value end
  end
  if event.id then event.id = UUID:format(tostring(event.id):byte(1, 16)) end
  return event
end

local given_by_store = set_of("position", "revision", "time", "stream")

--- An event as it is sent: without what only a store gives, so that what was read can be
-- appended elsewhere.
local function draft_of(event)
  if type(event) ~= "table" then return event end
  local draft = {}
  for key, value in next, event do
    if not given_by_store[key] then draft[key] = value end
  end
  draft.tags = list_of(draft.tags)
  return draft
end

--- One event or a list. A table with string keys is one event; {} and all others are lists.
local function drafts_of(events)
  if type(events) ~= "table" then return events end
  local one = rawlen(events) == 0 and next(events) ~= nil
  return list_of(one and { events } or events, draft_of)
end

-- ---- messages -------------------------------------------------------------------------------

--- Receives one message; one that was pushed goes where it belongs.
local function receive(self, deadline)
  local message, why = self.socket:receive(math.max(0, deadline - self.socket:clock()))
  if not message then return nil, why end
  if message[1] == 2 then
    local params = message[3][1]
    local follower = self.followers[params.subscription]
    if follower then follower:take(message[2], params) end
  end
  return message
end

--- Waits until `ready()` gives something, for which messages are received.
local function wait(self, timeout_ms, ready)
  local deadline = self.socket:clock() + (timeout_ms or 0)
  while true do
    local found, why = ready()
    if found ~= nil or why then return found, why end
    local message
    message, why = receive(self, deadline)
    if not message then return nil, not why:find "^TIMEOUT:" and why or nil end
  end
end

local function check(self)
  if self.closed then refuse "connection is closed" end
end

--- Calls any method of the daemon.
-- @treturn table its result
-- @return nil and "CODE: sentence"
function connection:call(method, params, timeout_ms)
  check(self)
  local id = (self.last_id + 1) & 0xffffffff
  self.last_id = id
  local request = { 0, id, method, { params or {} } }
  local deadline = self.socket:clock() + (timeout_ms or self.timeout_ms)
  local sent, why = self.socket:send(request, self.timeout_ms)
  if not sent then return nil, (why:gsub("message%[4%]%[1%]%.", "", 1)) end
  local message
  repeat
    message, why = receive(self, deadline)
    if not message then return nil, why end
    -- A refusal with the id 0 is of the connection, or of what could not be read.
  until message[1] == 1 and (message[2] == id or message[2] == 0)
  if not rawequal(message[3], null) then return nil, message[3][2] end
  return message[4]
end

-- ---- the methods of a store -------------------------------------------------------------------

local append_options = set_of("expected", "condition", "durability")
local write_keys = set_of("stream", "events", "expected")

local function writes_of(writes)
  local list = {}
  for i, write in ipairs(writes) do
    named(write, ("writes[%d]"):format(i), write_keys)
    list[i] = { stream = write.stream, events = drafts_of(write.events), expected = write.expected }
  end
  return moonlog.array(list)
end

local function condition_of(condition)
  if type(condition) ~= "table" then return condition end
  local copy = {}
  for key, value in next, condition do copy[key] = value end
  copy.query = query_of(copy.query)
  return copy
end

--- append(stream, events, options) or append(writes, options), as on a store.
function connection:append(stream, events, options)
  check(self)
  local many = type(stream) == "table"
  options = named(many and events or not many and options or nil, "append", append_options)
  local params = { condition = condition_of(options.condition), durability = options.durability }
  if many then
    params.writes = writes_of(stream)
  else
    params.stream, params.events, params.expected = stream, drafts_of(events), options.expected
  end
  local receipt, why = self:call("append", params)
  if not receipt then return nil, why end
  local _, revision = next(receipt.revisions)
  if not many or #stream == 1 then receipt.revision = revision end
  return receipt
end

--- Where the log ends, or a stream: position, revision, first.
function connection:head(stream) check(self); return self:call("head", { stream = stream }) end

--- What the daemon and its store are doing.
function connection:status() check(self); return self:call "status" end
connection.stats = connection.status

local streams_options = set_of("category", "prefix", "after", "limit")

--- All streams that match, in the order they were begun; as many pages as it takes.
function connection:streams(options)
  check(self)
  options = named(options, "streams", streams_options)
  local list, after = moonlog.array {}, options.after
  repeat
    local left = options.limit and options.limit - #list
    local page, why = self:call("streams", { category = options.category,
      prefix = options.prefix, after = after, limit = left and math.min(left, 10000) })
    if not page then return nil, why end
    table.move(page.streams, 1, #page.streams, #list + 1, list)
    after = page.next
  until rawequal(after, null) or #list == options.limit
  return list
end

-- ---- rules ----------------------------------------------------------------------------------

local command_options = set_of("meta", "command_id", "explain")
local state_options = set_of("at", "as_of", "explain")

--- With explain, an error of a script is answered as a result.
local function unless_error(result, why)
  if not result or not result.error then return result, why end
  return nil, result.error[2], result.fault
end

--- Asks the rules to decide: `events` that were written with `position` and `revision`, or
-- `refused` = {code, detail}, which is a result. Options: meta, command_id, explain.
-- @return nil and "CODE: sentence"; with explain, for an error of a script, also its fault
function connection:command(aggregate, id, name, args, options)
  check(self)
  options = named(options, "command", command_options)
  local result, why, fault = unless_error(self:call("command", { aggregate = aggregate, id = id,
    name = name, args = args, meta = options.meta, command_id = options.command_id,
    explain = options.explain }))
  if not result then return nil, why, fault end
  for i, row in ipairs(result.events or {}) do result.events[i] = event_of(row) end
  return result
end

--- The state of one aggregate: `state`, `revision` and `position`, of the last event in it.
-- Options: at, as_of, explain.
-- @return as of command
function connection:state(aggregate, id, options)
  check(self)
  options = named(options, "state", state_options)
  return unless_error(self:call("state", { aggregate = aggregate, id = id, at = options.at,
    as_of = options.as_of, explain = options.explain }))
end

-- ---- read models ------------------------------------------------------------------------------

local get_options = set_of("window", "after", "at", "timeout_ms")
local scan_options = set_of("prefix", "index", "from", "to", "limit", "backward", "after", "at",
  "timeout_ms")
local PATIENCE_MS = 5000 -- with a daemon that was told how long to wait

local function call_waiting(self, method, params)
  local patience = params.timeout_ms and params.timeout_ms + PATIENCE_MS
  return self:call(method, params, patience and math.max(patience, self.timeout_ms))
end

--- One row of a projection: `row` (nil if there is none), `position`, which it speaks of, and of a
-- window `window` = {from, to, closed}. Options: after, a position that the view has to have
-- passed, for timeout_ms; at, a position of the past; window, a time in it.
-- @return nil and "CODE: sentence"
function connection:get(name, key, options)
  check(self)
  options = named(options, "get", get_options)
  local result, why = call_waiting(self, "projection.get", { name = name, key = key,
    window = options.window, after = options.after, at = options.at,
    timeout_ms = options.timeout_ms })
  if not result then return nil, why end
  for field, value in next, result do
    if rawequal(value, null) then result[field] = nil end
  end
  return result
end

--- Fetches the next page; raises what goes wrong, because a loop has no place for it.
local function fetch_rows(self)
  self.params.limit = math.min(self.left, PAGE_EVENTS)
  local page, why = call_waiting(self.connection, "projection.scan", self.params)
  if not page then
    self.ended = true
    error(why, 0)
  end
  self.rows, self.at, self.position = page.rows, 0, page.position
  self.left = self.left - #page.rows
  self.params.from = page.next
  self.ended = page.next == nil or rawequal(page.next, null) or self.left == 0
end

--- For a `for` loop: key, row and window of the rows whose keys begin with `prefix`, or of all, by
-- key or by an `index`; `from` and `to` are then values of it. Also limit, backward, and after,
-- at, timeout_ms as of get.
function connection:scan(name, options)
  check(self)
  options = named(options, "scan", scan_options)
  local params = { name = name }
  for option, value in next, options do params[option] = value end
  local self_ = setmetatable({ connection = self, params = params, rows = {}, at = 0,
    left = options.limit or math.maxinteger }, meta.scanning)
  fetch_rows(self_)
  return self_, nil, nil, self_
end

function meta.scanning:__call()
  while self.at == #self.rows do
    if self.ended then return nil end
    fetch_rows(self)
  end
  self.at = self.at + 1
  local one = self.rows[self.at]
  return one.key, one.row, one.window
end

function scanning:close() self.rows, self.at, self.ended = {}, 0, true end
meta.scanning.__close = scanning.close

--- How each projection is: name, state, position, lag, rows, error, …
function connection:projections()
  check(self)
  local result, why = self:call "projection.list"
  if not result then return nil, why end
  return result.projections
end

-- ---- reads ----------------------------------------------------------------------------------

local read_options = set_of("from", "limit", "backward", "max_bytes", "system", "fields")

local function wanted_of(fields)
  if fields == nil then return nil end
  local known = set_of(table.unpack(FIELDS))
  if type(fields) ~= "table" or #fields == 0 then
    refuse "read: fields must be a list of names of fields"
  end
  for _, name in ipairs(fields) do
    if not known[name] then refuse('read: there is no field "%s"', tostring(name)) end
  end
  return set_of(table.unpack(fields))
end

--- Fetches the next page; raises what goes wrong, because a loop has no place for it.
local function fetch(self)
  local params = self.params
  if not self.one_page then params.limit = math.min(self.left, PAGE_EVENTS) end
  local page, why = self.connection:call("read", params)
  if not page then
    self.ended = true
    if params.stream and why:find "^NOT_FOUND:" then return end
    error(why, 0)
  end
  self.events, self.at = page.events, 0
  self.left = self.left - #page.events
  self.head = self.head or page.head
  self.ended = page["end"] or self.left == 0 or self.one_page
  params.from = page.next
end

--- For a `for` loop: every event that is there when it begins. With max_bytes one page of the
-- daemon, so 4 MiB at most.
function connection:read(selection, options)
  check(self)
  local params = selection_of(selection, "read")
  options = named(options, "read", read_options)
  for _, name in ipairs { "from", "backward", "max_bytes", "system" } do
    params[name] = options[name]
  end
  local self_ = setmetatable({ connection = self, params = params, events = {}, at = 0,
    wanted = wanted_of(options.fields), left = options.limit or math.maxinteger,
    one_page = options.max_bytes ~= nil }, meta.reading)
  if self_.one_page then params.limit = options.limit or math.maxinteger end
  fetch(self_)
  return self_, nil, nil, self_
end

function meta.reading:__call()
  while self.at == #self.events do
    if self.ended then return nil end
    fetch(self)
  end
  self.at = self.at + 1
  local row = self.events[self.at]
  if row[1] > self.head then -- appended since the read began
    self:close()
    return nil
  end
  return event_of(row, self.wanted)
end

function reading:close() self.events, self.at, self.ended = {}, 0, true end
meta.reading.__close = reading.close

-- ---- queues ---------------------------------------------------------------------------------

local function new_queue() return { first = 1, last = 0 } end

local function put(queue, item)
  queue.last = queue.last + 1
  queue[queue.last] = item
end

local function pop(queue)
  local item = queue[queue.first]
  if item == nil then return nil end
  queue[queue.first] = nil
  queue.first = queue.first + 1
  return item
end

-- ---- subscriptions --------------------------------------------------------------------------

local subscribe_options = set_of("after", "system", "credit")

--- Every event of the selection, in order, once. Options: after, system, and credit: how many
-- events may be on their way or waiting here.
function connection:subscribe(selection, options)
  check(self)
  local params = selection_of(selection, "subscribe")
  options = named(options, "subscribe", subscribe_options)
  params.after, params.system = options.after, options.system
  params.credit = options.credit or CREDIT_EVENTS
  if params.after == "end" then -- as a position, so that position() knows it
    local head, why = self:head()
    if not head then return nil, why end
    params.after = head.position
  end
  local result, why = self:call("subscribe", params)
  if not result then return nil, why end
  local self_ = setmetatable({ connection = self, id = result.subscription, queue = new_queue(),
    credit = params.credit, used = 0, passed = math.type(params.after) and params.after or 0,
    live = false }, meta.subscription)
  self.followers[self_.id] = self_
  return self_
end

--- Keeps what was pushed: events, and how far the daemon has looked.
function subscription:take(what, params)
  if what == "event" then
    for _, row in ipairs(params.events) do put(self.queue, row) end
  elseif what == "failed" then
    put(self.queue, { error = params.error })
  else
    put(self.queue, { passed = params.position, live = what == "caught_up" })
  end
end

--- Grants again what was used, once it is half of the credit.
local function grant(self)
  self.used = self.used + 1
  if self.used * 2 < self.credit then return end
  local params = { subscription = self.id, events = self.used }
  self.used = 0
  -- A connection that is gone says so at the next message that is awaited.
  self.connection.socket:send({ 2, "credit", { params } }, self.connection.timeout_ms)
end

local function next_event(self)
  for item in pop, self.queue do
    if item.error then return nil, item.error end
    if not item.passed then
      self.passed, self.live = item[1], false
      grant(self)
      return event_of(item)
    end
    self.passed, self.live = item.passed, self.live or item.live
  end
end

local function check_follower(self)
  check(self.connection)
  if self.closed then refuse "subscription is closed" end
end

--- The next event; nil if there is none within timeout_ms, by default without waiting.
function subscription:poll(timeout_ms)
  check_follower(self)
  return wait(self.connection, timeout_ms, function() return next_event(self) end)
end

--- How far it has looked: subscribing after this misses and repeats nothing.
function subscription:position()
  check_follower(self)
  return self.passed
end

--- True while every event up to the head of the log was polled, as far as is known here.
function subscription:caught_up()
  check_follower(self)
  return self.live
end

local function leave(self, method)
  if self.closed then return end
  self.closed = true
  self.connection.followers[self.id] = nil
  if not self.connection.closed then self.connection:call(method, { subscription = self.id }) end
end

function subscription:close() leave(self, "unsubscribe") end
meta.subscription.__close = subscription.close

-- ---- signals --------------------------------------------------------------------------------

local signal_options = set_of("reply")
local listen_options = set_of("buffer", "policy")

--- Tells whoever listens now; gives how many that are.
function connection:signal(subject, data, options)
  check(self)
  options = named(options, "signal", signal_options)
  local result, why = self:call("signal", { subject = subject, data = data,
    reply = options.reply })
  if not result then return nil, why end
  return result.listeners
end

--- Gets every signal whose subject matches: `*` is one token, `>` the rest.
function connection:listen(pattern, options)
  check(self)
  options = named(options, "listen", listen_options)
  local result, why = self:call("listen", { subject = pattern, buffer = options.buffer,
    policy = options.policy })
  if not result then return nil, why end
  local self_ = setmetatable({ connection = self, id = result.subscription, queue = new_queue(),
    buffer = options.buffer or BUFFER_SIGNALS, policy = options.policy, lost = 0 },
    meta.listener)
  self.followers[self_.id] = self_
  return self_
end

--- Signals and waits for one reply. NO_LISTENERS at once if nobody is there to give it.
-- @treturn table the reply: subject, data
function connection:request(subject, data, timeout_ms)
  check(self)
  local inbox = "_reply." .. moonlog.uuid()
  local replies, why = self:listen(inbox)
  if not replies then return nil, why end
  local told, reply
  told, why = self:signal(subject, data, { reply = inbox })
  if told then reply, why = replies:poll(timeout_ms or self.timeout_ms) end
  replies:close()
  if reply then return reply end
  return nil, why or ("TIMEOUT: nobody replied to %s in time"):format(subject)
end

--- Keeps a signal; of too many, which one is lost goes by the policy.
function listener:take(what, params)
  if what == "gap" then
    self.lost = self.lost + params.missed
    return
  end
  local full = self.queue.last - self.queue.first + 1 >= self.buffer
  if full then self.lost = self.lost + 1 end
  if full and self.policy == "drop_new" then return end
  if full then pop(self.queue) end
  local data = params.data
  if rawequal(data, null) then data = nil end
  put(self.queue, { subject = params.subject, data = data, reply = params.reply })
end

--- The next signal: subject, data, reply; nil if there is none within timeout_ms, by default
-- without waiting.
function listener:poll(timeout_ms)
  check_follower(self)
  return wait(self.connection, timeout_ms, function() return pop(self.queue) end)
end

--- How many signals were lost because they were not polled fast enough.
function listener:missed()
  check_follower(self)
  return self.lost
end

function listener:close() leave(self, "unlisten") end
meta.listener.__close = listener.close

-- ---- life -----------------------------------------------------------------------------------

local function new_connection(socket, uri, timeout_ms)
  return setmetatable({ socket = socket, uri = uri, timeout_ms = timeout_ms, last_id = 0,
    followers = setmetatable({}, { __mode = "v" }) }, meta.connection)
end

--- A connection over a socket that has said hello already, and wanted events as arrays.
function client.over(socket, uri) return new_connection(socket, uri, TIMEOUT_MS) end

--- Takes in what was pushed, without waiting.
-- @return nil and "CODE: sentence" if the connection is gone
function connection:take_in()
  check(self)
  local message, why
  repeat message, why = receive(self, self.socket:clock()) until not message
  if why:find "^TIMEOUT:" then return true end
  return nil, why
end

local connect_options = set_of("timeout_ms", "token", "client")

--- Connects to a daemon.
-- @tparam string uri "unix:PATH" or "tcp:HOST:PORT"
-- @tparam[opt] table options timeout_ms of each call, token, client (a name for its messages)
-- @return nil and "CODE: sentence"
function client.connect(uri, options)
  options = named(options, "moonlog.connect", connect_options)
  local timeout_ms = options.timeout_ms or TIMEOUT_MS
  local socket, why = moonlog.socket(uri, timeout_ms)
  if not socket then return nil, why end
  local self = new_connection(socket, uri, timeout_ms)
  local hello
  hello, why = self:call("hello", { client = options.client or "lua", events = "array",
    token = options.token })
  if hello then return self end
  socket:close()
  return nil, why
end

--- Ends the connection, its subscriptions and listeners; again is harmless.
function connection:close()
  self.closed = true
  self.socket:close()
  return true
end
meta.connection.__close = function(self) self:close() end

function meta.connection:__tostring()
  return ("moonlog.connection (%s)"):format(self.closed and "closed" or self.uri)
end

return client
