-- Gives up the lead, so that the next one need not wait for the lock to expire; changes nothing if another leads.
--
-- KEYS[1] lock
-- ARGV[1] name of the caller
--
-- Returns 1 if the caller led, else 0.

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
