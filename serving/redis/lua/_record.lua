-- The record of an open decision: a head that changes, its facts, which never do, and the ids of its rewards (each length-prefixed).
-- Empty bytes in place of a record mean that its scope was forgotten.
local record = {}
local HEAD = '<BI4ddHHdd'
local HEAD_SIZE = 41

-- A new head. deadline -1: the decision is not active.
function record.new(generation, decided_at, deadline)
  return {active = deadline >= 0, generation = generation, decided_at = decided_at, deadline = deadline,
          seen = 0, count = 0, sum = 0, value = 0}
end

function record.read(bytes)
  local active, generation, decided_at, deadline, seen, count, sum, value = struct.unpack(HEAD, bytes)
  return {active = active == 1, generation = generation, decided_at = decided_at, deadline = deadline,
          seen = seen, count = count, sum = sum, value = value}
end

-- seen: rewards recorded, late ones included; count, sum, value: of those in time, and what they amount to.
function record.head(r)
  return struct.pack(HEAD, r.active and 1 or 0, r.generation, r.decided_at, r.deadline, r.seen, r.count, r.sum, r.value)
end

-- What follows the head: facts and reward ids.
function record.tail(bytes)
  return string.sub(bytes, HEAD_SIZE + 1)
end

-- What never changes of a decision, from packed facts or the tail of a record; ends_at: where what follows them begins.
function record.facts(tail)
  local version, propensity, dimension, scope, arm, at = struct.unpack('<I4dHHc0Hc0', tail)
  local ends_at = at + 8 * dimension
  return {scope = scope, arm = arm, x = string.sub(tail, at, ends_at - 1), packed = string.sub(tail, 1, ends_at - 1), ends_at = ends_at}
end

function record.has_reward(tail, at, reward_id)
  while at <= #tail do
    local id
    id, at = struct.unpack('<Hc0', tail, at)
    if id == reward_id then
      return true
    end
  end
  return false
end

-- Let the sorted set of a scope live until a time (milliseconds), and some longer, so that this is not told for every decision.
function record.keep(open, now, until_at)
  if redis.call('PEXPIRETIME', open) < until_at then
    redis.call('PEXPIREAT', open, whole(until_at + math.floor((until_at - now) / 8)))
  end
end

function record.generation_now(key)
  return tonumber(redis.call('GET', key) or 0)
end
