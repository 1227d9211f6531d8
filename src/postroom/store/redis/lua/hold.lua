-- Extends the leases of claims that hold; with 'fence' notes that the final dot is about to be written.
-- ARGV: 'renew' or 'fence', now, lease_until, then id and token of each claim. Returns the ids whose claims hold.

local fencing, now, lease_until = ARGV[1] == 'fence', tonumber(ARGV[2]), ARGV[3]
local held = {}
for i = 4, #ARGV, 2 do
    local id, token = ARGV[i], ARGV[i + 1]
    local key = P .. 'email:' .. id
    local kept, until_then, version = unpack(redis.call('HMGET', key, 'token', 'lease_until', 'version'))
    if kept == token and (not fencing or tonumber(until_then) > now) then
        redis.call('HSET', key, 'lease_until', lease_until, 'version', one_more(version))
        if fencing then redis.call('HSET', key, 'fenced', '1') end
        add(P .. 'leases', lease_until, id)
        held[#held + 1] = id
    end
end
write_indexes()
return held
