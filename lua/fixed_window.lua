local DAY = 86400000000

local function days_before_year(year)
  return year * 365 + floor(year / 4) - floor(year / 100) + floor(year / 400)
end

-- The end of the calendar month of this time, in UTC. Years begin in March, so that a leap day is the last day of its year.
-- core/src/calendar.rs does the same, and explains the numbers.
local function end_of_month(at)
  local days = (at - math.fmod(at, DAY)) / DAY + 719468
  local day = math.fmod(days, 146097)
  local year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365)
  local first_day = days_before_year(year)
  local month = floor((5 * (day - first_day) + 2) / 153)
  local ends = first_day + floor((153 * month + 155) / 5)
  if month == 11 then ends = days_before_year(year + 1) end
  return (days - day + ends - 719468) * DAY
end

local function end_of_window(at, length)
  if length == 0 then return end_of_month(at) end
  return at - math.fmod(at, length) + length
end

-- The fixed window, aligned to the Unix epoch, or of a calendar month if its length is 0: its end and its count.
-- Returns whether the take fits, the window before the take, and the new count; no new count if the take changes nothing.
local function fixed_window(ends, count, kind, meters, limit, hits, length, taken)
  if ends <= now then ends, count = end_of_window(now, length), 0 end
  if kind >= 2 then
    if hits == 0 or (kind == 3 and ends ~= end_of_window(taken, length)) then return 1, ends, count end
    return 1, ends, count, math.max(count - hits, 0)
  end
  if count + hits <= limit then
    if kind == 1 then return 1, ends, count end
    return 1, ends, count, count + hits
  end
  if kind == 1 or not meters then return 0, ends, count end
  return 0, ends, count, math.max(math.min(count + hits, 2 * limit), count)
end
