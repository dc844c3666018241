-- Remembers that a run which does not exist is to be stopped. Does nothing when it exists.
--
-- KEYS: 1 meta
-- ARGV: 1 for how long, ms
-- Returns: {'ok'}

if redis.call('HEXISTS', KEYS[1], '_format') == 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local known = tonumber(redis.call('HGET', KEYS[1], '_stopUntil') or 0)
  redis.call('HSET', KEYS[1], '_stopUntil', string.format('%.0f', math.max(known, now + ARGV[1])))
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
  end
end
return {'ok'}
