--- Fresh directories for specs, removed when the Lua state ends.
local tmpdir = {}

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Kept alive by the module; its finalizer runs when busted closes the state.
local made = setmetatable({}, {
  __gc = function(dirs)
    for _, dir in ipairs(dirs) do os.execute("rm -rf " .. quote(dir)) end
  end,
})

--- Makes an empty directory.
-- @treturn string its path, without a slash at the end
function tmpdir.new()
  local pipe = assert(io.popen "mktemp -d")
  local dir = assert(pipe:read "l")
  pipe:close()
  made[#made + 1] = dir
  return dir
end

return tmpdir
