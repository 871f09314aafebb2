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
-- ARGV[1]  the packed requests. Each is '<I2', the number of takes, + 32768 if the demand of any of them is not 0, and then
--          for each take '<I2BI4I8I4I8I4': the index into KEYS; the demand (kind: 0 take, 1 peek, 2 give back, 3 undo;
--          + 4 for a quota, + 8 for shadow; + 16 if it is charged even if it does not fit; + 32 for a window, + 64 for a
--          log; + 128 if a missing bucket counts as used up at the epoch); then for a token bucket R, cost (whole,
--          fraction) and burst (whole, fraction), and for the others limit, hits, 0, length, 0. A window of length 0 is a
--          calendar month. If the kind is undo, '<I8' follows: the time of the take that is undone. Or it is '<I2', 65535,
--          a take of one hit, which is not taken, and '<I8I4I4I4I4I4', what the holder of a lease reports and asks for: the
--          generation, the hits reserved in it, how many of them are spent, how many of the rest it keeps, how many more it
--          wants, and the length of the lease.
-- Returns  packed: '<I8I4', now and the number of malformed buckets; then for each take '<BI8I4': 1 if it fits, + 2 if a part
--          of what is shown as spent is only reserved; and the state found: full_at, or the window's end and count, or the
--          time at which the oldest run leaves and the hits held. For a log, '<I8' follows: the time at which the take would
--          fit. The caller derives the verdict. For a lease '<BI4I8I8I4': 1 if its generation has not lapsed, + 2 if it has
--          been extended; the hits granted; the generation that all are in now; and the state left.
--
-- Numbers: doubles are exact below 2^53, and all numbers here stay below that. tostring is not exact, so numbers leave
-- through struct.pack or, in whole seconds, through '%d'.

local pack, parse, call, floor = struct.pack, struct.unpack, redis.call, math.floor
-- `local now = …`, in microseconds of Redis' clock; or of a test's.
$NOW

-- A plain take is an enforced one from a token bucket in which nothing is reserved. A call for a single one, whose bucket is
-- missing or was written under the same R, is decided here, since the tables below cost more than the decision.
if #KEYS == 1 and #ARGV[1] == 33 then
  local takes, _, _, R, cost_w, cost_f, burst_w, burst_f = parse('<I2I2BI4I8I4I8I4', ARGV[1])
  local key = KEYS[1]
  local is_sound = takes == 1
  local value = is_sound and call('MGET', key)[1]
  local found_w, found_f, written_under = 0, 0, R
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
      local last_second = w - w % 1000000
      if w == now and f == 0 then
        if value then call('DEL', key) end
      elseif value and found_w - found_w % 1000000 == last_second then
        call('SETRANGE', key, '0', pack('<I8I4I4', w, f, R))
      else
        call('SET', key, pack('<I8I4I4', w, f, R), 'EXAT', string.format('%d', last_second / 1000000 + 1))
      end
    end
    return pack('<I8I4BI8I4', now, 0, fits, found_w, found_f)
  end
end

-- === read ===
local TOO_LARGE = 2 ^ 53
local keys = KEYS
local stored = call('MGET', unpack(keys))
-- The state of changed buckets: full_at (in first and second) and the R of its fraction; or a window's end and count, or a
-- log's runs and hits, with 0 for R. There is room for eight buckets, since growing costs a small batch a tenth of its time.
local first = { nil, nil, nil, nil, nil, nil, nil, nil }
local second = { nil, nil, nil, nil, nil, nil, nil, nil }
local rate = { nil, nil, nil, nil, nil, nil, nil, nil }
-- The whole second in which a stored, well-formed bucket has its last instant, in microseconds; it expires a second later.
local kept = { nil, nil, nil, nil, nil, nil, nil, nil }
local malformed = 0
local epoch, is_new_epoch

local requests, at, size = ARGV[1], 1, #ARGV[1]
local reply, said = { '', nil, nil, nil, nil, nil, nil, nil }, 1
-- The changed buckets, each once: a bucket is added when it gets its first entry in `rate`.
local writes, written = {}, 0
-- The changes by the current request's takes, in groups of four: the bucket, and its previous first, second and rate, or
-- false if there was none.
local undo = {}

-- === decide ===
-- What is not a plain take goes the long way. Its functions are made when the first such request is met, because making them
-- takes longer than deciding four plain takes.
local is_long, decide, read_to_lease, to_be_stored = false, nil, nil, nil
-- What is reserved in the buckets whose state is above: for each generation, the older one first, when it lapses, and its
-- amount (whole, fraction).
local reserved = {}

