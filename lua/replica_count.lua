-- Says that a replica lives, and counts those that said so lately.
--
-- KEYS[1]  the sorted set of replicas, by when they last said so, in milliseconds of Redis' clock
-- ARGV     the replica's name; how long its word holds, in milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holds = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%d', now), ARGV[1])
-- Also whoever spoke in a future that a step of the clock took back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now - holds))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%d', now + holds), '+inf')
redis.call('PEXPIRE', KEYS[1], string.format('%d', 10 * holds))
return redis.call('ZCARD', KEYS[1])
