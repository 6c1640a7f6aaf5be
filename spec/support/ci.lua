-- The usual busted output, then one closing line that a machine can read:
-- `N passed, N failed` (`, N skipped` may follow). No test executed is a failure.
return function(options)
  local busted = require "busted"
  local style = os.getenv "MOONLOG_SPEC_STYLE" or "plainTerminal"
  local inner = require("busted.outputHandlers." .. style)(options)
  local count = { passed = 0, failed = 0, skipped = 0 }
  busted.subscribe({ "suite", "end" }, function()
    count.passed = count.passed + inner.successesCount
    count.failed = count.failed + inner.failuresCount + inner.errorsCount
    count.skipped = count.skipped + inner.pendingsCount
    return nil, true
  end, { priority = 100 })
  busted.subscribe({ "exit" }, function()
    local skipped = count.skipped > 0 and (", %d skipped"):format(count.skipped) or ""
    io.stdout:write(("\n%d passed, %d failed%s\n"):format(count.passed, count.failed, skipped))
    io.stdout:flush()
    if count.passed + count.failed == 0 then os.exit(1, true) end
    return nil, true
  end)
  return inner
end
