-- Finds emails whose lease has lapsed, whose deadline has passed, or that ended long ago.
-- ARGV: `leases`, `deadlines` or `finished`; the highest score; a limit; a later time, and the ids of emails that could not
-- be read, which are passed over until then. Returns 1 when there may be more, else 0; and a record for each. Of an index
-- of rows it looks through a few, and clears away those in which it finds nothing any more.

local ROWS = 50

local index, highest, limit, again_at = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local found, is_found, unreadable = {}, {}, {}
for i = 5, #ARGV do
    unreadable[ARGV[i]] = true
    -- Only the index has another time then: the deadline itself stands in the state. One that was moved meanwhile stays.
    if index == 'deadlines' then redis.call('ZADD', P .. index, 'XX', 'GT', ARGV[4], ARGV[i]) end
end

local function up_to(moment)
    return highest == '+inf' or moment <= tonumber(highest)
end

local function ids_of(row)
    local ids = {}
    for i = 1, #row, ID_CHARS do ids[#ids + 1] = string.sub(row, i, i + ID_CHARS - 1) end
    return ids
end

-- Each judges the emails of a row: true for one that is wanted, a time for one that may be later, else nothing. One that
-- does not say its time is wanted, for its reader to find out.
local judges = {}

function judges.leases(ids)
    local verdicts = {}
    for id, claim in pairs(look_up('HMGET', 'claims', ids)) do
        if claim then
            local _, lease_until = parts_of_claim(claim)
            lease_until = tonumber(lease_until)
            verdicts[id] = not lease_until or up_to(lease_until) or lease_until
        end
    end
    return verdicts
end

function judges.finished(ids)
    local verdicts = {}
    for id, state in pairs(look_up('HMGET', 'states', ids)) do
        local status, since = parts(state or '')
        since = tonumber(since)
        verdicts[id] = ENDED[status] and (not since or up_to(since))
    end
    return verdicts
end

local function look_through(row)
    local later, wanted = nil, false
    local ids = ids_of(row)
    local verdicts = judges[index](ids)
    for _, id in ipairs(ids) do
        local verdict = verdicts[id]
        if verdict == true and unreadable[id] then verdict = again_at end
        if verdict == true then
            wanted = true
            if #found < limit and not is_found[id] then  -- it may also be in the row of an earlier claim or end
                found[#found + 1], is_found[id] = id, true
            end
        elseif verdict then
            later = math.min(later or verdict, verdict)
        end
    end
    if not wanted and later then
        redis.call('ZADD', P .. index, string.format('%d', later), row)
    elseif not wanted then
        redis.call('ZREM', P .. index, row)
    end
end

local members = redis.call('ZRANGEBYSCORE', P .. index, '-inf', highest, 'LIMIT', 0, index == 'deadlines' and limit or ROWS)
for i, member in ipairs(members) do
    if #found >= limit then break end
    if index == 'deadlines' then
        found[i] = member
    else
        look_through(member)
    end
end
return {#members == ROWS and 1 or 0, records(found)}
