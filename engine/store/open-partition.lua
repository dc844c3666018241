-- Begins a new ownership of a partition: its epoch becomes the lowest of the partition's class from max(stored + 1, the
-- server's clock in ms) on, so that none is used twice even when the store forgot the last one.
--
-- KEYS: 1 the partition's epoch
-- ARGV: 1 class of its epochs, modulo 256 (keys.ts)
-- Returns: {'ok', epoch}

local time = redis.call('TIME')
local clock = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) + 1, clock)
epoch = epoch + (tonumber(ARGV[1]) - epoch) % 256
redis.call('SET', KEYS[1], string.format('%.0f', epoch))
return {'ok', epoch}
