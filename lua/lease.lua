-- Leases: hits that are reserved for somebody who may spend them for a while without a call. core/src/decision/lease.rs says
-- how, and why the limit holds. A bucket's reservations are a table { lapses, amount (whole, fraction), lapses, amount },
-- the older generation first; the amount is the worth of the hits as time, or, with an R of 1, their number in a window.
-- Its functions are made when the first lease is met, since making them takes time and most buckets have none.
local made
local function leases()
  if made then return made end

  -- Sums, differences and multiples of times, with their fractions in 1/R us.
  local function plus(w, f, more_w, more_f, R)
    w, f = w + more_w, f + more_f
    if f >= R then return w + 1, f - R end
    return w, f
  end

  local function minus(w, f, less_w, less_f, R)
    if less_w > w or (less_w == w and less_f >= f) then return 0, 0 end
    w, f = w - less_w, f - less_f
    if f < 0 then return w - 1, f + R end
    return w, f
  end

  local function times(w, f, n, R)
    local rest = math.fmod(f * n, R)
    return w * n + (f * n - rest) / R, rest
  end

  -- Forgets empty generations, and moves the other one to the front.
  local function close_ranks(g)
    for i = 1, 4, 3 do
      if g[i + 1] == 0 and g[i + 2] == 0 then g[i] = 0 end
    end
    if g[1] == 0 then g[1], g[2], g[3], g[4], g[5], g[6] = g[4], g[5], g[6], 0, 0, 0 end
  end

  -- The amounts under another R than they were written under: rounded up, so that no less is reserved than was.
  local function rounded(g, written_under, R)
    if written_under == R or (g[3] == 0 and g[6] == 0) then return g end
    return { g[1], g[3] > 0 and g[2] + 1 or g[2], 0, g[4], g[6] > 0 and g[5] + 1 or g[5], 0 }
  end

  -- What nobody has reported in time counts as spent. Returns what is spent, and the reservations, or nil if there are none.
  local function lapse(w, f, g, R, is_window, at)
    for i = 1, 4, 3 do
      if g[i] > 0 and g[i] <= at then
        if not is_window and w < g[i] then w, f = g[i], 0 end
        w, f = plus(w, f, g[i + 1], g[i + 2], R)
        g[i], g[i + 1], g[i + 2] = 0, 0, 0
      end
    end
    close_ranks(g)
    if g[1] == 0 then g = nil end
    return w, f, g
  end

  -- What is spent and reserved together.
  local function all_of(w, f, g, R, is_window)
    if not is_window and w < now then w, f = now, 0 end
    if not g then return w, f end
    w, f = plus(w, f, g[2], g[3], R)
    return plus(w, f, g[5], g[6], R)
  end

  -- Takes an amount out of the generation that lapses then; false if it has lapsed.
  local function release(g, lapses, w, f, R)
    for i = 1, 4, 3 do
      if g[i] == lapses and lapses > 0 and (g[i + 1] > w or (g[i + 1] == w and g[i + 2] >= f)) then
        g[i + 1], g[i + 2] = minus(g[i + 1], g[i + 2], w, f, R)
        close_ranks(g)
        return true
      end
    end
    return false
  end

  local function reserve(g, lapses, w, f, R)
    if w == 0 and f == 0 then return end
    for i = 1, 4, 3 do
      if g[i] == 0 or g[i] == lapses then
        g[i] = lapses
        g[i + 1], g[i + 2] = plus(g[i + 1], g[i + 2], w, f, R)
        return
      end
    end
  end

  -- Settles what the holder of a lease reports and asks for: w and f are what is spent, g the reservations, `most` the most
  -- that may be spent and reserved together, and `one` what one hit is worth. Returns what is spent, and the answer.
  local function settle(w, f, g, R, is_window, one_w, one_f, most_w, most_f, lapses, held, spent, kept, wants, lease)
    local held_w, held_f = times(one_w, one_f, held, R)
    local found = held > 0 and release(g, lapses, held_w, held_f, R)
    local kept_w, kept_f = 0, 0
    if found then
      kept_w, kept_f = times(one_w, one_f, kept, R)
      if spent > 0 then
        if not is_window and w < now then w, f = now, 0 end
        local spent_w, spent_f = times(one_w, one_f, spent, R)
        w, f = plus(w, f, spent_w, spent_f, R)
      end
    end
    local last = g[4] > 0 and g[4] or g[1]
    local joins = now + 2 * lease + floor(lease / 2)
    if last > 0 and last >= now + lease + floor(lease / 4) then
      joins = last
    elseif g[4] > 0 then
      joins = nil
    end
    local granted = 0
    if joins then
      local all_w, all_f = all_of(w, f, g, R, is_window)
      all_w, all_f = plus(all_w, all_f, kept_w, kept_f, R)
      local left_w, left_f = minus(most_w, most_f, all_w, all_f, R)
      granted = floor((left_w + left_f / R) / (4 * (one_w + one_f / R)))
      if granted > wants then granted = wants end
      if granted < 4 then granted = 0 end
    end
    local extended = joins and 2 or 0
    joins = joins or lapses
    reserve(g, joins, kept_w, kept_f, R)
    local granted_w, granted_f = times(one_w, one_f, granted, R)
    reserve(g, joins, granted_w, granted_f, R)
    return w, f, (found and 1 or 0) + extended, granted, joins
  end

  made = { rounded = rounded, lapse = lapse, all_of = all_of, settle = settle }
  return made
end
