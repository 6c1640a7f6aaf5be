-- The formats and contracts in core/index/run.h, runwriter.h and merge.h.
local core = require "coretest"
local disk, index = core.disk, core.index

local LOG <const> = ("i"):rep(16)

local function new_disk()
  local sim = assert(disk.sim { file_bytes = 64 << 20, files = 200 })
  sim:sys_make_dir "index"
  return sim
end

-- Well-spread keys; key_of(n) ascends with n as a number without a sign, for n < 2^20.
local function key_of(n) return (n << 44) + ((n * 0x9e3779b97f4a7c15) >> 20) end

local function every(step, count, start)
  local list = {}
  for n = 1, count do list[n] = (start or 1) + (n - 1) * step end
  return list
end

local function head(first, last)
  return { log = LOG, first = first, last = last, anchor = last * 3 }
end

-- Writes and opens the run of a model {key = positions}.
local function made(sim, first, last, model)
  local keys, entries = {}, {}
  for key in pairs(model) do keys[#keys + 1] = key end
  table.sort(keys, math.ult)
  for i, key in ipairs(keys) do entries[i] = { key, model[key] } end
  local path = assert(index.write(sim, head(first, last), entries))
  return assert(index.run(sim, path)), path
end

local function some_model(seed, first, last, keys)
  math.randomseed(seed)
  local model = {}
  for position = first, last do
    for _ = 1, 3 do
      -- A few keys are everywhere, most are rare.
      local key = key_of(math.random(math.random(keys)))
      local list = model[key] or {}
      model[key] = list
      if list[#list] ~= position then list[#list + 1] = position end
    end
  end
  return model
end

describe("index/run", function()
  it("finds lists of every form", function()
    local sim = new_disk()
    local lengths = { 1, 2, 3, 127, 128, 129, 255, 256, 257, 16383, 16384, 16385, 20000, 40000 }
    local model = {}
    for i, length in ipairs(lengths) do model[key_of(i)] = every(1 + i * 31, length, i) end
    local run = made(sim, 1, 20000000, model)
    for i, length in ipairs(lengths) do
      local list, block = run:find(key_of(i))
      assert.same(model[key_of(i)], list)
      assert.equal(length <= 128 and 0 or length < 16384 and 128 or 1024, block)
    end
    assert.equal("absent", run:find(key_of(15)))
    assert.equal("absent", run:find(0))
    assert.equal("absent", run:find(-1))
  end)

  it("may begin anywhere and be almost 2^32 positions wide", function()
    local first = 1 << 45
    local sim = new_disk()
    local list = { first, first + 1, first + (1 << 31), first + (1 << 32) - 2 }
    local run = made(sim, first, first + (1 << 32) - 2, { [key_of(1)] = list,
                                                          [key_of(2)] = { list[4] } })
    assert.same(list, run:find(key_of(1)))
    assert.same({ list[4] }, run:find(key_of(2)))
  end)

  it("holds nothing, or one key", function()
    local sim = new_disk()
    local empty = made(sim, 1, 5, {})
    for n = 0, 100 do assert.equal("absent", empty:find(key_of(n))) end
    local run = made(sim, 6, 9, { [key_of(7)] = { 8 } })
    assert.same({ 8 }, run:find(key_of(7)))
    local fields = run:head()
    assert.same({ 6, 9, 27, 1, 1, LOG },
                { fields.first, fields.last, fields.anchor, fields.keys, fields.postings,
                  fields.log })
  end)

  it("finds every key and no other", function()
    local sim = new_disk()
    local model = {}
    for n = 1, 20000 do model[key_of(2 * n)] = { n } end
    local run = made(sim, 1, 20000, model)
    for n = 1, 20000 do
      local list = run:find(key_of(2 * n))
      if #list ~= 1 or list[1] ~= n then assert.same({ n }, list) end
      if run:find(key_of(2 * n + 1)) ~= "absent" then
        assert.same("absent", run:find(key_of(2 * n + 1)))
      end
    end
  end)

  it("finds keys that all belong to one line", function()
    local model = {}
    for n = 0, 50 do model[n] = { n + 1 } end
    local run = made(new_disk(), 1, 100, model)
    for n = 0, 50 do assert.same({ n + 1 }, run:find(n)) end
    assert.equal("absent", run:find(51))
    model = {}
    for n = 1, 50 do model[-n] = { n } end
    run = made(new_disk(), 1, 100, model)
    for n = 1, 50 do assert.same({ n }, run:find(-n)) end
    assert.equal("absent", run:find(-51))
  end)

  it("is named by its range, and by nothing else", function()
    assert.same({ 1, 64 }, { index.parse_name(("%020d-%020d.run"):format(1, 64)) })
    for _, name in ipairs { "", "x.run", "1-64.run", ("%020d-%020d.run"):format(0, 64),
                            ("%020d-%020d.run"):format(65, 64), ("%020d-%020d.run~"):format(1, 64),
                            ("%020d-%020d.rum"):format(1, 64) } do
      assert.is_nil(index.parse_name(name), name)
    end
  end)

  it("appears under its name whole or not at all", function()
    local recorder = assert(disk.recorder(new_disk()))
    made(recorder, 1, 9, { [key_of(1)] = { 3 } })
    local calls = {}
    for op in recorder:trace():gmatch "(%S+)[^\n]*\n" do
      if op ~= "pwrite" and op ~= "open" and op ~= "close" then calls[#calls + 1] = op end
    end
    assert.same({ "sync", "rename", "sync_dir" }, { table.unpack(calls, 1, 3) })
  end)

  it("leaves nothing behind on a full disk", function()
    local sim = new_disk()
    sim:set_space(4096)
    local path, why = index.write(sim, head(1, 100000), { { key_of(1), every(3, 30000) } })
    assert.is_nil(path)
    assert.matches("^NO_SPACE", why)
    assert.same({}, sim:list "index")
  end)

  it("is refused whichever byte of its header is damaged, or if it is cut", function()
    local sim = new_disk()
    local run, path = made(sim, 1, 9, { [key_of(1)] = { 3, 4 } })
    run:close()
    for at = 0, 127 do
      sim:flip(path, at * 8)
      local _, why = index.run(sim, path)
      assert.matches("^CORRUPT: " .. path:gsub("%p", "%%%0") .. " is damaged", why)
      sim:flip(path, at * 8)
    end
    assert(index.run(sim, path)):close()
    assert(sim:cut(path, #sim:content(path) - 1))
    assert.is_nil(index.run(sim, path))
    assert(sim:cut(path, 100))
    assert.is_nil(index.run(sim, path))
  end)

  it("never gives a wrong list, whichever bit behind the header is damaged", function()
    local sim = new_disk()
    local model = { [key_of(1)] = { 3 }, [key_of(2)] = { 1, 9 }, [key_of(3)] = every(2, 200) }
    local run, path = made(sim, 1, 1000, model)
    local noticed = 0
    for at = 128, run:head().size - 1 do
      sim:flip(path, at * 8 + at % 8)
      for n = 1, 4 do
        local found = run:find(key_of(n))
        if found == "damaged" then noticed = noticed + 1
        else assert.same(model[key_of(n)] or "absent", found) end
      end
      sim:flip(path, at * 8 + at % 8)
    end
    assert.is_true(noticed > 300)
  end)
end)

describe("index/merge", function()
  it("makes a run of a table", function()
    local sim = new_disk()
    local model = some_model(7, 101, 1100, 300)
    local memory = index.table(101)
    for position = 101, 1100 do
      for key, list in pairs(model) do
        for _, at in ipairs(list) do if at == position then assert(memory:add(key, at)) end end
      end
    end
    local run = assert(index.run(sim, assert(memory:write(sim, head(101, 1100)))))
    for key, list in pairs(model) do assert.same(list, run:find(key)) end
    assert.same(#memory:keys(), run:head().keys)
    assert.equal("absent", run:find(5))
  end)

  it("of runs is the run of their positions one after the other", function()
    local sim = new_disk()
    local runs, all, from = {}, {}, 1
    for n, count in ipairs { 3000, 40, 3000, 20000 } do
      local model = some_model(n, from, from + count - 1, n == 2 and 5 or 400)
      runs[n] = made(sim, from, from + count - 1, model)
      for key, list in pairs(model) do
        all[key] = all[key] or {}
        table.move(list, 1, #list, #all[key] + 1, all[key])
      end
      from = from + count
    end
    local merged = assert(index.run(sim, assert(index.merge(sim, runs))))
    local fields, keys, postings = merged:head(), 0, 0
    for key, list in pairs(all) do
      keys, postings = keys + 1, postings + #list
      assert.same(list, merged:find(key))
    end
    assert.same({ 1, from - 1, (from - 1) * 3, keys, postings, LOG },
                { fields.first, fields.last, fields.anchor, fields.keys, fields.postings,
                  fields.log })
    assert.equal("absent", merged:find(key_of(500)))
    -- The same as if it had been written at once, byte for byte.
    local other = new_disk()
    local _, path = made(other, 1, from - 1, all)
    assert.equal(other:content(path), sim:content(path))
  end)

  it("crosses from lists in line to short and long ones", function()
    local sim = new_disk()
    local runs, list = {}, {}
    for n = 1, 4 do
      local first = (n - 1) * 100000 + 1
      local part = every(1, ({ 1, 127, 16000, 16400 })[n], first)
      runs[n] = made(sim, first, first + 99999, { [key_of(9)] = part, [key_of(n)] = { first } })
      table.move(part, 1, #part, #list + 1, list)
    end
    local merged = assert(index.run(sim, assert(index.merge(sim, runs))))
    assert.same(list, merged:find(key_of(9)))
    for n = 1, 4 do assert.same({ (n - 1) * 100000 + 1 }, merged:find(key_of(n))) end
  end)

  it("says which run is damaged, and leaves nothing behind", function()
    local sim = new_disk()
    local runs, paths = {}, {}
    for n = 1, 4 do
      runs[n], paths[n] = made(sim, n * 10, n * 10 + 9, { [key_of(n)] = { n * 10, n * 10 + 1 } })
    end
    for n = 1, 4 do
      local fields = runs[n]:head()
      for _, at in ipairs { fields.table_at + 60, fields.lists_at + 2 } do
        sim:flip(paths[n], at * 8)
        local path, why, which = index.merge(sim, runs)
        assert.same({ nil, n }, { path, which })
        assert.matches("^CORRUPT: " .. paths[n]:gsub("%p", "%%%0"), why)
        sim:flip(paths[n], at * 8)
        assert.equal(4, #sim:list "index")
      end
    end
    assert.is_string(index.merge(sim, runs))
  end)
end)
