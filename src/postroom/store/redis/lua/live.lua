-- Replaces lives, each on one condition, and ends the claims on them.
-- ARGV: now, the condition, then for each email: id, proof, status, next_attempt_at ('' for none), wake_up_at,
-- expires_at, life. The condition says what the proof is compared with: 'token' (of the claim that holds), 'lapsed' (the
-- token of the claim that was the last to lapse, and the life as it was read, while nobody has claimed or ended the email
-- since) or 'unchanged' (the claim as it was read, or the life where there was none). Returns the ids that were written.

local now, condition = ARGV[1], ARGV[2]
local LATE = {queued = true, retrying = true, uncertain = true}
local ids, written, changed = {}, {}, {}
for i = 3, #ARGV, 7 do ids[#ids + 1] = ARGV[i] end
local claims = look_up('HMGET', 'claims', ids)
local lapsed = condition == 'lapsed' and look_up('HMGET', 'lapsed', ids)

-- Ends the claim if the proof is right; returns the parts of the email's state before it.
local function from_claim(id, claim, proof)
    local token, _, fenced, _, _, state = parts_of_claim(claim)
    if (condition == 'token' and token ~= proof) or (condition == 'unchanged' and claim ~= proof) or lapsed then return end
    local status, _, _, size, lane, account = parts(state or '')
    if not account then return end  -- damaged
    claims[id] = false
    change('HDEL', 'claims', id)
    if condition == 'unchanged' and fenced == '1' then change('HSET', 'lapsed', id, token) end
    change('ZREM', listed(account, status), id)
    count('sending', -1)
    return size, lane, account
end

-- Takes the email, which nobody holds, out of its indexes if the proof is right; returns the same.
local function from_rest(id, proof)
    if condition == 'token' or changed[id] then return end
    local status, _, _, size, lane, account = parts(redis.call('HGET', P .. 'states', id) or '')
    if not account then return end  -- missing or damaged
    local life = redis.call('HGET', P .. 'lives', id)
    if lapsed then
        if not (lapsed[id] and life and LATE[status]) or joined(lapsed[id], life) ~= proof then return end
        lapsed[id] = false
        change('HDEL', 'lapsed', id)
    elseif life ~= proof then
        return
    end
    leave(id, status, lane, account)
    return size, lane, account
end

-- Indexes the email under its new status.
local function enter(id, status, expires, lane, account, due, wake)
    change('ZADD', listed(account, status), '0', id)
    count(status, 1)
    if WAITING[status] then
        start_waiting(id, lane, due, wake, expires)
    elseif ENDED[status] then
        put_in_row('finished', now, id)
    end
end

for i = 3, #ARGV, 7 do
    local id, proof, status, due, wake, expires, life = unpack(ARGV, i, i + 6)
    local size, lane, account
    if claims[id] then
        size, lane, account = from_claim(id, claims[id], proof)
    else
        size, lane, account = from_rest(id, proof)
    end
    if account then
        change('HSET', 'states', id, joined(status, now, expires, size, lane, account))
        change('HSET', 'lives', id, life)
        enter(id, status, expires, lane, account, due, wake)
        written[#written + 1], changed[id] = id, true
    end
end
write_changes()
return written
