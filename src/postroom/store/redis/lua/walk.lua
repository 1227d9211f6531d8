-- Reads the next emails that are in one of some indexes, in the order of ids, and in one of each further group of indexes.
-- ARGV: 'up' or 'down', the ids between which they must lie ('' for no bound), a limit, then for each group: what stands
-- before the id in its members, how many indexes, these indexes. One of them may be the hash `claims`, whose ids are few.
-- Returns the id after which to go on, '' at the end, and a record for each.

local AT_A_LOOK, LOOKS = 500, 20  -- the most ids that are looked at where there are further groups

local up, above, below, limit = ARGV[1] == 'up', ARGV[2], ARGV[3], tonumber(ARGV[4])
local order = up and function(a, b) return a < b end or function(a, b) return a > b end
local groups, at = {}, 5
while at <= #ARGV do
    local n = tonumber(ARGV[at + 1])
    groups[#groups + 1] = {before = ARGV[at], unpack(ARGV, at + 2, at + 1 + n)}
    at = at + 2 + n
end
local lead = table.remove(groups, 1)

local function members(index, most)
    if index == 'claims' then return redis.call('HKEYS', P .. index) end
    local low = above ~= '' and '(' .. lead.before .. above or '[' .. lead.before
    local high = '(' .. lead.before .. (below ~= '' and below or '\255')
    if up then return redis.call('ZRANGE', P .. index, low, high, 'BYLEX', 'LIMIT', 0, most) end
    return redis.call('ZRANGE', P .. index, high, low, 'BYLEX', 'REV', 'LIMIT', 0, most)
end

local function id_of(member)
    return lead.before == '' and member or string.sub(member, -ID_CHARS)
end

-- Of one index the ids come in order; those of several are sorted, and each is taken once.
local function next_ids(most)
    local ids, known = {}, {}
    if #lead == 1 and lead[1] ~= 'claims' then
        for i, member in ipairs(members(lead[1], most)) do ids[i] = id_of(member) end
        return ids
    end
    for _, index in ipairs(lead) do
        for _, member in ipairs(members(index, most)) do
            local id = id_of(member)
            if not known[id] and (above == '' or id > above) and (below == '' or id < below) then
                known[id] = true
                ids[#ids + 1] = id
            end
        end
    end
    table.sort(ids, order)
    return {unpack(ids, 1, math.min(most, #ids))}
end

-- Those of the ids that are in one of these indexes.
local function within(group, ids)
    local names, found, held = {}, {}, {}
    for i, id in ipairs(ids) do names[i] = group.before .. id end
    for i, index in ipairs(group) do held[i] = look_up(index == 'claims' and 'HMGET' or 'ZMSCORE', index, names) end
    for n, id in ipairs(ids) do
        for i = 1, #group do
            if held[i][names[n]] then
                found[#found + 1] = id
                break
            end
        end
    end
    return found
end

local found, looks, most = {}, 0, limit
local last
repeat
    local ids = next_ids(most)
    last, looks = #ids == most and ids[#ids] or '', looks + 1
    if up then above = last else below = last end
    for _, group in ipairs(groups) do ids = within(group, ids) end
    for _, id in ipairs(ids) do
        found[#found + 1] = id
        if #found == limit then
            last = id
            break
        end
    end
    most = math.min(2 * most, math.max(AT_A_LOOK, limit))
until last == '' or #found == limit or looks == LOOKS
return {last, records(found)}
