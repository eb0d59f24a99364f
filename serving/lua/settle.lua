-- Accepts what happened to an impression, once each, moves its money and appends it to the event stream: all or nothing.
--
-- A billed event turns the live hold into spend. Once the hold has expired it is charged only where the budget of its day still
-- has room, else it is free. A click counts for an impression that was reported, a conversion for a click: one that comes before
-- what it needs is pending, and charged when that is reported. A conversion that finds no room in the budget of its day is charged
-- to that of a later day up to today, and where all are spent waits for another (post_due.lua): a budget is never overspent.
-- Neither is the campaign's lifetime budget, on which every charge counts, whatever its day.
--
-- KEYS[1] budget hash of the decision's day   KEYS[2] sorted set of the live holds of its partition
-- KEYS[3] hash of what was accepted of the impression   KEYS[4] stream of the partition's events
-- KEYS[5] list of conversions of the campaign that wait for room
-- ARGV[1] type: impression, click, conversion, return or correction   ARGV[2] now_ms, or empty: the time of Redis   ARGV[3] day_length_ms
-- ARGV[4] hold member `campaign|day|decision`   ARGV[5] type that is billed   ARGV[6] price_micros
-- ARGV[7] pending_micros: what a click is expected to charge by its conversions, 0 unless those are billed
-- ARGV[8] decay_ms, mean time from a click to its conversion where the budget does not say it
-- ARGV[9] hold_ttl_ms, how long an impression keeps the hold for its click
-- ARGV[10] `1` if a click needs an impression   ARGV[11] conversion_window_ms, from the click
-- ARGV[12] remember_ms, how long the impression is remembered from now   ARGV[13] budget_ttl_ms
-- ARGV[14] time_ms, when it happened   ARGV[15] event_id   ARGV[16] order_id, or empty
-- ARGV[17] why it is invalid, or empty   ARGV[18] how many days back holds may be live   ARGV[19..] further fields of the stream entry, name and value in turn
--
-- Returns {status, charged_micros}; the statuses are those of domain.events.EventStatus, or `closed`: the budget is not open, and
-- nothing was done.

local MOST_DAYS = 31
local kind, member, billed, price = ARGV[1], ARGV[4], ARGV[5], tonumber(ARGV[6])
local campaign, day, decision = string.match(member, '^([^|]+)|(%d+)|(.*)$')
local hold = 'h:' .. decision
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function budget_of(a_day)
  return (string.gsub(KEYS[1], ':%d+$', ':' .. a_day))
end

local total = budget_of('-1')
local counts = redis.call('EXISTS', total) == 1
local of_day = redis.call('HMGET', KEYS[1], 'limit', 'total')
if not of_day[1] or (of_day[2] and redis.call('HEXISTS', total, 'limit') == 0) then
  return {'closed', 0}
end

-- What is left over all days, but for what is held.
local function left_in_all()
  local b = counts and redis.call('HMGET', total, 'limit', 'spent') or {}
  if not b[1] or b[1] == 'none' then
    return 2 ^ 53
  end
  return tonumber(b[1]) - tonumber(b[2] or 0)
end

local function held_of_all()
  local held = 0
  for other = day - ARGV[18], day + 2 do
    held = held + tonumber(redis.call('HGET', budget_of(string.format('%.0f', other)), 'held') or 0)
  end
  return held
end

