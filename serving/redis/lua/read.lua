#!lua flags=no-writes
-- Everything one Score reads.
-- KEYS[1]   hash of evidence
-- KEYS[2]   generation of the scope
-- KEYS[3]   kept reply to the request_id; when there is none, the same as KEYS[2]
-- KEYS[4..] hashes of feature rows; on a cluster none, for they lie in other slots
-- ARGV[1]   m, how many arms
-- ARGV[2]   versions the caller holds, m packed float64 (-1: none); '' when it holds nothing
-- ARGV[3..m+2]  the arms
-- then for each run of rows that have the same fields: how many rows, how many fields, the fields
-- Returns   seconds and microseconds of the clock; generation; kept reply or nil; m packed rows, nil for an arm without evidence,
--           '' for one that is still at the version held; for each feature row its values in one text, as MessagePack packs an array,
--           false for a field that does not exist
local time = redis.call('TIME')
local kept = KEYS[3] ~= KEYS[2] and redis.call('GET', KEYS[3])
local m = tonumber(ARGV[1])
local evidence = m > 0 and redis.call('HMGET', KEYS[1], unpack(ARGV, 3, m + 2)) or {}
if ARGV[2] ~= '' then
  for i = 1, m do
    if evidence[i] and string.sub(evidence[i], 1, 8) == string.sub(ARGV[2], 8 * i - 7, 8 * i) then
      evidence[i] = ''
    end
  end
end
local answer = {time[1], time[2], redis.call('GET', KEYS[2]) or '0', kept, evidence}
local k, at = 4, m + 3
while k <= #KEYS do
  local last_row, last_field = k + tonumber(ARGV[at]) - 1, at + 1 + tonumber(ARGV[at + 1])
  for row = k, last_row do
    answer[row + 2] = cmsgpack.pack(redis.call('HMGET', KEYS[row], unpack(ARGV, at + 2, last_field)))
  end
  k, at = last_row + 1, last_field + 1
end
return answer
