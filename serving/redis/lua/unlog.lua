#!lua
-- Erase a forgotten scope's entries from an outbox that nobody drains.
-- KEYS[1]   stream out
-- ARGV[1]   stream id to begin at ('-'), or '(' and the one to begin after
-- ARGV[2]   stream id to end before, with '('
-- ARGV[3]   how many entries to look at
-- ARGV[4]   scope
-- ARGV[5..] namespaces
-- Returns   stream id to begin after next; '' when done
local namespaces = {}
for i = 5, #ARGV do
  namespaces[ARGV[i]] = true
end
local page = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
for _, entry in ipairs(page) do
  local fields = {}
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
  end
  if fields['scope'] == ARGV[4] and namespaces[fields['ns']] then
    redis.call('XDEL', KEYS[1], entry[1])
  end
end
return #page == tonumber(ARGV[3]) and page[#page][1] or ''
