-- Whether a later owner holds the partition. Changes nothing.
--
-- KEYS: 1 the partition's epoch  2 its index
-- ARGV: 1 epoch  2 run
-- Returns: {'ok'} | {'fenced'}

if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or 0) then
  return {'fenced'}
end
return {'ok'}
