-- Puts a retired run back to life for the owner that just claimed it and has put it into the index again.
--
-- KEYS: 1 meta  2 def  3 steps  4 context  5 outbox  6 inbox
-- ARGV: 1 epoch
-- Returns: {'ok'} | {'fenced'} | {'missing'}

local known = redis.call('HMGET', KEYS[1], '_format', '_epoch', '_revision')
if not known[1] then
  return {'missing'}
end
local epoch, stored = tonumber(ARGV[1]), tonumber(known[2])
if epoch < stored then
  return {'fenced'}
end
if epoch > stored then
  redis.call('HSET', KEYS[1], '_epoch', ARGV[1], '_since', known[3])
end
redis.call('HDEL', KEYS[1], '_retired')
for index = 1, #KEYS do
  redis.call('PERSIST', KEYS[index])
end
return {'ok'}
