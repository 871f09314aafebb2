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
local pack, unpack_from = struct.pack, struct.unpack

-- === read ===
local whole, fraction, stored, malformed = {}, {}, {}, 0
for i, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  local w, f = 0, 0
  if value then
    stored[i] = true
    if #value == 12 then w, f = unpack_from('<I8I4', value) else w = -1 end
    if w < 0 or w >= 2 ^ 53 then
      w, f, malformed = 0, 0, malformed + 1
    end
  end
  whole[i], fraction[i] = w, f
end

-- === decide ===
local requests, at, size = ARGV[1], 1, #ARGV[1]
local reply, said, changed = { '' }, 1, {}
-- What the takes of the request at hand have changed: bucket, whole, fraction, and so on.
local undo = {}
while at <= size do
  local takes
  takes, at = unpack_from('<I2', requests, at)
  local denied, undone = false, 0
  for _ = 1, takes do
    local k, kind, R, cost_w, cost_f, burst_w, burst_f
    k, kind, R, cost_w, cost_f, burst_w, burst_f, at = unpack_from('<I2BI4I8I4I8I4', requests, at)
    local found_w, found_f = whole[k], fraction[k]
    if found_f >= R then
      found_w, found_f, malformed = 0, 0, malformed + 1
      whole[k], fraction[k] = 0, 0
    end

    -- max(full_at, now)
    local w, f = found_w, found_f
    if w < now then w, f = now, 0 end

    local fits = 1
    if kind == 2 then
      w, f = w - cost_w, f - cost_f
      if f < 0 then w, f = w - 1, f + R end
      if w < now or (w == now and f == 0) then w, f = 0, 0 end
    else
      w, f = w + cost_w, f + cost_f
      if f >= R then w, f = w + 1, f - R end
      local full_w = now + burst_w
      if w > full_w or (w == full_w and f > burst_f) then fits, denied = 0, true end
    end

    if fits == 1 and kind ~= 1 then
      undo[undone + 1], undo[undone + 2], undo[undone + 3] = k, found_w, found_f
      undone = undone + 3
      whole[k], fraction[k] = w, f
    end
    said = said + 1
    reply[said] = pack('<BI8I4', fits, found_w, found_f)
  end
  for i = undone - 2, 1, -3 do
    local k = undo[i]
    if denied then
      whole[k], fraction[k] = undo[i + 1], undo[i + 2]
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
    local expiry_ms = math.ceil((f > 0 and w + 1 or w) / 1000)
    redis.call('SET', KEYS[k], pack('<I8I4', w, f), 'PXAT', expiry_ms)
  elseif stored[k] then
    redis.call('DEL', KEYS[k])
  end
end

reply[1] = pack('<I8I4', now, malformed)
return table.concat(reply)
