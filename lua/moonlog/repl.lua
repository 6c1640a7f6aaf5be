--- The Lua side of `moonlog repl`: lines in, text out. The terminal, the history and the loop are
-- the program's (core/cli/repl_*.c).
-- A session evaluates in an environment of its own, so that its words are not in the way of the
-- files that it runs.
-- @module moonlog.repl
local client = require "moonlog.client"
local commands = require "moonlog.repl.commands"
local complete = require "moonlog.repl.complete"
local fault = require "moonlog.repl.fault"
local moonlog = require "moonlog"
local show = require "moonlog.repl.show"
local words = require "moonlog.repl.words"

local repl = {}
local session = {}
local meta = { __index = session, __name = "moonlog.repl" }

local KEPT = 9         -- results before the last
local GONE = "-- no daemon is behind this prompt any more: `.quit`, and begin again"
local PUSHED = 256     -- events shown in one go: between them the keyboard is looked at

-- ---- the environment --------------------------------------------------------------------------

--- What a name means: a word, something of Lua, an aggregate. The environment itself was asked
-- before. Who names what nobody knows may mean rules that were loaded just now.
local function meaning(self, name)
  local word = words.by_name[name]
  if word then return self.bound[name] end
  local known = rawget(_G, name)
  if known ~= nil then return known end
  if type(name) ~= "string" or not self:is_aggregate(name) then return nil end
  return words.aggregate(self, name)
end

local function new_environment(self)
  self.bound = {}
  for name in next, words.by_name do
    self.bound[name] = function(...) return words.call(self, name, ...) end
  end
  local env = { moonlog = moonlog, store = self.connection }
  return setmetatable(env, { __index = function(_, name) return meaning(self, name) end })
end

--- A new session.
-- @tparam table options connection; name (of the place where lines come from: "repl"); terminal
--   (someone sits there); width; read_pack (gives {path = source} for a directory)
function repl.new(options)
  local self = setmetatable({ connection = options.connection, name = options.name or "repl",
    terminal = options.terminal, width = options.width, read_pack = options.read_pack,
    commands = commands, lines = {}, results = {}, units = {}, asked = false,
    notes = setmetatable({}, { __mode = "k" }) }, meta)
  self.env = new_environment(self)
  return self
end

--- A session over a socket that is connected and greeted; what the program starts with.
function repl.over(socket, uri, options)
  options.connection = client.over(socket, uri)
  return repl.new(options)
end

-- ---- aggregates -----------------------------------------------------------------------------

--- Asks which units there are, once in a statement.
local function units(self)
  if self.asked then return self.units end
  self.asked = true
  local done, result = pcall(self.connection.call, self.connection, "rules.list")
  if done and result then self.units = result.units or {} end
  return self.units
end

function session:forget_aggregates() self.asked = false end

