-- Gives impressions back what was remembered of them, from the log, and for no shorter time than they are remembered already.
--
-- KEYS[i] hash of what was accepted of impression i
-- ARGV    for each: ttl_ms, how many fields are set, how many are removed, then name and value of the former, then names of the latter
--
-- Repeating it changes nothing. Returns how many impressions these were.

local at = 1
for _, key in ipairs(KEYS) do
  local ttl, n_set, n_gone = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local first = at + 3
  local gone = first + 2 * n_set
  for i = first, gone - 1, 2 do
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
  for i = gone, gone + n_gone - 1 do
    redis.call('HDEL', key, ARGV[i])
  end
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, ttl)
  end
  at = gone + n_gone
end
return #KEYS
