-- core/server/methods_read.c over the wire: pages, heads, lists of streams.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local peer = require "spec.support.peer"
local tmpdir = require "spec.support.tmpdir"

describe("server/methods_read", function()
  local served, one

  setup(function()
    local dir = tmpdir.new() .. "/store"
    local store = assert(moonlog.open { dir = dir }) -- no client may write to $s-1
    for n = 1, 5 do -- positions 1 to 15
      assert(store:append {
        { stream = "a-1", events = { { type = "A", data = 3 * n - 2, tags = { "n" .. n, "x" } } } },
        { stream = "b-" .. n, events = { { type = "B", data = 3 * n - 1, tags = { "x" } } } },
        { stream = "$s-1", events = { { type = "A", data = 3 * n, tags = { "s" } } } } })
    end
    store:close()
    served = daemon.start(dir)
  end)
  teardown(function() assert.equal(0, (served:stop())) end)
  before_each(function() one = peer.connect(served.uri) end)
  after_each(function() one:close() end)

  --- "data data … | next end" of a page.
  local function page(params)
    local result = assert(one:call("read", params))
    local list = {}
    for n, event in ipairs(result.events) do list[n] = event.data end
    return ("%s | %d %s"):format(table.concat(list, " "), result.next, result["end"])
  end

  describe("read", function()
    it("gives what matches, and the head", function()
      assert.equal("1 4 7 10 13 | 5 true", page { stream = "a-1" })
      assert.equal("2 5 8 11 14 | 15 true", page { category = "b" })
      assert.equal("1 2 4 5 7 8 10 11 13 14 | 15 true", page {})
      assert.equal("1 2 3 4 | 5 false", page { system = true, limit = 4 })
      assert.equal("3 6 9 12 15 | 5 true", page { stream = "$s-1" })
      assert.equal("7 | 8 true", page { query = { { tags = { "n3" } } } })
      assert.equal("1 4 | 5 true",
        page { query = { { tags = { "n1", "x" } }, { types = { "A" }, tags = { "n2" } } } })
      assert.equal("2 5 8 11 14 | 15 true", page { query = { { types = { "B" } } } })
      assert.equal(" | 0 true", page { category = "none" })
      assert.equal(15, assert(one:call("read", { limit = 1 })).head)
    end)

    it("goes on where next says, forward", function()
      assert.equal("1 4 | 2 false", page { stream = "a-1", limit = 2 })
      assert.equal("7 10 | 4 false", page { stream = "a-1", limit = 2, from = 2 })
      assert.equal("13 | 5 true", page { stream = "a-1", limit = 2, from = 4 })
      assert.equal(" | 5 true", page { stream = "a-1", limit = 2, from = 5 })
      assert.equal("1 2 | 3 false", page { limit = 2 })
      assert.equal("4 5 | 6 false", page { limit = 2, from = 3 })
    end)

    it("goes on where next says, backward", function()
      local function back(from)
        return page { stream = "a-1", backward = true, limit = 2, from = from }
      end
      assert.equal("13 10 | 2 false", back())
      assert.equal("7 4 | 0 false", back(2))
      assert.equal("1 | 0 true", back(0))
      assert.equal("14 13 11 | 10 false", page { backward = true, limit = 3 })
      assert.equal("10 8 7 | 6 false", page { backward = true, limit = 3, from = 10 })
      assert.equal("2 1 | 0 true", page { backward = true, limit = 2, from = 2 })
    end)

    it("ends a page where the bytes are full, but not before one event", function()
      assert.equal("1 | 1 false", page { stream = "a-1", max_bytes = 1 })
      local function count(max) return #assert(one:call("read", { max_bytes = max })).events end
      assert.is_true(count(200) < count(400))
      assert.is_true(count(400) < 10)
      assert.equal(10, count(1 << 40))
    end)

    it("gives 4 MiB and 1,000 events at most where nothing else is said", function()
      local events = moonlog.array {}
      for n = 1, 7 do events[n] = { type = "T", data = ("x"):rep(1000000) } end
      assert(one:call("append", { stream = "large", events = events }))
      local result = assert(one:call("read", { stream = "large", max_bytes = 1 << 40 }))
      assert.same({ 4, false, 4 }, { #result.events, result["end"], result.next })
      one:fill("many", 600)
      one:fill("many", 600)
      result = assert(one:call("read", { stream = "many" }))
      assert.same({ 1000, false, 1000 }, { #result.events, result["end"], result.next })
      assert.equal(1200, #assert(one:call("read", { stream = "many", limit = 2000 })).events)
    end)

    it("refuses what cannot be", function()
      for said, params in pairs {
        ["NOT_FOUND"] = { stream = "none" }, ["BAD_REQUEST: limit"] = { limit = 0 },
        ["BAD_REQUEST: max_bytes"] = { max_bytes = 0 }, ["BAD_REQUEST: from"] = { from = -1 },
        ["BAD_REQUEST: backward is no bool"] = { backward = 1 },
        ["BAD_REQUEST: query is no array"] = { query = 1 },
        ["BAD_REQUEST: types"] = { query = { { types = "A" } } },
        ["BAD_REQUEST: a query's item has no parameter tag; did you mean tags"] =
          { query = { { tag = { "A" } } } },
        ["BAD_REQUEST: the stream or category is named"] = { category = "" },
      } do
        assert.equal(said, one:refused("read", params):sub(1, #said))
      end
      local items, terms = {}, {}
      for n = 1, 65 do items[n] = { types = { "A" } } end
      for n = 1, 257 do terms[n] = "t" .. n end
      assert.match("^TOO_LARGE: .*items", one:refused("read", { query = items }))
      assert.match("^TOO_LARGE: ", one:refused("read", { query = { { tags = terms } } }))
    end)
  end)

  describe("head", function()
    it("is the log's, or a stream's", function()
      local head = assert(one:call("head", { stream = "a-1" }))
      assert.same({ 4, 1 }, { head.revision, head.first })
      local receipt = one:fill("headed", 2)
      assert.same({ position = receipt.last }, assert(one:call "head"))
      assert.same({ position = receipt.last, revision = 1, first = receipt.first },
        assert(one:call("head", { stream = "headed" })))
      assert.match("^NOT_FOUND: ", one:refused("head", { stream = "none" }))
    end)
  end)

  describe("streams", function()
    local function names(params)
      local result = assert(one:call("streams", params))
      local list = {}
      for n, info in ipairs(result.streams) do list[n] = info.stream end
      return table.concat(list, " "), result.next
    end

    it("are listed in the order they were begun, page by page", function()
      local list, after = {}, nil
      for _ = 1, 3 do
        local text
        text, after = names { category = "b", limit = 2, after = after }
        list[#list + 1] = text
      end
      assert.same({ "b-1 b-2", "b-3 b-4", "b-5" }, list)
      assert.equal(moonlog.null, after)
    end)

    it("are those of a category, of a prefix", function()
      assert.equal("a-1", (names { category = "a" }))
      assert.equal("b-3", (names { prefix = "b-3" }))
      assert.equal("", (names { category = "none" }))
      assert.match("^a%-1 b%-1 ", (names { limit = 100 }))
      assert.same({ stream = "b-2", revision = 0, first = 5, last = 5 },
        assert(one:call("streams", { prefix = "b-2" })).streams[1])
      assert.match("^BAD_REQUEST: limit", one:refused("streams", { limit = 10001 }))
    end)
  end)

  describe("status", function()
    it("counts connections, requests and appended events", function()
      local before = assert(one:call "status")
      local other <close> = peer.connect(served.uri)
      other:fill("counted", 3)
      local after = assert(one:call "status")
      assert.same({ before.connections + 1, before.requests + 2, before.appended + 3,
                    before.position + 3, tonumber(served.pid), false, false },
        { after.connections, after.requests, after.appended, after.position, after.pid,
          after.draining, after.read_only })
    end)
  end)
end)
