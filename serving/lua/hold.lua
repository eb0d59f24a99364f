-- Reserves the prices of one page's winners, each only while its campaign's budget of the day has room for it:
--   spent + held + micros <= limit
-- Gives back some expired holds first, so that budgets recover even where no pacer runs.
--
-- KEYS[1]      sorted set of live holds; score is the expiry in ms
-- KEYS[1 + i]  budget hash (`spent`, `held`) of item i
-- ARGV[1]      now_ms
-- ARGV[2]      expires_ms, of the new holds
-- ARGV[3]      budget_ttl_ms, how long a budget hash outlives its last use
-- ARGV[4]      most expired holds to give back
-- ARGV[5]      what the names of budget keys start with; those of swept holds are not in KEYS, but share their hash tag
-- ARGV[6]      `all`: hold nothing unless everything fits; `any`: hold what fits
-- ARGV[4 + 3i] limit, ARGV[5 + 3i] micros, ARGV[6 + 3i] member of item i
--
-- Returns one number per item: 1 fits (under `any`, and under `all` if every item does, it is now held), 0 no room.
-- An item that is held already fits and is not held twice, so a repeated call changes nothing.

local now = tonumber(ARGV[1])

for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[4])) do
  local campaign, day, micros = string.match(member, '^(.-)|(%d+)|(%d+)|')
  redis.call('ZREM', KEYS[1], member)
  if campaign then -- what is not a hold is dropped, or every sweep would meet it again
    local budget = ARGV[5] .. campaign .. ':' .. day
    if redis.call('EXISTS', budget) == 1 then
      redis.call('HINCRBY', budget, 'held', '-' .. micros)
    end
  end
end

local fits, fresh, taken = {}, {}, {}
local all_fit = true
for i = 1, #KEYS - 1 do
  local key, limit, micros, member = KEYS[1 + i], tonumber(ARGV[4 + 3 * i]), tonumber(ARGV[5 + 3 * i]), ARGV[6 + 3 * i]
  if redis.call('ZSCORE', KEYS[1], member) then
    fits[i] = 1
  else
    local budget = redis.call('HMGET', key, 'spent', 'held')
    -- Subtractions only: every difference stays within 2^53, where doubles are exact.
    local room = limit - tonumber(budget[1] or 0) - tonumber(budget[2] or 0) - (taken[key] or 0)
    if micros <= room then
      fits[i], fresh[i] = 1, true
      taken[key] = (taken[key] or 0) + micros
    else
      fits[i], all_fit = 0, false
    end
  end
end

if all_fit or ARGV[6] == 'any' then
  for i in pairs(fresh) do
    redis.call('HINCRBY', KEYS[1 + i], 'held', ARGV[5 + 3 * i])
    redis.call('PEXPIRE', KEYS[1 + i], ARGV[3])
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[6 + 3 * i])
  end
end
return fits
