-- Deletes emails that ended long ago, with all that belongs to them.
-- ARGV: the time before which they must have ended, then for each email: id, how many terms, terms. Returns how many.

local before, pruned, gone, i = tonumber(ARGV[1]), 0, {}, 2
while i <= #ARGV do
    local id, terms = ARGV[i], tonumber(ARGV[i + 1])
    local state = redis.call('HGET', P .. 'states', id) or ''
    local status, since, _, _, lane, account = parts(state)
    since = tonumber(since)
    if ENDED[status] and since and since < before and not gone[id] then
        leave(id, status, lane, account)
        for term = i + 2, i + 1 + terms do change('ZREM', 'terms:' .. account, ARGV[term] .. '\0' .. id) end
        for _, hash in ipairs({'submitted', 'bodies', 'lives', 'states', 'lapsed'}) do change('HDEL', hash, id) end
        redis.call('UNLINK', P .. 'attachments:' .. id)
        pruned, gone[id] = pruned + 1, true
    end
    i = i + 2 + terms
end
write_changes()
return pruned
