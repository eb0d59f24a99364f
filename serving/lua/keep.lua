-- Lowers holds to what was really sold; 0 gives a hold back. Never raises one, so a repeated or late call changes nothing.
--
-- KEYS[2i - 1] budget hash of item i   KEYS[2i] sorted set of the live holds of its partition
-- ARGV[2i - 1] micros to keep          ARGV[2i] hold member `campaign|day|decision`
--
-- Returns how many holds changed.

local changed = 0
for i = 1, #KEYS / 2 do
  local key, keep, member = KEYS[2 * i - 1], tonumber(ARGV[2 * i - 1]), ARGV[2 * i]
  local field = 'h:' .. string.match(member, '[^|]*$')
  local held = tonumber(redis.call('HGET', key, field) or 0)
  if held > keep then
    redis.call('HINCRBY', key, 'held', string.format('%.0f', keep - held))
    if keep == 0 then
      redis.call('HDEL', key, field)
      redis.call('ZREM', KEYS[2 * i], member)
    else
      redis.call('HSET', key, field, string.format('%.0f', keep))
    end
    changed = changed + 1
  end
end
return changed
