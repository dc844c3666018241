-- Writes a run that does not exist yet, as revision 1 (patch.lua comes before this).
--
-- KEYS: 1 meta  2 def  3 steps  4 context  5 outbox  6 inbox
-- ARGV: 1 epoch  2 format  3 partition  4 '1' to create in spite of a stop mark, else '0'
--       5 sequence of the first event  6.. the patch
-- Returns: {'created'} | {'exists', meta as field, value.., definition} | {'stop-marked'} | {'fenced'}

local meta = KEYS[1]
local known = redis.call('HMGET', meta, '_format', '_partition', '_epoch', '_stopUntil')
if known[1] then
  return {'exists', redis.call('HGETALL', meta), redis.call('GET', KEYS[2]) or ''}
end
-- A later owner of this partition looked for the run and found none (claim.lua): the writer is a former owner.
if known[2] == ARGV[3] and tonumber(known[3]) > tonumber(ARGV[1]) then
  return {'fenced'}
end
if known[4] and ARGV[4] ~= '1' then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) < tonumber(known[4]) then
    return {'stop-marked'}
  end
end

redis.call('HSET', meta, '_format', ARGV[2], '_partition', ARGV[3], '_epoch', ARGV[1], '_revision', 1, '_since', 1,
  '_outboxHead', ARGV[5], '_sequence', ARGV[5] + eventCount(6) - 1)
-- Marks and their expiry, and what an earlier run of this name may have left.
redis.call('HDEL', meta, '_stopUntil')
redis.call('PERSIST', meta)
redis.call('DEL', unpack(KEYS, 2))
applyPatch(6, meta, KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return {'created'}
