--- Walks through the README of an example: runs what stands behind `$` in its ```console blocks, in
-- order and in one directory, and holds what is printed against what the page says.
local program = require "spec.support.program"

local walk = {}

--- What is another each time, as what it is.
local function neutral(text)
  return (text:gsub("%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z", "TIME")
    :gsub("%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x+", "UUID")
    :gsub("%f[%w]%x%x%x%x%x%x%x%x%x%x%x%x%f[%W]", "HASH")
    :gsub(" +%d[%d.]* s +", " SPAN "))
end

--- The commands of a page, each with the lines that are promised below it.
function walk.steps(page)
  local steps = {}
  for block in program.slurp(page):gmatch "\n```console\n(.-)\n```" do
    for line in (block .. "\n"):gmatch "(.-)\n" do
      local command = line:match "^%$ (.*)$"
      if command then
        steps[#steps + 1] = { command = command, promised = {} }
      else
        table.insert(steps[#steps].promised, line)
      end
    end
  end
  return steps
end

--- Runs them; `places` are substituted in commands, {["/tmp/bank"] = "/tmp/xyz"}.
-- @treturn table the steps, with `said` and `status`
function walk.run(page, data, places)
  local steps = walk.steps(page)
  local prelude = ([[
unset MOONLOG_CONNECT; export NO_COLOR=1 MOONLOG_LUA=lua MOONLOG_DATA=%s
moonlog() { case " $* " in *" -o "*) %s "$@" ;; *) %s "$@" -o table ;; esac; }
]]):format(program.quote(data), program.path, program.path)
  for _, step in ipairs(steps) do
    local command = step.command
    for from, to in pairs(places) do
      command = command:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%")))
    end
    step.said, step.err, step.status = program.shell(prelude .. "{ " .. command .. "\n} 2>&1")
  end
  return steps
end

--- Walks; fails at the first step that does not say what it promises. A step that promises nothing
-- has to end well.
function walk.check(page, data, places)
  local steps = walk.run(page, data, places)
  for _, step in ipairs(steps) do
    if step.status ~= 0 then
      error(("%s: $ %s\nexit status %s\n%s"):format(page, step.command, step.status, step.said), 2)
    end
    local promised = table.concat(step.promised, "\n")
    local said = step.said:gsub("\n$", "")
    if promised ~= "" and neutral(promised) ~= neutral(said) then
      error(("%s: $ %s\n%s\n---- and not\n%s"):format(page, step.command, said, promised), 2)
    end
  end
  return steps
end

return walk
