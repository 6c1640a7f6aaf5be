--- What busted prints under `moonlog test`: its own plain output, and `N passed, N failed` alone on
-- the last line (`, N skipped` may follow). No spec at all is a failure.
-- @module moonlog.testing.report
local run = require "moonlog.testing.run"

return function(options)
  local busted = require "busted"
  local inner = require "busted.outputHandlers.plainTerminal"(options)
  local passed, failed, skipped = 0, 0, 0

  busted.subscribe({ "suite", "end" }, function()
    passed = passed + inner.successesCount
    failed = failed + inner.failuresCount + inner.errorsCount
    skipped = skipped + inner.pendingsCount
    return nil, true
  end, { priority = 100 })

  busted.subscribe({ "exit" }, function()
    local more = skipped > 0 and (", %d skipped"):format(skipped) or ""
    io.stdout:write(("\n%d passed, %d failed%s\n"):format(passed, failed, more))
    io.stdout:flush()
    os.exit(failed == 0 and passed > 0 and 0 or run.failed, true)
  end)

  return inner
end
