-- The token bucket: one instant, full_at, in whole microseconds (w) and a fraction in 1/R us (f), with the R of this take.
-- The cost of the take and the burst are also given as time; core/src/decision/token_bucket.rs says why.
-- Returns whether the take fits, and the new full_at; no full_at if the take changes nothing.
local function token_bucket(w, f, kind, meters, R, cost_w, cost_f, burst_w, burst_f, taken)
  local found_w, found_f = w, f
  if kind == 3 then
    -- What has been refilled since the take is not given back.
    if now > taken then cost_w = cost_w - (now - taken) end
    if cost_w < 0 then return 1 end
  end
  if kind >= 2 then
    if cost_w == 0 and cost_f == 0 then return 1 end
    w, f = w - cost_w, f - cost_f
    if f < 0 then w, f = w - 1, f + R end
    if w < now then w, f = 0, 0 end
    return 1, w, f
  end
  -- max(full_at, now) + cost
  if w < now then w, f = now, 0 end
  w, f = w + cost_w, f + cost_f
  if f >= R then w, f = w + 1, f - R end
  local full_w = now + burst_w
  if w < full_w or (w == full_w and f <= burst_f) then
    if kind == 1 then return 1 end
    return 1, w, f
  end
  if kind == 1 or not meters then return 0 end
  -- Charged although it does not fit: until the bucket owes one burst. The charge never lowers full_at.
  local most_w, most_f = full_w + burst_w, burst_f + burst_f
  if most_f >= R then most_w, most_f = most_w + 1, most_f - R end
  if w > most_w or (w == most_w and f > most_f) then w, f = most_w, most_f end
  if w < found_w or (w == found_w and f < found_f) then w, f = found_w, found_f end
  return 0, w, f
end
