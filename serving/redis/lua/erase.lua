#!lua
-- Erase some of a forgotten scope's decisions and kept replies. What was decided since it was forgotten stays.
-- Includes  _common, _record
-- KEYS[1]   sorted set of the scope's decisions and replies
-- KEYS[2]   generation of the scope
-- ARGV[1]   cursor: '0' to begin
-- ARGV[2]   how many to look at, roughly
-- ARGV[3]   what the names of decision records begin with
-- ARGV[4]   what the names of the scope's kept replies begin with
-- Returns   cursor to go on with; '0' when done
local generation = record.generation_now(KEYS[2])
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
for i = 1, #page[2], 2 do
  local member = page[2][i]
  local kind, name = string.sub(member, 1, 1), string.sub(member, 2)
  local key = (kind == 'd' and ARGV[3] or ARGV[4]) .. name
  local stored = redis.call('GET', key)
  local erased = not stored or stored == ''
  if not erased and kind == 'd' and record.read(stored).generation < generation then
    redis.call('SET', key, '', 'KEEPTTL') -- says "forgotten" for as long as it would have been known
    erased = true
  elseif not erased and kind == 'r' and struct.unpack('<d', stored) < generation then
    redis.call('UNLINK', key)
    erased = true
  end
  if erased then
    redis.call('ZREM', KEYS[1], member)
  end
end
return page[1]
