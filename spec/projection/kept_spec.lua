-- core/projection/kept.h: copies of a view, to look at the past from and to begin again with.
local program = require "spec.support.program"
local projections = require "spec.support.projections"

local files = projections.source { snapshot = "{ every = 1000 }" }
local plain = projections.source()
local HEAD = 24000

describe("projection/kept", function()
  local p, view
  before_each(function()
    p = projections.new()
    view = p.views .. "/v"
    p:fill(HEAD, 30, projections.dice(21))
  end)
  after_each(function() p:close() end)

  --- Goes on in steps, so that there are commits to be copied; gives the last status.
  local function build(more, from, by)
    local options = { view = view }
    for name, value in pairs(more or {}) do options[name] = value end
    local projector <close> = p:open(files, options)
    for position = from or 500, HEAD, by or 500 do projector:run(position) end
    return projector:run()
  end

  local function kept()
    local list = {}
    for name in program.shell("ls " .. program.quote(view) .. "/kept"):gmatch "%S+" do
      list[#list + 1] = math.tointeger(tonumber(name))
    end
    table.sort(list)
    return list
  end

  local function nearest(list, position)
    local found = 0
    for _, at in ipairs(list) do if at <= position then found = at end end
    return found
  end

  --- In all of its pages: old ones that are free now do not count.
  local function damage(path)
    local text = program.slurp(path)
    assert.matches("balance", text)
    program.write(path, (text:gsub("balance", "BALANCE")))
  end

  --- What a look at a position begins with, and comes to.
  local function look(at)
    local projector <close> = p:open(files, { past = view, past_at = at })
    local begins = projector:status().position
    return begins, projector:run(at).digest, projector:status().kept
  end

  it("keeps few, and the further back the fewer", function()
    local status = build()
    local list = kept()
    assert.same(list, status.kept)
    assert.equal(8, #list)
    assert.equal(HEAD, list[8])
    assert.is_true(list[8] - list[7] <= 1000)
    assert.is_true(list[2] - list[1] > 2 * (list[8] - list[7]))
    assert.is_true(list[1] <= HEAD * 2 // 3)
    -- What processes left that were killed before they came to that.
    for n = 1, 4 do
      assert(os.execute(("cd %s/kept && cp -r %d %d"):format(view, list[1], list[1] + n)))
    end
    p:fill(1000, 30, projections.dice(24))
    assert.equal(8, #p:built(files, { view = view }).kept)
    assert.equal(8, #kept())
  end)

  it("keeps none where none is asked for", function()
    p:built(plain, { view = view })
    assert.same({}, kept())
  end)

  it("shows the past as a fold from the beginning does", function()
    build()
    local list, dice = kept(), projections.dice(22)
    local positions = { 0, 1, list[1] - 1, list[1], list[8] - 1, list[8] }
    for n = 1, 15 do positions[6 + n] = dice(HEAD) end
    for _, at in ipairs(positions) do
      local begins, digest, copies = look(at)
      assert.equal(nearest(list, at), begins)
      local whole <close> = p:open(files)
      assert.equal(whole:run(at).digest, digest, "at " .. at)
      assert.is_nil(copies)
    end
    assert.same(list, kept())
  end)

  it("passes over a copy that is damaged", function()
    build()
    local list = kept()
    assert(os.execute(("cd %s/kept && cp %d/data.mdb %d/data.mdb"):format(view, list[8], list[5])))
    damage(("%s/kept/%d/data.mdb"):format(view, list[8]))
    assert(os.execute(("truncate -s 5000 %s/kept/%d/data.mdb"):format(view, list[7])))
    assert(os.remove(("%s/kept/%d/data.mdb"):format(view, list[6])))
    local begins, digest = look(HEAD)
    assert.equal(list[4], begins)
    assert.equal(p:built(files).digest, digest)
    assert.equal(8, #kept())
  end)

  local function begins_again(change)
    local whole = build()
    change()
    local list = kept()
    local projector <close> = p:open(files, { view = view })
    assert.equal(list[#list] or 0, projector:status().position)
    local status = projector:run()
    assert.same({ whole.digest, whole.events, "live" },
      { status.digest, status.events, status.state })
    return projector:status().position
  end

  local function write_boot() program.write(view .. "/BOOT", "before-the-machine-went-down") end

  it("begins with the newest when the machine went down", function()
    p:fill(400, 30, projections.dice(23))
    begins_again(write_boot)
  end)

  it("begins with the newest where the view is damaged or gone", function()
    begins_again(function() damage(view .. "/data.mdb") end)
    begins_again(function() assert(os.remove(view .. "/data.mdb")) end)
  end)

  it("begins at zero, without them, where none can be believed", function()
    build()
    for _, at in ipairs(kept()) do
      assert(os.execute(("truncate -s 5000 %s/kept/%d/data.mdb"):format(view, at)))
    end
    write_boot()
    local projector <close> = p:open(files, { view = view })
    assert.same({ 0, {} }, { projector:status().position, kept() })
    assert.equal(p:built(files).digest, projector:run().digest)
  end)

  it("begins with the newest when an answer finds the view damaged", function()
    local projector <close> = p:open(files, { view = view })
    projector:run(12000)
    local whole = projector:run()
    assert.same({ 12000, HEAD }, kept())
    damage(view .. "/data.mdb")
    assert.is_nil(projector:get { key = "account-001" })
    local status = projector:run()
    assert.same({ "live", whole.digest, whole.commits },
      { status.state, status.digest, status.commits })
    assert.is_true(projector:get({ key = "account-001" }).row.n > 0)
  end)

  it("keeps none while a key is held", function()
    local held = projections.source({ snapshot = "{ every = 1000 }", fault = '"hold"' },
      { Rare = "function(r) error 'no' end" })
    local projector <close> = p:open(held, { view = view })
    projector:run(12000)
    assert.is_true(projector:run().held > 0)
    assert.same({}, kept())
  end)

  it("goes on where no copy can be made, and says why", function()
    assert(os.execute("mkdir -p " .. program.quote(view)))
    program.write(view .. "/kept", "in the way")
    local status = build()
    assert.same({ "live", HEAD }, { status.state, status.position })
    assert.matches("kept", status.copying or "nothing")
    assert.equal(p:built(plain).digest, status.digest)
  end)
end)
