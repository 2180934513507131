#!lua
-- Forget a scope of one policy: close its open decisions and drop its evidence in every namespace, in one step.
-- Includes  _common, _outbox, _record
-- KEYS[3]   generation of the scope
-- KEYS[4..] hashes of evidence
-- ARGV[4]   policy
-- ARGV[5]   scope
-- Returns   {'DONE', stream id of the logged event}; {'FULL'}: nothing was changed
if outbox.full() then
  return {'FULL'}
end
local generation = redis.call('INCR', KEYS[3])
redis.call('PERSIST', KEYS[3]) -- for good: were it to start again, what it closed would be open
for i = 4, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
local event = struct.pack('<ddHc0', clock(), generation, #ARGV[4], ARGV[4])
return {'DONE', outbox.append('', ARGV[5], {'forgotten', event})}
