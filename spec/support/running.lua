--- The processes that specs have started and not yet waited for.
-- A spec may fail before it stops its daemon; closing the pipe of a daemon that runs would wait
-- for ever. So helper.lua has busted end a test's processes with the test, and those of hooks
-- with their file: SIGKILL, pipe closed, nothing left to reap. A test that passes and leaves
-- something running is in error.
local running = {}
local started = {} -- in order: { pid, out, words }
local first_of_test = 1

--- Notes a process whose output is read from a pipe of io.popen.
function running.add(process) started[#started + 1] = process end

--- Forgets one that was waited for.
function running.remove(process)
  for n, one in ipairs(started) do
    if one == process then
      table.remove(started, n)
      if n < first_of_test then first_of_test = first_of_test - 1 end
      return
    end
  end
end

--- Kills what was started as the n-th and later; gives what that was.
local function kill_from(n)
  local killed = {}
  for at = #started, n, -1 do
    local process = started[at]
    started[at] = nil
    os.execute(("kill -KILL %s 2>/dev/null"):format(process.pid))
    process.out:close()
    table.insert(killed, 1, process.words)
  end
  return killed
end

local function refuse(who, killed)
  if #killed == 0 then return end
  error(("%s left running, now killed: %s"):format(who, table.concat(killed, "; ")), 0)
end

--- Has busted say when a test and a file end.
function running.watch(busted)
  busted.subscribe({ "test", "start" }, function()
    first_of_test = #started + 1
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(_, _, status)
    local killed = kill_from(first_of_test)
    first_of_test = #started + 1
    if status == "success" then refuse("a test that passed", killed) end
    return nil, true
  end)
  busted.subscribe({ "file", "end" }, function()
    refuse("hooks", kill_from(1))
    return nil, true
  end)
end

return running
