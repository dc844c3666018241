-- Adds a note of somebody else to a run's inbox, the one write without an epoch. Nothing when the run is not there or
-- was let go: an inbox must not outlive its run. The caller wakes the owner afterwards.
--
-- KEYS: 1 meta  2 inbox
-- ARGV: 1 note  2 how many are kept
-- Returns: {'ok'} | {'missing'}

local known = redis.call('HMGET', KEYS[1], '_format', '_retired')
if not known[1] or known[2] then
  return {'missing'}
end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[2]), -1)
return {'ok'}
