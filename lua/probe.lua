-- Does on keys of its own what the other scripts do, so that a right or a command that is missing shows before a
-- request finds out: a script that fails halfway has written half.
--
-- KEYS     two that nobody else uses, which lie in different slots of a Redis Cluster; neither is there afterwards.
-- Returns  what was refused, two by two: the command, and what Redis said; nothing if all is well.
local refused = {}

local function tried(command, reply)
  if type(reply) == 'table' and reply.err then
    refused[#refused + 1], refused[#refused + 2] = command, reply.err
  end
  return reply
end

local time = tried('TIME', redis.pcall('TIME'))
local expires = string.format('%d', (tonumber(time[1]) or 4000000000) + 10)
tried('MGET', redis.pcall('MGET', KEYS[1], KEYS[2]))
tried('SET', redis.pcall('SET', KEYS[1], '-', 'EXAT', expires))
tried('SETRANGE', redis.pcall('SETRANGE', KEYS[1], '0', '+'))
tried('SET', redis.pcall('SET', KEYS[1], '-', 'KEEPTTL'))
tried('DEL', redis.pcall('DEL', KEYS[1], KEYS[2]))
tried('ZADD', redis.pcall('ZADD', KEYS[2], '1', '-'))
tried('ZREMRANGEBYSCORE', redis.pcall('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(1'))
tried('PEXPIRE', redis.pcall('PEXPIRE', KEYS[2], 10000))
tried('ZCARD', redis.pcall('ZCARD', KEYS[2]))
redis.pcall('DEL', KEYS[2])
return refused
