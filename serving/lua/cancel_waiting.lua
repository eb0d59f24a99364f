-- Takes back a conversion that still waits for its click, since another impression of the same order has one.
--
-- KEYS[1] hash of what was accepted of the impression   ARGV[1] field of the conversion
--
-- Returns 1 if it waited, else 0: then it keeps the order.

if redis.call('HEXISTS', KEYS[1], 'w:' .. ARGV[1]) == 1 then
  redis.call('HDEL', KEYS[1], 'w:' .. ARGV[1], ARGV[1])
  return 1
end
return 0
