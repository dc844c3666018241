-- Adds a run to its partition's index, scored with the server's clock in ms. A partition whose epoch was forgotten (the store went back) takes the owner's.
--
-- KEYS: 1 the partition's epoch  2 its index
-- ARGV: 1 epoch  2 run
-- Returns: {'ok'} | {'fenced'}

local stored = tonumber(redis.call('GET', KEYS[1]) or 0)
local epoch = tonumber(ARGV[1])
if epoch < stored then
  return {'fenced'}
end
if epoch > stored then
  redis.call('SET', KEYS[1], ARGV[1])
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'NX', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[2])
return {'ok'}
