-- Takes the lead, or keeps it: the lock is free, or the caller already has it.
--
-- KEYS[1] lock
-- ARGV[1] name of the caller   ARGV[2] ttl_ms, after which a leader that no longer calls has lost it
--
-- Returns 1 if the caller leads now, 2 if it led already, 0 if another does.

if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 2
end
return 0