--- Names of the active aggregates.
function session:aggregate_names()
  local names = {}
  for _, unit in ipairs(units(self)) do
    names[#names + 1] = unit.unit:match "^aggregate/(.+)$"
  end
  return names
end

function session:is_aggregate(name)
  for _, known in ipairs(self:aggregate_names()) do
    if known == name then return true end
  end
  return false
end

--- The commands of an aggregate, as far as its source shows them: it is read, and not run.
function session:command_names(aggregate)
  local names = {}
  local done, result = pcall(self.connection.call, self.connection, "rules.list", { files = true })
  for _, unit in ipairs(done and result and result.units or {}) do
    local source = unit.unit == "aggregate/" .. aggregate and result.files[unit.file] or ""
    local block = source:match "%f[%w_]commands%s*=%s*(%b{})" or ""
    for name in block:gmatch "%f[%w_]([%a_][%w_]*)%s*=%s*function" do names[#names + 1] = name end
  end
  return names
end

function session.find_command(_, name) return (commands.find(name)) end

-- ---- showing --------------------------------------------------------------------------------

--- A remark on a table that stands behind it whenever it is shown.
function session:note(value, text) self.notes[value] = text end

--- A value as text, with its remark.
function session:show(value)
  local text = show.value(value, { width = self.width, cut = self.terminal })
  local note = type(value) == "table" and self.notes[value]
  if not note then return text end
  if next(value) == nil and show.special(value) == nil then return "-- " .. note end
  return text .. (text:find "\n" and "\n" or "  ") .. "-- " .. note
end

--- `_` becomes `_1`, and so on.
local function keep(self, value)
  for n = KEPT, 2, -1 do self.env["_" .. n] = rawget(self.env, "_" .. n - 1) end
  self.env._1 = rawget(self.env, "_")
  self.env._ = value
end

local function show_results(self, results)
  if results.n == 0 then return nil end
  local parts = {}
  for i = 1, results.n do parts[i] = self:show(results[i]) end
  if results[1] ~= nil then keep(self, results[1]) end
  return table.concat(parts, "\n")
end

--- A line that was typed or read before.
local function source_of(self, file, line)
  if file == self.name then return self.lines[line] end
  if not self.rules_dir then return nil end
  local files = self.read_pack(self.rules_dir)
  local text, at = files and files[file], 0
  for one in (text or ""):gmatch "([^\n]*)\n?" do
    at = at + 1
    if at == line then return one end
  end
end

--- "attempt to call a nil value (global 'acount')": who may have been meant.
local function meant(self, sentence)
  local name = sentence:match "nil value %(global '([%a_][%w_]*)'%)"
  if not name then return "" end
  local names = self:aggregate_names()
  for _, word in ipairs(words.list) do names[#names + 1] = word.name end
  local near = fault.nearest(name, names)
  return near and ("; did you mean %s?"):format(near) or ""
end

local function failure(self, raised)
  if type(raised) == "table" and rawget(raised, "fault") then
    return show.clean_lines(fault.script(raised.sentence, raised.fault))
  end
  local sentence = type(raised) == "string" and raised or self:show(raised)
  return show.clean_lines(fault.text(sentence .. meant(self, sentence), function(file, line)
    return source_of(self, file, line)
  end))
end

-- ---- statements -----------------------------------------------------------------------------

local function is_unfinished(why) return why:find "<eof>'?$" ~= nil end

--- Compiles as an expression, else as statements. The chunk's lines are those of the input.
local function compile(self, text)
  local chunk_name = "=" .. self.name
  local above = ("\n"):rep(self.first - 1)
  local only = text:match "^%s*=(.*)$"
  local chunk, why = load(above .. "return " .. (only or text), chunk_name, "t", self.env)
  if chunk or only then return chunk, why end
  local statement, because = load(above .. text, chunk_name, "t", self.env)
  if statement then return statement end
  -- What stumbled over its first word already was no statement; it may be an expression.
  local stumbled = because:match "near '(.-)'$"
  local first = stumbled and text:match "^%s*(.*)$":sub(1, #stumbled) == stumbled
  return nil, (is_unfinished(why) or first and not is_unfinished(because)) and why or because
end

local LOST = "-- a local is gone with its statement; write `x = …` to keep it"

local function after(self, text, shown)
  if self.hinted or not text:find "^%s*local%s+[%a_]" then return shown end
  self.hinted = true
  return (shown and shown .. "\n" or "") .. LOST
end

--- Runs what is whole. "done" or "failed", and what to print.
local function run(self, text, action)
  self.asked = false
  local results = table.pack(pcall(action))
  if not results[1] then return "failed", failure(self, results[2]) end
  local shown = show_results(self, table.pack(table.unpack(results, 2, results.n)))
  return self.ended and "quit" or "done", after(self, text, shown)
end

local function dot(self, line)
  self.asked = false
  local done, said = pcall(commands.run, self, line)
  if not done then return "failed", failure(self, said) end
  return self.ended and "quit" or "done", said
end

--- Takes the next line.
-- @treturn string "more" (the statement is not whole), "done", "failed" or "quit"
-- @treturn ?string what to print
-- @treturn ?string the whole statement, for the history
function session:feed(line)
  for one in (line .. "\n"):gmatch "([^\n]*)\n" do self.lines[#self.lines + 1] = one end
  if not self.pending then
    self.first = #self.lines - select(2, line:gsub("\n", ""))
    if line:find "^%s*$" or line:find "^#!" and self.first == 1 then return "done" end
    if line:find "^%s*%.%a" then
      local status, said = dot(self, line)
      return status, said, line
    end
  elseif self.terminal and line:find "^%s*$" then
    self.pending = nil
    return "done", "-- given up"
  end
  local text = self.pending and self.pending .. "\n" .. line or line
  local chunk, why = compile(self, text)
  self.pending = not chunk and is_unfinished(why) and text or nil
  if self.pending then return "more" end
  if not chunk then return "failed", failure(self, why), text end
  local status, shown = run(self, text, chunk)
  return status, shown, text
end

--- No more lines come: what is not finished is wrong.
function session:finish()
  if not self.pending then return "done" end
  local _, why = compile(self, self.pending)
  self.pending = nil
  return "failed", failure(self, why)
end

--- Gives up the statement that is not whole.
function session:cancel() self.pending = nil end

-- ---- around the line ----------------------------------------------------------------------------

--- What stands before the next line; `columns` the terminal has now.
function session:prompt(_, columns)
  self.width = columns or self.width
  local place = self.pin and ("moonlog@%d> "):format(self.pin) or "moonlog> "
  return self.pending and (" "):rep(#place - 3) .. "-> " or place
end

function session:complete(line) return complete.at(self, line) end

--- What was pushed since, as lines to print above the prompt.
-- @treturn ?string
-- @treturn boolean is there more that has come already?
-- @treturn boolean is the connection gone?
function session:pushed()
  local lines = {}
  local why
  if self.tail then
    local event
    repeat
      event, why = self.tail:poll()
      if event then
        lines[#lines + 1] = show.event(event, { width = self.width, cut = true })
      end
    until not event or #lines == PUSHED
  else
    why = select(2, self.connection:take_in())
  end
  local gone = why ~= nil and why:find "^UNREACHABLE:" ~= nil
  if why then
    lines[#lines + 1] = show.clean_lines(why)
    self.tail = nil
  end
  if gone then lines[#lines + 1] = GONE end
  return #lines > 0 and table.concat(lines, "\n") or nil, #lines == PUSHED, gone
end

--- Loads rules as `.load` does. With `changed` 1 only if the files are others than those that were
-- loaded last; what is said is then only about what is new.
-- @treturn ?string what to print
-- @treturn boolean are they active now?
function session:load(dir, changed)
  local done, text, active = pcall(commands.load, self, dir, changed == 1)
  if not done then return failure(self, text), false end
  return text, active
end

--- The first words.
function session:greeting(place)
  local head = self.connection:head()
  local events = head and head.position or 0
  return ("moonlog %s on %s, %d event%s; .help lists what can be said here"):format(
    moonlog.version, show.clean(place), events, events == 1 and "" or "s")
end

return repl
