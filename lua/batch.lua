-- Decides a batch of requests in one atomic call. Each request is charged to all of its buckets or to none.
--
-- core/src/decision.rs makes the same decisions with the same words; a test compares their answers. A missing bucket is
-- full, or used up at the epoch if the take says so. The stored values are: for a token bucket, full_at (whole, fraction)
-- and the R of the fraction, '<I8I4I4'; for a window, its end and count, '<I8I4'; for a log, the hits held, '<I4', and its
-- runs. A token bucket's value is recognized by its length, so that later versions can extend it.
--
-- KEYS     the buckets of the batch, each once; then, if a take needs it, the key of the epoch: the time at which this
--          Redis began to hold buckets, in microseconds, as text. A call that finds it missing sets it.
-- ARGV[1]  the packed requests. Each is '<I2', the number of takes, and then for each take '<I2BI4I8I4I8I4': the index
--          into KEYS; the demand (kind: 0 take, 1 peek, 2 give back; + 4 for a quota, + 8 for shadow; + 16 if it is
--          charged even if it does not fit; + 32 for a window, + 64 for a log; + 128 if a missing bucket counts as used up
--          at the epoch); then for a token bucket R, cost (whole, fraction) and burst (whole, fraction), and for the
--          others limit, hits, 0, length, 0. A window of length 0 is a calendar month.
-- Returns  packed: '<I8I4', now and the number of malformed buckets; then for each take '<BI8I4': 1 if it fits, and the
--          state found: full_at, or the window's end and count, or the time at which the oldest run leaves and the hits
--          held. For a log, '<I8' follows: the time at which the take would fit. The caller derives the verdict.
--
-- Numbers: doubles are exact below 2^53, and all numbers here stay below that. tostring is not exact, so numbers leave
-- through struct.pack or, in whole seconds, through '%d'.

local now = $NOW
local pack, parse, call, floor = struct.pack, struct.unpack, redis.call, math.floor

-- A call for one enforced take from a token bucket, whose value is missing or was written under the same R, is decided here,
-- before the functions below are made, which takes longer than deciding. Everything else goes the long way.
if #KEYS == 1 and #ARGV[1] == 33 then
  local _, _, asked, R, cost_w, cost_f, burst_w, burst_f = parse('<I2I2BI4I8I4I8I4', ARGV[1])
  local key = KEYS[1]
  local value = asked == 0 and call('MGET', key)[1]
  local found_w, found_f, written_under = 0, 0, R
  local is_sound = asked == 0
  if value then
    is_sound = #value == 16
    if is_sound then found_w, found_f, written_under = parse('<I8I4I4', value) end
  end
  if is_sound and found_w < 2 ^ 53 and found_f < R and written_under == R then
    local w, f, fits = found_w, found_f, 0
    if w < now then w, f = now, 0 end
    w, f = w + cost_w, f + cost_f
    if f >= R then w, f = w + 1, f - R end
    local full_w = now + burst_w
    if w < full_w or (w == full_w and f <= burst_f) then
      fits = 1
      local expires = floor(w / 1000000) + 1
      if w == now and f == 0 then
        if value then call('DEL', key) end
      elseif value and floor(found_w / 1000000) + 1 == expires then
        call('SETRANGE', key, '0', pack('<I8I4I4', w, f, R))
      else
        call('SET', key, pack('<I8I4I4', w, f, R), 'EXAT', string.format('%d', expires))
      end
    end
    return pack('<I8I4BI8I4', now, 0, fits, found_w, found_f)
  end
end

$ALGORITHMS
local TOO_LARGE = 2 ^ 53
local keys = KEYS
local stored = call('MGET', unpack(keys))
-- The state of changed buckets: full_at (in first and second) and the R of its fraction; or a window's end and count, or a
-- log's runs and hits, with 0 for R.
local first, second, rate = {}, {}, {}
-- When a stored, well-formed bucket expires, in seconds.
local kept = {}
local malformed = 0
-- Until when a missing bucket counts as used up, in microseconds; absent if a missing bucket is full.
local used_up = {}

local function is_used_up_until(k, last)
  if last > (used_up[k] or 0) then used_up[k] = last end
end

-- === read ===
-- full_at of a token bucket, with its fraction in 1/R. A fraction written under another R is rounded up, so that the bucket
-- never owes less time than before.
local function read_full_at(k, R)
  local value = stored[k]
  if not value then return 0, 0 end
  if #value == 16 then
    local w, f, written_under = parse('<I8I4I4', value)
    if w < TOO_LARGE and f < written_under then
      kept[k] = floor(w / 1000000) + 1
      if written_under == R or f == 0 then return w, f end
      return w + 1, 0
    end
  end
  malformed = malformed + 1
  return 0, 0
