-- Appends a batch of decisions to the stream once, however often the batch is sent.
--
-- KEYS[1] stream of decisions   KEYS[2] number of the last batch this sender appended
-- ARGV[1] number of this batch, counted up by the sender   ARGV[2] sender_ttl_ms
-- ARGV[3] most entries the stream keeps, approximately     ARGV[4..] one JSON decision each
--
-- Returns 1 if this call appended them, 0 if an earlier one did.

if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[2]) or 0) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
for i = 4, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'd', ARGV[i])
end
return 1
