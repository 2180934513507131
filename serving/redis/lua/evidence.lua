#!lua flags=no-writes
-- All evidence of a scope.
-- KEYS[1]  hash of evidence
-- Returns  seconds and microseconds of the clock; arm, packed row, arm, packed row ...
local time = redis.call('TIME')
return {time[1], time[2], redis.call('HGETALL', KEYS[1])}
