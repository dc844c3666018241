-- Gives a partition its epoch and index entries again, after the server went back in time. What is there stays.
--
-- KEYS: 1 the partition's epoch  2 its index
-- ARGV: 1 epoch  2 how many runs come in later calls  3.. runs, in the order in which they were created
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
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for index = 3, #ARGV do
  -- A millisecond apart, up to now: in their order, and before whatever is created from here on.
  redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now - ARGV[2] - (#ARGV - index)), ARGV[index])
end
return {'ok'}
