-- Reads many budgets in one reply.
--
-- KEYS[i] budget hash of campaign i
--
-- Returns spent + held of each, in the order of KEYS, as strings.

local used = {}
for i, key in ipairs(KEYS) do
  local budget = redis.call('HMGET', key, 'spent', 'held')
  used[i] = string.format('%.0f', tonumber(budget[1] or 0) + tonumber(budget[2] or 0))
end
return used