local function emit(as, status, charged, on, event_id, time_ms, reason, order)
  local at_stake = (as == 'charge' and reason or as) == billed and price or 0
  local entry = {'type', as, 'status', status, 'charged_micros', charged, 'day', on, 'event_id', event_id, 'time_ms', time_ms,
    'reason', reason, 'order_id', order, 'price_micros', string.format('%.0f', at_stake)}
  for i = 19, #ARGV do
    entry[#entry + 1] = ARGV[i]
  end
  redis.call('XADD', KEYS[4], '*', unpack(entry))
end

local function spend(key)
  redis.call('HINCRBY', key, 'spent', ARGV[6])
  redis.call('PEXPIRE', key, ARGV[13])
  if counts then
    redis.call('HINCRBY', total, 'spent', ARGV[6])
  end
end

local function give_back()
  local micros = redis.call('HGET', KEYS[1], hold)
  redis.call('ZREM', KEYS[2], member)
  if micros then
    redis.call('HINCRBY', KEYS[1], 'held', '-' .. micros)
    redis.call('HDEL', KEYS[1], hold)
  end
end

-- What was held hard: an impression or a click, at its price.
local function charge_held()
  local live = tonumber(redis.call('ZSCORE', KEYS[2], member) or 0) > now
  local reserved = live and tonumber(redis.call('HGET', KEYS[1], hold) or 0) or 0
  give_back()
  if price == 0 then
    return 'settled', 0, day
  end
  if reserved >= price then
    spend(KEYS[1])
    return 'settled', price, day
  end
  local b = redis.call('HMGET', KEYS[1], 'limit', 'spent', 'held')
  local left = left_in_all()
  if (b[1] == 'none' or price <= tonumber(b[1]) - tonumber(b[2] or 0) - tonumber(b[3] or 0))
    and (left == 2 ^ 53 or price <= left - held_of_all()) then
    spend(KEYS[1])
    return (b[1] == 'none' and left == 2 ^ 53) and 'settled' or 'late_settled', price, day
  end
  return 'late_free', 0, day
end

-- What was held by its expectation: a conversion. Only what is spent can stand in its way.
local function charge_expected(event_id, time_ms, order)
  -- Somewhere it is a day later than by UTC; a day that has not begun there is none yet.
  local days, last = {day}, math.floor(now / tonumber(ARGV[3])) + 1
  for later = math.max(tonumber(day) + 1, last - MOST_DAYS), last do
    days[#days + 1] = string.format('%.0f', later)
  end
  for _, on in ipairs(price <= left_in_all() and days or {}) do
    local key = budget_of(on)
    local b = redis.call('HMGET', key, 'limit', 'spent', 'from_ms')
    if b[1] and (on == day or tonumber(b[3]) <= now) and (b[1] == 'none' or price <= tonumber(b[1]) - tonumber(b[2] or 0)) then
      if price > 0 then
        spend(key)
      end
      return 'settled', price, on
    end
  end
  local entry = {price, event_id, time_ms, order, KEYS[3]}
  for i = 19, #ARGV do
    entry[#entry + 1] = ARGV[i]
  end
  redis.call('RPUSH', KEYS[5], cjson.encode(entry))
  redis.call('PEXPIRE', KEYS[5], ARGV[13])
  return 'pending', 0, day
end

-- Decides an event, as far as what it needs is there, and remembers it. Returns status, charged, budget day, what it waits for.
local function accept(what, field, event_id, time_ms, order)
  local status, charged, on = 'logged', 0, day
  local waits = false
  if what == 'click' then
    waits = ARGV[10] == '1' and redis.call('HEXISTS', KEYS[3], 'impression') == 0
  elseif what == 'conversion' then
    local clicked_ms = redis.call('HGET', KEYS[3], 'click_ms')
    waits = not clicked_ms
    if clicked_ms then
      local delay_ms = math.max(tonumber(time_ms) - tonumber(clicked_ms), 0)
      if delay_ms > tonumber(ARGV[11]) then
        status = 'expired'
      else -- the pacer learns from it how long clicks have to be waited for
        redis.call('HINCRBY', KEYS[1], 'delay_ms', string.format('%.0f', delay_ms))
        redis.call('HINCRBY', KEYS[1], 'delays', 1)
      end
    end
  end
  if waits then
    redis.call('HSET', KEYS[3], field, 'pending', 'w:' .. field, time_ms .. '|' .. event_id)
    return 'pending', 0, day, what == 'click' and 'impression' or 'click'
  end
  if status == 'logged' and what == billed then
    if what == 'conversion' then
      status, charged, on = charge_expected(event_id, time_ms, order)
    else
      status, charged, on = charge_held()
    end
  elseif what == 'impression' then
    local expiry = tonumber(redis.call('ZSCORE', KEYS[2], member) or 0)
    if expiry > now then
      redis.call('ZADD', KEYS[2], 'XX', 'GT', now + tonumber(ARGV[9]), member)
    end
  elseif what == 'click' and tonumber(ARGV[7]) > 0 then
    give_back()
    local b = redis.call('HMGET', KEYS[1], 'pending', 'pending_ms', 'decay_ms')
    local pending = tonumber(b[1] or 0) * math.exp(math.min(tonumber(b[2] or now) - now, 0) / tonumber(b[3] or ARGV[8]))
    pending = string.format('%.3f', pending + tonumber(ARGV[7]))
    redis.call('HSET', KEYS[1], 'pending', pending, 'pending_ms', string.format('%.0f', now))
  end
  redis.call('HSET', KEYS[3], field, string.format('%.0f', charged))
  if what == 'click' then
    redis.call('HSET', KEYS[3], 'click_ms', time_ms)
  elseif charged > 0 and what == 'conversion' then
    redis.call('HSET', KEYS[3], 'd:' .. field, on)
  end
  return status, charged, on, status == 'pending' and 'budget' or ''
end

-- What waited for an event that has now been accepted.
local function accept_waiting(what, field)
  local waited = redis.call('HGET', KEYS[3], 'w:' .. field)
  if waited then
    local time_ms, event_id = string.match(waited, '^(%d+)|(.*)$')
    local order = string.match(field, '^conversion:(.*)$') or ''
    redis.call('HDEL', KEYS[3], 'w:' .. field)
    local status, charged, on = accept(what, field, event_id, time_ms, order)
    emit('charge', status, charged, on, event_id, time_ms, what, order)
  end
end

local function remember()
  if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[12]) then
    redis.call('PEXPIRE', KEYS[3], ARGV[12])
  end
end

local field = kind
if kind == 'conversion' or kind == 'return' or kind == 'correction' then
  field = ARGV[16] ~= '' and kind .. ':' .. ARGV[16] or kind
end
-- Invalid traffic is marked beside, so that what a shopper does after a robot counts.
local seen = ARGV[17] == '' and field or 'x:' .. field
local before = redis.call('HGET', KEYS[3], seen)
-- A correction may be corrected: it is a duplicate only of the last one.
if before and (kind ~= 'correction' or ARGV[17] ~= '' or before == ARGV[15]) then
  return {'duplicate', 0}
end

local status, charged, on, reason = 'invalid', 0, day, ARGV[17]
if ARGV[17] ~= '' then
  redis.call('HSET', KEYS[3], seen, 0)
elseif kind == 'return' then
  local sold = string.gsub(field, '^return', 'conversion')
  local price_paid, paid_on = unpack(redis.call('HMGET', KEYS[3], sold, 'd:' .. sold))
  status = 'logged'
  if paid_on then
    status, charged, on = 'returned', -tonumber(price_paid), paid_on
    redis.call('HINCRBY', budget_of(paid_on), 'spent', string.format('%.0f', charged))
    if counts then
      redis.call('HINCRBY', total, 'spent', string.format('%.0f', charged))
    end
  end
  redis.call('HSET', KEYS[3], seen, string.format('%.0f', charged))
elseif kind == 'correction' then
  status = 'logged'
  redis.call('HSET', KEYS[3], seen, ARGV[15])
else
  status, charged, on, reason = accept(kind, field, ARGV[15], ARGV[14], ARGV[16])
end
remember()
emit(kind, status, charged, on, ARGV[15], ARGV[14], reason, ARGV[16])

if status ~= 'invalid' and status ~= 'pending' then
  if kind == 'impression' then
    accept_waiting('click', 'click')
  end
  if redis.call('HEXISTS', KEYS[3], 'click_ms') == 1 and (kind == 'impression' or kind == 'click') then
    for _, other in ipairs(redis.call('HKEYS', KEYS[3])) do
      local waiting = string.match(other, '^w:(conversion.*)$')
      if waiting then
        accept_waiting('conversion', waiting)
      end
    end
  end
end
return {status, charged}
