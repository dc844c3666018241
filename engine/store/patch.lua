-- What create.lua and commit.lua share; put before them by redis-scripts.ts. Not a transition of its own.
--
-- A patch in ARGV, from position `at` on:
--   number of meta fields, of steps, of outputs, of events, '1' when a definition follows else '0',
--   field, value pairs of meta, steps and outputs, then the events, [then the definition].
-- Work grows with the patch only, never with the run.

-- Lua's unpack fails beyond about 8,000 values; even, so that a pair is never torn.
local CHUNK = 4000

-- Calls COMMAND KEY with ARGV[first .. first + count - 1], in chunks. Returns the position after them.
local function push(command, key, first, count)
  local last = first + count - 1
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(ARGV, from, math.min(from + CHUNK - 1, last)))
  end
  return last + 1
end

-- Fails, before anything is written, when a key that the patch writes to holds a foreign type (a script is not rolled
-- back).
local function probe(at, steps, context, outbox, isTrimmed)
  if ARGV[at + 1] ~= '0' then redis.call('HLEN', steps) end
  if ARGV[at + 2] ~= '0' then redis.call('HLEN', context) end
  if ARGV[at + 3] ~= '0' or isTrimmed then redis.call('LLEN', outbox) end
end

local function eventCount(at)
  return tonumber(ARGV[at + 3])
end

-- Writes everything of the patch. A caller writes to meta first: that needs memory, and a full server refuses a script
-- at its first write or not at all.
local function applyPatch(at, meta, definition, steps, context, outbox)
  local position = push('HSET', meta, at + 5, tonumber(ARGV[at]) * 2)
  position = push('HSET', steps, position, tonumber(ARGV[at + 1]) * 2)
  position = push('HSET', context, position, tonumber(ARGV[at + 2]) * 2)
  position = push('RPUSH', outbox, position, eventCount(at))
  if ARGV[at + 4] == '1' then
    redis.call('SET', definition, ARGV[position])
  end
end
