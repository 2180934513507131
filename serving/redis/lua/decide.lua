#!lua
-- Record a decision; its arm learns the default, unless it is deferred or the policy has none.
-- Includes  _common, _outbox, _record, _evidence
-- KEYS[3]   hash of evidence
-- KEYS[4]   generation of the scope
-- KEYS[5]   sorted set of the scope's decisions and replies
-- KEYS[6]   record of the decision
-- KEYS[7]   kept reply to the request_id; absent without one
-- ARGV[10]  generation that was read
-- ARGV[11]  decision id
-- ARGV[12]  request_id; '' without one
-- ARGV[13]  '1' when deferred
-- ARGV[14]  window, microseconds
-- ARGV[15]  life of the record, milliseconds: window and grace
-- ARGV[16]  life of the reply, milliseconds
-- ARGV[17]  the decision's facts, packed
-- ARGV[18]  the decision as it is logged and replied, without its head (times and generation)
-- ARGV[19]  what it was made from, packed, for the log alone; '' when not known
-- Returns   {'RECORDED', deadline}: microseconds, -1 while deferred; also when the same decision was recorded before
--           {'REPLAYED', packed decision}: the request_id has been answered
--           {'FORGOTTEN'}, {'ARM_LIMIT'}, {'FULL'}: nothing was changed
local EVERY, TRIM = 8, 64 -- at one in so many calls, so many expired members are dropped; each call adds at most two
local evidence_key, open, decision, reply = KEYS[3], KEYS[5], KEYS[6], KEYS[7]
local found = redis.call('MGET', KEYS[4], decision, reply or decision)
local generation, stored, kept = tonumber(found[1] or 0), found[2], found[3]
if generation ~= tonumber(ARGV[10]) then
  return {'FORGOTTEN'}
end
if stored == '' or stored and record.read(stored).generation ~= generation then
  return {'FORGOTTEN'}
end
if stored then
  return {'RECORDED', whole(record.read(stored).deadline)}
end
if kept and struct.unpack('<d', kept) == generation then
  return {'REPLAYED', kept}
end
local facts, deferred, default = record.facts(ARGV[17]), ARGV[13] == '1', evidence.default()
local learns = default and not deferred
if outbox.full() then
  return {'FULL'}
end
local row = learns and evidence.row(evidence_key, facts.arm)
if learns and not row and not evidence.has_room(evidence_key) then
  return {'ARM_LIMIT'}
end

local now = clock()
local deadline = deferred and -1 or now + tonumber(ARGV[14])
local made = struct.pack('<ddd', generation, now, deadline) .. ARGV[18]
local events = {}
if outbox.crowded() then
  outbox.shed()
else
  events = {'decision', made, 'inputs', ARGV[19]}
end
if learns then
  table.insert(events, 'evidence')
  table.insert(events, evidence.learn(evidence_key, row, facts, now, now, nil, default, ARGV[11], ''))
end
evidence.touch(evidence_key)
redis.call('SET', decision, record.head(record.new(generation, now, deadline)) .. ARGV[17], 'PX', ARGV[15])

local now_ms = math.floor(now / 1000)
local last = now_ms + tonumber(ARGV[15])
redis.call('ZADD', open, whole(last), 'd' .. ARGV[11])
if reply then
  redis.call('SET', reply, made, 'PX', ARGV[16])
  redis.call('ZADD', open, whole(now_ms + tonumber(ARGV[16])), 'r' .. ARGV[12])
  last = math.max(last, now_ms + tonumber(ARGV[16]))
end
if now % EVERY == 0 then
  local expired = redis.call('ZRANGE', open, '-inf', whole(now_ms), 'BYSCORE', 'LIMIT', 0, TRIM)
  if #expired > 0 then
    redis.call('ZREM', open, unpack(expired))
  end
end
record.keep(open, now_ms, last)
if #events > 0 then
  outbox.append(ARGV[5], facts.scope, events)
end
return {'RECORDED', whole(deadline)}
