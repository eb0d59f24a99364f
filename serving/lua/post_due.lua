-- Charges conversions that found no room on their day to today's budget, oldest first, while it and the lifetime budget have room.
--
-- KEYS[1] list of the campaign's conversions that wait for room   KEYS[2] its budget hash of today
-- KEYS[3] stream of the partition's events
-- ARGV[1] day of KEYS[2]   ARGV[2] most conversions to charge in this call   ARGV[3] budget_ttl_ms
--
-- Each entry is what settle.lua left: price, event id, time_ms, order id, key of the impression, fields of the stream entry.
-- One whose order was returned meanwhile is dropped.
--
-- Returns how many left the list.

local limit = redis.call('HGET', KEYS[2], 'limit')
local total = string.gsub(KEYS[2], ':%d+$', ':-1')
local all = redis.call('HMGET', total, 'limit', 'spent')
if not limit or (not all[1] and redis.call('HEXISTS', KEYS[2], 'total') == 1) then
  return 0
end
local limited = all[1] and all[1] ~= 'none'

local left = 0
while left < tonumber(ARGV[2]) do
  local first = redis.call('LINDEX', KEYS[1], 0)
  if not first then
    break
  end
  local due = cjson.decode(first)
  local price, event_id, time_ms, order, impression = due[1], due[2], due[3], due[4], due[5]
  local suffix = order ~= '' and ':' .. order or ''
  if redis.call('HEXISTS', impression, 'return' .. suffix) == 0 then
    if limit ~= 'none' and price > tonumber(limit) - tonumber(redis.call('HGET', KEYS[2], 'spent') or 0) then
      break
    end
    if limited and price > tonumber(all[1]) - tonumber(redis.call('HGET', total, 'spent') or 0) then
      break
    end
    local micros = string.format('%.0f', price)
    redis.call('HINCRBY', KEYS[2], 'spent', micros)
    if all[1] or all[2] then
      redis.call('HINCRBY', total, 'spent', micros)
    end
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
    if redis.call('EXISTS', impression) == 1 then
      redis.call('HSET', impression, 'conversion' .. suffix, micros, 'd:conversion' .. suffix, ARGV[1])
    end
    local entry = {'type', 'charge', 'status', 'settled', 'charged_micros', micros, 'day', ARGV[1], 'event_id', event_id,
      'time_ms', time_ms, 'reason', 'conversion', 'order_id', order, 'price_micros', micros}
    for i = 6, #due do
      entry[#entry + 1] = due[i]
    end
    redis.call('XADD', KEYS[3], '*', unpack(entry))
  end
  redis.call('LPOP', KEYS[1])
  left = left + 1
end
return left
