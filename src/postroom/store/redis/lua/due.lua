-- Takes what the sweep shall publish, and moves its next wake-up.
-- ARGV: now, the time of the next wake-up, a limit, the time until which wake-ups are looked for.
-- Returns for each lane {ids, records, expired}, the ids oldest first; the records are of emails that must become queued,
-- and of those whose state makes no sense, which are not among the ids; nor are those past their deadline, which are put
-- off, `expired` in number.

local now, again_at, room, wake_up_until = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

-- What does not wait, or is due later, is passed over, and what is behind it is looked at, too.
local function take(lane)
    local waiting, looked_at, due, expired, offset = {}, {}, {}, 0, 0
    repeat
        local asked = room - #waiting - expired
        local ids = redis.call('ZRANGEBYSCORE', P .. 'wake:' .. lane, '-inf', wake_up_until, 'LIMIT', offset, asked)
        for id, moment in pairs(look_up('ZMSCORE', 'due:' .. lane, ids)) do due[id] = tonumber(moment) end
        for _, id in ipairs(ids) do
            if not due[id] then
                change('ZADD', 'wake:' .. lane, again_at, id)  -- it does not wait: out of the way of those that do
            elseif due[id] <= tonumber(now) then
                local status, _, expires = parts(redis.call('HGET', P .. 'states', id) or '')
                if WAITING[status] and (tonumber(expires) or math.huge) <= tonumber(now) then
                    expired = expired + 1
                    put_off(id, lane, tonumber(now) + PUT_OFF_FOR)
                else
                    change('ZADD', 'wake:' .. lane, again_at, id)
                    if WAITING[status] then waiting[#waiting + 1] = id end
                    if status == 'scheduled' or not WAITING[status] then looked_at[#looked_at + 1] = id end
                end
            end
        end
        offset = offset + #ids
    until #ids < asked or #waiting + expired == room
    table.sort(waiting, function(a, b)
        if due[a] ~= due[b] then return due[a] < due[b] end
        return a < b
    end)
    room = room - #waiting - expired
    return {waiting, records(looked_at), expired}
end

local lanes = {}
for i, lane in ipairs({'urgent', 'normal', 'bulk'}) do
    lanes[i] = room > 0 and take(lane) or {{}, {}, 0}
end
write_changes()
return lanes