while at <= size do
  if is_long and not decide then
    decide, read_to_lease, to_be_stored = (function()
$LONG_WAY
    end)()
  end
  local takes, k, asked, R, cost_w, cost_f, burst_w, burst_f, behind = parse('<I2I2BI4I8I4I8I4', requests, at)
  -- How many takes are still to be decided here.
  local left, denied = takes, false
  local said_before, written_before, undone = said, written, 0
  -- This repeats `decide`, `take` and `token_bucket` of the long way, and stops at a bucket that needs them.
  while takes < 32768 do
    local found_w, found_f = first[k], second[k]
    local g
    if not found_w then
      local value = stored[k]
      found_w, found_f = 0, 0
      if value then
        local written_under
        if #value == 16 then
          found_w, found_f, written_under = parse('<I8I4I4', value)
          if found_w >= TOO_LARGE or found_f >= written_under then break end
          kept[k] = found_w - found_w % 1000000
          if written_under ~= R and found_f > 0 then found_w, found_f = found_w + 1, 0 end
        elseif #value == 56 then
          g = { nil, nil, nil, nil, nil, nil }
          found_w, found_f, written_under, g[1], g[2], g[3], g[4], g[5], g[6] = parse('<I8I4I4I8I8I4I8I8I4', value)
          if written_under ~= R or found_w >= TOO_LARGE or found_f >= R then break end
          if g[1] <= now or (g[4] <= now and g[4] > 0) then break end
          if g[2] >= TOO_LARGE or g[3] >= R or g[5] >= TOO_LARGE or g[6] >= R then break end
          kept[k] = 0
        else
          break
        end
      end
    else
      g = reserved[k]
      if rate[k] ~= R then
        if g then break end
        if found_f > 0 then found_w, found_f = found_w + 1, 0 end
      end
    end
    local w, f, fits = found_w, found_f, 0
    if w < now then w, f = now, 0 end
    w, f = w + cost_w, f + cost_f
    if f >= R then w, f = w + 1, f - R end
    local full_w, full_f = now + burst_w, burst_f
    if g then
      -- What is reserved is not there, and is not spent.
      if found_w < now then found_w, found_f = now, 0 end
      found_w, found_f, full_w, full_f = found_w + g[2], found_f + g[3], full_w - g[2], full_f - g[3]
      if found_f >= R then found_w, found_f = found_w + 1, found_f - R end
      if full_f < 0 then full_w, full_f = full_w - 1, full_f + R end
      found_w, found_f, full_w, full_f = found_w + g[5], found_f + g[6], full_w - g[5], full_f - g[6]
      if found_f >= R then found_w, found_f = found_w + 1, found_f - R end
      if full_f < 0 then full_w, full_f = full_w - 1, full_f + R end
    end
    if w < full_w or (w == full_w and f <= full_f) then
      fits = 1
      if takes > 1 then
        undo[undone + 1], undo[undone + 2] = k, first[k] or false
        if first[k] then undo[undone + 3], undo[undone + 4] = second[k], rate[k] end
        undone = undone + 4
      end
      if not rate[k] then
        written = written + 1
        writes[written] = k
      end
      first[k], second[k], rate[k] = w, f, R
      if g then reserved[k] = g end
    else
      denied = true
    end
    if g then fits = fits + 2 end
    said = said + 1
    reply[said] = pack('<BI8I4', fits, found_w, found_f)
    left = left - 1
    if left == 0 then break end
    k, asked, R, cost_w, cost_f, burst_w, burst_f, behind = parse('<I2BI4I8I4I8I4', requests, behind)
  end
  if denied or left > 0 then
    for i = undone - 3, 1, -4 do
      local k = undo[i]
      if undo[i + 1] then
        first[k], second[k], rate[k] = undo[i + 1], undo[i + 2], undo[i + 3]
      else
        first[k], rate[k], reserved[k] = nil, nil, nil
      end
    end
    written = written_before
  end
  if takes == 65535 then
$LEASE
  elseif left == 0 then
    at = behind
  else
    said = said_before
    -- The first one comes again, when the functions are there.
    if decide then at = decide(at) else is_long = true end
  end
end

-- === write ===
-- A key expires in the second after its last instant, never earlier. The expiry is an absolute time, because a relative one
-- would move with a step of the clock. While that second stays the same, only the value is written, which costs half as
-- much.
for i = 1, written do
  local k = writes[i]
  local last, value
  if to_be_stored then
    last, value = to_be_stored(k)
  else
    local w, f, R, g = first[k], second[k], rate[k], reserved[k]
    if g then
      -- It is full again after all that is reserved has lapsed unreported.
      if w <= now and f == 0 or w < now then w, f = 0, 0 end
      last, value = w, pack('<I8I4I4I8I8I4I8I8I4', w, f, R, g[1], g[2], g[3], g[4], g[5], g[6])
      for i = 1, 4, 3 do
        if last < g[i] then last, f = g[i], 0 end
        last, f = last + g[i + 1], f + g[i + 2]
        if f >= R then last, f = last + 1, f - R end
      end
    elseif w > now or (w == now and f > 0) then
      last, value = w, pack('<I8I4I4', w, f, R)
    end
  end
  if not value then
    if stored[k] then call('DEL', keys[k]) end
  else
    local last_second = last - last % 1000000
    if kept[k] ~= last_second then
      call('SET', keys[k], value, 'EXAT', string.format('%d', last_second / 1000000 + 1))
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
