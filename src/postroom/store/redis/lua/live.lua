-- Replaces lives, each on one condition, and ends the claims on them.
-- ARGV: now, the condition, then for each email: id, proof, status, next_attempt_at ('' for none), wake_up_at,
-- expires_at, attempts, last_attempt_at, life. The condition says what the proof is compared with: 'token' (the claim
-- holds), 'lapsed' (it was the last to lapse, and nobody has claimed or ended the email since) or 'version' (nothing
-- has changed since it was read). Returns the ids that were written.

local now, condition = ARGV[1], ARGV[2]
local LATE = {queued = true, retrying = true, uncertain = true}
local written = {}
for i = 3, #ARGV, 9 do
    local id, proof, status, due, wake, expires, attempts, last_attempt_at, life = unpack(ARGV, i, i + 8)
    local key = P .. 'email:' .. id
    local email = redis.call('HMGET', key, condition, 'status', 'account', 'lane', 'version', 'token', 'fenced')
    local kept, old_status, account, lane, version, token, fenced = unpack(email)
    if kept == proof and (condition ~= 'lapsed' or LATE[old_status]) then
        redis.call('HSET', key, 'status', status, 'next_attempt_at', due, 'expires_at', expires, 'attempts', attempts,
            'last_attempt_at', last_attempt_at, 'life', life, 'version', one_more(version))
        if token then redis.call('HDEL', key, 'token', 'worker', 'lease_until', 'fenced') end
        if condition == 'version' and fenced then
            redis.call('HSET', key, 'lapsed', token)
        elseif condition == 'lapsed' then
            redis.call('HDEL', key, 'lapsed')
        end
        leave(id, account, lane, old_status)
        enter(id, account, lane, status, {due = due, wake = wake, expires = expires, now = now})
        written[#written + 1] = id
    end
end
write_indexes()
return written
