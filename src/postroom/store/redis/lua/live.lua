-- Replaces lives, each on one condition, and ends the claims on them.
-- ARGV: now, the condition, then for each email: id, proof, status, next_attempt_at ('' for none), wake_up_at,
-- expires_at, life. The condition says what the proof is compared with: 'token' (of the claim that holds), 'lapsed' (the
-- token of the claim that was the last to lapse, while nobody has claimed or ended the email since) or 'unchanged' (the
-- claim as it was read, or the life where there was none). Returns the ids that were written.

local now, condition = ARGV[1], ARGV[2]
local LATE = {queued = true, retrying = true, uncertain = true}
local ids, written = {}, {}
for i = 3, #ARGV, 7 do ids[#ids + 1] = ARGV[i] end
local claims = look_up('HMGET', 'claims', ids)
local lapsed = condition == 'lapsed' and look_up('HMGET', 'lapsed', ids)

-- Ends the claim if the proof is right; returns the email's state before it.
local function from_claim(id, claim, proof)
    local token, _, fenced, _, _, state = parts_of_claim(claim)
    if (condition == 'token' and token ~= proof) or (condition == 'unchanged' and claim ~= proof) or lapsed then return end
    claims[id] = false
    change('HDEL', 'claims', id)
    if condition == 'unchanged' and fenced == '1' then change('HSET', 'lapsed', id, token) end
    local status, _, _, _, _, account = parts(state)
    change('ZREM', listed(account, status), id)
    count('sending', -1)
    return state
end

-- Takes the email, which nobody holds, out of its indexes if the proof is right; returns its state before.
local function from_rest(id, proof)
    if condition == 'token' then return end
    local state, life = unpack(redis.call('HMGET', P .. 'email:' .. id, 'state', 'life'))
    if lapsed then
        if lapsed[id] ~= proof or not LATE[parts(state)] then return end
        lapsed[id] = false
        change('HDEL', 'lapsed', id)
    elseif life ~= proof then
        return
    end
    leave(id, state)
    return state
end

for i = 3, #ARGV, 7 do
    local id, proof, status, due, wake, expires, life = unpack(ARGV, i, i + 6)
    local before
    if claims[id] then
        before = from_claim(id, claims[id], proof)
    else
        before = from_rest(id, proof)
    end
    if before then
        local _, _, _, size, lane, account = parts(before)
        local state = joined(status, now, expires, size, lane, account)
        redis.call('HSET', P .. 'email:' .. id, 'state', state, 'life', life)
        enter(id, state, due, wake, now)
        written[#written + 1] = id
    end
end
write_changes()
return written
