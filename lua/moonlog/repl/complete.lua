--- What may stand where the cursor is: dot commands, words, aggregates, fields, streams, ids.
-- Tables are walked raw, so that TAB runs no code of anyone's.
-- @module moonlog.repl.complete
local words = require "moonlog.repl.words"

local complete = {}

local BUDGET_MS = 50 -- of asking the daemon: who types does not wait
local NAMES = 100

--- Keeps those that begin so, each once, in order.
local function matching(names, prefix)
  local found, seen = {}, {}
  for _, name in ipairs(names) do
    if not seen[name] and name:sub(1, #prefix) == prefix then
      seen[name] = true
      found[#found + 1] = name
    end
  end
  table.sort(found)
  return found
end

local function names_of(list)
  local names = {}
  for i, one in ipairs(list) do names[i] = one.name end
  return names
end

--- Asks with little patience; an answer that comes too late is passed over.
local function ask(session, method, options)
  local connection = session.connection
  local patience = connection.timeout_ms
  connection.timeout_ms = BUDGET_MS
  local done, result = pcall(connection[method], connection, options)
  connection.timeout_ms = patience
  return done and result or {}
end

--- Names of streams, without their first `skip` bytes.
local function streams(session, prefix, skip)
  local names = {}
  local found = ask(session, "streams", { prefix = prefix ~= "" and prefix or nil, limit = NAMES })
  for i, one in ipairs(found) do names[i] = one.stream:sub((skip or 0) + 1) end
  return names
end

local function ids(session, aggregate, prefix)
  return streams(session, aggregate .. "-" .. prefix, #aggregate + 1)
end

-- ---- Lua ------------------------------------------------------------------------------------

--- String keys of a table, and of the tables its metatable points on to.
local function fields(value)
  local names = {}
  for _ = 1, 10 do
    if type(value) == "table" then
      for key in next, value do
        if type(key) == "string" and key:find "^[%a_][%w_]*$" then names[#names + 1] = key end
      end
    end
    local meta = debug.getmetatable(value)
    value = meta and rawget(meta, "__index")
    if type(value) ~= "table" then break end
  end
  return names
end

local function get(value, key)
  for _ = 1, 10 do
    local found = type(value) == "table" and rawget(value, key)
    if found then return found end
    local meta = debug.getmetatable(value)
    value = meta and rawget(meta, "__index")
    if type(value) ~= "table" then return nil end
  end
end

local function globals(session)
  local names = names_of(words.list)
  for _, name in ipairs(session:aggregate_names()) do names[#names + 1] = name end
  for _, source in ipairs { session.env, _G } do
    for _, name in ipairs(fields(source)) do names[#names + 1] = name end
  end
  return names
end

local function global(session, name)
  local own = rawget(session.env, name)
  if own ~= nil then return own end
  return rawget(_G, name)
end

--- a.b.c: the names behind the last dot or colon; first names where there is none.
local function path(session, text)
  local chain, last = text:match "^(.-)([%w_]*)$"
  local names
  if chain == "" then
    names = globals(session)
  else
    local value
    for name in chain:gmatch "[%a_][%w_]*" do
      if value == nil then value = global(session, name) else value = get(value, name) end
      if value == nil then return nil end
    end
    names = fields(value)
  end
  return last, names
end

--- Where a string is open: what stands before its quote, and in it.
local function open_string(line)
  local at, quote, begin = 1, nil, nil
  while at <= #line do
    local c = line:sub(at, at)
    if quote and c == "\\" then at = at + 1
    elseif c == quote then quote = nil
    elseif not quote and (c == '"' or c == "'") then quote, begin = c, at
    elseif not quote and line:sub(at, at + 1) == "--" then return nil end
    at = at + 1
  end
  if quote then return line:sub(1, begin - 1), line:sub(begin + 1) end
end

local function in_string(session, before, text)
  local called = before:match "([%a_][%w_]*)%s*%(?%s*$"
  if called == "state" or called == "command" or called == "aggregate" then
    return session:aggregate_names()
  end
  local aggregate = before:match "[\"']([%w_]+)[\"']%s*,%s*$" -- state("account", "…
  if aggregate and session:is_aggregate(aggregate) then return ids(session, aggregate, text) end
  if called and session:is_aggregate(called) then return ids(session, called, text) end
  return streams(session, text)
end

--- account("ada"):… and account "ada":… -- methods; commands as far as the daemon tells them.
local function in_call(session, line)
  local name, last = line:match "([%a_][%w_]*)%s*%(?%s*[\"'][^\"']*[\"']%s*%)?%s*:([%a_]*[%w_]*)$"
  if not name or not session:is_aggregate(name) then return nil end
  local names = fields(words.methods)
  for _, command in ipairs(session:command_names(name)) do names[#names + 1] = command end
  return last, names
end

-- ---- dot commands -----------------------------------------------------------------------------

local kinds = {
  help = function(session)
    local names = names_of(words.list)
    for _, one in ipairs(session.commands) do names[#names + 1] = one.name end
    return names
  end,
  aggregate = function(session) return session:aggregate_names() end,
  id = function(session, last, before) return ids(session, before[#before], last) end,
  stream = function(session, last) return streams(session, last) end,
}

local function in_command(session, line)
  local name = line:match "^%s*%.(%a*)$"
  if name then return name, names_of(session.commands) end
  local rest
  name, rest = line:match "^%s*%.(%a+)%s+(.*)$"
  local command = name and session:find_command(name)
  if not command then return nil end
  local before = {}
  local last = rest:match "%S*$"
  for one in rest:sub(1, #rest - #last):gmatch "%S+" do before[#before + 1] = one end
  local kind = command.complete and command.complete[#before + 1]
  return last, kind and kinds[kind](session, last, before) or {}
end

-- ---- the way in -------------------------------------------------------------------------------

--- What may stand at the end of `line`, the text before the cursor.
-- @treturn number how many bytes at its end are what was begun
-- @treturn table what could stand there instead
function complete.at(session, line)
  local last, names
  if line:find "^%s*%.%a*" and not line:find "^%s*%.%d" then
    last, names = in_command(session, line)
  else
    local before, text = open_string(line)
    if before then
      last, names = text, in_string(session, before, text)
    else
      last, names = in_call(session, line)
      if not last then last, names = path(session, line:match "[%w_%.:]*$") end
    end
  end
  if not last then return 0, {} end
  return #last, matching(names, last)
end

return complete
