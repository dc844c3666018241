-- Makes the caller the run's owner and reads the run, without its outputs.
--
-- A run that is not there leaves a fence for a while: a former owner whose create is still on its way (its index entry
-- came before) must not bring a run to life that the new owner has already dropped from the index.
--
-- KEYS: 1 meta  2 def  3 steps  4 outbox  5 inbox
-- ARGV: 1 epoch  2 partition  3 how long the fence stays, ms  4.. formats that are understood
-- Returns: {'claimed', meta as field, value.., definition, steps as id, record.., events, notes} | {'missing'}
--          | {'fenced'} | {'unknown-format', format}

local meta = KEYS[1]
local epoch = tonumber(ARGV[1])
local known = redis.call('HMGET', meta, '_format', '_partition', '_epoch', '_revision', '_retired')
if not known[1] then
  if known[2] ~= ARGV[2] or tonumber(known[3]) < epoch then
    redis.call('HSET', meta, '_partition', ARGV[2], '_epoch', ARGV[1])
    if redis.call('PTTL', meta) < tonumber(ARGV[3]) then
      redis.call('PEXPIRE', meta, ARGV[3])
    end
  end
  return {'missing'}
end
local isUnderstood = false
for index = 4, #ARGV do
  isUnderstood = isUnderstood or known[1] == ARGV[index]
end
if not isUnderstood then
  return {'unknown-format', tonumber(known[1])}
end
local stored = tonumber(known[3])
if known[2] ~= ARGV[2] or epoch < stored then
  return {'fenced'}
end
-- A retired run gets it when it is opened again (reopen.lua), once the partition has vouched for the caller.
if epoch > stored and not known[5] then
  -- `_since` tells commits of this epoch from those before it (commit.lua).
  redis.call('HSET', meta, '_epoch', ARGV[1], '_since', known[4])
end
return {'claimed', redis.call('HGETALL', meta), redis.call('GET', KEYS[2]) or '', redis.call('HGETALL', KEYS[3]),
  redis.call('LRANGE', KEYS[4], 0, -1), redis.call('LRANGE', KEYS[5], 0, -1)}
