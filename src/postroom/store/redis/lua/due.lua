-- Takes what the sweep shall publish, and moves its next wake-up.
-- ARGV: now, the time of the next wake-up, a limit, the fields to bring of scheduled emails.
-- Returns for each lane {ids, scheduled}, the ids oldest first; `scheduled` has {id, fields…} of those that must become
-- queued.

local now, again_at, room = ARGV[1], ARGV[2], tonumber(ARGV[3])
local fields = {unpack(ARGV, 4)}

local function oldest_first(a, b)
    if a.due ~= b.due then return a.due < b.due end
    return a.id < b.id
end

local function take(lane)
    local ids = redis.call('ZRANGEBYSCORE', P .. 'wake:' .. lane, '-inf', now, 'LIMIT', 0, room)
    local waiting, scheduled = {}, {}
    for _, id in ipairs(ids) do
        local due = tonumber(redis.call('ZSCORE', P .. 'due:' .. lane, id))
        if due <= tonumber(now) then
            waiting[#waiting + 1] = {id = id, due = due}
            add(P .. 'wake:' .. lane, again_at, id)
            if redis.call('HGET', P .. 'email:' .. id, 'status') == 'scheduled' then
                scheduled[#scheduled + 1] = {id, unpack(redis.call('HMGET', P .. 'email:' .. id, unpack(fields)))}
            end
        end
    end
    table.sort(waiting, oldest_first)
    room = room - #waiting
    for i, email in ipairs(waiting) do waiting[i] = email.id end
    return {waiting, scheduled}
end

local lanes = {}
for i, lane in ipairs({'urgent', 'normal', 'bulk'}) do
    lanes[i] = room > 0 and take(lane) or {{}, {}}
end
write_indexes()
return lanes
