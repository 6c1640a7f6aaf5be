--- Stores for specs, on the simulated disk: small segments and tables, no threads.
local core = require "coretest"
local base = core.base

local stores = {}

--- An empty disk with room for what specs do.
function stores.disk(more)
  local options = { file_bytes = 16 << 20, files = 400 }
  for key, value in pairs(more or {}) do options[key] = value end
  return assert(core.disk.sim(options))
end

--- Opens a store on a disk or directory; nil and a sentence if it cannot be.
function stores.try(on, more)
  local options = { segment_bytes = 16384, memory_events = 64, no_threads = true }
  for key, value in pairs(more or {}) do options[key] = value end
  return core.store.open(on, options)
end

function stores.open(on, more) return assert(stores.try(on, more)) end

--- A new store on a disk of its own.
function stores.new(more)
  local disk = stores.disk()
  return stores.open(disk, more), disk
end

--- The n-th of many ids.
function stores.id(n) return string.pack(">I8 I8", 0x1122334455667788, n) end

--- An event of a type; `more` sets other fields.
function stores.event(type, more)
  local event = { type = type }
  for key, value in pairs(more or {}) do event[key] = value end
  return event
end

--- Appends to one stream: append(s, "a-1", { "Opened", {type = …} }, { expected = 3 }).
function stores.append(store, stream, events, more)
  local list = {}
  for i, event in ipairs(events) do
    list[i] = type(event) == "string" and { type = event } or event
  end
  local proposal = { writes = { { stream = stream, events = list } } }
  for key, value in pairs(more or {}) do proposal[key] = value end
  proposal.writes[1].expected = proposal.expected
  return store:append(proposal)
end

--- All events of a selection.
function stores.all(store, selection)
  local cursor, why = store:read(selection or {})
  if not cursor then return nil, why end
  local list = {}
  while true do
    local event
    event, why = cursor:next()
    if not event then break end
    list[#list + 1] = event
  end
  cursor:free()
  if why then return nil, why end
  return list
end

--- Their positions.
function stores.positions(store, selection)
  local cursor, why = store:read(selection or {})
  if not cursor then return nil, why end
  local list
  list, why = cursor:positions()
  cursor:free()
  return list, why
end

--- MessagePack of a string, an integer; a map of n pairs.
function stores.str(text) return base.pack("s", text) end
function stores.int(n) return base.pack("i", n) end

--- "file" -> content of everything on a simulated disk.
function stores.snapshot(disk)
  local found = {}
  for _, dir in ipairs { ".", "log", "index" } do
    for _, name in ipairs(disk:list(dir) or {}) do
      local path = dir == "." and name or dir .. "/" .. name
      found[path] = disk:content(path)
    end
  end
  return found
end

--- What is on the disk when power is lost right now; `keep`: nothing pending is lost.
function stores.crash(disk, keep)
  return disk:crash(keep and ("1"):rep((disk:pending())) or "")
end

--- A seed for math.random, given or new, that failures are to name.
function stores.seed()
  local seed = math.tointeger(tonumber(os.getenv "MOONLOG_SEED")) or os.time()
  math.randomseed(seed)
  return seed
end

return stores
