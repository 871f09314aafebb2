-- The long way: requests of any kind, and what the holders of leases report about other
-- buckets than plain token buckets. A part of batch.lua, whose variables it uses.

$ALGORITHMS
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
  if #value == 16 or #value == 56 then
    local w, f, written_under = parse('<I8I4I4', value)
    if w < TOO_LARGE and f < written_under then
      local last_second = w - w % 1000000
      if written_under ~= R and f > 0 then w, f = w + 1, 0 end
      if #value == 16 then
        kept[k] = last_second
        return w, f
      end
      local g = { parse('<I8I8I4I8I8I4', value, 17) }
      if g[2] < TOO_LARGE and g[5] < TOO_LARGE and g[3] < written_under and g[6] < written_under then
        kept[k] = 0
        w, f, reserved[k] = reservations().lapse(w, f, reservations().rounded(g, written_under, R), R, false, now)
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
      kept[k] = ends - ends % 1000000
      if #value == 52 and ends > now then
        local g = { parse('<I8I8I4I8I8I4', value, 13) }
        local lapsed, _, rest = reservations().lapse(counted, 0, g, 1, true, now)
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
      kept[k] = last - last % 1000000
      return string.sub(value, 5), parse('<I4', value)
    end
  end
  malformed = malformed + 1
  return '', 0
end

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
      counted = reservations().all_of(counted, 0, g, 1, true)
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
  g = reservations().rounded(g, rate[k] or R, R)
  x, y = reservations().all_of(x, y, g, R)
  fits = token_bucket(x, y, kind, meters, R, a, b, c, d, taken)
  if fits == 0 and not meters then w = nil end
  return fits, pack('<BI8I4', fits + 2, x, y), w, f, R, g
end

local function change(k, x, y, R, g)
  if not rate[k] then
    written = written + 1
    writes[written] = k
  end
  first[k], second[k], rate[k], reserved[k] = x, y, R, g
end

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
      if x then change(k, x, y, under, g) end
    end
  end
end

-- Decides the request at position `at`; returns the position of the next one.
local function decide(at)
  local takes
  takes, at = parse('<I2', requests, at)
  takes = takes % 32768
  local from, replied, written_before = at, said, written
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
      undo[undone + 1], undo[undone + 2], undo[undone + 3] = k, first[k] or false, second[k] or false
      undo[undone + 4], undo[undone + 5] = rate[k] or false, reserved[k] or false
      undone = undone + 5
      change(k, x, y, under, g)
    end
  end
  -- The verdict as `decision::verdict` in core/src/decision/demand.rs says it; there is no third place.
  if denied or (quotas > 0 and fitting_quotas == 0) then
    for i = undone - 4, 1, -5 do
      local k = undo[i]
      first[k], second[k], rate[k] = undo[i + 1] or nil, undo[i + 2] or nil, undo[i + 3] or nil
      reserved[k] = undo[i + 4] or nil
    end
    written = written_before
    if any_meters then charge_what_meters(takes, from, replied) end
  end
  return at
end

-- What lease.lua needs to know of a bucket that is not a plain token bucket: what is spent, the reservations, the R of both;
-- when its window ends, or 0; and the most that may be spent and reserved together.
local function read_to_lease(k, asked, R, c, d)
  local guarded = asked >= 128
  local w, f, g = first[k], second[k], reserved[k]
  if asked % 128 < 32 then
    if guarded then is_used_up_until(k, epoch_of_store() + c + (d > 0 and 1 or 0)) end
    if w then
      if g then g = reservations().rounded(g, rate[k], R) end
      if f > 0 and rate[k] ~= R then w, f = w + 1, 0 end
    else
      w, f = read_full_at(k, R)
      if guarded and not kept[k] then w, f = epoch_of_store() + c, d end
      g = reserved[k]
    end
    return w, f, g, R, 0, now + c, d
  end
  -- The hits of a window are kept as whole microseconds are, under an R of 1.
  local ends, counted = w, f
  if guarded then is_used_up_until(k, end_of_window(epoch_of_store(), c)) end
  if not ends then
    ends, counted = read_window(k)
    if guarded and not kept[k] then ends, counted = end_of_window(epoch_of_store(), c), R end
    g = reserved[k]
  end
  if ends <= now then ends, counted, g = end_of_window(now, c), 0, nil end
  return counted, 0, g, 1, ends, R, 0
end

-- When a changed bucket expires, and the value that is stored for it; nothing if it is the same as a missing one.
local function to_be_stored(k)
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
    if R > 0 then last = reservations().lapse(x, y, { unpack(g) }, R, false, TOO_LARGE) end
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
  return last, value
end

return decide, read_to_lease, to_be_stored
