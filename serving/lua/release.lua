-- Accepts the dismissal of an impression once: gives its hold back unless the offer was clicked, and appends the event.
--
-- KEYS[1] budget hash (`spent`, `held`)   KEYS[2] sorted set of live holds
-- KEYS[3] hash of the events seen for the impression, type -> micros charged   KEYS[4] stream of events
-- ARGV[1] hold member   ARGV[2] price_micros   ARGV[3] remember_ms, how long the impression's events are remembered from now
-- ARGV[4..] fields of the stream entry, name and value in turn, without `status` and `charged_micros`
--
-- Returns {status, 0}: `released`, `logged` (clicked, or nothing was held any more), or `duplicate`.

if redis.call('HEXISTS', KEYS[3], 'dismiss') == 1 then
  return {'duplicate', 0}
end

local status = 'logged'
if redis.call('HEXISTS', KEYS[3], 'click') == 0 and redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'held', '-' .. ARGV[2])
  status = 'released'
end

redis.call('HSET', KEYS[3], 'dismiss', 0)
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end

local entry = {'status', status, 'charged_micros', 0}
for i = 4, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call('XADD', KEYS[4], '*', unpack(entry))
return {status, 0}
