-- Adds a run to its partition's index. A partition whose epoch was forgotten (the store went back) takes the owner's.
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
redis.call('SADD', KEYS[2], ARGV[2])
return {'ok'}
