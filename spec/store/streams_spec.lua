-- The contract of ml_get_head and ml_streams in moonlog.h.
local stores = require "spec.support.stores"
local append = stores.append

describe("store/streams: a head", function()
  it("is that of the log, and of a stream", function()
    local store = stores.new()
    assert.same({ position = 0, revision = 0, first = 0 }, store:head())
    assert(append(store, "b", { "T" }))
    assert(append(store, "a-1", { "T", "T", "T" }))
    assert(append(store, "b", { "T" }))
    assert(append(store, "$s", { "T" }))
    assert.same({ position = 6, revision = 0, first = 0 }, store:head())
    assert.same({ position = 6, revision = 2, first = 2 }, store:head "a-1")
    assert.same({ position = 6, revision = 1, first = 1 }, store:head "b")
    assert.same({ position = 6, revision = 0, first = 6 }, store:head "$s")
  end)

  it("of a stream that is not there is NOT_FOUND, and tells the position all the same", function()
    local store = stores.new()
    assert(append(store, "a-1", { "T" }))
    for _, name in ipairs { "a", "a-", "a-11", "A-1" } do
      local head, why, position = store:head(name)
      assert.is_nil(head)
      assert.matches("^NOT_FOUND: there is no stream " .. name:gsub("%p", "%%%0"), why)
      assert.equal(1, position)
    end
    assert.matches("^TOO_LARGE", select(2, store:head(("a"):rep(513))))
    assert.matches("^BAD_REQUEST", select(2, store:head "\xff"))
  end)
end)

describe("store/streams: the list", function()
  -- 700 streams, over pages, runs and segments; each begun in order, then written to again.
  local store, disk = stores.new()
  local model = {}
  for n = 1, 700 do
    local name = ({ "account-%d", "order-%d", "$sys-%d", "plain%d",
                    "account-sub-%d" })[n % 5 + 1]:format(n)
    local first = assert(append(store, name, { "T" }, { durability = "os" })).first
    model[n] = { stream = name, first = first, last = first, revision = 0 }
    local other = model[(n * 7) % n + 1]
    other.last = assert(append(store, other.stream, { "T" }, { durability = "os" })).last
    other.revision = other.revision + 1
  end

  local function want(accept, after, limit)
    local list = {}
    for _, info in ipairs(model) do
      if accept(info.stream) and info.first > (after or 0) and #list < (limit or 1000) then
        list[#list + 1] = info
      end
    end
    return list
  end

  local function public(name) return name:sub(1, 1) ~= "$" end
  local cases = {
    { "all", {}, public },
    { "a category", { category = "account" }, function(name) return name:find "^account%-" end },
    { "a category of the system", { category = "$sys" },
      function(name) return name:find "^%$sys%-" end },
    { "a prefix", { prefix = "p" }, function(name) return name:find "^p" end },
    { "a prefix that ends at a dash", { prefix = "account-" },
      function(name) return name:find "^account%-" end },
    { "a prefix beyond a dash", { prefix = "account-sub-1" },
      function(name) return name:find "^account%-sub%-1" end },
    { "a prefix of the system", { prefix = "$" }, function(name) return name:find "^%$" end },
    { "a category and a prefix", { category = "account", prefix = "account-s" },
      function(name) return name:find "^account%-s" end },
    { "a category and another's prefix", { category = "account", prefix = "order-" },
      function() return false end },
    { "a category that is a whole name", { category = "plain8" },
      function(name) return name == "plain8" end },
    { "nothing", { prefix = "q" }, function() return false end },
    { "a category that is not there", { category = "acc" }, function() return false end },
  }

  local function check(one)
    for _, case in ipairs(cases) do assert.same(want(case[3]), one:streams(case[2]), case[1]) end
  end

  it("is in the order in which they were begun", function() check(store) end)

  it("goes on behind the first of a stream, and ends where it is told to", function()
    for _, case in ipairs(cases) do
      for _, after in ipairs { 0, 1, 2, 500, 1399, 1400, 9999, math.maxinteger, -1 } do
        for _, limit in ipairs { 1, 255, 256, 257, 1000 } do
          local asked = { after = after, limit = limit, category = case[2].category,
                          prefix = case[2].prefix }
          local all = after == -1 and {} or want(case[3], after, limit)
          assert.same(all, store:streams(asked))
        end
      end
    end
  end)

  it("is the same after reopening, without the index, and to a reader", function()
    local image = stores.crash(disk, true)
    check(stores.open(image, { read_only = true }))
    for _, name in ipairs(image:list "index") do assert(image:remove("index/" .. name)) end
    check(stores.open(image, { read_only = true }))
    check(stores.open(image))
  end)
end)
