-- Appends a batch of decisions to the stream once, however often the batch is sent, and keeps the stream below a size.
--
-- KEYS[1] stream of decisions   KEYS[2] number of the last batch this sender appended   KEYS[3] hash of the archiver
-- ARGV[1] number of this batch, counted up by the sender   ARGV[2] sender_ttl_ms
-- ARGV[3] most bytes the stream may take in memory; when it does, the oldest entries go
-- ARGV[4] field of the entries                             ARGV[5..] one decision each
--
-- Returns 1 if this call appended them, 0 if an earlier one did; and how many entries went that no archiver had taken.
--
-- MEMORY USAGE counts the stream's nodes of 4 kB and multiplies by the size of the first ones: a microsecond, whatever the length.

if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[2]) or 0) then
  return {0, 0}
end

local function less(a, b)
  local a_ms, a_seq = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_seq = string.match(b, '(%d+)-(%d+)')
  if tonumber(a_ms) ~= tonumber(b_ms) then
    return tonumber(a_ms) < tonumber(b_ms)
  end
  return tonumber(a_seq) < tonumber(b_seq)
end

-- Before anything is added: Redis refuses what would add to a full memory, but not what makes room.
local lost, limit = 0, tonumber(ARGV[3])
local bytes = redis.call('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 50)
if bytes and bytes > limit then
  local archived = redis.call('HGET', KEYS[3], 'decisions') or '0-0'
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local keep = math.floor(redis.call('XLEN', KEYS[1]) * limit / bytes)
  local gone = redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', keep)
  if oldest and less(archived, oldest[1]) then
    lost = gone
  end
end

redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
for i = 5, #ARGV do
  redis.call('XADD', KEYS[1], '*', ARGV[4], ARGV[i])
end
return {1, lost}
