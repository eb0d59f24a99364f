-- Reserves money for one page, each item only while its campaign's budget of the day has room for it:
--   room = limit - spent - held - pending - owed + slack;  held <- held + micros, if micros <= room
-- All items or a part of them, each for itself: whoever asks sells with what was granted and keeps or gives back the rest (keep.lua).
--
-- KEYS[2i - 1] budget hash of item i   KEYS[2i] sorted set of the live holds of its partition; score is the expiry in ms
-- ARGV[1] now_ms, or empty: the time of Redis   ARGV[2] most expired holds to give back where there is no room
-- ARGV[3] decay_ms, mean time from a click to its conversion where the budget does not say it
-- ARGV[4i] micros, 0 to only ask for the room   ARGV[1 + 4i] hold member `campaign|day|decision`   ARGV[2 + 4i] ttl_ms of the hold
-- ARGV[3 + 4i] slack: price times the square of the number of standard deviations to sell beyond what is pending; 0 for none,
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

-- The room of a budget, nil where nothing is sold from it, with why; and what is held in `field`.
local function room_in(key, slack, field)
  local b = redis.call('HMGET', key, 'limit', 'spent', 'held', 'pending', 'pending_ms', 'from_ms', 'until_ms',
    'owed', 'before', 'decay_ms', field)
  local here = tonumber(b[11] or 0)
  if not b[1] then
    return nil, here, -1
  elseif now < tonumber(b[6]) or now >= tonumber(b[7]) then
    return nil, here, -2
  end
  if b[1] == 'none' then
    return MOST, here
  end
  -- Subtractions only: every difference stays within 2^53, where doubles are exact.
  local room = tonumber(b[1]) - tonumber(b[2] or 0) - tonumber(b[3] or 0)
  if slack ~= 0 then
    -- Clicks whose conversions may still come: of today, and of the days `before`, of which some have less room than is `owed`.
    local pending = tonumber(b[4] or 0) * math.exp(math.min(tonumber(b[5] or now) - now, 0) / tonumber(b[10] or ARGV[3]))
    local beyond = math.sqrt(math.abs(slack) * (pending + tonumber(b[9] or 0)))
    room = math.floor(room - pending - tonumber(b[8] or 0) + (slack < 0 and -beyond or beyond))
  end
  return room, here
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
  local micros, member, slack = tonumber(ARGV[4 * i]), ARGV[1 + 4 * i], tonumber(ARGV[3 + 4 * i])
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
      redis.call('ZADD', holds, now + tonumber(ARGV[2 + 4 * i]), member)
      room = room - more
    end
    reply[#reply + 1], reply[#reply + 2] = 1, math.max(room, 0)
  end
end
return reply
