-- Reads the next emails of indexes that have no id in common, as if they were one, in the order of ids.
-- ARGV: 'up' or 'down', lowest and highest id as a range of members, limit, how many indexes, these indexes, fields to
-- bring. Returns {id, fields…} for each.

local up, low, high, limit, n = ARGV[1] == 'up', ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local ids = {}
for i = 6, 5 + n do
    local found
    if up then
        found = redis.call('ZRANGE', P .. ARGV[i], low, high, 'BYLEX', 'LIMIT', 0, limit)
    else
        found = redis.call('ZRANGE', P .. ARGV[i], high, low, 'BYLEX', 'REV', 'LIMIT', 0, limit)
    end
    for _, id in ipairs(found) do ids[#ids + 1] = id end
end
table.sort(ids, function(a, b) if up then return a < b end return a > b end)
local emails = {}
for i = 1, math.min(limit, #ids) do
    emails[i] = {ids[i], unpack(redis.call('HMGET', P .. 'email:' .. ids[i], unpack(ARGV, 6 + n)))}
end
return emails
