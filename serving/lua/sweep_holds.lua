-- Gives expired holds of a partition back to their budgets, each exactly once: whoever removes the member also lowers `held`.
--
-- KEYS[1] sorted set of live holds; score is the expiry in ms
-- ARGV[1] now_ms, or empty: the time of Redis   ARGV[2] most holds to give back in this call
-- ARGV[3] what the names of the partition's budget keys start with (domain.keys.Keys.budget_prefix)
--
-- Members are `campaign|day|decision` (domain.keys.hold_member). The budget hashes are known only from them and so are not in
-- KEYS; they carry the hash tag of KEYS[1], hence live in the same slot of a Redis Cluster.
--
-- Returns how many holds were given back.

local now = ARGV[1]
if now == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local swept = 0
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZREM', KEYS[1], member)
  local campaign, day, decision = string.match(member, '^([^|]+)|(%d+)|(.*)$')
  if campaign then -- what is not a hold is dropped, or it would be met again at every sweep
    local budget, field = ARGV[3] .. campaign .. ':' .. day, 'h:' .. decision
    -- A budget that is gone is gone with its holds.
    local micros = redis.call('HGET', budget, field)
    if micros then
      redis.call('HINCRBY', budget, 'held', '-' .. micros)
      redis.call('HDEL', budget, field)
    end
  end
  swept = swept + 1
end
return swept
