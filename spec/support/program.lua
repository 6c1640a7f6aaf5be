--- Runs the real program `moonlog` of the build under test.
local tmpdir = require "spec.support.tmpdir"

local program = { path = (os.getenv "MOONLOG_BUILD" or "build") .. "/moonlog" }
local dir = tmpdir.new()

--- Text as one word of a shell.
function program.quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

--- A command line: words quoted, the environment free of what a user may have set.
function program.command(words)
  local line = { "env", "-u", "MOONLOG_DATA", "-u", "MOONLOG_CONNECT", program.path }
  for _, word in ipairs(words) do line[#line + 1] = program.quote(word) end
  return table.concat(line, " ")
end

function program.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

function program.slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- Changes the first byte of a text that stands in the file.
function program.damage(path, text)
  local at = assert(program.slurp(path):find(text, 1, true), text .. " is not in " .. path)
  local file <close> = assert(io.open(path, "r+b"))
  assert(file:seek("set", at - 1))
  assert(file:write(text:byte(1) == 88 and "Y" or "X"))
end

--- Runs a shell command with stdin, stdout and stderr in files.
-- @treturn string what it printed
-- @treturn string what it complained
-- @treturn number its exit status
function program.shell(command, stdin)
  local input = program.write(dir .. "/in", stdin or "")
  local line = ("{ %s\n} <%s >%s/out 2>%s/err"):format(command, input, dir, dir)
  local _, _, status = os.execute(line)
  return program.slurp(dir .. "/out"), program.slurp(dir .. "/err"), status
end

--- Runs the program with these words.
function program.run(words, stdin) return program.shell(program.command(words), stdin) end

--- A runner whose every call works on one directory.
function program.on(data)
  return function(words, stdin)
    local all = { "--data", data }
    for _, word in ipairs(words) do all[#all + 1] = word end
    return program.run(all, stdin)
  end
end

return program
