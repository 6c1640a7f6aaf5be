--- Sandboxes for specs: a rule file is a string.
local script = require("coretest").script

local boxes = {}

--- A box that holds the file t.lua and others, if given; not run yet.
function boxes.make(source, files, bytes)
  local all = { ["t.lua"] = source }
  for path, text in pairs(files or {}) do all[path] = text end
  return assert(script.box(all, bytes))
end

--- What the file returns; nil and a fault.
function boxes.eval(source, files, bytes)
  local box <close> = setmetatable({ box = boxes.make(source, files, bytes) }, {
    __close = function(self) self.box:free() end,
  })
  local done, fault = box.box:run "t.lua"
  if not done then return nil, fault end
  return box.box:result()
end

--- The fault of a file that must have one.
function boxes.fault(source, files, bytes)
  local value, fault = boxes.eval(source, files, bytes)
  if fault == nil then error(("no fault, but %s"):format(tostring(value)), 2) end
  return fault
end

--- A box whose file has run.
function boxes.run(source, files, bytes)
  local box = boxes.make(source, files, bytes)
  local done, fault = box:run "t.lua"
  if not done then error(fault.told, 2) end
  return box
end

return boxes
