-- Reads the next emails of indexes as if they were one, in the order of ids.
-- ARGV: 'up' or 'down', the ids between which they must lie ('' for no bound), a limit, what stands before the id in each
-- member, then indexes. One of them may be the hash `claims`, whose ids are few. Returns a record for each.

local up, above, below, limit, before = ARGV[1] == 'up', ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local low = above ~= '' and '(' .. before .. above or '[' .. before
local high = below ~= '' and '(' .. before .. below or '(' .. before .. '\255'
local order = up and function(a, b) return a < b end or function(a, b) return a > b end

local function members(index)
    if index == 'claims' then return redis.call('HKEYS', P .. index) end
    if up then return redis.call('ZRANGE', P .. index, low, high, 'BYLEX', 'LIMIT', 0, limit) end
    return redis.call('ZRANGE', P .. index, high, low, 'BYLEX', 'REV', 'LIMIT', 0, limit)
end

local ids, known = {}, {}
for i = 6, #ARGV do
    for _, member in ipairs(members(ARGV[i])) do
        local id = string.sub(member, -ID_CHARS)
        if not known[id] and (above == '' or id > above) and (below == '' or id < below) then
            known[id] = true
            ids[#ids + 1] = id
        end
    end
end
table.sort(ids, order)
return records({unpack(ids, 1, math.min(limit, #ids))})
