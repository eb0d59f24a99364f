-- Accepts the dismissal of an impression once: gives its hold back unless the offer was clicked, and appends the event.
--
-- KEYS[1] budget hash of the decision's day   KEYS[2] sorted set of the live holds of its partition
-- KEYS[3] hash of what was accepted of the impression   KEYS[4] stream of the partition's events
-- ARGV[1] hold member `campaign|day|decision`   ARGV[2] remember_ms, how long the impression is remembered from now
-- ARGV[3..] fields of the stream entry, name and value in turn, without `status` and `charged_micros`
--
-- Returns {status, 0}: `released`, `logged` (clicked, or nothing was held any more), or `duplicate`.

if redis.call('HEXISTS', KEYS[3], 'dismiss') == 1 then
  return {'duplicate', 0}
end

local status = 'logged'
if redis.call('HEXISTS', KEYS[3], 'click') == 0 and redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then
  local field = 'h:' .. string.match(ARGV[1], '[^|]*$')
  redis.call('HINCRBY', KEYS[1], 'held', '-' .. (redis.call('HGET', KEYS[1], field) or 0))
  redis.call('HDEL', KEYS[1], field)
  status = 'released'
end

redis.call('HSET', KEYS[3], 'dismiss', 0)
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
end

local entry = {'status', status, 'charged_micros', 0}
for i = 3, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call('XADD', KEYS[4], '*', unpack(entry))
return {status, 0}
