-- Decides a batch of requests in one atomic call. Each request is charged to all of its buckets or to none.
--
-- core/src/decision.rs makes the same decisions with the same words; a test compares their answers. A missing bucket is
-- full, or used up at the epoch if the take says so. The stored values are: for a token bucket, full_at (whole, fraction)
-- and the R of the fraction, '<I8I4I4'; for a window, its end and count, '<I8I4'; for a log, the hits held, '<I4', and its
-- runs. Where hits are reserved, '<I8I8I4I8I8I4' follows: for each generation of reservations when it lapses, and its amount
-- (whole, fraction). A value is recognized by its length, so that later versions can extend it.
--
-- KEYS     the buckets of the batch, each once; then, if a take needs it, the key of the epoch: the time at which this
--          Redis began to hold buckets, in microseconds, as text. A call that finds it missing sets it.
-- ARGV[1]  the packed requests. Each is '<I2', the number of takes, and then for each take '<I2BI4I8I4I8I4': the index
--          into KEYS; the demand (kind: 0 take, 1 peek, 2 give back, 3 undo; + 4 for a quota, + 8 for shadow; + 16 if it
--          is charged even if it does not fit; + 32 for a window, + 64 for a log; + 128 if a missing bucket counts as used
--          up at the epoch); then for a token bucket R, cost (whole, fraction) and burst (whole, fraction), and for the
--          others limit, hits, 0, length, 0. A window of length 0 is a calendar month. If the kind is undo, '<I8' follows:
--          the time of the take that is undone. Or it is '<I2', 65535, a take of one
--          hit, which is not taken, and '<I8I4I4I4I4I4', what the holder of a lease reports and asks for: the generation,
--          the hits reserved in it, how many of them are spent, how many of the rest it keeps, how many more it wants, and
--          the length of the lease.
-- Returns  packed: '<I8I4', now and the number of malformed buckets; then for each take '<BI8I4': 1 if it fits, + 2 if a part
--          of what is shown as spent is only reserved; and the state found: full_at, or the window's end and count, or the
--          time at which the oldest run leaves and the hits held. For a log, '<I8' follows: the time at which the take would
--          fit. The caller derives the verdict. For a lease '<BI4I8I8I4': 1 if its generation has not lapsed, + 2 if it has
--          been extended; the hits granted; the generation that all are in now; and the state left.
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
-- The reservations in a bucket, if there are any.
local reserved = {}

local function is_used_up_until(k, last)
  if last > (used_up[k] or 0) then used_up[k] = last end
end

-- === read ===
-- full_at of a token bucket, with its fraction in 1/R. A fraction written under another R is rounded up, so that the bucket
-- never owes less time than before.
local function read_full_at(k, R)
  local value = stored[k]
  if not value then return 0, 0 end
  if #value == 16 or #value == 56 then
    local w, f, written_under = parse('<I8I4I4', value)
    if w < TOO_LARGE and f < written_under then
      local expires = floor(w / 1000000) + 1
      if written_under ~= R and f > 0 then w, f = w + 1, 0 end
      if #value == 16 then
        kept[k] = expires
        return w, f
      end
      local g = { parse('<I8I8I4I8I8I4', value, 17) }
      if g[2] < TOO_LARGE and g[5] < TOO_LARGE and g[3] < written_under and g[6] < written_under then
        kept[k] = 0
        w, f, reserved[k] = leases().lapse(w, f, leases().rounded(g, written_under, R), R, false, now)
        return w, f
      end
    end
  end
  malformed = malformed + 1
  return 0, 0
end

