--- A pack of rules as a folder has it, in two engines that live at once: hash seeds and addresses
-- differ between them, so what depends on one shows.
-- @module moonlog.testing.pack
local fault = require "moonlog.repl.fault"
local moonlog = require "moonlog"

local pack = {}
local methods = {}
local meta = { __index = methods }

local DEPTH_MAX = 8

-- ---- files ------------------------------------------------------------------------------------

local function filesystem()
  local found, lfs = pcall(require, "lfs")
  if found then return lfs end
  error("moonlog.testing needs lua-filesystem, which busted brings: apt-get install lua-busted", 0)
end

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- Every .lua of a folder but specs, as the daemon would be sent them.
local function read(lfs, dir, below, files, depth)
  for name in lfs.dir(dir) do
    local path = dir .. "/" .. name
    local mode = name:sub(1, 1) ~= "." and lfs.attributes(path, "mode")
    if mode == "directory" and depth < DEPTH_MAX then
      read(lfs, path, below .. name .. "/", files, depth + 1)
    elseif mode == "file" and name:match "%.lua$" and not name:match "_spec%.lua$" then
      files[below .. name] = slurp(path)
    end
  end
  return files
end

--- The files of a folder: {path = text}.
function pack.read(dir)
  local lfs = filesystem()
  if lfs.attributes(dir, "mode") ~= "directory" then
    error(("there is no folder %s with rules in it"):format(dir), 0)
  end
  return read(lfs, dir, "", {}, 0)
end

-- ---- engines ----------------------------------------------------------------------------------

local function tell(diagnostics)
  local lines = {}
  for _, one in ipairs(diagnostics) do
    if one.severity == "error" then lines[#lines + 1] = fault.diagnostic(one) end
  end
  return table.concat(lines, "\n")
end

local function engine_of(files)
  local engine = assert(moonlog.engine {})
  local report = assert(engine:stage(files))
  if not report.ok then error(tell(report.diagnostics), 0) end
  assert(engine:activate())
  return engine, report
end

local function text_of(files)
  local paths, parts = {}, {}
  for path in next, files do paths[#paths + 1] = path end
  table.sort(paths)
  for n, path in ipairs(paths) do
    parts[n] = ("%s\n%d\n%s"):format(path, #files[path], files[path])
  end
  return table.concat(parts)
end

-- The pack that was opened last: tests of one file use one and the same.
local last = { text = nil, pack = nil }

--- Opens files in two engines. Raises what is wrong with them.
function pack.open(files)
  local text = text_of(files)
  if last.text == text then return last.pack end
  local self = setmetatable({ files = files }, meta)
  self.one, self.report = engine_of(files)
  self.two = engine_of(files)
  last.text, last.pack = text, self
  return self
end

--- After a script's fault: the next test gets engines that have seen none.
function pack.forget() last.text, last.pack = nil, nil end

--- The name of the unit of a kind that a file is: "account" of "account.lua".
-- @treturn ?string nil, with a sentence, if it is none
function methods:unit(kind, path)
  for _, unit in ipairs(self.report.units) do
    if unit.file == path then
      local name = unit.unit:match("^" .. kind .. "/(.*)$")
      if name then return name end
      return nil, ("%s is no %s, but %s"):format(path, kind, unit.unit)
    end
  end
  return nil, ("%s is no rule file of its pack"):format(path)
end

--- A projection of the pack, in two states that live at once.
function methods:projections(name)
  self.folds = self.folds or {}
  if not self.folds[name] then
    self.folds[name] = { assert(moonlog.projection { files = self.files, name = name }),
      assert(moonlog.projection { files = self.files, name = name }) }
  end
  return table.unpack(self.folds[name])
end

--- The schema that events of a type end at.
function methods:latest(kind)
  local schema = 1
  while self.one:upcasts(kind, schema) do schema = schema + 1 end
  return schema
end

return pack
