-- Lets a run's keys expire and its meta after that. The caller asks the partition's epoch before and takes
-- the run out of the index afterwards.
-- A repeat does not begin the retention anew.
--
-- KEYS: 1 meta  2 def  3 steps  4 context  5 outbox  6 inbox
-- ARGV: 1 epoch  2 partition  3 retention of the run, ms  4 retention of meta, ms
-- Returns: {'ok'} | {'fenced'}; a run that is not there is ok

local known = redis.call('HMGET', KEYS[1], '_format', '_partition', '_epoch', '_retired')
if not known[1] then
  return {'ok'}
end
if known[2] ~= ARGV[2] or tonumber(ARGV[1]) < tonumber(known[3]) then
  return {'fenced'}
end
if not known[4] then
  redis.call('HSET', KEYS[1], '_retired', 1)
  for index = 2, #KEYS do
    redis.call('PEXPIRE', KEYS[index], ARGV[3])
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {'ok'}