local function read_window(k)
  local value = stored[k]
  if not value then return 0, 0 end
  if #value == 12 or #value == 52 then
    local ends, counted = parse('<I8I4', value)
    if ends < TOO_LARGE then
      kept[k] = floor(ends / 1000000) + 1
      if #value == 52 and ends > now then
        local g = { parse('<I8I8I4I8I8I4', value, 13) }
        local lapsed, _, rest = leases().lapse(counted, 0, g, 1, true, now)
        counted, reserved[k] = lapsed, rest
      end
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
local function count(k, algorithm, kind, meters, limit, hits, length, guarded, taken)
  local x, y = first[k], second[k]
  if algorithm == 1 then
    local edge
    if guarded then
      local since = epoch_of_store()
      edge = end_of_window(since, length)
      is_used_up_until(k, edge)
    end
    local missing = not x
    if missing then
      x, y = read_window(k)
      missing = not kept[k]
      if guarded and missing and kind ~= 3 then x, y = edge, limit end
    end
    local fits, ends, counted, after = fixed_window(x, y, kind, meters, limit, hits, length, taken)
    local g = reserved[k]
    if g and x ~= ends then g = nil end
    local shown = fits
    if g then
      -- What is reserved is not there, and is not spent.
      counted = leases().all_of(counted, 0, g, 1, true)
      fits = fixed_window(ends, counted, kind, meters, limit, hits, length, taken)
      if fits == 0 and not meters then after = nil end
      shown = fits + 2
    end
    local found = pack('<BI8I4', shown, ends, counted)
    if missing and kind == 3 then return fits, found end
    if after == 0 and not g then return fits, found, 0, 0, 0 end
    return fits, found, after and ends, after, 0, g
  end
  if guarded and limit > 0 then is_used_up_until(k, epoch_of_store() + length) end
  if not x then
    x, y = read_log(k)
    if guarded and limit > 0 and not kept[k] and kind ~= 3 then
      x, y = pack('<I8I4', epoch_of_store() + length, limit), limit
    end
  end
  local fits, oldest, held, fits_at, runs, left = sliding_log(x, y, kind, limit, hits, length, taken)
  return fits, pack('<BI8I4I8', fits, oldest, held, fits_at), runs, left, 0
end

local function take(k, asked, R, a, b, c, d, taken)
  local guarded = asked >= 128
  if guarded then asked = asked - 128 end
  if asked >= 32 then return count(k, floor(asked / 32), asked % 4, asked % 32 >= 16, R, a, c, guarded, taken) end
  local x, y = first[k], second[k]
  if guarded then is_used_up_until(k, epoch_of_store() + c + (d > 0 and 1 or 0)) end
  if not x then
    x, y = read_full_at(k, R)
    if taken and not kept[k] then return 1, pack('<BI8I4', 1, 0, 0) end
    if guarded and not kept[k] then x, y = epoch_of_store() + c, d end
  elseif y > 0 and rate[k] ~= R then
    x, y = x + 1, 0
  end
  local kind, meters = asked % 4, asked >= 16
  local fits, w, f = token_bucket(x, y, kind, meters, R, a, b, c, d, taken)
  local g = reserved[k]
  if not g then return fits, pack('<BI8I4', fits, x, y), w, f, R end
  -- What is reserved is not there, and is not spent.
  g = leases().rounded(g, rate[k] or R, R)
  x, y = leases().all_of(x, y, g, R)
  fits = token_bucket(x, y, kind, meters, R, a, b, c, d, taken)
  if fits == 0 and not meters then w = nil end
  return fits, pack('<BI8I4', fits + 2, x, y), w, f, R, g
end

local requests, at, size = ARGV[1], 1, #ARGV[1]
local reply, said = { '' }, 1
-- The changed buckets, each once: a bucket is added when it gets its first entry in `rate`.
local writes, written = {}, 0
-- The changes by the current request's takes, in groups of five: the bucket, and its previous first, second, rate and
-- reservations.
local undo = {}

-- Charges the takes that are charged even in a denied request, after all changes of that request were undone.
local function charge_what_meters(takes, from, replied)
  for n = 1, takes do
    local k, asked, R, a, b, c, d
    k, asked, R, a, b, c, d, from = parse('<I2BI4I8I4I8I4', requests, from)
    if asked % 4 == 3 then from = from + 8 end
    if asked % 32 >= 16 then
      local _, found, x, y, under, g = take(k, asked, R, a, b, c, d)
      -- The reply keeps its earlier answer to whether the take fits, and shows the state that is charged now.
      reply[replied + n] = string.sub(reply[replied + n], 1, 1) .. string.sub(found, 2)
      if x then
        if not rate[k] then
          written = written + 1
          writes[written] = k
        end
        first[k], second[k], rate[k], reserved[k] = x, y, under, g
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
    local k, asked, R, a, b, c, d, taken
    k, asked, R, a, b, c, d, at = parse('<I2BI4I8I4I8I4', requests, at)
    if asked % 4 == 3 then taken, at = parse('<I8', requests, at) end
    local fits, found, x, y, under, g = take(k, asked, R, a, b, c, d, taken)
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
      undo[undone + 5] = reserved[k]
      undone = undone + 5
      first[k], second[k], rate[k], reserved[k] = x, y, under, g
    end
  end
  -- The verdict as `decision::verdict` in core/src/decision/demand.rs says it; there is no third place.
  if denied or (quotas > 0 and fitting_quotas == 0) then
    for i = undone - 4, 1, -5 do
      local k = undo[i]
      first[k], second[k], rate[k], reserved[k] = undo[i + 1], undo[i + 2], undo[i + 3], undo[i + 4]
    end
    if any_meters then charge_what_meters(takes, from, replied) end
  else
    for i = 1, undone, 5 do
      if not undo[i + 3] then
        written = written + 1
        writes[written] = undo[i]
      end
    end
  end
  return at
