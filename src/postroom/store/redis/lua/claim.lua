-- Gives emails that are due, unheld and within their deadline to one worker, as many as fit into one answer.
-- ARGV: now, lease_until, token, worker, then a limit and how many lanes to look through, and these lanes; or 0, how
-- many ids, and these ids. Returns how many lanes or ids were gone through to their end, then id and claim of each email
-- claimed; the claim is '' where the state makes no sense: such an email is put off, and stays unclaimed.

local MOST_BYTES = 1024 * 1024  -- also a slow link carries as much while the caller waits
local PAUSE = 60000  -- for what makes no sense
local FURTHER = 100  -- looked at together, behind those that were put off

local now, lease_until, token, worker, limit = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local named = {unpack(ARGV, 7)}
local claim = joined(token, lease_until, '0', ARGV[1], worker) .. '\0'
local reply, claimed, bytes = {}, 0, 0
local any_lapsed = redis.call('EXISTS', P .. 'lapsed') == 1

-- Claims an email that is due and unheld in this lane, unless its deadline has passed.
local function take(id, state, found_in)
    local status, _, expires, size, lane = parts(state or '')
    expires, size = tonumber(expires), tonumber(size)
    if not (expires and size and WAITING[status] and lane == found_in) then
        claimed = claimed + 1
        reply[2 * claimed], reply[2 * claimed + 1] = id, ''
        return put_off(id, found_in, now + PAUSE)
    end
    if expires <= now then return put_off(id, found_in, now + PUT_OFF_FOR) end
    claimed, bytes = claimed + 1, bytes + size
    reply[2 * claimed], reply[2 * claimed + 1] = id, claim .. state
    change('HSET', 'claims', id, claim .. state)
    if any_lapsed then change('HDEL', 'lapsed', id) end
    put_in_row('leases', lease_until, id)
    stop_waiting(id, lane)
    count(status, -1)
    count('sending', 1)
end

-- Behind emails past their deadline it looks further.
local function take_from(lane)
    local offset, room = 0, limit - claimed
    while claimed < limit and bytes < MOST_BYTES and offset <= PUT_OFF_AT_ONCE do
        local ids = redis.call('ZRANGEBYSCORE', P .. 'due:' .. lane, '-inf', now, 'LIMIT', offset, room)
        if #ids == 0 then return end
        local states = look_up('HMGET', 'states', ids)
        for _, id in ipairs(ids) do
            if claimed < limit and bytes < MOST_BYTES then take(id, states[id], lane) end
        end
        offset, room = offset + #ids, FURTHER
    end
end

-- The lane of each of these ids that is due and unheld.
local function waiting(ids)
    local found, missing = {}, ids
    for _, lane in ipairs({'normal', 'urgent', 'bulk'}) do
        local due, rest = look_up('ZMSCORE', 'due:' .. lane, missing), {}
        for _, id in ipairs(missing) do
            if not due[id] then
                rest[#rest + 1] = id
            elseif tonumber(due[id]) <= now then
                found[id] = lane
            end
        end
        missing = rest
    end
    return found
end

local done, free, states = 0, {}, {}
if limit == 0 then
    free, states = waiting(named), look_up('HMGET', 'states', named)
end
while done < #named and bytes < MOST_BYTES do
    local name = named[done + 1]
    if limit > 0 then
        take_from(name)
        if bytes >= MOST_BYTES then break end  -- there may be more in this lane
    elseif free[name] then
        take(name, states[name], free[name])
        free[name] = nil
    end
    done = done + 1
end
write_changes()
reply[1] = done
return reply
