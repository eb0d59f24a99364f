-- Takes a charge back once, and appends the adjustment: what was found invalid later is as if it had never been charged.
--
-- KEYS[1] budget hash of the day that was charged   KEYS[2] hash of what was accepted of the impression
-- KEYS[3] stream of the partition's events
-- ARGV[1] event_id of what was charged   ARGV[2] micros to take back
-- ARGV[3] field of the conversion that was charged, and ARGV[4] of its return, which would give it back a second time; else empty
-- ARGV[5] remember_ms, how long it is remembered that it was taken back
-- ARGV[6..] fields of the stream entry, name and value in turn, without `event_id`, `status` and `charged_micros`
--
-- Returns 1 if it was taken back, 0 if that was done before, or the conversion was returned.
--
-- A budget that has outlived its use is gone for good: the entry is appended all the same. Where the campaign has a lifetime budget,
-- the charge is taken off that, too.

local done = 'a:' .. ARGV[1]
if redis.call('HEXISTS', KEYS[2], done) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[4]) == 1 then
  return 0
end
redis.call('HSET', KEYS[2], done, '-' .. ARGV[2])
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[4], 0)
end
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'spent', '-' .. ARGV[2])
end
local total = string.gsub(KEYS[1], ':%d+$', ':-1')
if redis.call('EXISTS', total) == 1 then
  redis.call('HINCRBY', total, 'spent', '-' .. ARGV[2])
end
local entry = {'event_id', ARGV[1], 'status', 'returned', 'charged_micros', '-' .. ARGV[2]}
for i = 6, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call('XADD', KEYS[3], '*', unpack(entry))
return 1
