-- Gives impressions back what was remembered of them, from the log, and for no shorter time than they are remembered already.
--
-- KEYS[i] hash of what was accepted of impression i
-- ARGV    for each: ttl_ms, how many fields are set, then their names and values; what a field waits for comes after it
--
-- An event is pending, then free, then charged, and never the other way: what is there already and further on stays. So the order
-- of calls does not matter, and repeating one changes nothing.
--
-- Returns how many impressions these were.

local function progress(value)
  return not value and 0 or value == 'pending' and 1 or value == '0' and 2 or 3
end

local at = 1
for _, key in ipairs(KEYS) do
  local ttl, first, last = tonumber(ARGV[at]), at + 2, at + 1 + 2 * tonumber(ARGV[at + 1])
  local left = redis.call('PTTL', key)
  if left == -2 then
    redis.call('HSET', key, unpack(ARGV, first, last))
  else
    for i = first, last, 2 do
      local name, value = ARGV[i], ARGV[i + 1]
      local waits_for = string.match(name, '^w:(.*)$')
      local was = redis.call('HGET', key, waits_for or name)
      if waits_for then
        if was == 'pending' then
          redis.call('HSET', key, name, value)
        end
      elseif progress(value) > progress(was) then
        redis.call('HSET', key, name, value)
        if was == 'pending' then
          redis.call('HDEL', key, 'w:' .. name)
        end
      end
    end
  end
  if left < ttl then
    redis.call('PEXPIRE', key, ttl)
  end
  at = last + 1
end
return #KEYS
