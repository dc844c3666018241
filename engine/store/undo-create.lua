-- Takes back a create whose index entry was refused, unless somebody has claimed or changed the run since.
--
-- KEYS: 1 meta  2 def  3 steps  4 context  5 outbox  6 inbox
-- ARGV: 1 epoch  2 partition
-- Returns: {'ok'}

local known = redis.call('HMGET', KEYS[1], '_format', '_partition', '_epoch', '_revision', '_since')
if known[1] and known[2] == ARGV[2] and known[3] == ARGV[1] and known[4] == '1' then
  redis.call('DEL', unpack(KEYS))
end
return {'ok'}
