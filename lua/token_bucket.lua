-- Decides a flight of requests on token buckets, each request all or none, in one atomic call.
--
-- A bucket is one instant, full_at: when it would be full again. It is stored as whole microseconds and
-- a fraction in 1/R us, 12 bytes, '<I8I4'. A missing bucket is a full one. src/decision.rs does the same
-- in the same words; a test holds that both answer alike.
--
-- KEYS     the buckets of the flight, each once.
-- ARGV[1]  the requests, packed. Each: '<I2' takes; then each take '<I2BI4I8I4I8I4': index into KEYS,
--          kind (0 take, 1 peek, 2 give back), R, cost (whole, fraction), burst (whole, fraction).
-- Returns  packed: '<I8I4' now, malformed buckets seen; then each take '<BI8I4': 1 if it fits, and the
--          full_at that it found (whole, fraction). A request is denied if one of its takes does not fit.
--
-- Numbers: doubles are exact below 2^53, and everything here stays below. Nothing goes through tostring,
-- which is not exact; numbers leave by struct.pack or as arguments of a command.

local now = $NOW

-- === read ===
local whole, fraction, stored, malformed = {}, {}, {}, 0
for i, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  whole[i], fraction[i], stored[i] = 0, 0, false
  if value then
    stored[i] = true
    local w, f = 2 ^ 53, 0
    if #value == 12 then w, f = struct.unpack('<I8I4', value) end
    if w >= 0 and w < 2 ^ 53 then
      whole[i], fraction[i] = w, f
    else
      malformed = malformed + 1
    end
  end
end

-- === decide ===
local requests, at = ARGV[1], 1
local reply, changed = { '' }, {}
while at <= #requests do
  local takes
  takes, at = struct.unpack('<I2', requests, at)
  local denied, undo = false, {}
  for _ = 1, takes do
    local k, kind, R, cost_w, cost_f, burst_w, burst_f
    k, kind, R, cost_w, cost_f, burst_w, burst_f, at = struct.unpack('<I2BI4I8I4I8I4', requests, at)
    if fraction[k] >= R then
      whole[k], fraction[k], malformed = 0, 0, malformed + 1
    end
    local found_w, found_f = whole[k], fraction[k]

    -- max(full_at, now)
    local w, f = found_w, found_f
    if w < now then w, f = now, 0 end

    local fits = true
    if kind == 2 then
      w, f = w - cost_w, f - cost_f
      if f < 0 then w, f = w - 1, f + R end
      if w < now or (w == now and f == 0) then w, f = 0, 0 end
    else
      w, f = w + cost_w, f + cost_f
      if f >= R then w, f = w + 1, f - R end
      local full_w = now + burst_w
      fits = w < full_w or (w == full_w and f <= burst_f)
    end

    if not fits then
      denied = true
    elseif kind ~= 1 then
      undo[#undo + 1] = { k, found_w, found_f }
      whole[k], fraction[k] = w, f
    end
    reply[#reply + 1] = struct.pack('<BI8I4', fits and 1 or 0, found_w, found_f)
  end
  for i = #undo, 1, -1 do
    local k = undo[i][1]
    if denied then
      whole[k], fraction[k] = undo[i][2], undo[i][3]
    else
      changed[k] = true
    end
  end
end

-- === write ===
for k in pairs(changed) do
  local w, f = whole[k], fraction[k]
  if w > 0 then
    -- Not before full_at, and absolute: a relative expiry moves with a step of the clock.
    local expiry_ms = math.ceil((w + (f > 0 and 1 or 0)) / 1000)
    redis.call('SET', KEYS[k], struct.pack('<I8I4', w, f), 'PXAT', expiry_ms)
  elseif stored[k] then
    redis.call('DEL', KEYS[k])
  end
end

reply[1] = struct.pack('<I8I4', now, malformed)
return table.concat(reply)
