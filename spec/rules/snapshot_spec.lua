-- core/rules/snapshot.h: a state from a snapshot is the state from the log, or there is none.
local m = require "moonlog"
local rules = require "spec.support.rules"

describe("rules/snapshot", function()
  local r
  before_each(function()
    r = rules.new { snapshots = true }
    r:load { ["account.lua"] = rules.account }
  end)
  after_each(function() r:close() end)

  local function files()
    local list = {}
    local pipe = assert(io.popen("ls -A '" .. r.dir .. "/snapshots'"))
    for name in pipe:lines() do list[#list + 1] = r.dir .. "/snapshots/" .. name end
    pipe:close()
    return list
  end

  local function read(path)
    local file = assert(io.open(path, "rb"))
    local content = file:read "a"
    file:close()
    return content
  end

  local function write(path, content)
    local file = assert(io.open(path, "wb"))
    assert(file:write(content))
    file:close()
  end

  -- n deposits of 1 behind an opening.
  local function fill(n, stream)
    local events = { { "AccountOpened", { owner = "ann" } } }
    for _ = 2, n do events[#events + 1] = { "Deposited", { amount = 1 } } end
    for first = 1, n, 1000 do
      r:append(stream or "account-a", table.move(events, first, math.min(first + 999, n), 1, {}))
    end
  end

  local function balance(more) return r:state("account", "a", more).state.balance end

  it("is written by the policy while a stream is folded, and read by the next fold", function()
    fill(57)
    assert.equal(56, balance())
    assert.equal(5, r.engine:stats().snapshots_written)
    assert.equal(5, #files())
    r:again()
    assert.equal(56, balance())
    local stats = r.engine:stats()
    assert.same({ 1, 7, 0 }, { stats.snapshots_read, stats.folded, stats.snapshots_written })
  end)

  it("is written as commands are admitted", function()
    assert(r:act("account", "a", "open", { owner = "ann" }))
    for _ = 1, 24 do assert(r:act("account", "a", "deposit", { amount = 1 })) end
    assert.equal(2, r.engine:stats().snapshots_written)
    r:again()
    assert.equal(24, balance())
    assert.equal(5, r.engine:stats().folded)
  end)

  it("is not made where there is no policy, or no directory", function()
    r:load { ["account.lua"] = (rules.account:gsub("snapshot = { every = 10 },", "")) }
    fill(30)
    assert.equal(29, balance())
    assert.same({}, files())
  end)

  it("gives at any cut the state that the whole log gives", function()
    local seed = math.tointeger(tonumber(os.getenv "MOONLOG_SEED")) or os.time()
    math.randomseed(seed)
    for round = 1, 20 do
      local stream, count = "account-r" .. round, math.random(1, 120)
      local events = { { "AccountOpened", { owner = "o" .. round } } }
      for n = 2, count do
        events[n] = { math.random(3) == 1 and "Withdrawn" or "Deposited",
          { amount = math.random(100) } }
      end
      r:append(stream, events)
      if math.random(2) == 1 then assert(r:state("account", "r" .. round)) end
      r:again()
      local bare = assert(m.engine { store = r.store })
      assert(bare:stage(r.files).ok and bare:activate())
      for _ = 1, 5 do
        local request = { aggregate = "account", id = "r" .. round, at = math.random(0, count) }
        assert.equal(m.pack(assert(bare:state(request))), m.pack(assert(r.engine:state(request))),
          "seed " .. seed)
      end
      assert.equal(m.pack(assert(bare:state { aggregate = "account", id = "r" .. round })),
        m.pack(assert(r.engine:state { aggregate = "account", id = "r" .. round })), "seed "
          .. seed)
      bare:close()
    end
  end)

  it("is near every moment, and a stream has few", function()
    fill(5000)
    assert.equal(4999, balance())
    local written, kept = r.engine:stats().snapshots_written, #files()
    assert.equal(written, kept)
    assert.is_true(kept <= 8 * 9, "there are " .. kept)
    r:again()
    for revision = 0, 4999, 499 do
      local before = r.engine:stats().folded
      assert.equal(revision, balance { at = revision })
      -- A quarter of the way to the head, and one step of the policy.
      local folded, far = r.engine:stats().folded - before, 5000 - revision
      assert.is_true(folded <= far / 4 + 10, ("at %d: %d"):format(revision, folded))
    end
  end)

  it("is thinned out as the stream grows", function()
    assert(r:act("account", "a", "open", { owner = "ann" }))
    for _ = 1, 400 do assert(r:act("account", "a", "deposit", { amount = 1 })) end
    local grown = files()
    assert.equal(40, r.engine:stats().snapshots_written)
    for _, name in ipairs(grown) do os.remove(name) end
    r:again()
    assert.equal(400, balance())
    assert.same(grown, files())
  end)

  -- Every snapshot becomes what `change` makes of it; the state is right all the same, and so
  -- many were believed.
  local function spoil(change, believed)
    for _, path in ipairs(files()) do write(path, change(read(path))) end
    r:again()
    assert.equal(56, balance())
    assert.equal(believed or 0, r.engine:stats().snapshots_read)
  end

  it("is not believed when it is damaged, in any byte", function()
    fill(57)
    balance()
    local path = files()[5]
    local content = read(path)
    for at = 1, #content do
      local byte = content:byte(at)
      write(path, content:sub(1, at - 1) .. string.char(byte ~ 1) .. content:sub(at + 1))
      r:again()
      assert.equal(56, balance(), "byte " .. at)
      assert.equal(17, r.engine:stats().folded, "byte " .. at) -- from the one before
      assert.equal(1, r.engine:stats().snapshots_written) -- and it was made anew
    end
    for size = 0, #content - 1, 7 do
      write(path, content:sub(1, size))
      r:again()
      assert.equal(56, balance(), size .. " bytes")
      assert.equal(17, r.engine:stats().folded)
    end
    spoil(function() return "" end)
  end)

  it("is not believed when it is of other code", function()
    fill(57)
    balance()
    r:load { ["account.lua"] = (rules.account:gsub("s.balance %+ d.amount",
      "s.balance + 2 * d.amount")) }
    assert.equal(112, balance())
    assert.equal(0, r.engine:stats().snapshots_read)
  end)

  it("is not believed when it is of another stream", function()
    fill(57)
    balance()
    local mine = files()
    r:append("account-b", { { "AccountOpened", { owner = "bob" } } })
    local events = {}
    for n = 1, 56 do events[n] = { "Deposited", { amount = 9 } } end
    r:append("account-b", events)
    assert.equal(504, r:state("account", "b").state.balance)
    local own = {}
    for _, path in ipairs(mine) do own[path] = true end
    local number = 0
    for _, path in ipairs(files()) do
      if not own[path] then
        number = number + 1
        write(mine[number], read(path))
      end
    end
    r:again()
    assert.equal(56, balance())
    assert.equal(0, r.engine:stats().snapshots_read)
  end)

  it("is not believed when the log has other events", function()
    fill(57)
    balance()
    local other = rules.new { snapshots = r.dir .. "/snapshots" }
    other:load { ["account.lua"] = rules.account }
    local events = { { "AccountOpened", { owner = "ann" } } }
    for n = 2, 57 do events[n] = { "Deposited", { amount = 2 } } end
    other:append("account-a", events)
    assert.equal(112, other:state("account", "a").state.balance)
    other:close()
  end)

  it("is not believed when the log ends before it", function()
    fill(57)
    balance()
    local other = rules.new { snapshots = r.dir .. "/snapshots" }
    other:load { ["account.lua"] = rules.account }
    other:append("account-a", { { "AccountOpened", { owner = "eve" } } })
    assert.equal("eve", other:state("account", "a").state.owner)
    other:close()
  end)

  it("may be deleted at any time, and the disk may refuse it", function()
    fill(57)
    os.execute("rm -rf '" .. r.dir .. "/snapshots'")
    assert.equal(56, balance())
    assert.equal(0, r.engine:stats().snapshots_written)
  end)
end)
