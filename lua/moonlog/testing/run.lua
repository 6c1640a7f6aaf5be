--- Runs the specs of a pack with busted, for `moonlog test`: gives why that cannot be, or ends the
-- program when they have run.
-- @module moonlog.testing.run
local run = {}

--- What config.lua tells busted.
run.settings = {}

--- A `.busted` where the program was started is another project's: ours is named.
local function command_line()
  local config = assert(package.searchpath("moonlog.testing.config", package.path))
  return { [0] = "moonlog test", "--config-file=" .. config }
end

--- Runs every *_spec.lua in `dir` and below.
-- @tparam string dir
-- @tparam integer failed the exit status if not all of them pass
-- @treturn string a sentence: why they could not be run
function run.specs(dir, failed)
  local found, runner = pcall(require, "busted.runner")
  if not found then
    return "specs need busted, which is not there: apt-get install lua-busted"
  end
  run.settings = { ROOT = { dir }, pattern = { "_spec%.lua$" }, output = "moonlog.testing.report",
    lpath = "", cpath = "" }
  run.failed = failed
  _G.arg = command_line()
  runner { standalone = false }
  return "busted came back without having said how it ended"
end

return setmetatable(run, { __call = function(_, ...) return run.specs(...) end })
