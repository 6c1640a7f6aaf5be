--- What the read models promise. Run it with `moonlog test examples/hospital/rules`.
local t = require "moonlog.testing"

--- An event of a bill.
local function bill(id, kind, data, occurred)
  return { kind, data or {}, stream = "bill-" .. id, occurred = occurred }
end

describe("bills", function()
  local bills = function() return t.projection "bills.lua" end

  it("are what their events say last, field by field", function()
    bills():given {
      bill("A", "New", { state = "In progress", speciality = "K", casetype = "B" }),
      bill("A", "ChangeDiagn", { state = "In progress", diagnosis = "ZC", resource = "ResK" }),
      bill("A", "Fin", { state = "Closed", closecode = "C" }),
      bill("A", "CodeOk", { msgcount = 0 }),
    }:row("A", { events = 4, state = "Closed", speciality = "K", casetype = "B", diagnosis = "ZC",
      closecode = "C" })
  end)

  it("are gone when they are deleted, and begin anew if something comes after that", function()
    bills():given { bill("A", "New", { state = "In progress" }), bill("A", "Delete") }:rows {}
      :given { bill("A", "JoinPat", { state = "Billable" }) }
      :rows { A = { events = 1, state = "Billable" } }
  end)
end)

describe("specialities", function()
  it("count bills and their types of case, and not what says no speciality", function()
    t.projection "specialities.lua":given {
      bill("A", "New", { speciality = "K", casetype = "B", isclosed = true }),
      bill("B", "New", { speciality = "K", casetype = "A", isclosed = false }),
      bill("A", "New", { state = "In progress" }),
    }:rows { K = { bills = 2, closed = 1, casetypes = { A = 1, B = 1 } } }
  end)
end)

describe("diagnoses", function()
  it("are counted one by one, and in groups", function()
    t.projection "diagnoses.lua":given {
      bill("A", "New", { diagnosis = "ZC" }), bill("B", "New", { diagnosis = "Z" }),
      bill("A", "ChangeDiagn", { diagnosis = "X" }), bill("C", "New", {}),
    }:rows { ZC = { first = 1, changed = 0, total = 1 }, Z = { first = 1, changed = 0, total = 1 },
      X = { first = 0, changed = 1, total = 1 },
      ["group:Z"] = { first = 2, changed = 0, total = 2 },
      ["group:X"] = { first = 0, changed = 1, total = 1 } }
  end)
end)

describe("rework", function()
  it("is forgotten after 90 days", function()
    t.projection "rework.lua":given { bill("A", "Reopen", { state = "In progress" }),
      bill("B", "Storno", { state = "Billable" }) }
      :advance "89d":given { bill("A", "CodeNok") }
      :row("A", { times = 2, kinds = { Reopen = 1, CodeNok = 1 }, state = "In progress" })
      :advance "1d":row("B", nil)
      :row("A", { times = 2, kinds = { Reopen = 1, CodeNok = 1 }, state = "In progress" })
      :advance "89d":rows {}
  end)
end)

describe("per day", function()
  it("counts what was done, and how bills were closed", function()
    local monday = "2013-01-07T00:00:00Z"
    t.projection "per_day.lua":given {
      bill("A", "Fin", { closecode = "C" }, "2013-01-07T08:00:00Z"),
      bill("B", "Fin", { closecode = "C" }, "2013-01-07T23:59:59Z"),
      bill("C", "Fin", {}, "2013-01-07T12:00:00Z"),
    }:row("Fin", { count = 3, codes = { C = 2 } }, monday):open("Fin", monday)
      :given { bill("A", "Billed", {}, "2013-01-08T00:01:00Z") }:closed("Fin", monday)
  end)
end)

describe("shifts", function()
  local steps = {
    bill("A", "New", { resource = "ResA" }, "2013-01-07T08:00:00Z"),
    bill("B", "New", { resource = "ResA" }, "2013-01-07T08:29:59Z"),
    bill("B", "Billed", { resource = "ResA", state = "Billed" }, "2013-01-07T09:29:58Z"),
  }
  local eight, half_past_nine = "2013-01-07T08:00:00Z", "2013-01-07T09:29:58Z"

  it("end half an hour after the last step", function()
    t.projection "shifts.lua":given(steps)
      :row("ResA", { steps = 2, first = 1357545600000000, last = 1357547399000000 }, eight)
      :row("ResA", { steps = 1, first = 1357550998000000, last = 1357550998000000, billed = 1 },
        half_past_nine)
  end)

  it("become one by a step between them", function()
    t.projection "shifts.lua":given {
      bill("A", "New", { resource = "ResA" }, "2013-01-07T08:00:00Z"),
      bill("B", "New", { resource = "ResB" }, "2013-01-07T08:10:00Z"),
      bill("A", "Billed", { resource = "ResA", state = "Billed" }, "2013-01-07T08:30:30Z"),
      bill("C", "New", { resource = "ResA" }, "2013-01-07T08:20:00Z"),
    }:row("ResA", { steps = 3, billed = 1, first = 1357545600000000, last = 1357547430000000 })
  end)

  it("are nobody's where nobody is named", function()
    t.projection "shifts.lua":given { bill("A", "Release", { state = "Released" }) }:rows {}
  end)
end)
