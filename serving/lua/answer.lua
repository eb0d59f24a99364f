-- Puts the answer to a request in the place of the claim under which it was made, or gives the claim up.
--
-- KEYS[1] answer key
-- ARGV[1] the claim   ARGV[2] the answer, or empty to give the claim up   ARGV[3] ttl of the answer in ms
--
-- Returns what is kept from now on: ARGV[2]; or what another gateway put there after the claim had expired; or nothing.

local kept = redis.call('GET', KEYS[1])
if kept and kept ~= ARGV[1] then
  return kept
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
  return false
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ARGV[2]
