-- Takes what the sweep shall publish, and moves its next wake-up.
-- ARGV: now, the time of the next wake-up, a limit, the time until which wake-ups are looked for.
-- Returns for each lane {ids, scheduled}, the ids oldest first; `scheduled` are the records of those that must become
-- queued.

local now, again_at, room, wake_up_until = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local function take(lane)
    local ids = redis.call('ZRANGEBYSCORE', P .. 'wake:' .. lane, '-inf', wake_up_until, 'LIMIT', 0, room)
    local due, waiting, scheduled = look_up('ZMSCORE', 'due:' .. lane, ids), {}, {}
    for id, moment in pairs(due) do due[id] = tonumber(moment) end
    for _, id in ipairs(ids) do
        if due[id] <= tonumber(now) then
            waiting[#waiting + 1] = id
            change('ZADD', 'wake:' .. lane, again_at, id)
            if parts(redis.call('HGET', P .. 'states', id)) == 'scheduled' then scheduled[#scheduled + 1] = id end
        end
    end
    table.sort(waiting, function(a, b)
        if due[a] ~= due[b] then return due[a] < due[b] end
        return a < b
    end)
    room = room - #waiting
    return {waiting, records(scheduled)}
end

local lanes = {}
for i, lane in ipairs({'urgent', 'normal', 'bulk'}) do
    lanes[i] = room > 0 and take(lane) or {{}, {}}
end
write_changes()
return lanes
