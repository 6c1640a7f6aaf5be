--- The words of the REPL: Lua functions on the daemon that it is connected to, and one word for
-- each aggregate of the active rules. Failures raise "CODE: sentence"; a refusal is a result.
-- @module moonlog.repl.words
local moonlog = require "moonlog"
local show = require "moonlog.repl.show"

local words = {}

local EVENTS = 1000 -- that `read` gives when no limit is asked for

-- THE table: what there is, for .help, which lists it up to a semicolon, and for completion. `run`
-- gets the session first. Of its other arguments the first `least` have to be there, and those
-- from `tables` on are tables if they are.
local list = {}
local by_name = {}

local NONE = math.huge

local function word(name, least, tables, usage, help, run)
  local one = { name = name, usage = usage, help = help, run = run, least = least, tables = tables }
  list[#list + 1] = one
  by_name[name] = one
end

--- What a script did wrong: the sentence, and where and how it came there.
local blame = { __name = "moonlog.fault", __tostring = function(self) return self.sentence end }

local function check(result, why, fault)
  if result ~= nil then return result end
  error(fault and setmetatable({ sentence = why, fault = fault }, blame) or why, 0)
end

local HERE = debug.getinfo(1, "S").short_src .. ":"

--- What is missing, and options that are none, are told by how the word is written.
local function check_usage(one, ...)
  local given = table.pack(...)
  for n = 1, math.max(one.least, given.n) do
    local value = given[n]
    local wrong = n >= one.tables and type(value) ~= "table"
    if value == nil then wrong = n <= one.least end
    if wrong then error("BAD_REQUEST: write " .. one.usage, 0) end
  end
end

--- Runs a word. A mistake in its arguments is told without this file's name: who made it stands
-- at the prompt.
local function call(session, name, ...)
  check_usage(by_name[name], ...)
  local results = table.pack(pcall(by_name[name].run, session, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local raised = results[2]
  if type(raised) == "string" and raised:sub(1, #HERE) == HERE then
    raised = raised:sub(#HERE + 1):gsub("^%d+: ", "", 1)
  end
  error(raised, 0)
end
words.call = call

local refusal = { __name = "moonlog.refusal" }
function refusal.show(value)
  local text, detail = "refused: " .. show.clean(value.code), rawget(value, "detail")
  return detail == nil and text or text .. " " .. show.value(detail)
end

--- Writing is not for who looks at the past.
local function check_now(session)
  if not session.pin then return end
  error(("READ_ONLY: pinned at #%d; `.now` comes back"):format(session.pin), 0)
end

local function plain(value)
  if rawequal(value, moonlog.null) then return nil end
  return value
end

-- ---- aggregates -------------------------------------------------------------------------------

local handle = { __name = "moonlog.aggregate" }
function handle.show(value)
  local about = rawget(value, handle)
  return ("%s %s"):format(about.aggregate, show.quote(about.id))
end

--- "account-ada" of account("ada"); anything else as it is.
local function selection_of(value)
  local about = debug.getmetatable(value) == handle and rawget(value, handle)
  return about and about.aggregate .. "-" .. about.id or value
end

local function about_of(value, name)
  local about = debug.getmetatable(value) == handle and rawget(value, handle)
  if not about then error(("write a colon before %s, as in (…):%s{…}"):format(name, name), 3) end
  return about
end

local methods = {
  state = function(self, options)
    local about = about_of(self, "state")
    return call(about.session, "state", about.aggregate, about.id, options)
  end,
  history = function(self, options)
    local about = about_of(self, "history")
    return call(about.session, "read", about.aggregate .. "-" .. about.id, options)
  end,
}
words.methods = methods

--- What is no method is a command; the daemon knows which there are.
function handle.__index(_, name)
  if methods[name] then return methods[name] end
  return function(self, args, options)
    local about = about_of(self, name)
    if args ~= nil and type(args) ~= "table" then
      error(("%s takes a table, as in %s %s:%s{…}"):format(name, about.aggregate,
        show.quote(about.id), name), 2)
    end
    return call(about.session, "command", about.aggregate, about.id, name, args, options)
  end
end

--- The word of an aggregate: account "ada".
function words.aggregate(session, name)
  return function(id)
    if type(id) ~= "string" and math.type(id) ~= "integer" then
      error(('%s wants an id, as in %s "ada"'):format(name, name), 2)
    end
    local about = { session = session, aggregate = name, id = tostring(id) }
    return setmetatable({ [handle] = about }, handle)
  end
end

-- ---- reading ----------------------------------------------------------------------------------

--- What a pinned read asks for. Backward it may begin at the pin where positions are counted.
local function pinned(session, selection, options)
  if not session.pin or not options.backward then return options.limit end
  if selection == "$all" or type(selection) == "string" and selection:find "^%$category:" then
    options.from = math.min(options.from or session.pin, session.pin)
    return options.limit
  end
  options.limit = nil -- what lies behind the pin does not count
end

word("read", 0, 2, 'read(STREAM, {from=, limit=, backward=, system=})',
  'events of a stream, "$all", "$category:C" or {query=…}; 1000 if no limit is given',
  function(session, selection, given)
    local options, events = {}, {}
    for key, value in next, given or {} do options[key] = value end
    selection = selection_of(selection)
    local limit = options.limit or EVENTS
    options.limit = limit + 1
    pinned(session, selection, options)
    for event in session.connection:read(selection, options) do
      local past = not session.pin or event.position <= session.pin
      if not past and not options.backward then break end
      if #events == limit then
        if not (given and given.limit) then
          session:note(events, ("the first %d; ask for more with limit ="):format(limit))
        end
        break
      end
      if past then events[#events + 1] = event end
    end
    if #events == 0 then session:note(events, "no events") end
    return events
  end)

word("state", 2, 3, 'state(AGGREGATE, ID, {at=, as_of=})',
  'what the events of one add up to; at: a revision, "#POSITION" or a time',
  function(session, aggregate, id, options)
    local asked = { at = options and options.at, as_of = options and options.as_of, explain = true }
    if asked.at == nil and session.pin then asked.at = ("#%d"):format(session.pin) end
    local result = check(session.connection:state(aggregate, tostring(id), asked))
    local state, revision = plain(result.state), plain(result.revision)
    if type(state) == "table" then
      session:note(state, not revision and "no events"
        or ("revision %d, position %d"):format(revision, result.position))
    end
    return state
  end)

word("row", 1, 3, "row(PROJECTION, KEY, {window=, after=, at=})",
  "a row of a read model; without KEY that of one that has no keys",
  function(session, name, key, options)
    local asked = { at = session.pin }
    for option, value in next, options or {} do asked[option] = value end
    local result = check(session.connection:get(name, key, asked))
    if type(result.row) == "table" then
      session:note(result.row, ("position %d"):format(result.position))
    end
    return result.row
  end)

word("rows", 1, 2, "rows(PROJECTION, {prefix=, index=, from=, to=, limit=, backward=})",
  "rows of a read model, {key, row}; 1000 if no limit is given",
  function(session, name, options)
    local asked, found = { at = session.pin, limit = EVENTS }, {}
    for option, value in next, options or {} do asked[option] = value end
    for key, row, window in session.connection:scan(name, asked) do
      found[#found + 1] = { key = key, row = row, window = window }
    end
    if #found == 0 then session:note(found, "no rows") end
    return found
  end)

word("projections", 0, 1, "projections()", "how the read models are",
  function(session) return check(session.connection:projections()) end)

word("head", 0, NONE, "head([STREAM])", "where the log ends, or a stream",
  function(session, stream) return check(session.connection:head(selection_of(stream))) end)

word("streams", 0, 1, "streams{category=, prefix=, limit=}", "streams in the order they began",
  function(session, options) return check(session.connection:streams(options)) end)

word("status", 0, 1, "status()", "what the daemon and its store are doing",
  function(session) return check(session.connection:status()) end)

-- ---- writing ----------------------------------------------------------------------------------

word("append", 2, 4, "append(STREAM, TYPE, DATA, {expected=})",
  "appends an event; or several: append(STREAM, {{type=, data=}, …}, {expected=})",
  function(session, stream, events, data, options)
    check_now(session)
    if type(events) ~= "string" then
      return check(session.connection:append(selection_of(stream), events, data))
    end
    local event = { type = events, data = data }
    return check(session.connection:append(selection_of(stream), event, options))
  end)

word("command", 3, 4, "command(AGGREGATE, ID, NAME, {…}, {meta=, command_id=})",
  "asks the rules to decide; gives the events written, or the refusal",
  function(session, aggregate, id, name, args, options)
    check_now(session)
    local asked = { explain = true }
    for key, value in next, options or {} do asked[key] = value end
    local result = check(session.connection:command(aggregate, tostring(id), name, args, asked))
    if result.refused then
      return setmetatable({ code = result.refused.code, detail = plain(result.refused.detail) },
        refusal)
    end
    if #result.events == 0 then session:note(result.events, "nothing to do") end
    return result.events
  end)

word("signal", 1, NONE, "signal(SUBJECT, DATA)",
  "tells whoever listens now; gives how many that are",
  function(session, subject, data)
    check_now(session)
    return check(session.connection:signal(subject, data))
  end)

word("aggregate", 1, NONE, "aggregate(NAME)(ID)", "an aggregate whose name is another word's",
  function(session, name) return words.aggregate(session, name) end)

words.list = list
words.by_name = by_name
return words
