-- What every writing script includes.

-- A clock reading in microseconds since the epoch, exact in a double.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- Integer to text: Lua's own conversion would round a time.
local function whole(number)
  return string.format('%.0f', number)
end
