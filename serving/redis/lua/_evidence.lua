-- Evidence: what the decisions of a scope taught each arm. Scripts that include this go on with the policy's rules:
-- ARGV[4]  policy
-- ARGV[5]  namespace
-- ARGV[6]  half-life, microseconds; '' without one
-- ARGV[7]  default, the value of a decision without an answer; '' without one
-- ARGV[8]  arms a scope may hold
-- ARGV[9]  life of untouched evidence, milliseconds; '' for ever
-- A row is float64: version, count, as_of, n, sum of r, sum of r^2, b (d), A (upper triangle row by row).
local evidence = {}
local CHUNK = 128 -- numbers packed at a time: a row of d = 128 has more than the stack of struct holds

local function unpack_doubles(bytes)
  local numbers, total = {}, #bytes / 8
  for first = 1, total, CHUNK do
    local count = math.min(CHUNK, total - first + 1)
    local some = {struct.unpack('<' .. string.rep('d', count), bytes, 8 * first - 7)}
    for i = 1, count do
      numbers[first + i - 1] = some[i]
    end
  end
  return numbers
end

local function pack_doubles(numbers)
  local parts = {}
  for first = 1, #numbers, CHUNK do
    local last = math.min(first + CHUNK - 1, #numbers)
    parts[#parts + 1] = struct.pack('<' .. string.rep('d', last - first + 1), unpack(numbers, first, last))
  end
  return table.concat(parts)
end

local function empty_row(d, now)
  local row = {now - 1, 0, now}
  for i = 4, 6 + d + d * (d + 1) / 2 do
    row[i] = 0
  end
  return row
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
  local x = unpack_doubles(facts.x)
  local d = #x
  local row = stored and unpack_doubles(stored) or empty_row(d, clock_now)
  local now, weight = math.max(clock_now, row[3]), 1
  if ARGV[6] ~= '' then
    local per_us = 1 / tonumber(ARGV[6])
    local kept = 2 ^ ((row[3] - now) * per_us)
    for i = 4, #row do
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
    local k = 6 + d
    for i = 1, d do
      local wx = weight * x[i]
      for j = i, d do
        k = k + 1
        row[k] = row[k] + wx * x[j]
      end
    end
  end
  redis.call('HSET', key, facts.arm, pack_doubles(row))
  return struct.pack('<BddddHc0Hc0', before and 0 or 1, now, decided_at, before or 0, after,
                     #decision_id, decision_id, #reward_id, reward_id) .. facts.packed
end
