-- Reads the first emails of an index, up to a score.
-- ARGV: index, highest score, limit, fields to bring. Returns {id, fields…} for each.

local picked = {}
for i, id in ipairs(redis.call('ZRANGEBYSCORE', P .. ARGV[1], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
    picked[i] = {id, unpack(redis.call('HMGET', P .. 'email:' .. id, unpack(ARGV, 4)))}
end
return picked
