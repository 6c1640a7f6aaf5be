--- What went wrong, for people: the sentence, the line of source it speaks of, and a caret.
-- Pure but for the one file that is named.
-- @module moonlog.repl.fault
local show = require "moonlog.repl.show"

local fault = {}

--- The line of a file, or nil.
local function line_of_file(path, number)
  local file = io.open(path, "r")
  if not file then return nil end
  local at = 0
  for line in file:lines() do
    at = at + 1
    if at == number or at > 100000 then
      file:close()
      return at == number and line or nil
    end
  end
  file:close()
end

--- Column of what the sentence names in quotes, from 1; the first that is no space otherwise.
local function column(sentence, source)
  local named = sentence:match "near '(.-)'" or sentence:match "%a+ '([^']+)'%)"
    or sentence:match "variable '([^']+)'"
  if sentence:find "<eof>'?$" then return #source + 1 end
  return named and source:find(named, 1, true) or source:find "%S" or 1
end

--- The line of source under a sentence, with a caret below it.
local function pointer(number, source, sentence)
  local label = ("  %d | "):format(number)
  local before = source:sub(1, column(sentence, source) - 1):gsub("[^\t]", " ")
  local edge = (" "):rep(#label - 2) .. "| "
  return label .. show.clean(source):gsub("\\t", "\t") .. "\n" .. edge .. before .. "^"
end

--- Where a sentence points: file and line, and what is said behind them. A code may stand in
-- front: "SCRIPT_ERROR: account.lua:7: …".
local function place(sentence)
  local bare = sentence:match "^[A-Z][A-Z_]+: (.*)$" or sentence
  local file, number, said = bare:match "^([^:\n]+):(%d+): (.*)$"
  return file, math.tointeger(number), said
end

--- A sentence with its source line, if that is to be found.
-- @tparam string sentence
-- @tparam function source_of takes file and line; gives the line, or nil
function fault.text(sentence, source_of)
  local file, number, said = place(sentence)
  local source = file and (source_of(file, number) or line_of_file(file, number))
  if not source then return sentence end
  return sentence .. "\n" .. pointer(number, source, said)
end

--- What a script did wrong, as the daemon tells it: the sentence, the line of source, how it came
-- there, and the event that was being folded.
function fault.script(sentence, told)
  local parts = { sentence }
  if type(told.source) == "string" and told.source ~= "" then
    parts[2] = pointer(told.line, told.source, told.message)
  end
  for line in tostring(told.traceback or ""):gmatch "[^\n]+" do
    parts[#parts + 1] = "    " .. show.clean(line)
  end
  local event = told.event
  if type(event) == "table" then
    local at = math.type(event.position) and ("event #%d,"):format(event.position)
      or "decided, and not written:"
    parts[#parts + 1] = ("  %s %s in %s"):format(at, show.clean(event.type),
      show.clean(event.stream))
  end
  return table.concat(parts, "\n")
end

--- A diagnostic of checking rules: file:line: severity CODE: sentence, and the source.
function fault.diagnostic(one)
  local where = one.file and one.line and one.line > 0 and ("%s:%d: "):format(one.file, one.line)
    or one.file and one.file .. ": " or ""
  local head = ("%s%s %s: %s"):format(where, one.severity, one.code, one.message)
  if type(one.source) ~= "string" or one.source == "" then return head end
  return head .. "\n" .. pointer(one.line, one.source, one.message)
end

--- Edits that make `a` of `b`: insert, delete, replace, or swap two neighbours, each 1.
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    rows[i] = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local edits = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1,
        rows[i - 1][j - 1] + (same and 0 or 1))
      local swapped = i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j)
      rows[i][j] = swapped and math.min(edits, rows[i - 2][j - 2] + 1) or edits
    end
  end
  return rows[#a][#b]
end

--- The one of `names` that was probably meant, or nil. Words are short: what is not, is none.
function fault.nearest(word, names)
  if #word > 40 then return nil end
  local best, found = (#word + 1) // 3, nil
  for _, name in ipairs(names) do
    local edits = distance(word, name)
    if edits < best or edits == best and not found then best, found = edits, name end
  end
  return found
end

return fault
