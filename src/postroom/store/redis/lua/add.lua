-- Stores submissions, each all or not at all; what an unexpired idempotency key has seen before is left out.
-- ARGV: now, how many submissions, then for each: account, endpoint, key ('' for none), fingerprint, answer, expires_at,
-- how many emails, and for each: id, lane, status, next_attempt_at, wake_up_at, expires_at, attempts, last_attempt_at,
-- life, submitted, bodies, subject, how many terms, terms.
-- Returns for each submission {'stored'}, {'replayed', answer} or {'reused'}.

local now, at = ARGV[1], 2

local function arguments(n)
    at = at + n
    return unpack(ARGV, at - n + 1, at)
end

local function count()
    return tonumber((arguments(1)))
end

local function read_email()
    local email = {arguments(12)}
    email.terms = {arguments(count())}
    return email
end

local function read_submission()
    local account, endpoint, key, fingerprint, answer, expires_at = arguments(6)
    local submission = {account = account, emails = {}}
    if key ~= '' then
        submission.key = account .. '\0' .. endpoint .. '\0' .. key
        submission.kept = {expires_at, fingerprint, answer}
    end
    for i = 1, count() do submission.emails[i] = read_email() end
    return submission
end

-- First everything is read and decided, then everything is written: nothing is ever undone.
local fresh, answers, keys, ids = {}, {}, {}, {}

local function earlier(submission)
    if not submission.key then return nil end
    local kept = keys[submission.key]
        or redis.call('HMGET', P .. 'idempotency:' .. submission.key, 'expires_at', 'fingerprint', 'answer')
    if not kept[1] or tonumber(kept[1]) <= tonumber(now) then return nil end
    return kept[2] == submission.kept[2] and {'replayed', kept[3]} or {'reused'}
end

local function decide(submission)
    local answer = earlier(submission)
    if answer then return answer end
    fresh[#fresh + 1] = submission
    if submission.key then keys[submission.key] = submission.kept end
    for _, email in ipairs(submission.emails) do
        if ids[email[1]] or redis.call('EXISTS', P .. 'email:' .. email[1]) == 1 then
            return nil, redis.error_reply('ERR an email with one of these ids is stored already')
        end
        ids[email[1]] = true
    end
    return {'stored'}
end

local function store(account, email)
    local id, lane, status, due, wake, expires, attempts, last_at, life, submitted, bodies, subject = unpack(email)
    redis.call('HSET', P .. 'email:' .. id, 'account', account, 'lane', lane, 'status', status, 'next_attempt_at', due,
        'expires_at', expires, 'attempts', attempts, 'last_attempt_at', last_at, 'life', life,
        'submitted', submitted, 'bodies', bodies, 'version', '1')
    enter(id, account, lane, status, {due = due, wake = wake, expires = expires, now = now})
    add(P .. 'subject:' .. account, '0', subject .. '\0' .. id)
    for _, term in ipairs(email.terms) do add(P .. 'term:' .. account .. '\0' .. term, '0', id) end
end

-- The transaction around this script has stored attachments of emails that are not stored now.
local function forget_attachments(submission)
    for _, email in ipairs(submission.emails) do
        if redis.call('EXISTS', P .. 'email:' .. email[1]) == 0 then
            redis.call('UNLINK', P .. 'attachments:' .. email[1])
        end
    end
end

local submissions, fault = {}, nil
for i = 1, tonumber(ARGV[2]) do submissions[i] = read_submission() end
for i, submission in ipairs(submissions) do
    answers[i], fault = decide(submission)
    if fault then
        for _, other in ipairs(submissions) do forget_attachments(other) end
        return fault
    end
end
for _, submission in ipairs(fresh) do
    for _, email in ipairs(submission.emails) do store(submission.account, email) end
end
for key, kept in pairs(keys) do
    redis.call('HSET', P .. 'idempotency:' .. key, 'expires_at', kept[1], 'fingerprint', kept[2], 'answer', kept[3])
    add(P .. 'idempotency', kept[1], key)
end
for i, submission in ipairs(submissions) do
    if answers[i][1] ~= 'stored' then forget_attachments(submission) end
end
write_indexes()
redis.call('SET', P .. 'pulse', now)  -- a write even where all was replayed: WAITAOF then waits for the earlier one too
return answers
