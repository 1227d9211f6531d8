-- Gives emails that are due, unheld and within their deadline to one worker, as many as fit into one answer.
-- ARGV: now, lease_until, token, worker, then a limit and how many lanes to look through, and these lanes; or 0, how
-- many ids, and these ids. Then the fields to bring, bodies last. Returns how many lanes or ids were gone through, and
-- {id, fields…} for each email claimed.

local MOST_BYTES = 16 * 1024 * 1024

local now, lease_until, token, worker, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local named = {unpack(ARGV, 7, 6 + tonumber(ARGV[6]))}
local fields = {unpack(ARGV, 7 + #named)}
local claims, bytes = {}, 0

local function take(id)
    local key = P .. 'email:' .. id
    local email = redis.call('HMGET', key, 'status', 'next_attempt_at', 'expires_at', 'account', 'lane', 'attempts',
        'version', 'lapsed')
    local status, due, expires, account, lane, attempts, version, lapsed = unpack(email)
    if not WAITING[status] or tonumber(due) > tonumber(now) or tonumber(expires) <= tonumber(now) then return end
    redis.call('HSET', key, 'status', 'sending', 'attempts', one_more(attempts), 'last_attempt_at', now,
        'token', token, 'worker', worker, 'lease_until', lease_until, 'version', one_more(version))
    if lapsed then redis.call('HDEL', key, 'lapsed') end
    leave(id, account, lane, status)
    enter(id, account, lane, 'sending', {lease = lease_until})
    local values = redis.call('HMGET', key, unpack(fields))
    bytes = bytes + #(values[#values] or '')
    claims[#claims + 1] = {id, unpack(values)}
end

-- Emails past their deadline stay in the way until the sweep has failed them: look a little further.
local function take_from(lane)
    local offset, looks = 0, 0
    while #claims < limit and looks < 10 do
        local ids = redis.call('ZRANGEBYSCORE', P .. 'due:' .. lane, '-inf', now, 'LIMIT', offset, limit - #claims)
        if #ids == 0 then return end
        for _, id in ipairs(ids) do
            if bytes < MOST_BYTES then take(id) end
        end
        offset, looks = offset + #ids, looks + 1
    end
end

local done = 0
while done < #named and bytes < MOST_BYTES do
    done = done + 1
    if limit > 0 then take_from(named[done]) else take(named[done]) end
end
write_indexes()
return {done, claims}
