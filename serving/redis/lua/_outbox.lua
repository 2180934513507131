-- The outbox: one stream per shard, one entry per commit, numbered without gaps. Scripts that include this begin with
-- KEYS[1]  hash seq: epoch, seq (of the last entry of that epoch), shed (decisions left out since then)
-- KEYS[2]  stream out
-- ARGV[1]  id of this process: an epoch is what one process wrote, for another may have lost the end of it; '' when not known
-- ARGV[2]  entries the stream may hold
-- ARGV[3]  '1': a sink drains the stream; '0': nobody does, so it is trimmed
local outbox = {}

local function backlog()
  return ARGV[3] == '1' and redis.call('XLEN', KEYS[2]) / tonumber(ARGV[2]) or 0
end

-- Whether nothing more may be logged, and so nothing more may happen.
function outbox.full()
  return backlog() >= 1
end

-- Whether decisions are left out, so that room is kept for evidence.
function outbox.crowded()
  return backlog() >= 0.5
end

function outbox.shed()
  redis.call('HINCRBY', KEYS[1], 'shed', 1)
end

-- Append one entry. namespace may be ''; events is a list of name, packed, name, packed ... Returns the entry's stream id.
function outbox.append(namespace, scope, events)
  local state = redis.call('HMGET', KEYS[1], 'epoch', 'shed')
  local epoch, shed, seq = state[1], state[2], 1
  if epoch and (ARGV[1] == '' or epoch == ARGV[1]) then
    seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  else
    epoch = ARGV[1]
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', seq)
  end
  local entry = {'epoch', epoch, 'seq', seq, 'ns', namespace, 'scope', scope}
  if shed then
    redis.call('HDEL', KEYS[1], 'shed')
    table.insert(events, 'shed')
    table.insert(events, shed)
  end
  for i = 1, #events do
    entry[#entry + 1] = events[i]
  end
  if ARGV[3] == '1' then
    return redis.call('XADD', KEYS[2], '*', unpack(entry))
  end
  return redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(entry))
end
