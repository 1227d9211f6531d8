-- The layout, and what every transition shares. Put before each script.
--
--   submitted, bodies    hashes: id -> JSON of what never changes, what may be large apart
--   lives                hash: id -> JSON of what changes
--   states               hash: id -> '<status>\0<since>\0<expires_at>\0<bytes of bodies>\0<lane>\0<account>'
--   attachments:<id>     hash: position -> content
--   claims               hash: id -> '<token>\0<lease_until>\0<fenced: 0 or 1>\0<claimed_at>\0<worker>\0<state>'. An email
--                        that is here is `sending`, and this its latest attempt; its state, here and in `states`, and
--                        the listings show what it was before
--   lapsed               hash: id -> token of the fenced claim that lapsed last, until the next claim
--   due:<lane>           waiting emails by next_attempt_at, or by the time until which they are put off
--   wake:<lane>          waiting emails by the time at which the sweep publishes them (again)
--   deadlines            waiting emails by expires_at
--   leases               rows of emails that were claimed together, by lease_until
--   finished             rows of emails that ended together, by the time of their end
--   listed:<status>:<account>     ids, in their order
--   terms:<account>      '<term>\0<id>', in this order, for each recipient ('@'), tag ('#') and subject ('=') of an email
--   idempotency:<account>\0<endpoint>\0<key>   '<expires_at>\0<fingerprint>\0<answer>', deleted by Redis when it expires
--   counts               hash: status -> emails
--   keys, revoked        hashes: API key id -> key, time of its revocation
--   layout               the version of this layout
--   pulse                rewritten to prove that writing works
--
-- Times are milliseconds since 1970. What an email is indexed under follows from its state and its claim alone.
-- A row is one member made of many ids. It costs no more than one email would, and stays where it is when those emails
-- move on: whoever comes to it passes over those that are no longer what it says.
--
-- One hash holds what all emails have of a kind, so that one command reads or writes it for many: commands are what costs.
-- Bytes are costly in Lua, which hashes each of them: what is large is written and read beside the scripts.

local P = 'postroom:'
local PUT_OFF_FOR, PUT_OFF_AT_ONCE = 3600000, 1000  -- as in `taking.py`: emails past their deadline
local AT_ONCE = 2000  -- arguments of one command; Lua's stack holds 8000
local ID_CHARS = 36
local WAITING = {scheduled = true, queued = true, retrying = true}
local ENDED = {
    sent = true, delivered = true, bounced = true, complained = true, failed = true, canceled = true, suppressed = true,
}

-- What a hash or index holds for each of these members: member -> value, or false.
local function look_up(command, key, members)
    local found = {}
    for i = 1, #members, AT_ONCE do
        local values = redis.call(command, P .. key, unpack(members, i, math.min(i + AT_ONCE - 1, #members)))
        for n = 1, #values do found[members[i + n - 1]] = values[n] end
    end
    return found
end

-- Emails as they are read, without their bodies: id, claim if there is one, state, life, submitted.
local function records(ids)
    local found, claims, states = {}, look_up('HMGET', 'claims', ids), look_up('HMGET', 'states', ids)
    local lives, submitted = look_up('HMGET', 'lives', ids), look_up('HMGET', 'submitted', ids)
    for i, id in ipairs(ids) do found[i] = {id, claims[id], states[id], lives[id], submitted[id]} end
    return found
end

-- status, since, expires_at, bytes of bodies, lane, account
local function parts(state)
    return string.match(state, '^(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z(.*)$')
end

-- token, lease_until, fenced, claimed_at, worker, state
local parts_of_claim = parts

local function joined(...)
    return table.concat({...}, '\0')
end

local changes, rows, counted = {ZREM = {}, ZADD = {}, HDEL = {}, HSET = {}}, {}, {}

-- Notes a change: a member for ZREM and HDEL, a score and a member for ZADD, a field and a value for HSET.
local function change(command, key, one, other)
    local lists = changes[command]
    local list = lists[key]
    if not list then
        list = {}
        lists[key] = list
    end
    local n = #list
    list[n + 1], list[n + 2] = one, other
end

-- Notes that an email belongs to a row. All emails of a row have the same score.
local function put_in_row(key, score, id)
    rows[key] = rows[key] or {score = score}
    table.insert(rows[key], id)
end

-- Carries out all changes: one command for each key, however many emails change, for commands are what costs.
local function write_changes()
    for _, command in ipairs({'ZREM', 'ZADD', 'HDEL', 'HSET'}) do
        for key, list in pairs(changes[command]) do
            for i = 1, #list, AT_ONCE do
                redis.call(command, P .. key, unpack(list, i, math.min(i + AT_ONCE - 1, #list)))
            end
        end
    end
    for key, row in pairs(rows) do redis.call('ZADD', P .. key, row.score, table.concat(row)) end
    for status, by in pairs(counted) do
        if by ~= 0 then redis.call('HINCRBY', P .. 'counts', status, by) end
    end
end

local function count(status, by)
    counted[status] = (counted[status] or 0) + by
end

local function listed(account, status)
    return 'listed:' .. status .. ':' .. account
end

local function start_waiting(id, lane, due, wake, expires)
    change('ZADD', 'due:' .. lane, due, id)
    change('ZADD', 'wake:' .. lane, wake, id)
    change('ZADD', 'deadlines', expires, id)
end

local function stop_waiting(id, lane)
    change('ZREM', 'due:' .. lane, id)
    change('ZREM', 'wake:' .. lane, id)
    change('ZREM', 'deadlines', id)
end

-- Moves a waiting email out of the way of the others in its lane.
local function put_off(id, lane, until_then)
    local later = string.format('%d', until_then)
    change('ZADD', 'due:' .. lane, later, id)
    change('ZADD', 'wake:' .. lane, later, id)
end

-- Takes an email that nobody holds out of the indexes of its old status.
local function leave(id, status, lane, account)
    change('ZREM', listed(account, status), id)
    count(status, -1)
    if WAITING[status] then stop_waiting(id, lane) end
end
