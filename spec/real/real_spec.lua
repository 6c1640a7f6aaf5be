-- Logs of real systems, where they are at hand: what was imported is what is read.
-- MOONLOG_TEST_DATA names their folder; ../shared/data is looked at otherwise.
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local folder = os.getenv "MOONLOG_TEST_DATA" or "../shared/data"

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- The same value written in the same way, however the numbers were written.
local function plain(value)
  if type(value) ~= "table" then return math.type(value) == "float" and "f" .. value or value end
  local copy = {}
  for key, item in pairs(value) do copy[key] = plain(item) end
  return copy
end

local pattern = '^{"stream":"([^"]*)","type":"([^"]*)","occurred":"([^"]*)","data":(.*)}$'

--- Each line of the file, taken apart without the program under test.
local function expected(path)
  local events, streams, order = {}, {}, {}
  local pipe = assert(io.popen("zcat " .. program.quote(path)))
  for text in pipe:lines() do
    local stream, kind, occurred, data = text:match(pattern)
    assert(stream, text)
    if not streams[stream] then
      streams[stream] = {}
      order[#order + 1] = stream
    end
    local positions = streams[stream]
    events[#events + 1] = {
      stream = stream, type = kind, occurred = occurred, data = data, revision = #positions,
    }
    positions[#positions + 1] = #events
  end
  pipe:close()
  return events, streams, order
end

local exported = '^{"position":(%d+),"revision":(%d+),"time":"[^"]*","stream":"([^"]*)",'
  .. '"type":"([^"]*)","schema":1,"id":"[^"]*","data":(.*),"occurred":"([^"]*)"}$'

--- Compares one exported line with the event that the file's line says.
local function compare(text, position, event)
  local at, revision, stream, kind, data, occurred = text:match(exported)
  if tonumber(at) ~= position then error(("%s, not position %d"):format(text, position)) end
  local same = tonumber(revision) == event.revision and stream == event.stream
    and kind == event.type and occurred:sub(1, 19) == event.occurred:sub(1, 19)
  if not same then
    error(("%s, not revision %d of %s"):format(text, event.revision, event.stream))
  end
  if data ~= event.data then assert.same(plain(json.read(event.data)), plain(json.read(data))) end
end

for _, name in ipairs { "traffic_fines", "hospital_billing", "sepsis" } do
  describe("real: " .. name .. " #real", function()
    local path = ("%s/%s.ndjson.gz"):format(folder, name)
    if not exists(path) then
      pending("needs " .. path .. ", which is not there; MOONLOG_TEST_DATA can name its folder")
      return
    end
    local dir, events, streams, order

    setup(function()
      dir = tmpdir.new() .. "/store"
      events, streams, order = expected(path)
    end)

    it("imports every line, in the order of the file", function()
      local command = program.command { "import", "--data", dir }
      local out, err, status = program.shell("zcat " .. program.quote(path) .. " | " .. command)
      assert.equal(0, status, err)
      local said = json.read(out)
      assert.equal(#events, said.events)
      assert.equal(#order, said.streams)
      assert.equal(1, said.first)
      assert.equal(#events, said.last)

      local pipe = assert(io.popen(program.command { "export", "--data", dir }))
      local count = 0
      for text in pipe:lines() do
        count = count + 1
        compare(text, count, events[count])
      end
      pipe:close()
      assert.equal(#events, count)
    end)

    it("lists every stream, in the order they began", function()
      local pipe = assert(io.popen(program.command { "streams", "--data", dir }))
      local count = 0
      for text in pipe:lines() do
        count = count + 1
        local info, positions = json.read(text), streams[order[count]]
        assert.equal(order[count], info.stream)
        assert.equal(#positions - 1, info.revision)
        assert.equal(positions[1], info.first)
        assert.equal(positions[#positions], info.last)
      end
      pipe:close()
      assert.equal(#order, count)
    end)

    it("reads every stream with dense revisions, in the order of the file", function()
      local store = assert(require("moonlog").open { dir = dir, read_only = true })
      for stream, positions in pairs(streams) do
        local count = 0
        for event in assert(store:read(stream)) do
          count = count + 1
          assert(event.revision == count - 1 and event.position == positions[count], stream)
        end
        assert(count == #positions, stream)
      end
      store:close()
    end)

    it("verifies", function()
      local out, err, status = program.run { "verify", "--deep", "--data", dir }
      assert.equal(0, status, err)
      assert.equal(#events, json.read(out).events)
    end)
  end)
end
