--- Values as text for people: sorted keys, bounded in depth and width, cycles marked, times with
-- their date, events one a line. Tables are read raw, so that looking at a value runs none of
-- its code.
-- Pure: no disk, no clock, no terminal.
-- @module moonlog.repl.show
local moonlog = require "moonlog"

local show = {}

local WIDTH = 100   -- columns, where none are given
local DEPTH = 6     -- tables in tables; deeper ones are {…}
local ITEMS = 100   -- of one table
local TEXT = 2000   -- bytes of one string
local SHORT = 120   -- the same in an event, which is one line
local NODES = 20000 -- values of one result: a big one is cut, and says so

-- Integers under these names are microseconds since 1970.
local is_time = { time = true, occurred = true, now = true, time_at = true }
local TIME_LEAST = 10 ^ 14 -- 1973; what is less is some other number

local MORE = "…"

-- ---- single values --------------------------------------------------------------------------

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape(byte) return escapes[byte] or ("\\x%02x"):format(byte:byte()) end

--- Those of the second set, which a terminal obeys as well, are two bytes: U+0080 to U+009F.
local function escape_second(byte) return ("\\u{%02x}"):format(byte:byte()) end

--- Text of several lines without what would play with the terminal.
local function clean_lines(text)
  return (text:gsub("[%z\1-\8\11-\31\127]", escape):gsub("\xc2([\x80-\x9f])", escape_second))
end

--- Cuts behind a whole character.
local function cut(text, bytes)
  while bytes > 0 and (text:byte(bytes + 1) or 0) & 0xc0 == 0x80 do bytes = bytes - 1 end
  return text:sub(1, bytes)
end

--- A string as a Lua literal on one line, at most `limit` bytes of it.
local function quote(text, limit)
  local shown = #text > limit and cut(text, limit) or text
  local pattern = utf8.len(shown) and '[%c"\\]' or '[%c"\\\x80-\xff]'
  local rest = #text > #shown and (' %s %d bytes'):format(MORE, #text) or ""
  return '"' .. shown:gsub(pattern, escape):gsub("\xc2([\x80-\x9f])", escape_second) .. '"' .. rest
end

local function hex(bytes)
  local shown = bytes:sub(1, 64):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  return #bytes > 64 and shown .. MORE or shown
end

--- A time with its date: 1795268446000000 (2026-11-21T13:40:46Z).
local function time(value) return ("%d (%s)"):format(value, moonlog.time(value)) end

local function name_of(value)
  local meta = debug.getmetatable(value)
  local name = meta and rawget(meta, "__name")
  return type(name) == "string" and name or nil
end

local function userdata(value)
  if rawequal(value, moonlog.null) then return "null" end
  if name_of(value) == "moonlog.bytes" then return ('bytes "%s"'):format(hex(tostring(value))) end
  return ("<%s>"):format(name_of(value) or "userdata")
end

local function code(value)
  local about = debug.getinfo(value, "S")
  if about.what == "C" then return "<function in C>" end
  return ("<function %s:%d>"):format(about.short_src, about.linedefined)
end

local function number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if value ~= value then return "nan" end
  if value == math.huge or value == -math.huge then return value > 0 and "inf" or "-inf" end
  local short = ("%.14g"):format(value)
  if tonumber(short) ~= value then short = ("%.17g"):format(value) end
  return short:find "[.e]" and short or short .. ".0"
end

--- Anything but a table. `key` is what it is called, where it is called something.
local function plain(value, made, key)
  local kind = type(value)
  if kind == "string" then return quote(value, made.text) end
  if kind == "function" then return code(value) end
  if kind == "userdata" then return userdata(value) end
  if kind ~= "number" then return kind == "thread" and "<coroutine>" or tostring(value) end
  local dated = is_time[key] and math.type(value) == "integer" and value >= TIME_LEAST
  return dated and time(value) or number(value)
end

-- ---- tables ---------------------------------------------------------------------------------

local rank = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local first, second = type(a), type(b)
  if first ~= second then return (rank[first] or 4) < (rank[second] or 4) end
  if rank[first] and first ~= "boolean" then return a < b end
  return tostring(a) < tostring(b)
end

--- Keys of a table behind its list part, in order.
local function keys_behind(value, count)
  local keys = {}
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= count) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, before)
  return keys
end

local words = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do words[word] = true end

local function is_name(key)
  return type(key) == "string" and key:find "^[%a_][%w_]*$" ~= nil and not words[key]
end

local function key_text(key, made)
  if is_name(key) then return key end
  if type(key) == "table" then return "[" .. (name_of(key) or "table") .. "]" end
  made.nodes = made.nodes + 1
  return "[" .. plain(key, made) .. "]"
end

local node_of -- forward

