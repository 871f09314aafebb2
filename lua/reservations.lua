-- Leases: hits that are reserved for somebody who may spend them for a while without a call. core/src/decision/lease.rs says
-- how, and why the limit holds. A bucket's reservations are a table { lapses, amount (whole, fraction), lapses, amount },
-- the older generation first; the amount is the worth of the hits as time, or, with an R of 1, their number in a window.
-- Its functions are made when the first lease is met, since making them takes time and most buckets have none.
local made
local function reservations()
  if made then return made end

  -- Sums, differences and multiples of times, with their fractions in 1/R us.
  local function plus(w, f, more_w, more_f, R)
    w, f = w + more_w, f + more_f
    if f >= R then return w + 1, f - R end
    return w, f
  end

  -- The count of a window is stored and told in 32 bits, and there may be more: hits that are charged though they do not fit
  -- count up to twice the limit, and what is reserved comes on top.
  local function counted(hits)
    return math.min(hits, 4294967295)
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
        if is_window then w = counted(w) end
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
    w, f = plus(w, f, g[5], g[6], R)
    return is_window and counted(w) or w, f
  end

  made = { rounded = rounded, lapse = lapse, all_of = all_of }
  return made
end
