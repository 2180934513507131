#!lua
-- Drop the evidence of a scope nobody has touched for long.
-- Includes  _common, _outbox, _record
-- KEYS[3]   hash of evidence
-- ARGV[4]   namespace
-- ARGV[5]   scope
-- ARGV[6]   grace, milliseconds: evidence with no more than that to live is idle
-- Returns   1 when dropped, 0 when it was touched meanwhile, never expires or is gone; -1 when the outbox is full
local left = redis.call('PTTL', KEYS[3])
if left < 0 or left > tonumber(ARGV[6]) then
  return 0
end
if outbox.full() then
  return -1
end
local arms = redis.call('HLEN', KEYS[3])
redis.call('UNLINK', KEYS[3])
outbox.append(ARGV[4], ARGV[5], {'dropped', struct.pack('<dd', clock(), arms)})
return 1
