--- The program on a terminal, and without one: for specs of what people type.
-- Its Lua files are those of the source, wherever it was built; what is typed is remembered in a
-- fresh place.
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local terminal = {}

local PYTHON = "/usr/bin/python3" -- Debian's

--- Words of `env` for a user who has typed nothing yet, or what is in `state`.
local function environment(state)
  return ("MOONLOG_LUA=lua NO_COLOR=1 TERM=xterm LC_ALL=C.UTF-8 XDG_STATE_HOME=%s "):format(
    program.quote(state or tmpdir.new()))
end

--- Runs the program with lines on stdin.
-- @treturn string what it printed
-- @treturn string what it complained
-- @treturn number its exit status
function terminal.without(words, stdin)
  return program.shell(environment() .. program.command(words), stdin)
end

--- Plays steps (terminal.py) on a terminal of 80 columns; an error if what is to be seen is not.
-- @tparam ?table options columns, state
-- @treturn string what the steps printed: screens, and the status at the end
function terminal.play(words, steps, options)
  options = options or {}
  local line = ("env -u LD_PRELOAD %s%s spec/support/terminal.py %d 40 %s"):format(
    environment(options.state), PYTHON, options.columns or 80, program.command(words))
  local out, err, status = program.shell(line, steps)
  if status ~= 0 then error(out .. err, 2) end
  return out
end

return terminal
