-- Reads a run as it is at one moment, without its outputs and without claiming it.
--
-- KEYS: 1 meta  2 def  3 steps  4 outbox
-- ARGV: none
-- Returns: {'found', meta as field, value.., definition, steps as id, record.., events} | {'missing'}

if redis.call('HEXISTS', KEYS[1], '_format') == 0 then
  return {'missing'}
end
return {'found', redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2]) or '', redis.call('HGETALL', KEYS[3]),
  redis.call('LRANGE', KEYS[4], 0, -1)}
