-- What create.lua and commit.lua share; put before them by redis-scripts.ts. Not a transition of its own.
--
-- A patch in ARGV, from position `at` on:
--   number of meta fields, of steps, of outputs, of events, '1' when a definition follows else '0',
--   [definition,] then field, value pairs of meta, steps and outputs, then the events.
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

-- Fails, before anything is written, when one of the keys holds a foreign type (a script is not rolled back).
local function probe(keys)
  redis.call('HLEN', keys.steps)
  redis.call('HLEN', keys.context)
  redis.call('LLEN', keys.outbox)
end

local function eventCount(at)
  return tonumber(ARGV[at + 3])
end

-- Writes everything of the patch.
local function applyPatch(at, keys)
  local metaFields = tonumber(ARGV[at])
  local steps = tonumber(ARGV[at + 1])
  local outputs = tonumber(ARGV[at + 2])
  local position = at + 5
  if ARGV[at + 4] == '1' then
    redis.call('SET', keys.definition, ARGV[position])
    position = position + 1
  end
  position = push('HSET', keys.meta, position, metaFields * 2)
  position = push('HSET', keys.steps, position, steps * 2)
  position = push('HSET', keys.context, position, outputs * 2)
  push('RPUSH', keys.outbox, position, eventCount(at))
end
