-- Deletes emails that ended long ago, with all that belongs to them, and idempotency keys that have expired.
-- ARGV: now, the time before which they must have ended, limit of keys, then for each email: id, subject, how many
-- terms, terms. Returns how many emails.

local now, before, pruned, i = ARGV[1], tonumber(ARGV[2]), 0, 4
while i <= #ARGV do
    local id, subject, terms = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local key = P .. 'email:' .. id
    local ended = redis.call('ZSCORE', P .. 'finished', id)
    if ended and tonumber(ended) < before then
        local status, account, lane = unpack(redis.call('HMGET', key, 'status', 'account', 'lane'))
        leave(id, account, lane, status)
        drop(P .. 'subject:' .. account, subject .. '\0' .. id)
        for term = i + 3, i + 2 + terms do
            drop(P .. 'term:' .. account .. '\0' .. ARGV[term], id)
        end
        redis.call('UNLINK', key, P .. 'attachments:' .. id)
        pruned = pruned + 1
    end
    i = i + 3 + terms
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'idempotency', '-inf', now, 'LIMIT', 0, ARGV[3])) do
    redis.call('UNLINK', P .. 'idempotency:' .. name)
    drop(P .. 'idempotency', name)
end
write_indexes()
return pruned
