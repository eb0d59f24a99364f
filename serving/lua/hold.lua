-- Reserves money for one page, each item only while its campaign's budget of the day has room for it:
--   room = limit - spent - held - pending - owed + slack;  held <- held + micros, if micros <= room
-- and of what is left of its lifetime budget, where the day's says that there is one: limit - spent - held of all days that may be.
-- All items or a part of them, each for itself: whoever asks sells with what was granted and keeps or gives back the rest (keep.lua).
--
-- KEYS[2i - 1] budget hash of item i   KEYS[2i] sorted set of the live holds of its partition; score is the expiry in ms
-- ARGV[1] now_ms, or empty: the time of Redis   ARGV[2] most expired holds to give back where there is no room
-- ARGV[3] decay_ms, mean time from a click to its conversion where the budget does not say it
-- ARGV[4] how many days back holds may be live
-- ARGV[1 + 4i] micros, 0 to only ask for the room   ARGV[2 + 4i] hold member `campaign|day|decision`   ARGV[3 + 4i] ttl_ms of the hold
-- ARGV[4 + 4i] slack: price times the square of the number of standard deviations to sell beyond what is pending; 0 for none,
--              negative to stay as far below (docs/pacing.md)
--
-- Returns two numbers per item: 1 held (or asked for 0), 0 no room, -1 the budget is not open, -2 it is not its day;
-- and the room that is left, 0 unless open.
-- An item that is held already is only topped up, so a repeated call changes nothing. Whoever opens a budget says how long it lives.

local MOST = 2 ^ 53
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What is left of a campaign's lifetime budget, nil where it is not open. An edited time zone may skip or repeat two dates.
local function left_in_all(key, held)
  local prefix, day = string.match(key, '^(.*:)(%d+)$')
  local b = redis.call('HMGET', prefix .. '-1', 'limit', 'spent')
  if not b[1] then
    return nil
  elseif b[1] == 'none' then
    return MOST
  end
  for other = day - ARGV[4], day + 2 do
    if other ~= tonumber(day) then
      held = held + tonumber(redis.call('HGET', prefix .. string.format('%.0f', other), 'held') or 0)
    end
  end
  return tonumber(b[1]) - tonumber(b[2] or 0) - held
end

-- The room of a budget, nil where nothing is sold from it, with why; and what is held in `field`.
local function room_in(key, slack, field)
  local b = redis.call('HMGET', key, 'limit', 'spent', 'held', 'pending', 'pending_ms', 'from_ms', 'until_ms',
    'owed', 'before', 'decay_ms', 'total', field)
  local here = tonumber(b[12] or 0)
  if not b[1] then
    return nil, here, -1
  elseif now < tonumber(b[6]) or now >= tonumber(b[7]) then
    return nil, here, -2
  end
  -- Subtractions only: every difference stays within 2^53, where doubles are exact.
  local held = tonumber(b[3] or 0)
  local room = b[1] == 'none' and MOST or tonumber(b[1]) - tonumber(b[2] or 0) - held
  local left = MOST
  if b[11] then
    left = left_in_all(key, held)
    if not left then
      return nil, here, -1
    end
  end
  if slack ~= 0 and (room < MOST or left < MOST) then
    -- Clicks whose conversions may still come: of today, and of the days `before`, of which some have less room than is `owed`.
    local pending = tonumber(b[4] or 0) * math.exp(math.min(tonumber(b[5] or now) - now, 0) / tonumber(b[10] or ARGV[3]))
    local beyond = math.sqrt(math.abs(slack) * (pending + tonumber(b[9] or 0)))
    beyond = slack < 0 and -beyond or beyond
    room = room < MOST and math.floor(room - pending - tonumber(b[8] or 0) + beyond) or room
    left = left < MOST and math.floor(left - pending - tonumber(b[9] or 0) + beyond) or left
  end
  return math.min(room, left), here
end

local function sweep(holds)
  local budgets = string.gsub(holds, 'holds$', 'budget:')
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    redis.call('ZREM', holds, member)
    local campaign, day, decision = string.match(member, '^(.-)|(%d+)|(.*)$')
    if campaign then
      local key, field = budgets .. campaign .. ':' .. day, 'h:' .. decision
      local micros = redis.call('HGET', key, field)
      if micros then
        redis.call('HINCRBY', key, 'held', '-' .. micros)
        redis.call('HDEL', key, field)
      end
    end
  end
end

local reply = {}
for i = 1, #KEYS / 2 do
  local key, holds = KEYS[2 * i - 1], KEYS[2 * i]
  local micros, member, slack = tonumber(ARGV[1 + 4 * i]), ARGV[2 + 4 * i], tonumber(ARGV[4 + 4 * i])
  local field = 'h:' .. string.match(member, '[^|]*$')
  local room, here, refusal = room_in(key, slack, field)
  if room and micros - here > room then
    sweep(holds)
    room, here = room_in(key, slack, field)
  end
  local more = micros - here
  if not room then
    reply[#reply + 1], reply[#reply + 2] = refusal, 0
  elseif more > room then
    reply[#reply + 1], reply[#reply + 2] = 0, math.max(room, 0)
  else
    if more > 0 and room < MOST then
      redis.call('HINCRBY', key, 'held', string.format('%.0f', more))
      redis.call('HINCRBY', key, field, string.format('%.0f', more))
      redis.call('ZADD', holds, now + tonumber(ARGV[3 + 4 * i]), member)
      room = room - more
    end
    reply[#reply + 1], reply[#reply + 2] = 1, math.max(room, 0)
  end
end
return reply
