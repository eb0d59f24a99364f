-- Reserves a shopper's frequency caps for one page: an offer on a page that is not reported yet counts like one that was seen.
--   seen today + shown on other pages and not reported yet < cap
--
-- KEYS[1] shopper hash   KEYS[2] sorted set of what the shopper was shown and has not reported: `campaign|decision`, score the expiry
-- ARGV[1] now_ms, or empty: the time of Redis   ARGV[2] ttl_ms, how long a page counts that reports nothing   ARGV[3] decision id
-- ARGV[2 + 2i] cap of campaign i   ARGV[3 + 2i] field of the shopper hash that counts it, `cap:<campaign>:<day>`
--
-- Returns 1 per campaign if it may be shown, else 0. Repeated for the same decision, it changes nothing.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)

local shown = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local campaign, decision = string.match(member, '^([^|]*)|(.*)$')
  if decision ~= ARGV[3] then
    shown[campaign] = (shown[campaign] or 0) + 1
  end
end

local reply = {}
for i = 1, (#ARGV - 3) / 2 do
  local cap, field = tonumber(ARGV[2 + 2 * i]), ARGV[3 + 2 * i]
  local campaign = string.match(field, '^cap:(.*):%d+$')
  if tonumber(redis.call('HGET', KEYS[1], field) or 0) + (shown[campaign] or 0) < cap then
    redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), campaign .. '|' .. ARGV[3])
    reply[i] = 1
  else
    reply[i] = 0
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return reply
