-- Appends a batch of decisions to the stream once, however often the batch is sent.
--
-- KEYS[1] stream of decisions   KEYS[2] mark of the batch
-- ARGV[1] mark_ttl_ms   ARGV[2] most entries the stream keeps, approximately   ARGV[3..] one JSON decision each
--
-- Returns 1 if this call appended them, 0 if an earlier one did.

if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then
  return 0
end
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'd', ARGV[i])
end
return 1
