-- The sliding-window log: runs of (time at which they leave, hits), oldest first, 12 bytes each, '<I8I4'.
local RUN = 12

-- The log without expired runs.
local function trimmed(runs, held)
  local from = 1
  while from <= #runs do
    local leaves, hits = parse('<I8I4', runs, from)
    if leaves > now then break end
    held, from = held - hits, from + RUN
  end
  if from > #runs then return '', 0 end
  if from > 1 then runs = string.sub(runs, from) end
  return runs, held
end

-- The time at which at most `most` hits are left.
local function falls_to(runs, held, most)
  for from = 1, #runs, RUN do
    local leaves, hits = parse('<I8I4', runs, from)
    held = held - hits
    if held <= most then return leaves end
  end
  return 0
end

-- The log without its newest hits.
local function given_back(runs, held, hits)
  hits = math.min(hits, held)
  held = held - hits
  local to = #runs
  while hits > 0 and to > 0 do
    local leaves, last = parse('<I8I4', runs, to - RUN + 1)
    to = to - RUN
    if last > hits then return string.sub(runs, 1, to) .. pack('<I8I4', leaves, last - hits), held end
    hits = hits - last
  end
  return string.sub(runs, 1, to), held
end

-- The log without these hits of those that leave at that time; nothing if there are none.
local function taken_out(runs, held, hits, time)
  for from = #runs - RUN + 1, 1, -RUN do
    local leaves, found = parse('<I8I4', runs, from)
    if leaves < time then return end
    if leaves == time then
      hits = math.min(hits, found)
      local rest = found > hits and pack('<I8I4', leaves, found - hits) or ''
      return string.sub(runs, 1, from - 1) .. rest .. string.sub(runs, from + RUN), held - hits
    end
  end
end

local function added(runs, held, hits, leaves)
  local run_hits = hits
  if #runs > 0 then
    local last, last_hits = parse('<I8I4', runs, #runs - RUN + 1)
    -- Runs must stay in the order of time, even after a step back of the clock.
    if last >= leaves then
      leaves, run_hits, runs = last, last_hits + hits, string.sub(runs, 1, #runs - RUN)
    end
  end
  return runs .. pack('<I8I4', leaves, run_hits), held + hits
end

-- Returns whether the take fits, when the oldest run leaves, the hits held, when the take would fit, and the new log; no new
-- log if the take changes nothing.
local function sliding_log(runs, held, kind, limit, hits, length, taken)
  runs, held = trimmed(runs, held)
  local oldest = 0
  if #runs > 0 then oldest = parse('<I8', runs) end
  if kind >= 2 then
    if hits == 0 then return 1, oldest, held, 0 end
    if kind == 3 then return 1, oldest, held, 0, taken_out(runs, held, hits, taken + length) end
    return 1, oldest, held, 0, given_back(runs, held, hits)
  end
  if held + hits <= limit then
    if kind == 1 then return 1, oldest, held, 0 end
    return 1, oldest, held, 0, added(runs, held, hits, now + length)
  end
  local fits_at
  if hits <= limit then
    fits_at = falls_to(runs, held, limit - hits)
  elseif #runs > 0 then
    fits_at = parse('<I8', runs, #runs - RUN + 1)
  else
    fits_at = 0
  end
  return 0, oldest, held, fits_at
end
