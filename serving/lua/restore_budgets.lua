-- Opens budgets with what the ledger says was spent on them, unless something was charged since that was read.
--
-- KEYS[i] budget hash i, of a day, or of all days where its name ends with -1
-- ARGV[7i - 6] `spent` as it was read, empty for none   ARGV[7i - 5] what it has to be
-- ARGV[7i - 4] limit in micros, or `none`               ARGV[7i - 3] from_ms
-- ARGV[7i - 2] until_ms                                 ARGV[7i - 1] ttl_ms, 0 for ever
-- ARGV[7i] `1` if the campaign has a lifetime budget, too, so that nothing is sold unless that is open; empty if not; `=` as it was
--
-- Holds that are still there keep their money: `held` becomes their sum. Repeating it changes nothing. Where a campaign has no
-- lifetime budget any more, that has no limit from now on, and goes on to count what is spent.
--
-- Returns a number per budget: 1 it is open and right, 0 it was charged meanwhile and is as it was.

local reply = {}
for i, key in ipairs(KEYS) do
  local was, spent, limit, from_ms, until_ms, ttl_ms, total = unpack(ARGV, 7 * i - 6, 7 * i)
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
    if total == '1' then
      redis.call('HSET', key, 'total', 1)
    elseif total == '' and redis.call('HDEL', key, 'total') == 1 then
      redis.call('HSET', string.gsub(key, ':%d+$', ':-1'), 'limit', 'none')
    end
    if ttl_ms ~= '0' then
      redis.call('PEXPIRE', key, ttl_ms)
    end
    reply[i] = 1
  end
end
return reply
