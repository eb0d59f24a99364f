-- Accepts an impression, click or conversion once, moves its money, and appends it to the event stream: all or nothing.
--
-- A billed event turns the live hold into spend. Once the hold has expired it is charged only where the budget of its day
-- still has room, else it is free. An event that is not billed changes no money; a click of a CPA offer keeps the hold longer.
--
-- KEYS[1] budget hash (`spent`, `held`)   KEYS[2] sorted set of live holds
-- KEYS[3] hash of the events seen for the impression, type -> micros charged   KEYS[4] stream of events
-- ARGV[1] type            ARGV[2] `1` if this type is billed   ARGV[3] now_ms
-- ARGV[4] hold member     ARGV[5] price_micros                 ARGV[6] daily budget in micros, or empty for none
-- ARGV[7] remember_ms, how long the impression's events are remembered from now
-- ARGV[8] budget_ttl_ms   ARGV[9] expiry in ms to extend the hold to, or empty
-- ARGV[10..] fields of the stream entry, name and value in turn, without `status` and `charged_micros`
--
-- Returns {status, charged_micros}; the statuses are those of domain.events.EventStatus.

if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
  return {'duplicate', 0}
end

local now, price = tonumber(ARGV[3]), tonumber(ARGV[5])
local expiry = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[4]) or 0)

local function give_back()
  redis.call('ZREM', KEYS[2], ARGV[4])
  redis.call('HINCRBY', KEYS[1], 'held', '-' .. ARGV[5])
end

if expiry > 0 and expiry <= now then
  give_back() -- expired, but not swept yet
end

local status, charged = 'logged', 0
if ARGV[2] == '1' then
  if expiry > now then
    give_back()
    status, charged = 'settled', price
  elseif ARGV[6] == '' then
    status, charged = 'settled', price -- without a budget nothing was held
  else
    local budget = redis.call('HMGET', KEYS[1], 'spent', 'held')
    local room = tonumber(ARGV[6]) - tonumber(budget[1] or 0) - tonumber(budget[2] or 0)
    if price <= room then
      status, charged = 'late_settled', price
    else
      status = 'late_free'
    end
  end
  if charged > 0 then
    redis.call('HINCRBY', KEYS[1], 'spent', ARGV[5])
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[8])
elseif ARGV[9] ~= '' and expiry > now then
  redis.call('ZADD', KEYS[2], 'XX', 'GT', ARGV[9], ARGV[4])
end

redis.call('HSET', KEYS[3], ARGV[1], charged)
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[7]) then
  redis.call('PEXPIRE', KEYS[3], ARGV[7])
end

local entry = {'status', status, 'charged_micros', charged}
for i = 10, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call('XADD', KEYS[4], '*', unpack(entry))
return {status, charged}
