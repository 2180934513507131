#!lua
-- Count a reward towards its decision, once.
-- Includes  _common, _outbox, _record, _evidence
-- KEYS[3]   record of the decision; the evidence and generation of its scope are named by it
-- ARGV[10]  decision id
-- ARGV[11]  value
-- ARGV[12]  reward_id; '' without one
-- ARGV[13]  when it occurred, as its sender says, packed float64: seconds, NaN when unsaid
-- ARGV[14]  aggregation: first, last, sum, max, min, mean
-- ARGV[15]  rewards a decision may have
-- Returns   {'APPLIED' | 'DUPLICATE' | 'LATE', packed float64 the decision counts for now; absent when nothing}
--           {'UNKNOWN'}, {'FORGOTTEN'}, {'NOT_ACTIVATED'}, {'REWARD_LIMIT'}, {'ARM_LIMIT'}, {'FULL'}: nothing was changed
local combine = {
  first = function(r, value) return value end,
  last = function(r, value) return value end,
  sum = function(r) return r.sum end,
  mean = function(r) return r.sum / r.count end,
  max = function(r, value) return r.count == 1 and value or math.max(r.value, value) end,
  min = function(r, value) return r.count == 1 and value or math.min(r.value, value) end,
}
local prefix = string.sub(KEYS[1], 1, -4)
local stored = redis.call('GET', KEYS[3])
if not stored then
  return {'UNKNOWN'}
end
if stored == '' then
  return {'FORGOTTEN'}
end
local r, tail = record.read(stored), record.tail(stored)
local facts = record.facts(tail)
if record.generation_now(prefix .. 'gone:' .. ARGV[4] .. ':' .. facts.scope) ~= r.generation then
  return {'FORGOTTEN'}
end
if not r.active then
  return {'NOT_ACTIVATED'}
end
local now, value, reward_id, aggregate, before = clock(), tonumber(ARGV[11]), ARGV[12], ARGV[14], evidence.default()
if r.count > 0 then
  before = r.value
end
local worth = before and struct.pack('<d', before)
if (aggregate == 'first' and r.seen > 0) or record.has_reward(tail, facts.ends_at, reward_id) then
  return {'DUPLICATE', worth}
end
if r.seen >= tonumber(ARGV[15]) then
  return {'REWARD_LIMIT'}
end
local late = now > r.deadline
local evidence_key = prefix .. 'ev:' .. ARGV[5] .. ':' .. facts.scope
local row = not late and evidence.row(evidence_key, facts.arm)
if not late and not before and not row and not evidence.has_room(evidence_key) then
  return {'ARM_LIMIT'}
end
if outbox.full() then
  return {'FULL'}
end

local learned
r.seen = r.seen + 1
if not late then
  r.count, r.sum = r.count + 1, r.sum + value
  r.value = combine[aggregate](r, value)
  worth = struct.pack('<d', r.value)
  learned = evidence.learn(evidence_key, row, facts, now, r.decided_at, before, r.value, ARGV[10], reward_id)
  evidence.touch(evidence_key)
end
redis.call('SET', KEYS[3], record.head(r) .. tail .. struct.pack('<Hc0', #reward_id, reward_id), 'KEEPTTL')
local events = {'reward', struct.pack('<Bdd', late and 1 or 0, now, value) .. ARGV[13]
                          .. struct.pack('<Hc0Hc0', #ARGV[10], ARGV[10], #reward_id, reward_id)}
if learned then
  table.insert(events, 'evidence')
  table.insert(events, learned)
end
outbox.append(ARGV[5], facts.scope, events)
return {late and 'LATE' or 'APPLIED', worth}