--- Adds items until there are too many; says how many are left out.
local function add(node, made, label, value, key)
  if made.nodes >= NODES or #node.items >= ITEMS then
    node.left = node.left + 1
    return
  end
  local item = node_of(value, made, node.depth + 1, key)
  item.label = label
  node.items[#node.items + 1] = item
  node.size = node.size + #label + item.size + 2
end

--- A value as a tree of texts, with the size that each has on one line.
function node_of(value, made, depth, key)
  made.nodes = made.nodes + 1
  local written = show.special(value)
  if not written and type(value) ~= "table" then written = plain(value, made, key) end
  if not written and made.open[value] then written = "<cycle>" end
  if not written and depth >= made.depth then
    written = next(value) == nil and "{}" or "{" .. MORE .. "}"
  end
  if written then return { text = written, size = utf8.len(written) or #written, label = "" } end

  local node = { items = {}, left = 0, size = 4, depth = depth, label = "" }
  made.open[value] = true
  local count = rawlen(value)
  for i = 1, count do add(node, made, "", rawget(value, i)) end
  for _, name in ipairs(keys_behind(value, count)) do
    add(node, made, key_text(name, made) .. " = ", rawget(value, name), name)
  end
  made.open[value] = nil
  if node.left > 0 then
    node.items[#node.items + 1] = { text = ("%s %d more"):format(MORE, node.left), label = "",
      size = 16 }
  end
  if #node.items == 0 then return { text = "{}", size = 2, label = "" } end
  return node
end

local function flat(node)
  if node.text then return node.text end
  local parts = {}
  for i, item in ipairs(node.items) do parts[i] = item.label .. flat(item) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- On one line if there is room behind `used` columns, else an item a line.
local function layout(node, width, indent, used)
  if node.text or used + node.size <= width then return flat(node) end
  local inner = indent .. "  "
  local lines = { "{" }
  for i, item in ipairs(node.items) do
    local comma = i < #node.items and "," or ""
    lines[#lines + 1] = inner .. item.label ..
      layout(item, width, inner, #inner + #item.label + #comma) .. comma
  end
  lines[#lines + 1] = indent .. "}"
  return table.concat(lines, "\n")
end

-- ---- what has a form of its own ---------------------------------------------------------------

--- Values of classes that say how they are shown: a field `show` of their metatable. Gives text,
-- or nil for all others.
function show.special(value)
  local meta = type(value) == "table" and debug.getmetatable(value)
  local how = meta and rawget(meta, "show")
  return how and how(value) or nil
end

--- The same of what has to stay on its line.
local function clean(text) return (clean_lines(tostring(text)):gsub("%c", escape)) end

local function is_event(value)
  return type(value) == "table" and math.type(rawget(value, "position")) == "integer"
    and type(rawget(value, "stream")) == "string" and type(rawget(value, "type")) == "string"
end

--- Shortens a line to so many columns; 0 is any number.
local function fit(line, columns)
  local size = utf8.len(line)
  if columns == 0 or not size or size <= columns then return line end
  return line:sub(1, utf8.offset(line, columns) - 1) .. MORE
end

--- One event as one line: position, time, stream@revision, type, data, tags.
function show.event(event, options)
  local parts = { ("#%d"):format(event.position), moonlog.time(event.time or 0),
    ("%s@%s"):format(clean(event.stream), event.revision or "?"), clean(event.type) }
  if event.data ~= nil then
    local made = { open = {}, nodes = 0, depth = options.depth or DEPTH, text = SHORT }
    parts[#parts + 1] = flat(node_of(event.data, made, 0))
  end
  for _, tag in ipairs(event.tags or {}) do parts[#parts + 1] = "[" .. clean(tag) .. "]" end
  return fit(table.concat(parts, "  "), options.cut and options.width or 0)
end

--- Is it a list of events, and nothing else?
local function are_events(value)
  if type(value) ~= "table" or not is_event(rawget(value, 1)) then return false end
  for i = 2, rawlen(value) do
    if not is_event(rawget(value, i)) then return false end
  end
  return true
end

--- Events one a line.
function show.events(list, options)
  local lines = {}
  for i = 1, rawlen(list) do lines[i] = show.event(rawget(list, i), options) end
  return table.concat(lines, "\n")
end

--- Any value as text, without a newline at its end.
-- @tparam ?table options width (columns, 100), depth (6), cut (lines of events at the width)
function show.value(value, options)
  options = options or {}
  if are_events(value) then return show.events(value, options) end
  local made = { open = {}, nodes = 0, depth = options.depth or DEPTH, text = TEXT }
  return layout(node_of(value, made, 0), options.width or WIDTH, "", 0)
end

--- A string as a Lua literal on one line.
function show.quote(text) return quote(text, TEXT) end

show.clean = clean
show.clean_lines = clean_lines
return show
