-- The fixed window, aligned to the Unix epoch: its end and its count.
-- Returns whether the take fits, the window before the take, and the new count; no new count if the take changes nothing.
local function fixed_window(ends, count, kind, meters, limit, hits, length)
  if ends <= now then ends, count = now - math.fmod(now, length) + length, 0 end
  if kind == 2 then
    if hits == 0 then return 1, ends, count end
    return 1, ends, count, math.max(count - hits, 0)
  end
  if count + hits <= limit then
    if kind == 1 then return 1, ends, count end
    return 1, ends, count, count + hits
  end
  if kind == 1 or not meters then return 0, ends, count end
  return 0, ends, count, math.max(math.min(count + hits, 2 * limit), count)
end
