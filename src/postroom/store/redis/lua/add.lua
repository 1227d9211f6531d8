-- Stores submissions, each all or not at all; what an unexpired idempotency key has seen before is left out. The
-- transaction around this script has stored the bodies and attachments of all of them before.
-- ARGV: now, how many submissions, then for each: account, key ('' for none), expires_at, fingerprint, answer, how many
-- emails, and for each: id, state, next_attempt_at, wake_up_at, life, submitted, how many terms, terms.
-- Returns for each submission {'stored'}, {'replayed', answer} or {'reused'}.

local now, at = ARGV[1], 2

local function arguments(n)
    at = at + n
    return unpack(ARGV, at - n + 1, at)
end

local function read_email()
    local email = {arguments(6)}
    email.terms = {arguments(tonumber((arguments(1))))}
    return email
end

local function read_submission()
    local account, key, expires_at, fingerprint, answer, n = arguments(6)
    local submission = {account = account, key = key ~= '' and key, emails = {}}
    if submission.key then
        submission.fingerprint, submission.answer, submission.expires_at = fingerprint, answer, expires_at
    end
    for i = 1, tonumber(n) do submission.emails[i] = read_email() end
    return submission
end

-- First everything is read and decided, then everything is written: nothing is ever undone.
local fresh, seen, ids = {}, {}, {}

local function see(kept)
    if not kept then return nil end
    local expires_at, fingerprint, answer = string.match(kept, '^(%d+)%z(%Z*)%z(.*)$')
    return tonumber(expires_at) > tonumber(now) and {fingerprint = fingerprint, answer = answer} or nil
end

-- Looks up the keys of all submissions.
local function see_keys(submissions)
    local keys, names = {}, {}
    for _, submission in ipairs(submissions) do
        if submission.key then
            keys[#keys + 1] = submission.key
            names[#names + 1] = P .. 'idempotency:' .. submission.key
        end
    end
    for i = 1, #names, AT_ONCE do
        local kept = redis.call('MGET', unpack(names, i, math.min(i + AT_ONCE - 1, #names)))
        for n = 1, #kept do seen[keys[i + n - 1]] = see(kept[n]) end
    end
end

local function is_stored(id)
    return redis.call('HEXISTS', P .. 'email:' .. id, 'state') == 1
end

local function decide(submission)
    local before = submission.key and seen[submission.key]
    if before and before.fingerprint == submission.fingerprint then return {'replayed', before.answer} end
    if before then return {'reused'} end
    fresh[#fresh + 1] = submission
    if submission.key then seen[submission.key] = submission end
    for _, email in ipairs(submission.emails) do
        local id = email[1]
        if ids[id] or is_stored(id) then
            return nil, redis.error_reply('ERR an email with one of these ids is stored already')
        end
        ids[id] = true
    end
    return {'stored'}
end

local function store(account, email)
    local id, state, due, wake, life, submitted = unpack(email)
    redis.call('HSET', P .. 'email:' .. id, 'state', state, 'life', life, 'submitted', submitted)
    enter(id, state, due, wake, now)
    for _, term in ipairs(email.terms) do change('ZADD', 'terms:' .. account, '0', term .. '\0' .. id) end
end

local function keep_key(submission)
    local kept = joined(submission.expires_at, submission.fingerprint, submission.answer)
    redis.call('SET', P .. 'idempotency:' .. submission.key, kept, 'PXAT', submission.expires_at)
end

-- Takes back what was stored before of a submission that is not stored now.
local function forget(submission)
    for _, email in ipairs(submission.emails) do
        if not is_stored(email[1]) then
            redis.call('UNLINK', P .. 'email:' .. email[1], P .. 'attachments:' .. email[1])
        end
    end
end

local submissions, answers, fault = {}, {}, nil
for i = 1, tonumber(ARGV[2]) do submissions[i] = read_submission() end
see_keys(submissions)
for i, submission in ipairs(submissions) do
    answers[i], fault = decide(submission)
    if fault then
        for _, other in ipairs(submissions) do forget(other) end
        return fault
    end
end
for _, submission in ipairs(fresh) do
    for _, email in ipairs(submission.emails) do store(submission.account, email) end
    if submission.key then keep_key(submission) end
end
for i, submission in ipairs(submissions) do
    if answers[i][1] ~= 'stored' then forget(submission) end
end
write_changes()
redis.call('SET', P .. 'pulse', now)  -- a write even where all was replayed: WAITAOF then waits for the earlier one too
return answers
