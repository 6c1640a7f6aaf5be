-- Rules that mean harm, or look as if: each runs in a process of its own, so that a crash or a
-- hang is a failure here and not the end of the specs. The files are in spec/hostile/rules.
local script = require("coretest").script

-- Where time is not what ends it, a slow machine is not to.
local LIMIT_MS, PATIENCE_MS, SECONDS = 50, 2000, 20
local FILES = {
  ["lib/loop.lua"] = "repeat until false",
  ["lib/compiled.lua"] = string.dump(load ""),
}

--- Runs the file, then f; gives the kind of the fault, and what must hold after any.
local function run(source, bytes, limit_ms)
  local files = { ["t.lua"] = source }
  for path, text in pairs(FILES) do files[path] = text end
  script.guard(limit_ms)
  local box = assert(script.box(files, bytes))
  local done, fault = box:run "t.lua"
  if done then
    local value, why = box:result()
    if type(value) == "table" and value.f or why then
      value, fault = box:call("f", 1)
      done = value ~= nil
    end
  end
  script.stop()
  if box:top() ~= 1 then return "left something on the stack" end
  if box:used() > bytes then return "took more than it may" end
  if done or not fault then return "none" end
  if #fault.message == 0 or fault.message:find "%c" then return "says " .. fault.message end
  if not utf8.len(fault.message .. fault.source .. fault.traceback) then return "is no text" end
  return fault.kind
end

describe("hostile/rules", function()
  local count = 0
  for _, name in ipairs { "time", "memory", "escape", "crash" } do
    describe(name, function()
      for _, case in ipairs(require("spec.hostile.rules." .. name)) do
        count = count + 1
        it(("%s: %s"):format(case[2], case[1]), function()
          local limit = case[2] == "overstay" and LIMIT_MS or PATIENCE_MS
          for _, bytes in ipairs { 64 << 20, 8 << 20 } do
            local kind, why = script.apart(function() return run(case[3], bytes, limit) end,
              SECONDS)
            -- Which of the two comes first depends on how fast the machine is.
            local either = case[2] == "memory" and kind == "overstay"
            if not either then assert.equal(case[2], kind or why) end
          end
        end)
      end
    end)
  end

  it("are many", function() assert.is_true(count >= 100, count) end)
end)
