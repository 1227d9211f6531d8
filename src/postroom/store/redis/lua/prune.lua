-- Deletes emails that ended long ago, with all that belongs to them.
-- ARGV: the time before which they must have ended, then for each email: id, how many terms, terms. Returns how many.

local before, pruned, i = tonumber(ARGV[1]), 0, 2
while i <= #ARGV do
    local id, terms = ARGV[i], tonumber(ARGV[i + 1])
    local key = P .. 'email:' .. id
    local state = redis.call('HGET', key, 'state') or ''
    local status, since, _, _, _, account = parts(state)
    if ENDED[status] and tonumber(since) < before then
        leave(id, state)
        for term = i + 2, i + 1 + terms do change('ZREM', 'terms:' .. account, ARGV[term] .. '\0' .. id) end
        change('HDEL', 'lapsed', id)
        redis.call('UNLINK', key, P .. 'attachments:' .. id)
        pruned = pruned + 1
    end
    i = i + 2 + terms
end
write_changes()
return pruned
