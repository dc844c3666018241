-- Puts a retired run back to life for the owner that just claimed it and has put it into the index again.
--
-- KEYS: 1 meta  2 def  3 steps  4 context  5 outbox  6 inbox
-- ARGV: 1 epoch
-- Returns: {'ok'} | {'fenced'} | {'missing'}

local epoch = redis.call('HGET', KEYS[1], '_epoch')
if redis.call('HEXISTS', KEYS[1], '_format') == 0 then
  return {'missing'}
end
if epoch ~= ARGV[1] then
  return {'fenced'}
end
redis.call('HDEL', KEYS[1], '_retired')
for index = 1, #KEYS do
  redis.call('PERSIST', KEYS[index])
end
return {'ok'}
