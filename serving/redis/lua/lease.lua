#!lua
-- Take tokens from the bucket of one caller, which fills steadily up to its burst: as many as are wanted and there, none if too few.
-- Includes  _common
-- KEYS[1]   hash: ooml:rate:<caller>; absent: full
-- ARGV[1]   tokens per second (decimal, more than 0)
-- ARGV[2]   burst: most tokens the bucket holds
-- ARGV[3]   tokens needed at least
-- ARGV[4]   tokens wanted
-- ARGV[5]   tokens given back first: leased before and not spent
-- Returns   {tokens taken (0: fewer than needed were there), µs until those needed will be (0: taken)}
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local need, want, back = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = burst
if bucket[1] then
  level = tonumber(bucket[1]) + math.max(0, now - tonumber(bucket[2])) * rate / 1e6
end
level = math.min(burst, level + back)
local taken, wait = 0, 0
if level >= need then
  taken = math.min(want, math.floor(level))
else
  wait = math.ceil((need - level) / rate * 1e6)
end
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level - taken), 'at', whole(now))
redis.call('PEXPIRE', KEYS[1], whole(math.ceil(burst / rate * 1000) + 1000)) -- full by then, as one that is absent
return {taken, wait}
