-- Counts an accepted event for its shopper; an impression also towards the campaign's frequency cap of the budget day.
--
-- KEYS[1] shopper hash   KEYS[2] sorted set of what the shopper was shown and has not reported
-- ARGV[1] counter: impression, click or conversion
-- ARGV[2] field `cap:<campaign>:<day>`, or empty
-- ARGV[3] day
-- ARGV[4] ttl_ms, how long a shopper who does nothing more is remembered
-- ARGV[5] member `campaign|decision` of KEYS[2] that is reported now
--
-- Caps of days before yesterday are dropped when a new one begins, so the hash stays small; somewhere it is still yesterday.

redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('ZREM', KEYS[2], ARGV[5])
if ARGV[2] ~= '' and redis.call('HINCRBY', KEYS[1], ARGV[2], 1) == 1 then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local day = string.match(field, '^cap:.*:(%d+)$')
    if day and tonumber(day) < tonumber(ARGV[3]) - 1 then
      redis.call('HDEL', KEYS[1], field)
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