end

local function read_window(k)
  local value = stored[k]
  if not value then return 0, 0 end
  if #value == 12 then
    local ends, counted = parse('<I8I4', value)
    if ends < TOO_LARGE then
      kept[k] = floor(ends / 1000000) + 1
      return ends, counted
    end
  end
  malformed = malformed + 1
  return 0, 0
end

local function read_log(k)
  local value = stored[k]
  if not value then return '', 0 end
  if #value >= 4 and (#value - 4) % RUN == 0 then
    local last = 0
    if #value > 4 then last = parse('<I8', value, #value - RUN + 1) end
    if last < TOO_LARGE then
      kept[k] = floor(last / 1000000) + 1
      return string.sub(value, 5), parse('<I4', value)
    end
  end
  malformed = malformed + 1
  return '', 0
end

local epoch, is_new_epoch
local function epoch_of_store()
  if not epoch then
    epoch = tonumber(stored[#keys] or '')
    if not (epoch and epoch >= 0 and epoch < TOO_LARGE / 2) then epoch, is_new_epoch = now, true end
    epoch = floor(epoch)
  end
  return epoch
end

-- === decide ===
-- A take from a window or a log. Returns whether it fits, its part of the reply, and the bucket's new state if it was charged.
local function count(k, algorithm, kind, meters, limit, hits, length, guarded)
  local x, y = first[k], second[k]
  if algorithm == 1 then
    local edge
    if guarded then
      local since = epoch_of_store()
      edge = end_of_window(since, length)
      is_used_up_until(k, edge)
    end
    if not x then
      x, y = read_window(k)
      if guarded and not kept[k] then x, y = edge, limit end
    end
    local fits, ends, counted, after = fixed_window(x, y, kind, meters, limit, hits, length)
    local found = pack('<BI8I4', fits, ends, counted)
    if after == 0 then return fits, found, 0, 0, 0 end
    return fits, found, after and ends, after, 0
  end
  if guarded and limit > 0 then is_used_up_until(k, epoch_of_store() + length) end
  if not x then
    x, y = read_log(k)
    if guarded and limit > 0 and not kept[k] then
      x, y = pack('<I8I4', epoch_of_store() + length, limit), limit
    end
  end
  local fits, oldest, held, fits_at, runs, left = sliding_log(x, y, kind, limit, hits, length)
  return fits, pack('<BI8I4I8', fits, oldest, held, fits_at), runs, left, 0
end

local function take(k, asked, R, a, b, c, d)
  local guarded = asked >= 128
  if guarded then asked = asked - 128 end
  if asked >= 32 then return count(k, floor(asked / 32), asked % 4, asked % 32 >= 16, R, a, c, guarded) end
  local x, y = first[k], second[k]
  if guarded then is_used_up_until(k, epoch_of_store() + c + (d > 0 and 1 or 0)) end
  if not x then
    x, y = read_full_at(k, R)
    if guarded and not kept[k] then x, y = epoch_of_store() + c, d end
  elseif y > 0 and rate[k] ~= R then
    x, y = x + 1, 0
  end
  local fits, w, f = token_bucket(x, y, asked % 4, asked >= 16, R, a, b, c, d)
  return fits, pack('<BI8I4', fits, x, y), w, f, R
end

local requests, at, size = ARGV[1], 1, #ARGV[1]
local reply, said = { '' }, 1
-- The changed buckets, each once: a bucket is added when it gets its first entry in `rate`.
local writes, written = {}, 0
-- The changes by the current request's takes, in groups of four: the bucket, and its previous first, second and rate.
local undo = {}

-- Charges the takes that are charged even in a denied request, after all changes of that request were undone.
local function charge_what_meters(takes, from, replied)
  for n = 1, takes do
    local k, asked, R, a, b, c, d
    k, asked, R, a, b, c, d, from = parse('<I2BI4I8I4I8I4', requests, from)
    if asked % 32 >= 16 then
      local _, found, x, y, under = take(k, asked, R, a, b, c, d)
      -- The reply keeps its earlier answer to whether the take fits, and shows the state that is charged now.
      reply[replied + n] = string.sub(reply[replied + n], 1, 1) .. string.sub(found, 2)
      if x then
        if not rate[k] then
          written = written + 1
          writes[written] = k
        end
        first[k], second[k], rate[k] = x, y, under
      end
    end
  end
end

-- Decides the request at position `at`; returns the position of the next one.
local function decide(at)
  local takes
  takes, at = parse('<I2', requests, at)
  local from, replied = at, said
  local denied, quotas, fitting_quotas, any_meters, undone = false, 0, 0, false, 0
  for _ = 1, takes do
    local k, asked, R, a, b, c, d
    k, asked, R, a, b, c, d, at = parse('<I2BI4I8I4I8I4', requests, at)
    local fits, found, x, y, under = take(k, asked, R, a, b, c, d)
    said = said + 1
    reply[said] = found
    if asked > 3 then
      local enforcement = floor(asked % 16 / 4)
      if enforcement == 1 then
        quotas, fitting_quotas = quotas + 1, fitting_quotas + fits
      elseif enforcement == 0 and fits == 0 then
        denied = true
      end
      any_meters = any_meters or asked % 32 >= 16
    elseif fits == 0 then
      denied = true
    end
    if x then
      undo[undone + 1], undo[undone + 2], undo[undone + 3], undo[undone + 4] = k, first[k], second[k], rate[k]
      undone = undone + 4
      first[k], second[k], rate[k] = x, y, under
    end
  end
  -- The verdict as `decision::verdict` in core/src/decision/demand.rs says it; there is no third place.
  if denied or (quotas > 0 and fitting_quotas == 0) then
    for i = undone - 3, 1, -4 do
      local k = undo[i]
      first[k], second[k], rate[k] = undo[i + 1], undo[i + 2], undo[i + 3]
    end
    if any_meters then charge_what_meters(takes, from, replied) end
  else
    for i = 1, undone, 4 do
      if not undo[i + 3] then
        written = written + 1
        writes[written] = undo[i]
      end
    end
  end
  return at
end

while at <= size do
  local takes, k, asked, R, cost_w, cost_f, burst_w, burst_f, behind = parse('<I2I2BI4I8I4I8I4', requests, at)
  if takes == 1 and asked == 0 then
    -- Most requests are one enforced take from a token bucket. This repeats `decide` and `token_bucket` for that case,
    -- which saves a seventh of the whole script's time.
    local found_w, found_f = first[k], second[k]
    if not found_w then
      found_w, found_f = read_full_at(k, R)
    elseif found_f > 0 and rate[k] ~= R then
      found_w, found_f = found_w + 1, 0
    end
    local w, f = found_w, found_f
    if w < now then w, f = now, 0 end
    w, f = w + cost_w, f + cost_f
    if f >= R then w, f = w + 1, f - R end
    local full_w, fits = now + burst_w, 0
    if w < full_w or (w == full_w and f <= burst_f) then
      if not rate[k] then
        written = written + 1
        writes[written] = k
      end
      fits, first[k], second[k], rate[k] = 1, w, f, R
    end
    said = said + 1
    reply[said] = pack('<BI8I4', fits, found_w, found_f)
    at = behind
  else
    at = decide(at)
  end
end

-- === write ===
-- A key expires in the second after its last instant, never earlier. The expiry is an absolute time, because a relative one
-- would move with a step of the clock. While that second stays the same, only the value is written, which costs half as
-- much.
for i = 1, written do
  local k = writes[i]
  local x, y, R = first[k], second[k], rate[k]
  local last, value
  if type(x) == 'string' then
    if y > 0 then last, value = parse('<I8', x, #x - RUN + 1), pack('<I4', y) .. x end
  elseif x > now or (x == now and y > 0) then
    last, value = x, R > 0 and pack('<I8I4I4', x, y, R) or pack('<I8I4', x, y)
  end
  if (used_up[k] or 0) > now then
    -- The bucket must not disappear yet, because a missing one would count as used up.
    if not value then
      if type(x) == 'string' then
        value = pack('<I4', 0)
      else
        value = R > 0 and pack('<I8I4I4', 0, 0, R) or pack('<I8I4', 0, 0)
      end
    end
    last = math.max(last or 0, used_up[k])
  end
  if not value then
    if stored[k] then call('DEL', keys[k]) end
  else
    local expires = floor(last / 1000000) + 1
    if kept[k] ~= expires then
      call('SET', keys[k], value, 'EXAT', string.format('%d', expires))
    elseif #value == #stored[k] then
      call('SETRANGE', keys[k], '0', value)
    else
      call('SET', keys[k], value, 'KEEPTTL')
    end
  end
end

if is_new_epoch then call('SET', keys[#keys], string.format('%d', epoch)) end
reply[1] = pack('<I8I4', now, malformed)
return table.concat(reply)
