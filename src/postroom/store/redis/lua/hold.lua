-- Extends the leases of claims that hold; with 'fence' notes that the final dot is about to be written.
-- ARGV: 'renew' or 'fence', now, lease_until, then id and token of each claim. Returns the ids whose claims hold.

local fencing, now, lease_until = ARGV[1] == 'fence', tonumber(ARGV[2]), ARGV[3]
local ids, tokens, held = {}, {}, {}
for i = 4, #ARGV, 2 do
    ids[#ids + 1] = ARGV[i]
    tokens[ARGV[i]] = ARGV[i + 1]
end
for id, claim in pairs(look_up('HMGET', 'claims', ids)) do
    local token, until_then, fenced, rest = string.match(claim or '', '^(%Z*)%z(%Z*)%z(%Z*)(.*)$')
    until_then = tonumber(until_then)
    if token == tokens[id] and until_then and (not fencing or until_then > now) then
        change('HSET', 'claims', id, joined(token, lease_until, fencing and '1' or fenced) .. rest)
        if tonumber(lease_until) < until_then then put_in_row('leases', lease_until, id) end
        held[#held + 1] = id
    end
end
write_changes()
return held
