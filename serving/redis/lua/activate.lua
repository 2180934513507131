#!lua
-- Open a deferred decision's window; its arm learns the default.
-- Includes  _common, _outbox, _record, _evidence
-- KEYS[3]   record of the decision; the evidence, generation and sorted set of its scope are named by it
-- ARGV[10]  decision id
-- ARGV[11]  window, microseconds
-- ARGV[12]  life of the record from now on, milliseconds: window and grace
-- Returns   {'ACTIVE', deadline}: microseconds
--           {'UNKNOWN'}, {'FORGOTTEN'}, {'TOO_LATE'}, {'ARM_LIMIT'}, {'FULL'}: nothing was changed
local prefix = string.sub(KEYS[1], 1, -4)
local stored = redis.call('GET', KEYS[3])
if not stored then
  return {'UNKNOWN'}
end
if stored == '' then
  return {'FORGOTTEN'}
end
local r, facts = record.read(stored), record.facts(record.tail(stored))
local policy_scope = ARGV[4] .. ':' .. facts.scope
if record.generation_now(prefix .. 'gone:' .. policy_scope) ~= r.generation then
  return {'FORGOTTEN'}
end
if r.active then
  return {'ACTIVE', whole(r.deadline)}
end
local now, window, default = clock(), tonumber(ARGV[11]), evidence.default()
local evidence_key = prefix .. 'ev:' .. ARGV[5] .. ':' .. facts.scope
if now > r.decided_at + window then
  return {'TOO_LATE'}
end
if outbox.full() then
  return {'FULL'}
end
local row = default and evidence.row(evidence_key, facts.arm)
if default and not row and not evidence.has_room(evidence_key) then
  return {'ARM_LIMIT'}
end

r.active, r.deadline = true, now + window
local events = {'activated', struct.pack('<ddHc0', now, r.deadline, #ARGV[10], ARGV[10])}
if default then
  table.insert(events, 'evidence')
  table.insert(events, evidence.learn(evidence_key, row, facts, now, r.decided_at, nil, default, ARGV[10], ''))
end
evidence.touch(evidence_key)
redis.call('SET', KEYS[3], record.head(r) .. record.tail(stored), 'PX', ARGV[12])
local open, expires_at = prefix .. 'open:' .. policy_scope, math.floor(now / 1000) + tonumber(ARGV[12])
redis.call('ZADD', open, whole(expires_at), 'd' .. ARGV[10])
record.keep(open, math.floor(now / 1000), expires_at)
outbox.append(ARGV[5], facts.scope, events)
return {'ACTIVE', whole(r.deadline)}
