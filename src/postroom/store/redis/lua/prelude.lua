-- The layout, and what every transition shares. Put before each script.
--
--   email:<id>           hash: account, lane, submitted, bodies (these never change), status, attempts,
--                        next_attempt_at, expires_at, last_attempt_at, life, version (counts all changes);
--                        while it is claimed: token, worker, lease_until, fenced (its final dot may be written);
--                        lapsed (token of the fenced claim that lapsed last, until the next claim)
--   attachments:<id>     hash: position -> content
--   due:<lane>           waiting emails by next_attempt_at
--   wake:<lane>          waiting emails by the time at which the sweep publishes them (again)
--   deadlines            waiting emails by expires_at
--   leases               claimed emails by lease_until
--   finished             ended emails by the time of their end
--   listed:<status>:<account>     ids, in the order of ids
--   term:<account>\0<term>        ids with that recipient ('@') or tag ('#'), in the order of ids
--   subject:<account>             '<beginning of the subject, folded>\0<id>'
--   idempotency:<account>\0<endpoint>\0<key>   hash: fingerprint, answer, expires_at
--   idempotency          what follows the first colon above, by expires_at
--   counts               hash: status -> emails
--   keys, revoked        hashes: API key id -> key, time of its revocation
--   layout               the version of this layout
--   pulse                rewritten to prove that writing works
--
-- Times are milliseconds since 1970. What an email is indexed under follows from its status alone.

local P = 'postroom:'
local AT_ONCE = 2000  -- arguments of one command; Lua's stack holds 8000
local WAITING = {scheduled = true, queued = true, retrying = true}
local ENDED = {
    sent = true, delivered = true, bounced = true, complained = true, failed = true, canceled = true, suppressed = true,
}

local added, dropped, counted = {}, {}, {}

local function add(key, score, member)
    local list = added[key]
    if not list then
        list = {}
        added[key] = list
    end
    local n = #list
    list[n + 1], list[n + 2] = score, member
end

local function drop(key, member)
    local list = dropped[key]
    if not list then
        list = {}
        dropped[key] = list
    end
    list[#list + 1] = member
end

local function listed(account, status)
    return P .. 'listed:' .. status .. ':' .. account
end

-- Indexes an email under its new status.
local function enter(id, account, lane, status, times)
    add(listed(account, status), '0', id)
    counted[status] = (counted[status] or 0) + 1
    if WAITING[status] then
        add(P .. 'due:' .. lane, times.due, id)
        add(P .. 'wake:' .. lane, times.wake, id)
        add(P .. 'deadlines', times.expires, id)
    elseif status == 'sending' then
        add(P .. 'leases', times.lease, id)
    elseif ENDED[status] then
        add(P .. 'finished', times.now, id)
    end
end

-- Takes an email out of the indexes of its old status.
local function leave(id, account, lane, status)
    drop(listed(account, status), id)
    counted[status] = (counted[status] or 0) - 1
    if WAITING[status] then
        drop(P .. 'due:' .. lane, id)
        drop(P .. 'wake:' .. lane, id)
        drop(P .. 'deadlines', id)
    elseif status == 'sending' then
        drop(P .. 'leases', id)
    elseif ENDED[status] then
        drop(P .. 'finished', id)
    end
end

local function in_pieces(command, lists)
    for key, list in pairs(lists) do
        for i = 1, #list, AT_ONCE do
            redis.call(command, key, unpack(list, i, math.min(i + AT_ONCE - 1, #list)))
        end
    end
end

-- Writes the collected changes: one command for each index, however many emails change, for commands are what costs.
local function write_indexes()
    in_pieces('ZREM', dropped)
    in_pieces('ZADD', added)
    for status, change in pairs(counted) do
        if change ~= 0 then redis.call('HINCRBY', P .. 'counts', status, change) end
    end
end

local function one_more(count)
    return string.format('%d', (tonumber(count) or 0) + 1)
end
