#!lua
-- Publish fields of one hash, all or none, if nobody published since the caller read it.
-- KEYS[1]   hash: ooml:policies, ooml:plans or ooml:keys
-- ARGV[1]   revision the caller read (decimal; 0 when the hash did not exist)
-- ARGV[2..] field, value, field, value ...; an empty value removes its field
-- Returns   the new revision; -1 when the hash is at another one, and nothing was changed
local at = redis.call('HGET', KEYS[1], '@rev') or '0'
if at ~= ARGV[1] then
  return -1
end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return redis.call('HINCRBY', KEYS[1], '@rev', 1)
