-- core/projection/window.c: spans of time, against a slow count of them, and the clock.
local core = require("coretest").projection

local MINUTE, HOUR = 60 * 1000000, 3600 * 1000000

describe("projection/window", function()
  describe("a span of time", function()
    it("is read with its units, the larger first", function()
      for text, us in pairs { ["90d"] = 90 * 24 * HOUR, ["1h30m"] = HOUR + 30 * MINUTE,
        ["15s"] = 15000000, ["250ms"] = 250000, ["1us"] = 1, ["1w2d3h4m5s6ms7us"] =
          (((7 + 2) * 24 + 3) * 3600 + 4 * 60 + 5) * 1000000 + 6007,
            ["365250d"] = 365250 * 24 * HOUR } do
        assert.equal(us, core.duration(text))
      end
    end)

    it("is nothing else", function()
      for _, text in ipairs { "", "h", "1", "1 h", "0s", "-1h", "1h-1m", "1m1h", "1h1h", "1y",
        "1H", "h1",
        "1.5h", "365251d", "9999999999999999999999s", "1mm", "\0", "1h " } do
        assert.is_nil(core.duration(text), text)
      end
    end)
  end)

  describe("of tumbling and hopping windows", function()
    -- All windows there are around, one by one.
    local function slow(window, time)
      local step = window.kind == "hopping" and window.hop or window.size
      local found = {}
      local around = (time - window.offset) // step
      for n = around - window.size // step - 2, around + 2 do
        local start = n * step + window.offset
        if start <= time and time < start + window.size then
          found[#found + 1] = { start, start + window.size }
        end
      end
      return found
    end

    it("a time is in those that a slow count finds, earliest first", function()
      math.randomseed(5)
      for _ = 1, 20000 do
        local size = math.random(1, 50)
        local window = { kind = math.random(2) == 1 and "tumbling" or "hopping", size = size,
          hop = math.random(1, size), offset = math.random(0, 100) }
        local time = math.random(-300, 300)
        assert.same(slow(window, time), core.window_of(window, time))
      end
    end)

    it("a start is in its window, an end in the next", function()
      local window = { kind = "tumbling", size = HOUR }
      assert.same({ { 0, HOUR } }, core.window_of(window, 0))
      assert.same({ { 0, HOUR } }, core.window_of(window, HOUR - 1))
      assert.same({ { HOUR, 2 * HOUR } }, core.window_of(window, HOUR))
      assert.same({ { -HOUR, 0 } }, core.window_of(window, -1))
    end)

    it("a time is in 64 windows at most, and any time is in one", function()
      local window = { kind = "hopping", size = 64, hop = 1 }
      assert.equal(64, #core.window_of(window, 17))
      for _, time in ipairs { math.mininteger, math.maxinteger } do
        assert.equal(1, #core.window_of({ kind = "tumbling", size = HOUR, offset = MINUTE }, time))
      end
    end)
  end)

  it("a window is closed when its end and its grace have passed", function()
    local window = { kind = "tumbling", size = 10, grace = 5 }
    assert.is_false(core.closed(window, 0, 10, 14))
    assert.is_true(core.closed(window, 0, 10, 15))
  end)

  describe("the next one closes", function()
    -- Moment by moment, until the last one is closed.
    local function slow(window, latest, now)
      local ends = {}
      for time = latest - 200, latest do
        for _, span in ipairs(core.window_of(window,
          time)) do ends[span[2] + window.grace] = true end
      end
      for moment = now + 1, latest + window.size + window.grace + 1 do
        if ends[moment] then return moment end
      end
      return 0
    end

    it("when a slow count says so", function()
      math.randomseed(6)
      for _ = 1, 3000 do
        local size = math.random(1, 30)
        local window = { kind = math.random(2) == 1 and "tumbling" or "hopping", size = size,
          hop = math.random((size + 63) // 64, size), offset = math.random(0, 40),
            grace = math.random(0, 40) }
        local latest = math.random(1, 300)
        local now = latest + math.random(0, 90)
        assert.equal(slow(window, latest, now), core.next(window, latest, now))
      end
    end)

    it("of sessions: the last", function()
      local window = { kind = "session", size = 30, grace = 5 }
      assert.equal(135, core.next(window, 100, 134))
      assert.equal(0, core.next(window, 100, 135))
      assert.equal(0, core.next({ kind = "none" }, 100, 1))
    end)
  end)

  describe("the clock", function()
    it("is the log's, if that is the time of events", function()
      local clock = core.clock()
      clock:see(100, 100)
      assert.equal(100, clock:at(100))
      assert.equal(170, clock:at(170))
    end)

    it("is the event's that is furthest ahead, and goes on as the log does", function()
      local clock = core.clock()
      clock:see(1000, 5000)
      assert.equal(1000, clock:at(5000))
      assert.equal(1200, clock:at(5200))
      clock:see(1100, 5200) -- it is later already
      assert.equal(1200, clock:at(5200))
      clock:see(1500, 5300)
      assert.equal(1500, clock:at(5300))
    end)

    it("has not begun before the first event", function()
      assert.is_true(core.clock():at(math.maxinteger) < -1e18)
    end)

    it("never goes back, and is a function of the log alone", function()
      math.randomseed(7)
      local log, recorded = {}, 0
      for n = 1, 2000 do
        recorded = recorded + math.random(0, 50)
        log[n] = { math.random(-1000, 3000) + recorded, recorded }
      end
      local before, first = math.mininteger, {}
      local clock = core.clock()
      for n, event in ipairs(log) do
        clock:see(event[1], event[2])
        first[n] = clock:at(event[2])
        assert.is_true(first[n] >= before and first[n] >= event[1])
        before = first[n]
      end
      local again = core.clock()
      for n, event in ipairs(log) do
        again:see(event[1], event[2])
        if n % 3 == 0 then again:at(event[2] + 7) end -- asking changes nothing
        assert.equal(first[n], again:at(event[2]))
      end
    end)

    it("takes any time that a writer says", function()
      local clock = core.clock()
      clock:see(math.maxinteger, math.mininteger)
      assert.is_true(clock:at(math.maxinteger) > 1e18)
      clock = core.clock()
      clock:see(math.mininteger, math.maxinteger)
      assert.is_true(clock:at(0) < -1e18)
    end)
  end)
end)
