-- The holder of a lease reports and asks. A part of the loop of batch.lua, whose variables it uses; the cost is that of one
-- hit. core/src/decision/lease.rs makes the same decisions, and says why the limit holds. It is one piece without a function,
-- because making functions would take longer than all of it.
local lapses, held, spent, keeps, wants, length
lapses, held, spent, keeps, wants, length, behind = parse('<I8I4I4I4I4I4', requests, behind)
-- What is spent; and for each generation of reservations, the older one first, when it lapses, and its amount.
local w, f, lapses_1, w_1, f_1, lapses_2, w_2, f_2 = first[k], second[k], 0, 0, 0, 0, 0, 0
-- The R of these amounts; when the window ends, or 0; and the most that may be spent and reserved together.
local per, ends, most_w, most_f = R, 0, now + burst_w, burst_f
local g = reserved[k]
local is_plain = asked == 0
if not is_plain then
elseif w then
  is_plain = rate[k] == R
  if g then lapses_1, w_1, f_1, lapses_2, w_2, f_2 = g[1], g[2], g[3], g[4], g[5], g[6] end
elseif not stored[k] then
  w, f = 0, 0
else
  local value, written_under = stored[k], 0
  if #value == 16 then
    w, f, written_under = parse('<I8I4I4', value)
    kept[k] = w - w % 1000000
  elseif #value == 56 then
    w, f, written_under, lapses_1, w_1, f_1, lapses_2, w_2, f_2 = parse('<I8I4I4I8I8I4I8I8I4', value)
    if lapses_1 <= now or (lapses_2 <= now and lapses_2 > 0) then written_under = 0 end
    if w_1 >= TOO_LARGE or f_1 >= R or w_2 >= TOO_LARGE or f_2 >= R then written_under = 0 end
    kept[k] = 0
  end
  is_plain = written_under == R and w < TOO_LARGE and f < R
  if not is_plain then kept[k] = nil end
end
if not is_plain and decide then
  w, f, g, per, ends, most_w, most_f = read_to_lease(k, asked, R, burst_w, burst_f)
  lapses_1, w_1, f_1, lapses_2, w_2, f_2 = 0, 0, 0, 0, 0, 0
  if g then lapses_1, w_1, f_1, lapses_2, w_2, f_2 = g[1], g[2], g[3], g[4], g[5], g[6] end
end

if not is_plain and not decide then
  is_long = true
else
  at = behind
  -- What is no longer reserved: all that the holder had, unless it has lapsed. A product is below 2^52, so `%` is exact.
  local fraction = cost_f * held % per
  local hits_w, hits_f = cost_w * held + (cost_f * held - fraction) / per, fraction
  local is_found = false
  if held == 0 or lapses == 0 then
  elseif lapses_1 == lapses and (w_1 > hits_w or (w_1 == hits_w and f_1 >= hits_f)) then
    is_found = true
    w_1, f_1 = w_1 - hits_w, f_1 - hits_f
    if f_1 < 0 then w_1, f_1 = w_1 - 1, f_1 + per end
    if w_1 == 0 and f_1 == 0 then lapses_1, w_1, f_1, lapses_2, w_2, f_2 = lapses_2, w_2, f_2, 0, 0, 0 end
  elseif lapses_2 == lapses and (w_2 > hits_w or (w_2 == hits_w and f_2 >= hits_f)) then
    is_found = true
    w_2, f_2 = w_2 - hits_w, f_2 - hits_f
    if f_2 < 0 then w_2, f_2 = w_2 - 1, f_2 + per end
    if w_2 == 0 and f_2 == 0 then lapses_2 = 0 end
  end
  -- What is spent of it is charged, and what is kept is reserved again below.
  local all_w, all_f = w, f
  if ends == 0 and w < now then all_w, all_f = now, 0 end
  if not is_found then
    keeps = 0
  elseif spent > 0 then
    fraction = cost_f * spent % per
    w, f = all_w + cost_w * spent + (cost_f * spent - fraction) / per, all_f + fraction
    if f >= per then w, f = w + 1, f - per end
    all_w, all_f = w, f
  end
  all_w, all_f = all_w + w_1, all_f + f_1
  if all_f >= per then all_w, all_f = all_w + 1, all_f - per end
  all_w, all_f = all_w + w_2, all_f + f_2
  if all_f >= per then all_w, all_f = all_w + 1, all_f - per end

  local joins = now + 2 * length + floor(length / 2)
  local last = lapses_2 > 0 and lapses_2 or lapses_1
  if last >= now + length + floor(length / 4) then
    joins = last
  elseif lapses_2 > 0 then
    joins = nil
  end
  local granted = 0
  if joins and wants > 3 then
    fraction = cost_f * keeps % per
    local left_w = most_w - all_w - cost_w * keeps - (cost_f * keeps - fraction) / per
    local left_f = most_f - all_f - fraction
    if left_f < 0 then left_w, left_f = left_w - 1, left_f + per end
    if left_f < 0 then left_w, left_f = left_w - 1, left_f + per end
    if left_w >= 0 then
      granted = floor((left_w + left_f / per) / (4 * (cost_w + cost_f / per)))
      if granted > wants then granted = wants end
      if granted < 4 then granted = 0 end
    end
  end
  local flags = (is_found and 1 or 0) + (joins and 2 or 0)
  joins = joins or lapses
  if keeps + granted > 0 then
    fraction = cost_f * (keeps + granted) % per
    hits_w, hits_f = cost_w * (keeps + granted) + (cost_f * (keeps + granted) - fraction) / per, fraction
    all_w, all_f = all_w + hits_w, all_f + hits_f
    if all_f >= per then all_w, all_f = all_w + 1, all_f - per end
    if lapses_1 == 0 or lapses_1 == joins then
      lapses_1, w_1, f_1 = joins, w_1 + hits_w, f_1 + hits_f
      if f_1 >= per then w_1, f_1 = w_1 + 1, f_1 - per end
    else
      lapses_2, w_2, f_2 = joins, w_2 + hits_w, f_2 + hits_f
      if f_2 >= per then w_2, f_2 = w_2 + 1, f_2 - per end
    end
  end
  said = said + 1
  if ends == 0 then
    reply[said] = pack('<BI4I8I8I4', flags, granted, joins, all_w, all_f)
  else
    -- A count has 32 bits.
    w, all_w = math.min(w, 4294967295), math.min(all_w, 4294967295)
    reply[said] = pack('<BI4I8I8I4', flags, granted, joins, ends, all_w)
  end
  if granted > 0 or is_found then
    if not rate[k] then
      written = written + 1
      writes[written] = k
    end
    if lapses_1 == 0 then
      g = nil
    else
      g = { lapses_1, w_1, f_1, lapses_2, w_2, f_2 }
    end
    if ends == 0 then
      first[k], second[k], rate[k] = w, f, R
    else
      -- A window's end and count.
      first[k], second[k], rate[k] = (w > 0 or g) and ends or 0, w, 0
    end
    reserved[k] = g
  end
end
