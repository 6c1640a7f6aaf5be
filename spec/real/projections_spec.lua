-- The read models of the examples, on logs of real systems where they are at hand, and on the
-- samples where they are not: every row is what plain Lua makes of the lines.
-- MOONLOG_TEST_DATA names the folder of the real ones; ../shared/data is looked at otherwise.
local daemon = require "spec.support.daemon"
local history = require "spec.support.history"
local moonlog = require "moonlog"
local packs = require "moonlog.testing.pack"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local TIMEOUT_MS = 60000
local PAGE = 1000 -- rows, and events of one append

--- The events in a store of this process.
local function store_of(events)
  local store, writes = assert(moonlog.open { dir = tmpdir.new() .. "/store" }), {}
  for n, event in ipairs(events) do
    writes[#writes + 1] = { stream = event.stream,
      events = { { type = event.type, data = event.data, occurred = event.time } } }
    if #writes == PAGE or n == #events then
      assert(store:append(writes, { durability = "os" }))
      writes = {}
    end
  end
  return store
end

--- All rows that a projector of this process has committed, by their places.
local function all_of(projector)
  local rows, from = {}, nil
  repeat
    local page = assert(projector:scan { limit = PAGE, from = from })
    for _, one in ipairs(page.rows) do rows[history.place(one.key, one.window)] = one.row end
    from = page.next
  until not from
  return rows
end

--- All rows of a projection, by their places, once it has passed all that is in the log.
local function rows_of(log, name, options)
  local rows, asked = {}, { after = assert(log:head()).position, timeout_ms = TIMEOUT_MS }
  for option, value in pairs(options or {}) do asked[option] = value end
  for key, row, window in log:scan(name, asked) do
    local place = history.place(key, window)
    assert(not rows[place], place)
    rows[place] = row
  end
  return rows
end

local function status_of(log, name)
  for _, one in ipairs(assert(log:projections())) do
    if one.name == name then return one end
  end
  error("there is no projection " .. name, 2)
end

--- Which of its generations is read.
local function live_folder(log, name)
  for _, one in ipairs(status_of(log, name).generations) do
    if one.role == "live" then return one.folder end
  end
end

for _, set in ipairs(history.sets) do
  local given = history.read(set.name, set.dir .. "/sample.ndjson")
  local names, what = {}, given.real and set.name .. " #real" or set.name .. ": the sample"
  for name in pairs(set.models) do names[#names + 1] = name end
  table.sort(names)

  --- What the lines add up to, computed once.
  local expected = setmetatable({}, { __index = function(all, name)
    all[name] = set.models[name](given.events)
    return all[name]
  end })

  describe("read models of " .. what .. ", in this process,", function()
    local store, files
    setup(function()
      store, files = store_of(given.events), packs.read(set.dir .. "/rules")
    end)
    teardown(function() store:close() end)

    for _, name in ipairs(names) do
      it(name .. " is what the lines add up to, at once or in two goes", function()
        local dir = tmpdir.new()
        local function open(view)
          return assert(moonlog.projector { store = store, files = files, name = name,
            view = dir .. "/" .. view })
        end
        local whole, parts = open "whole", open "parts"
        local status = whole:run()
        assert.equal("live", status.state)
        assert.equal(history.compare(name, expected[name], all_of(whole)), status.rows)
        whole:close()

        parts:run(#given.events // 2)
        parts:close()
        parts = open "parts"
        assert.equal(status.digest, parts:run().digest)
        parts:close()
      end)
    end
  end)

  describe("read models of " .. what, function()
    local dir, served, log

    local function serve()
      served = daemon.start(dir, { "--rules", set.dir .. "/rules" })
      log = assert(moonlog.connect(served.uri, { timeout_ms = TIMEOUT_MS }))
    end

    local function stop()
      log:close()
      assert.equal(0, (served:stop()))
    end

    setup(function()
      dir = tmpdir.new() .. "/store"
      local command = program.command { "import", "--data", dir }
      local _, err, status = program.shell(given.source .. " | " .. command)
      assert.equal(0, status, err)
    end)

    local function compare_all()
      local digests = {}
      for _, name in ipairs(names) do
        local count = history.compare(name, expected[name], rows_of(log, name))
        local status = status_of(log, name)
        assert.equal(count, status.rows)
        assert.equal(0, status.late)
        digests[name] = status.digest
      end
      return digests
    end

    it("are what the lines add up to", function()
      assert.is_true(#names >= 4)
      serve()
      compare_all()
      stop()
    end)

    it("are the same when they are built again, beside those that are read", function()
      serve()
      local before = compare_all()
      local folders = {}
      for _, name in ipairs(names) do
        folders[name] = live_folder(log, name)
        assert(log:call("projection.rebuild", { name = name }))
      end
      for _, name in ipairs(names) do
        local due = os.time() + TIMEOUT_MS // 1000
        repeat local now = live_folder(log, name) until now ~= folders[name] or os.time() > due
        assert.not_equal(folders[name], live_folder(log, name))
      end
      assert.same(before, compare_all())
      stop()
    end)

    it("are the same after a restart, and from nothing", function()
      serve()
      local before = compare_all()
      stop()
      serve()
      assert.same(before, compare_all())
      stop()
      assert(os.execute("rm -r " .. program.quote(dir .. "/views")))
      serve()
      assert.same(before, compare_all())
      stop()
    end)

    it("are what they were, at half of the log", function()
      local half, some = #given.events // 2, {}
      table.move(given.events, 1, half, 1, some)
      serve()
      for n = 1, 2 do
        local name = names[n]
        history.compare(name, set.models[name](some), rows_of(log, name, { at = half }))
      end
      stop()
    end)
  end)
end
