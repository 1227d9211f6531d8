-- Gives emails that are due, unheld and within their deadline to one worker, as many as fit into one answer.
-- ARGV: now, lease_until, token, worker, then a limit and how many lanes to look through, and these lanes; or 0, how
-- many ids, and these ids. Returns how many lanes or ids were gone through to their end, then id and claim of each email
-- claimed.

local MOST_BYTES = 1024 * 1024  -- also a slow link carries as much while the caller waits

local now, lease_until, token, worker, limit = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local named = {unpack(ARGV, 7)}
local claim = joined(token, lease_until, '0', ARGV[1], worker) .. '\0'
local reply, claimed, bytes = {}, 0, 0
local any_lapsed = redis.call('EXISTS', P .. 'lapsed') == 1

-- Claims an email that is due and unheld, unless its deadline has passed.
local function take(id, state)
    local status, _, expires, size, lane = parts(state)
    if tonumber(expires) <= now then return end
    claimed, bytes = claimed + 1, bytes + tonumber(size)
    reply[2 * claimed], reply[2 * claimed + 1] = id, claim .. state
    change('HSET', 'claims', id, claim .. state)
    if any_lapsed then change('HDEL', 'lapsed', id) end
    put_in_row('leases', lease_until, id)
    stop_waiting(id, lane)
    count(status, -1)
    count('sending', 1)
end

-- Emails past their deadline stay in the way until the sweep has failed them: look a little further.
local function take_from(lane)
    local offset, looks = 0, 0
    while claimed < limit and bytes < MOST_BYTES and looks < 10 do
        local ids = redis.call('ZRANGEBYSCORE', P .. 'due:' .. lane, '-inf', now, 'LIMIT', offset, limit - claimed)
        if #ids == 0 then return end
        local states = look_up('HMGET', 'states', ids)
        for _, id in ipairs(ids) do
            if bytes < MOST_BYTES then take(id, states[id]) end
        end
        offset, looks = offset + #ids, looks + 1
    end
end

-- Of these ids, those that are due and unheld: the keys of what is returned.
local function waiting(ids)
    local found, missing = {}, ids
    for _, lane in ipairs({'normal', 'urgent', 'bulk'}) do
        local due, rest = look_up('ZMSCORE', 'due:' .. lane, missing), {}
        for _, id in ipairs(missing) do
            if not due[id] then
                rest[#rest + 1] = id
            elseif tonumber(due[id]) <= now then
                found[id] = true
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
        free[name] = nil
        take(name, states[name])
    end
    done = done + 1
end
write_changes()
reply[1] = done
return reply
