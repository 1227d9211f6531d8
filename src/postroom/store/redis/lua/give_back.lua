-- Ends claims as if they had never been made, whatever the lives of their emails look like.
-- ARGV: token, then for each email: id, and when it is due, and published, again. Returns how many.

local token, ids, due_at, given_back = ARGV[1], {}, {}, 0
for i = 2, #ARGV, 2 do
    ids[#ids + 1] = ARGV[i]
    due_at[ARGV[i]] = ARGV[i + 1]
end
for id, claim in pairs(look_up('HMGET', 'claims', ids)) do
    local holder, _, _, _, _, state = parts_of_claim(claim or '')
    local status, _, expires, _, lane = parts(state or '')
    if holder == token and WAITING[status] then
        change('HDEL', 'claims', id)
        start_waiting(id, lane, due_at[id], due_at[id], expires)
        count('sending', -1)
        count(status, 1)
        given_back = given_back + 1
    end
end
write_changes()
return given_back