end

-- The holder of a lease reports and asks; returns the position of the next request.
local function lease(at)
  local _, k, asked, R, one_w, one_f, c, d, lapses, held, spent, kept_hits, wants, length, behind =
    parse('<I2I2BI4I8I4I8I4I8I4I4I4I4I4', requests, at)
  local is_window = asked % 128 >= 32
  local guarded = asked >= 128
  local w, f, g, ends = first[k], second[k], reserved[k], 0
  local under, most_w, most_f = R, now + c, d
  if is_window then
    -- The hits of a window are kept as whole microseconds are, under an R of 1.
    if guarded then is_used_up_until(k, end_of_window(epoch_of_store(), c)) end
    if not w then
      w, f = read_window(k)
      if guarded and not kept[k] then w, f = end_of_window(epoch_of_store(), c), R end
      g = reserved[k]
    end
    if w <= now then w, f, g = end_of_window(now, c), 0, nil end
    ends, w, f, under, most_w, most_f = w, f, 0, 1, R, 0
  else
    if guarded then is_used_up_until(k, epoch_of_store() + c + (d > 0 and 1 or 0)) end
    if not w then
      w, f = read_full_at(k, R)
      if guarded and not kept[k] then w, f = epoch_of_store() + c, d end
      g = reserved[k]
    else
      if g then g = leases().rounded(g, rate[k], R) end
      if f > 0 and rate[k] ~= R then w, f = w + 1, 0 end
    end
  end
  g = g and { unpack(g) } or { 0, 0, 0, 0, 0, 0 }
  local flags, granted, generation
  w, f, flags, granted, generation = leases().settle(
    w, f, g, under, is_window, one_w, one_f, most_w, most_f, lapses, held, spent, kept_hits, wants, length
  )
  if g[1] == 0 then g = nil end
  local shown_w, shown_f = leases().all_of(w, f, g, under, is_window)
  if is_window then shown_w, shown_f = ends, shown_w end
  said = said + 1
  reply[said] = pack('<BI4I8I8I4', flags, granted, generation, shown_w, shown_f)
  if granted == 0 and flags % 2 == 0 then return behind end
  if not rate[k] then
    written = written + 1
    writes[written] = k
  end
  if is_window then w, f, R = (w > 0 or g) and ends or 0, w, 0 end
  first[k], second[k], rate[k], reserved[k] = w, f, R, g
  return behind
end

while at <= size do
  local takes, k, asked, R, cost_w, cost_f, burst_w, burst_f, behind = parse('<I2I2BI4I8I4I8I4', requests, at)
  if takes == 65535 then
    at = lease(at)
  elseif takes == 1 and asked == 0 and not reserved[k] then
    -- Most requests are one enforced take from a token bucket. This repeats `decide` and `token_bucket` for that case,
    -- which saves a seventh of the whole script's time.
    local found_w, found_f = first[k], second[k]
    if not found_w then
      found_w, found_f = read_full_at(k, R)
    elseif found_f > 0 and rate[k] ~= R then
      found_w, found_f = found_w + 1, 0
    end
    if reserved[k] then
      at = decide(at)
    else
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
    end
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
  local g = reserved[k]
  if g then
    if R > 0 and not value then x, y = 0, 0 end
    value = (value or (R > 0 and pack('<I8I4I4', x, y, R) or pack('<I8I4', x, y))) .. pack('<I8I8I4I8I8I4', unpack(g, 1, 6))
    -- A token bucket is full again after all of it has lapsed unreported. A window ends when it does.
    if R > 0 then last = leases().lapse(x, y, { unpack(g) }, R, false, TOO_LARGE) end
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
