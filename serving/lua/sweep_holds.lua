-- Gives expired holds back to their budgets, each exactly once: whoever removes the member also lowers `held`.
--
-- KEYS[1] sorted set of live holds; score is the expiry in ms
-- ARGV[1] now_ms
-- ARGV[2] most holds to give back in this call
-- ARGV[3] what the names of budget keys start with (domain.keys.Keys.budget_prefix)
--
-- Members are `campaign|day|micros|impression` (domain.keys.hold_member). The budget hashes are known only from them and so
-- are not in KEYS; they carry the hash tag of KEYS[1], hence live in the same slot of a Redis Cluster.
--
-- Returns how many holds were given back.

local swept = 0
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  redis.call('ZREM', KEYS[1], member)
  local campaign, day, micros = string.match(member, '^([^|]+)|(%d+)|(%d+)|')
  if campaign then -- what is not a hold is dropped, or it would be met again at every sweep
    local budget = ARGV[3] .. campaign .. ':' .. day
    -- A budget that has outlived its use is gone for good; a new hash with a negative `held` must not take its place.
    if redis.call('EXISTS', budget) == 1 then
      redis.call('HINCRBY', budget, 'held', '-' .. micros)
    end
  end
  swept = swept + 1
end
return swept
