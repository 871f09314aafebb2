-- Shows a replica's second to the others, and reads theirs.
--
-- KEYS[1]  the mark: who has readers, and what they want. Without it nobody shows anything
-- KEYS[2]  who shows a second
-- KEYS[3]  the secret behind the names of keys
-- ARGV     the replica's name; what its readers want, empty if it has none; its second, empty if it shows none; `read`
--          if the seconds of others are wanted; a secret in case that there is none yet
-- Returns  the mark, the secret, and the seconds
--
-- All keys have the tag {live}, so they are in one slot of a cluster.
local HOLDS, MOST = 5000, 33
local name, wants, second, read, secret = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])

-- The lines of others that are valid. One from the future was left behind by a step back of the clock.
local function valid(text)
    local lines = {}
    for line in string.gmatch(text or '', '[^\n]+') do
        local of, ends = string.match(line, '^(%x+) (%d+)')
        ends = tonumber(ends)
        if of and of ~= name and ends > now and ends <= now + HOLDS and #lines < MOST - 1 then
            lines[#lines + 1] = line
        end
    end
    return lines
end

local function write(key, text)
    redis.call('SET', key, text)
    redis.call('PEXPIRE', key, HOLDS)
end

local own = string.format('%s %d', name, now + HOLDS)
local mark, names = valid(found[1]), valid(found[2])
if wants ~= '' then
    mark[#mark + 1] = own .. ' ' .. wants
    write(KEYS[1], table.concat(mark, '\n'))
end
if second ~= '' then
    names[#names + 1] = own
    write(KEYS[2], table.concat(names, '\n'))
    write('tg:{live}:' .. name, second)
end
if not found[3] and secret ~= '' then
    found[3] = secret
    redis.call('SET', KEYS[3], secret)
end
local answer = { table.concat(mark, '\n'), found[3] or '' }
if read == 'read' then
    local keys = {}
    for _, line in ipairs(names) do
        local of = string.match(line, '^%x+')
        if of ~= name then
            keys[#keys + 1] = 'tg:{live}:' .. of
        end
    end
    if #keys > 0 then
        for _, shown in ipairs(redis.call('MGET', unpack(keys))) do
            if shown then
                answer[#answer + 1] = shown
            end
        end
    end
end
return answer
