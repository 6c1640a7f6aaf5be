--- THE table of dot commands: what they do, their help, and what TAB offers behind them. `run`
-- gets the session, the words behind the name, and all of them as text; what it gives is
-- printed, and what goes wrong it raises as "CODE: sentence".
-- @module moonlog.repl.commands
local fault = require "moonlog.repl.fault"
local moonlog = require "moonlog"
local show = require "moonlog.repl.show"
local words = require "moonlog.repl.words"

local commands = {}

local function refuse(format, ...) error("BAD_REQUEST: " .. format:format(...), 0) end

local function must(result, why)
  if result == nil then error(why, 0) end
  return result
end

-- ---- help -----------------------------------------------------------------------------------

--- Rows of texts as lines, each column as wide as it must be.
local function columns_of(rows, before)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for n, text in ipairs(row) do widths[n] = math.max(widths[n] or 0, #text) end
  end
  for i, row in ipairs(rows) do
    local cells = {}
    for n, text in ipairs(row) do cells[n] = text .. (" "):rep(widths[n] - #text) end
    lines[i] = ((before or "") .. table.concat(cells, "  ")):gsub(" +$", "")
  end
  return table.concat(lines, "\n")
end

local function section_of(title, rows) return title .. "\n" .. columns_of(rows, "  ") end

local function usage_of(command)
  return "." .. command.name .. (command.words and " " .. command.words or "")
end

local INTRODUCTION = [[
Anything else is Lua: an expression is shown, `x = 5` is kept. `_` is the last
result, `_1` the one before it, to `_9`. A statement that is not finished goes
on on the next line; an empty line gives it up. `.help WORD` tells more.]]

local function help_all(session)
  local dots, lua, own = {}, {}, {}
  for i, one in ipairs(commands) do dots[i] = { usage_of(one), one.help } end
  for i, one in ipairs(words.list) do lua[i] = { one.name, one.help:match "^[^;]+" } end
  for i, name in ipairs(session:aggregate_names()) do
    own[i] = { ('%s "ID"'):format(name), ":COMMAND{…}  :state()  :history()" }
  end
  local parts = { section_of("commands", dots), section_of("words", lua) }
  if #own > 0 then parts[#parts + 1] = section_of("aggregates", own) end
  parts[#parts + 1] = INTRODUCTION
  return table.concat(parts, "\n\n")
end

local function help_aggregate(session, name)
  local commands_of = session:command_names(name)
  local lines = { ('%s "ID":COMMAND{…}  :state()  :history()'):format(name) }
  if #commands_of > 0 then lines[2] = "commands: " .. table.concat(commands_of, " ") end
  return table.concat(lines, "\n")
end

local function help(session, given)
  local name = given[1]
  if not name then return help_all(session) end
  local command = session:find_command(name:match "^%.?(.*)$")
  local word = words.by_name[name]
  local parts = {}
  if word then parts[1] = word.usage .. "\n  " .. word.help end
  if command then
    parts[#parts + 1] = usage_of(command) .. "\n  " .. (command.manual or command.help)
  end
  if session:is_aggregate(name) then parts[#parts + 1] = help_aggregate(session, name) end
  if #parts > 0 then return table.concat(parts, "\n") end
  local names = {}
  for _, one in ipairs(commands) do names[#names + 1] = one.name end
  for _, one in ipairs(words.list) do names[#names + 1] = one.name end
  local near = fault.nearest(name, names)
  refuse("there is no help on '%s'; %s", name, near and "did you mean " .. near .. "?"
    or "`.help` lists what there is")
end

-- ---- rules ----------------------------------------------------------------------------------

local function units_text(units)
  local rows = {}
  for i, unit in ipairs(units) do
    rows[i] = { show.clean(unit.unit), show.clean(unit.file or ""), (unit.hash or ""):sub(1, 12),
      unit.status or "" }
  end
  return columns_of(rows)
end

--- What loading said, for people; and whether the pack is active now.
local function report_text(report, only_new)
  local parts, units = {}, {}
  for i, one in ipairs(report.diagnostics) do parts[i] = fault.diagnostic(one) end
  if not report.active then
    parts[#parts + 1] = "refused: the rules that were active before stay so"
    return show.clean_lines(table.concat(parts, "\n")), false
  end
  for _, unit in ipairs(report.units) do
    if not only_new or unit.status ~= "same" then units[#units + 1] = unit end
  end
  parts[#parts + 1] = #units > 0 and units_text(units) or "the rules are as they were"
  return show.clean_lines(table.concat(parts, "\n")), true
end

local function are_same(a, b)
  for path, source in next, a do
    if b[path] ~= source then return false end
  end
  for path in next, b do
    if a[path] == nil then return false end
  end
  return true
end

--- Loads a directory of rules; remembers it for the next time. With `changed`, only if its files
-- are not those that were loaded last.
function commands.load(session, dir, changed)
  local files = must(session.read_pack(dir))
  if changed and session.loaded and are_same(files, session.loaded) then return nil, true end
  session.rules_dir, session.loaded = dir, files
  local report = must(session.connection:call("rules.load", { files = files }))
  session:forget_aggregates()
  return report_text(report, changed)
end

local function load_rules_in(session, _, dir)
  local text, active = commands.load(session, dir)
  if not active then error(text, 0) end
  return text
end

local function reload(session)
  if not session.rules_dir then refuse "nothing was loaded yet; `.load DIR` does" end
  return load_rules_in(session, nil, session.rules_dir)
end

local function rules(session)
  local units = must(session.connection:call "rules.list").units
  return #units > 0 and units_text(units) or "no rules are active; `.load DIR` makes some so"
end

--- One difference in a line; `moonlog whatif` shows all there is to know of it.
local function difference_text(one)
  local key = one.key == moonlog.null and "" or show.clean(tostring(one.key))
  local at = one.first and one.first ~= moonlog.null and ("since #%d"):format(one.first.position)
  return { show.clean(one.unit), key, one.command and "command " .. show.clean(one.command)
    or one.kind, at or "" }
end

--- The first lines of what would be different.
local function whatif(session, _, dir)
  local files = must(session.read_pack(dir))
  local result = must(session.connection:call("whatif", { files = files, limit = 20 }))
  if result.diagnostics then
    return (report_text { diagnostics = result.diagnostics, units = {} })
  end
  local rows, sum = {}, 0
  for i, one in ipairs(result.differences) do rows[i] = difference_text(one) end
  for _, unit in ipairs(result.units) do
    sum = sum + unit.differing + unit.refused + unit.allowed + unit.others
  end
  if sum == 0 then return "nothing would be different" end
  if sum > #rows then rows[#rows + 1] = { ("and %d more"):format(sum - #rows) } end
  return columns_of(rows)
end

local function projections(session)
  local rows = {}
  for i, one in ipairs(must(session.connection:projections())) do
    local fault_of = type(one.error) == "table" and one.error.message
    rows[i] = { show.clean(one.name), one.state or "", ("#%d"):format(one.position or 0),
      ("%d rows"):format(one.rows or 0), fault_of and show.clean(fault_of) or "" }
  end
  return #rows > 0 and columns_of(rows) or "the active rules have no projections"
end

local function state(session, given)
  local at = math.tointeger(given[3]) or given[3]
  return session:show(words.call(session, "state", given[1], given[2], { at = at }))
end

-- ---- time -----------------------------------------------------------------------------------

--- Microseconds: RFC 3339, also without its seconds, its time or its zone, which is UTC then.
local function read_time(text)
  for _, rest in ipairs { "", "Z", ":00Z", "T00:00:00Z" } do
    local time = moonlog.time((text .. rest):gsub(" ", "T", 1))
    if time then return time end
  end
end

--- The time of the event at a position.
local function time_at(session, position)
  local page = must(session.connection:call("read", { from = position, limit = 1, system = true }))
  local row = page.events[1]
  return row and row[3] or math.maxinteger
end

--- The last position that was recorded by then. Times never decrease with position.
local function position_by(session, time, head)
  local low, high = 0, head
  while low < high do
    local middle = (low + high + 1) // 2
    if time_at(session, middle) <= time then low = middle else high = middle - 1 end
  end
  return low
end

local OUTSIDE = "'%s' is no position and no time; write .at 17 or .at 2026-01-05T10:00"
local RECORDED_LATER = "nothing was recorded by then; state(AGGREGATE, ID, {as_of=TIME}) asks for "
  .. "what had happened"

local function pin(session, _, text)
  local head = must(session.connection:head()).position
  local position = math.tointeger(tonumber((text:match "^#?(%d+)$")))
  local time = not position and read_time(text)
  if not position and not time then refuse(OUTSIDE, show.clean(text)) end
  if time then position = position_by(session, time, head) end
  if position < 1 or position > head then
    refuse("%s", head == 0 and "the log has no events yet" or time and RECORDED_LATER or
      ("the log has the positions 1 to %d"):format(head))
  end
  session.pin = position
  return ("reads and states are as of #%d, %s; `.now` comes back"):format(position,
    moonlog.time(time_at(session, position)))
end

-- ---- following --------------------------------------------------------------------------------

--- `account-ada`, `$category:account`, `$all`, type=T, tag=T, in any order.
local function filter_of(given)
  local selection, item, options = {}, {}, { after = "end" }
  for _, word in ipairs(given) do
    local name, value = word:match "^(%a+)=(.+)$"
    local category = word:match "^%$category:(.+)$"
    if name == "type" or name == "tag" then
      local key = name .. "s"
      item[key] = item[key] or {}
      table.insert(item[key], value)
    elseif category then selection.category = category
    elseif name or selection.stream then
      refuse(".tail knows no '%s'; `.help tail` says what it knows", show.clean(word))
    elseif word ~= "$all" then selection.stream = word end
  end
  if next(item) then selection.query = { item } end
  return selection, options
end

local function tail(session, given)
  if not session.terminal then
    refuse "`.tail` wants a terminal; `moonlog tail` follows without one"
  end
  local selection, options = filter_of(given[1] == "on" and {} or given)
  if session.tail then session.tail:close() end
  session.tail = nil
  if given[1] == "off" then return "no more" end
  session.tail = must(session.connection:subscribe(selection, options))
  return "events are shown as they come; `.tail off` ends it"
end

-- ---- the table --------------------------------------------------------------------------------

local table_of_commands = {
  { name = "help", words = "[WORD]", help = "this list, or more about one word",
    complete = { "help" }, run = help },
  { name = "load", words = "DIR", least = 1,
    help = "check a directory of rules, and make them active", run = load_rules_in },
  { name = "reload", help = "load the same directory again", run = reload },
  { name = "rules", help = "the active rules", run = rules },
  { name = "whatif", words = "DIR", least = 1,
    help = "what would be different with a directory of rules", run = whatif },
  { name = "projections", help = "the read models: where they are, and what is wrong",
    run = projections },
  { name = "state", words = "AGGREGATE ID [AT]", least = 2,
    help = "what one is; AT: a revision, #POSITION or a time",
    complete = { "aggregate", "id" }, run = state },
  { name = "at", words = "POS|TIME", least = 1, help = "look at the past; nothing is written there",
    manual = [[pins what is read, and states, to what was recorded up to a position, or a time
  (UTC). While pinned nothing can be written. `.now` comes back.]], run = pin },
  { name = "now", help = "come back from .at", run = function(session) session.pin = nil end },
  { name = "tail", words = "[FILTER]|off", help = "show events as they come, above the prompt",
    manual = [[shows events as they come. FILTER: a stream or $category:C, and any of type=T (one
  of them) and tag=T (all of them). `.tail` alone shows all, `.tail off` ends it.]],
    complete = { "stream" }, run = tail },
  { name = "quit", help = "leave; so does Ctrl-D",
    run = function(session) session.ended = true end },
}

for i, command in ipairs(table_of_commands) do commands[i] = command end

--- The command of that name, or the one that begins so; else raises.
function commands.find(name)
  local found, names = {}, {}
  for i, command in ipairs(commands) do
    if command.name == name then return command end
    names[i] = command.name
    if name ~= "" and command.name:sub(1, #name) == name then found[#found + 1] = command end
  end
  if #found == 1 then return found[1] end
  local near = #found > 1 and found[1].name or fault.nearest(name, names)
  return nil, ("BAD_REQUEST: there is no command .%s; %s"):format(name,
    near and ("did you mean .%s?"):format(near) or "`.help` lists them")
end

--- Runs a line like ".state account ada"; gives what is to be printed, or nil.
function commands.run(session, line)
  local name, text = line:match "^%s*%.(%a+)%s*(.-)%s*$"
  local command = must(commands.find(name))
  local given = {}
  for word in text:gmatch "%S+" do given[#given + 1] = word end
  if #given < (command.least or 0) then refuse("write %s", usage_of(command)) end
  if #given > 0 and not command.words then refuse(".%s stands alone", command.name) end
  return command.run(session, given, text)
end

return commands
