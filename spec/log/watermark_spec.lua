-- The contract in core/log/watermark.h: two slots, the newer valid one counts.
local core = require "coretest"
local disk, log = core.disk, core.log

local function mark(generation)
  return { generation = generation, durable = 10 * generation, durable_position = 11 * generation,
           settled = 12 * generation, settled_position = 13 * generation,
           ["end"] = 4096 * generation, flags = generation % 2, log = 77 }
end

describe("log/watermark", function()
  local sim, file
  before_each(function()
    sim = assert(disk.sim())
    file = assert(sim:open("WATERMARK", "create"))
  end)

  local function write(generation)
    local before = mark(generation)
    before.generation = generation - 1
    assert.equal(generation, log.mark_write(sim, file, before))
  end

  it("is not there before it is written", function()
    assert.is_nil(log.mark_read(sim, file))
    assert(sim:write(file, ("\0"):rep(1024), 0))
    assert.is_nil(log.mark_read(sim, file))
  end)

  it("gives the last that was written", function()
    for generation = 1, 5 do
      write(generation)
      assert.same(mark(generation), log.mark_read(sim, file))
    end
  end)

  it("writes to two sectors in turn, 64 bytes each", function()
    local recorder = assert(disk.recorder(sim))
    local other = assert(recorder:open("WATERMARK", "rw"))
    recorder:clear()
    for generation = 0, 3 do assert(log.mark_write(recorder, other, mark(generation))) end
    assert.equal("pwrite WATERMARK 512+64 = 64\npwrite WATERMARK 0+64 = 64\n" ..
                 "pwrite WATERMARK 512+64 = 64\npwrite WATERMARK 0+64 = 64\n", recorder:trace())
  end)

  it("falls back on the older slot, whichever byte of the newer is damaged", function()
    write(1)
    write(2)
    for at = 0, 63 do
      sim:flip("WATERMARK", at * 8)
      assert.same(mark(1), log.mark_read(sim, file), "byte " .. at)
      sim:flip("WATERMARK", at * 8)
    end
    assert.same(mark(2), log.mark_read(sim, file))
    sim:flip("WATERMARK", 512 * 8)
    assert.same(mark(2), log.mark_read(sim, file))
    sim:flip("WATERMARK", 0)
    assert.is_nil(log.mark_read(sim, file))
  end)

  it("is the older or the newer after a torn write", function()
    write(1)
    write(2)
    sim:settle()
    write(3)
    local units = sim:pending()
    local found = {}
    for bits = 0, (1 << units) - 1 do
      local kept = {}
      for i = 1, units do kept[i] = (bits >> (i - 1)) & 1 end
      local image = sim:crash(table.concat(kept))
      found[log.mark_read(image, assert(image:open "WATERMARK")).generation] = true
    end
    assert.same({ [2] = true, [3] = true }, found)
  end)
end)
