#!lua flags=no-writes
-- Which commands this user may not run on a key.
-- ARGV[1]   a key
-- ARGV[2..] commands
-- Returns   those that are denied, in order
local key, denied = ARGV[1], {}
local only_keys = {MGET = true, UNLINK = true}
for i = 2, #ARGV do
  -- Four arguments always: Redis 7.0 looks for EVAL's number of keys where there may be no argument, and crashes.
  local other = only_keys[ARGV[i]] and key or '0'
  if not redis.acl_check_cmd(ARGV[i], key, other, other, other) then
    denied[#denied + 1] = ARGV[i]
  end
end
return denied
