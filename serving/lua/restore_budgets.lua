-- Opens budgets with what the ledger says was spent on them, unless something was charged since that was read.
--
-- KEYS[i] budget hash i
-- ARGV[6i - 5] `spent` as it was read, empty for none   ARGV[6i - 4] what it has to be
-- ARGV[6i - 3] limit in micros, or `none`               ARGV[6i - 2] from_ms
-- ARGV[6i - 1] until_ms                                 ARGV[6i] ttl_ms
--
-- Holds that are still there keep their money: `held` becomes their sum. Repeating it changes nothing.
--
-- Returns a number per budget: 1 it is open and right, 0 it was charged meanwhile and is as it was.

local reply = {}
for i, key in ipairs(KEYS) do
  local was, spent, limit, from_ms, until_ms, ttl_ms = unpack(ARGV, 6 * i - 5, 6 * i)
  if (redis.call('HGET', key, 'spent') or '') ~= was then
    reply[i] = 0
  else
    local held, all = 0, redis.call('HGETALL', key)
    for f = 1, #all, 2 do
      if string.sub(all[f], 1, 2) == 'h:' then
        held = held + tonumber(all[f + 1])
      end
    end
    redis.call('HSET', key, 'limit', limit, 'spent', spent, 'held', string.format('%.0f', held), 'from_ms', from_ms, 'until_ms', until_ms)
    redis.call('PEXPIRE', key, ttl_ms)
    reply[i] = 1
  end
end
return reply
