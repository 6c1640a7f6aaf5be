-- A store of format version 1 is read by every later version, and a later one is left alone.
local crc32c = require("coretest").base.crc32c
local moonlog = require "moonlog"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local FIRST = "log/00000000000000000001.seg"
local LAST = "log/00000000000000000115.seg"
local expected = program.slurp "spec/golden/v1/events.ndjson"

local function copy()
  local dir = tmpdir.new() .. "/store"
  assert(os.execute("cp -r spec/golden/v1/store " .. program.quote(dir)))
  return dir
end

local function export(dir)
  local out, err, status = program.run { "export", "--system", "--data", dir, "-o", "ndjson" }
  assert.equal(0, status, err)
  return out
end

--- Every name below `dir`, with the content of the files.
local function snapshot(dir)
  local found = {}
  local pipe = assert(io.popen(("cd %s && find . -printf '%%y %%p\\n'"):format(program.quote(dir))))
  for line in pipe:lines() do
    local kind, path = line:match "^(.) (.*)$"
    found[path] = kind == "f" and program.slurp(dir .. "/" .. path) or kind
  end
  pipe:close()
  return found
end

--- Names of what is not the same in two snapshots.
local function changes(before, after)
  local names = {}
  for path, content in pairs(before) do
    if after[path] ~= content then names[#names + 1] = path end
  end
  for path in pairs(after) do
    if before[path] == nil then names[#names + 1] = path end
  end
  return table.concat(names, " ")
end

--- A segment's header that wants a reader of `version`, with a crc that holds.
local function want_reader(dir, name, version)
  local bytes = program.slurp(dir .. "/" .. name)
  local page = bytes:sub(1, 10) .. ("<I2"):pack(version) .. bytes:sub(13, 4092)
  program.write(dir .. "/" .. name, page .. ("<I4"):pack(crc32c(page)) .. bytes:sub(4097))
end

local function count_events(store)
  local count = 0
  for event in assert(store:read()) do count = count + 1; assert(event.position) end
  for event in assert(store:read "$moonlog-notes") do count = count + 1; assert(event.position) end
  return count
end

describe("golden/v1", function()
  local dir
  before_each(function() dir = copy() end)

  it("is exported byte for byte, and nothing is written by that", function()
    local before = snapshot(dir)
    assert.equal(expected, export(dir))
    assert.equal("", changes(before, snapshot(dir)))
  end)

  it("is read through a read-only handle, and nothing is written by that", function()
    local before = snapshot(dir)
    local store = assert(moonlog.open { dir = dir, read_only = true })
    assert.equal(137, count_events(store))
    local stats = store:stats()
    assert.equal(3, stats.segments)
    assert.equal(2, stats.index_runs)
    assert.equal(9, stats.memory_events)
    assert.is_false(stats.damaged)
    store:close()
    assert.equal("", changes(before, snapshot(dir)))
  end)

  it("is opened for writing, and the same is read before and after", function()
    local store = assert(moonlog.open { dir = dir, segment_bytes = 16384 })
    assert.equal(137, count_events(store))
    assert.equal(0, store:stats().torn_bytes)
    assert(store:close())
    assert.equal(expected, export(dir))
  end)

  it("goes on where it ended", function()
    local store = assert(moonlog.open { dir = dir, segment_bytes = 16384 })
    local receipt = assert(store:append("account-ada", { type = "Closed" }, { expected = 2 }))
    assert.equal(138, receipt.first)
    assert(store:close())
    local out = export(dir)
    assert.equal(expected, out:sub(1, #expected))
    assert.match('^{"position":138,"revision":3,.*"type":"Closed"', out:sub(#expected + 1))
  end)

  it("knows the ids it stored: the same append again is a duplicate", function()
    local store = assert(moonlog.open { dir = dir, segment_bytes = 16384 })
    local receipt = assert(store:append("account-ada", {
      type = "AccountOpened", id = "018f0000-0000-7000-8000-000000000001",
    }, { expected = "no_stream" }))
    assert.is_true(receipt.duplicate)
    assert.equal(1, receipt.first)
    store:close()
  end)

  it("gives the same without its derived files", function()
    assert(os.execute("rm -r " .. program.quote(dir) .. "/index"))
    assert.equal(expected, export(dir))
    assert(moonlog.open { dir = dir, segment_bytes = 16384 }):close()
    assert.equal(expected, export(dir))
  end)

  it("gives the same without its WATERMARK", function()
    os.remove(dir .. "/WATERMARK")
    assert.equal(expected, export(dir))
    assert(moonlog.open { dir = dir, segment_bytes = 16384 }):close()
    assert.equal(expected, export(dir))
  end)

  it("verifies, deep too", function()
    for _, words in ipairs { { "verify" }, { "verify", "--deep" } } do
      words[#words + 1] = "--data"
      words[#words + 1] = dir
      local out, err, status = program.run(words)
      assert.equal(0, status, out .. err)
    end
  end)

  describe("of a newer format", function()
    for _, name in ipairs { FIRST, LAST } do
      it("is refused by " .. name .. " and left untouched", function()
        want_reader(dir, name, 2)
        -- What a writer was still making is not ours to clear away either.
        program.write(dir .. "/log/next", "a segment of the future")
        local before = snapshot(dir)
        for _, read_only in ipairs { true, false } do
          local store, why = moonlog.open { dir = dir, read_only = read_only }
          assert.is_nil(store)
          assert.match("^UNSUPPORTED: " .. name:gsub("%p", "%%%0") .. " is of log format 2", why)
          assert.equal("", changes(before, snapshot(dir)))
        end
        local _, err, status = program.run { "export", "--data", dir }
        assert.equal(1, status)
        assert.match("UNSUPPORTED", err)
        assert.equal("", changes(before, snapshot(dir)))
      end)
    end

    it("that an old reader may read is read", function()
      local bytes = program.slurp(dir .. "/" .. FIRST)
      local page = bytes:sub(1, 8) .. ("<I2"):pack(2) .. bytes:sub(11, 4092)
      program.write(dir .. "/" .. FIRST, page .. ("<I4"):pack(crc32c(page)) .. bytes:sub(4097))
      assert(os.execute("rm " .. program.quote(dir) .. "/index/*.off")) -- nothing salted changed
      assert.equal(expected, export(dir))
    end)
  end)
end)
