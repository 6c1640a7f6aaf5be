-- The contract in core/base/worker.h.
local worker = require("coretest").base.worker

describe("base/worker", function()
  for _, threaded in ipairs { true, false } do
    describe(threaded and "with a thread" or "without a thread", function()
      for _, how in ipairs { "wait", "poll", "free" } do
        it("runs every job once, in order, on its side, until " .. how .. " is through", function()
          for _, jobs in ipairs { 1, 2, 100, 1000 } do
            assert.same({ jobs, jobs, true, true }, { worker(threaded, jobs, 0, how) })
          end
        end)

        it("runs the jobs that a finished job starts, with " .. how, function()
          assert.same({ 60, 60, true, true }, { worker(threaded, 10, 50, how) })
        end)
      end
    end)
  end
end)
