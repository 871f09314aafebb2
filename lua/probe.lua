-- Runs the commands of the other scripts on its own keys, so that a missing right or command is found before a request needs
-- it: a script that fails halfway has written half.
--
-- KEYS     two keys that nothing else uses, in different slots of a Redis Cluster; neither exists afterwards.
-- Returns  the refused commands in pairs: the command, and Redis' error; empty if all is well.
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
