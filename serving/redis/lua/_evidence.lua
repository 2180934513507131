-- Evidence: what the decisions of a scope taught each arm. Scripts that include this go on with the policy's rules:
-- ARGV[4]  policy
-- ARGV[5]  namespace
-- ARGV[6]  half-life, microseconds; '' without one
-- ARGV[7]  default, the value of a decision without an answer; '' without one
-- ARGV[8]  arms a scope may hold
-- ARGV[9]  life of untouched evidence, milliseconds; '' for ever
-- A row is float64: version, count, as_of, n, sum of r, sum of r^2, b (d), A (upper triangle row by row).
local evidence = {}
local MOST = 4096 -- numbers unpacked at a time: an arm of d = 128 has more than the stack holds

-- So many packed numbers from a place on, as a list with one entry more, which is none of them.
local function doubles(bytes, count, at)
  return {struct.unpack('<' .. string.rep('d', count), bytes, at)}
end

local function packed(numbers, count)
  return struct.pack('<' .. string.rep('d', count), unpack(numbers, 1, count))
end

-- A packed triangle after it has decayed and, if a weight is given, grown by weight * x * x^T.
local function later(triangle, kept, weight, x, d)
  local parts, first, at = {}, 1, 1
  while first <= d do
    local last, count = first, d - first + 1 -- as many whole rows as go together
    while last < d and count + d - last <= MOST do
      count, last = count + d - last, last + 1
    end
    local some, k = doubles(triangle, count, at), 0
    for i = first, weight and last or 0 do
      local wx = weight * x[i]
      for j = i, d do
        k = k + 1
        some[k] = some[k] * kept + wx * x[j]
      end
    end
    for rest = k + 1, count do
      some[rest] = some[rest] * kept
    end
    parts[#parts + 1] = packed(some, count)
    first, at = last + 1, at + 8 * count
  end
  return table.concat(parts)
end

function evidence.default()
  return tonumber(ARGV[7])
end

-- An arm's packed row; false for one that is not known.
function evidence.row(key, arm)
  return redis.call('HGET', key, arm)
end

-- Whether one more arm may be opened.
function evidence.has_room(key)
  return redis.call('HLEN', key) < tonumber(ARGV[8])
end

-- Put off the day on which the scope counts as idle.
function evidence.touch(key)
  if ARGV[9] == '' then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIRE', key, ARGV[9])
  end
end

-- Teach a decision's arm. before nil: one more decision, worth after; else a decision's value changed from before to after.
-- The arithmetic is that of policies/evidence.py, operation by operation, so that both agree to the last bit: sums grow from the left by
-- (weight * change) * x[i] and (weight * x[i]) * x[j]. A clock that stepped back decays nothing.
-- stored is the arm's row as `evidence.row` found it. Returns the packed EvidenceAdded.
function evidence.learn(key, stored, facts, clock_now, decided_at, before, after, decision_id, reward_id)
  local d = #facts.x / 8
  local x, head = doubles(facts.x, d, 1), 6 + d
  local row, triangle
  if stored then
    row, triangle = doubles(stored, head, 1), string.sub(stored, 8 * head + 1)
  else
    row, triangle = {clock_now - 1, 0, clock_now}, string.rep('\0', 4 * d * (d + 1))
    for i = 4, head do
      row[i] = 0
    end
  end
  local now, weight, kept = math.max(clock_now, row[3]), 1, 1
  if ARGV[6] ~= '' then
    local per_us = 1 / tonumber(ARGV[6])
    kept = 2 ^ ((row[3] - now) * per_us)
    for i = 4, head do
      row[i] = row[i] * kept
    end
    weight = 2 ^ math.min(0, (decided_at - now) * per_us)
  end
  local change, square_change = after, after * after
  if before then
    change, square_change = after - before, after * after - before * before
  end
  row[1] = row[1] + 1
  row[3] = now
  row[5] = row[5] + weight * change
  row[6] = row[6] + weight * square_change
  for i = 1, d do
    row[6 + i] = row[6 + i] + weight * change * x[i]
  end
  if not before then
    row[2] = row[2] + 1
    row[4] = row[4] + weight
  end
  if kept ~= 1 or not before then
    triangle = later(triangle, kept, not before and weight, x, d)
  end
  redis.call('HSET', key, facts.arm, packed(row, head) .. triangle)
  return struct.pack('<BddddHc0Hc0', before and 0 or 1, now, decided_at, before or 0, after,
                     #decision_id, decision_id, #reward_id, reward_id) .. facts.packed
end
