-- One commit: everything of the patch or nothing, if the writer owns the run and follows what is stored (patch.lua
-- comes before this).
--
-- KEYS: 1 meta  2 def  3 steps  4 context  5 outbox
-- ARGV: 1 epoch  2 revision it follows  3 acknowledged sequence or ''  4 new outbox start or ''  5.. the patch
-- Returns: {'ok'} | {'fenced'} | {'behind', stored revision} | {'missing'}

local meta = KEYS[1]
local known = redis.call('HMGET', meta, '_format', '_epoch', '_revision', '_since', '_outboxHead', '_sequence', '_retired')
if not known[1] then
  return {'missing'}
end
local epoch, storedEpoch = tonumber(ARGV[1]), tonumber(known[2])
local follows, stored = tonumber(ARGV[2]), tonumber(known[3])
if epoch < storedEpoch then
  return {'fenced'}
end
if follows > stored then
  return {'behind', stored}
end
if follows < stored then
  -- Applied before, its answer was lost; or written before this epoch began, then by somebody else.
  return {epoch == storedEpoch and follows >= tonumber(known[4]) and 'ok' or 'fenced'}
end
if known[7] then
  return {'missing'}
end

local head, sequence = tonumber(known[5]), tonumber(known[6])
local oldHead = head
if ARGV[4] ~= '' then
  head = tonumber(ARGV[4])
  sequence = head - 1
elseif ARGV[3] ~= '' then
  head = math.max(head, math.min(tonumber(ARGV[3]), sequence) + 1)
end
probe(5, KEYS[3], KEYS[4], KEYS[5], head > oldHead)

if epoch > storedEpoch then
  -- The server went back in time and lost the claim.
  redis.call('HSET', meta, '_epoch', ARGV[1], '_since', stored)
end
redis.call('HSET', meta, '_revision', stored + 1, '_outboxHead', head, '_sequence', sequence + eventCount(5))
if ARGV[4] ~= '' then
  redis.call('DEL', KEYS[5])
elseif head > oldHead then
  redis.call('LTRIM', KEYS[5], head - oldHead, -1)
end
applyPatch(5, meta, KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return {'ok'}
