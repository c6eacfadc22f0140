"""What a change log looks like in Redis, and the scripts that append to it.

    changes                     set: the indexes that have a log
    changes:{INDEX}             hash: format with the log's id behind it, last and trimmed (sequence numbers)
    changes:{INDEX}:entries     stream: change n has the id n-0
    changes:{INDEX}:keys        hash: idempotency key -> "n fingerprint"
    changes:{INDEX}:ad:ID       hash: the ad's last change: n, at, its state
    changes:{INDEX}:user:ID     hash: likewise the user's; campaign:ID the campaign's
    changes:{INDEX}:last:ad     sorted set: the ads by the number of their last change; last:user and last:campaign
                                likewise the users and campaigns
    changes:{INDEX}:of_user:ID  list: the numbers of the user's entries, states and events
    changes:{INDEX}:erased      sorted set: "n at" of the entries that were erased, by n; "n at JSON" of an event that
                                has spent something, with what is left of it

An entry has the fields `kind`, `id`, `at`, `key` and `fingerprint` (both empty without a key), and a field `=NAME` with
the JSON of each value: of the whole state, or of what an event says. The script merges fields without parsing values,
so numbers stay as they are. An erased entry is taken out of the stream, since Redis cannot change one. The braces keep
all keys of a log in one slot of a Redis Cluster.
"""

from __future__ import annotations

INDEXES = "changes"
FORMAT = "3"
FILLING = "filling"
"""Stands for the format while a backup is restored: nobody may use the log yet."""

APPEND = """
-- KEYS: log, entries, keys. ARGV: format, last number that the caller has seen; then of each write: its kind and id,
-- '1' if it has a state or '', the version that it expects or '', '=' and its key or '', fingerprint, number of fields,
-- and of each: '=' and its name, JSON.
-- Looks at everything before it writes anything, since Redis does not undo what a script has written.
local found = redis.call('HMGET', KEYS[1], 'format', 'last')
if found[1] ~= ARGV[1] then
    return {'format', found[1] or ''}
end
local last = tonumber(found[2])
if last < tonumber(ARGV[2]) then
    return {'behind', found[2]}
end
local now = redis.call('TIME')
local at = string.format('%s.%06d', now[1], now[2])
local states, keys, made, results = {}, {}, {}, {}

local function state_of(name)
    if not states[name] then
        local state, stored = {n = 0, names = {}, values = {}}, redis.call('HGETALL', name)
        for i = 1, #stored, 2 do
            if stored[i] == 'n' then
                state.n = tonumber(stored[i + 1])
            elseif stored[i] ~= 'at' then
                table.insert(state.names, stored[i])
                state.values[stored[i]] = stored[i + 1]
            end
        end
        states[name] = state
    end
    return states[name]
end

local position, index = 3, 0
while position <= #ARGV do
    local kind, id, has_state, expected, key, fingerprint, fields = unpack(ARGV, position, position + 6)
    local first_field, hash = position + 7, KEYS[1] .. ':' .. kind .. ':' .. id
    position = first_field + 2 * tonumber(fields)
    local used = key ~= '' and (keys[key] or redis.call('HGET', KEYS[3], key))
    if used then
        local n, mark = string.match(used, '^(%d+) (.*)$')
        if mark ~= fingerprint then
            return {'key', index}
        end
        table.insert(results, n)
    else
        local state = has_state == '1' and state_of(hash) or {n = 0, names = {}, values = {}}
        if expected ~= '' and tonumber(expected) ~= state.n then
            return {'version', index, string.format('%.0f', state.n)}
        end
        last = last + 1
        state.n = last
        local n = string.format('%.0f', last)
        local update = {hash, 'n', n, 'at', at}
        for i = first_field, position - 1, 2 do
            if not state.values[ARGV[i]] then
                table.insert(state.names, ARGV[i])
            end
            state.values[ARGV[i]] = ARGV[i + 1]
            table.insert(update, ARGV[i])
            table.insert(update, ARGV[i + 1])
        end
        local entry = {KEYS[2], n .. '-0', 'kind', kind, 'id', id, 'at', at, 'key', key, 'fingerprint', fingerprint}
        for _, name in ipairs(state.names) do
            table.insert(entry, name)
            table.insert(entry, state.values[name])
        end
        if #entry > 7000 then  -- Lua passes 8,000 arguments at most
            return {'fields', index, #state.names}
        end
        if key ~= '' then
            keys[key] = n .. ' ' .. fingerprint
        end
        table.insert(made, {n = n, entry = entry, update = has_state == '1' and update, key = key, used = keys[key],
                            subjects = KEYS[1] .. ':last:' .. kind, id = id,
                            of_user = (kind == 'user' or kind == 'event') and KEYS[1] .. ':of_user:' .. id})
        table.insert(results, n)
    end
    index = index + 1
end

for _, change in ipairs(made) do
    redis.call('XADD', unpack(change.entry))
    if change.update then
        redis.call('HSET', unpack(change.update))
        redis.call('ZADD', change.subjects, change.n, change.id)
    end
    if change.of_user then
        redis.call('RPUSH', change.of_user, change.n)
    end
    if change.key ~= '' then
        redis.call('HSET', KEYS[3], change.key, change.used)
    end
end
if #made > 0 then
    redis.call('HSET', KEYS[1], 'last', string.format('%.0f', last))
end
local changes = {'made'}
for _, n in ipairs(results) do
    table.insert(changes, redis.call('XRANGE', KEYS[2], n .. '-0', n .. '-0'))
end
return changes
"""

FORGET = """
-- KEYS: log, entries, keys. ARGV: format, last number that the caller has seen, user, '=' and the idempotency key or
-- '', fingerprint.
local found = redis.call('HMGET', KEYS[1], 'format', 'last')
if found[1] ~= ARGV[1] then
    return {'format', found[1] or ''}
end
if tonumber(found[2]) < tonumber(ARGV[2]) then
    return {'behind', found[2]}
end
local user, key, fingerprint = ARGV[3], ARGV[4], ARGV[5]
local used = key ~= '' and redis.call('HGET', KEYS[3], key)
local n = string.format('%.0f', tonumber(found[2]) + 1)
if used then
    local mark
    n, mark = string.match(used, '^(%d+) (.*)$')
    if mark ~= fingerprint then
        return {'key', 0}
    end
else
    local of_user = KEYS[1] .. ':of_user:' .. user
    for _, old in ipairs(redis.call('LRANGE', of_user, 0, -1)) do
        for _, entry in ipairs(redis.call('XRANGE', KEYS[2], old .. '-0', old .. '-0')) do
            local fields = {}
            for i = 1, #entry[2], 2 do
                fields[entry[2][i]] = entry[2][i + 1]
            end
            if fields.key ~= '' then
                redis.call('HDEL', KEYS[3], fields.key)
            end
            local left = {}
            if fields['=campaign'] and fields.kind == 'event' then
                for _, name in ipairs({'campaign', 'spent_nanos', 'at'}) do
                    if fields['=' .. name] then
                        table.insert(left, '"' .. name .. '":' .. fields['=' .. name])
                    end
                end
            end
            redis.call('ZADD', KEYS[1] .. ':erased', old, old .. ' ' .. fields.at
                       .. (#left > 0 and ' {' .. table.concat(left, ',') .. '}' or ''))
            redis.call('XDEL', KEYS[2], old .. '-0')
        end
    end
    redis.call('DEL', of_user, KEYS[1] .. ':user:' .. user)
    redis.call('ZREM', KEYS[1] .. ':last:user', user)
    local now = redis.call('TIME')
    redis.call('XADD', KEYS[2], n .. '-0', 'kind', 'forgotten', 'id', user, 'at',
               string.format('%s.%06d', now[1], now[2]), 'key', key, 'fingerprint', fingerprint)
    if key ~= '' then
        redis.call('HSET', KEYS[3], key, n .. ' ' .. fingerprint)
    end
    redis.call('HSET', KEYS[1], 'last', n)
end
return {'made', redis.call('XRANGE', KEYS[2], n .. '-0', n .. '-0')}
"""

TRIM = """
-- KEYS: log, entries, keys, erased. ARGV: format, number of the last entry to remove, most entries of one call.
local found = redis.call('HMGET', KEYS[1], 'format', 'trimmed')
if found[1] ~= ARGV[1] then
    return {'format', found[1] or ''}
end
local through, trimmed = tonumber(ARGV[2]), tonumber(found[2] or '0')
if trimmed >= through then
    return {'trimmed', string.format('%.0f', trimmed)}
end
local entries = redis.call('XRANGE', KEYS[2], '-', ARGV[2] .. '-0', 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
    local n, fields = string.match(entry[1], '^(%d+)'), {}
    for i = 1, #entry[2], 2 do
        fields[entry[2][i]] = entry[2][i + 1]
    end
    if fields.key ~= '' then
        redis.call('HDEL', KEYS[3], fields.key)
    end
    if fields.kind == 'user' or fields.kind == 'event' then
        redis.call('LREM', KEYS[1] .. ':of_user:' .. fields.id, 1, n)
    end
    if #entries == tonumber(ARGV[3]) then
        through = tonumber(n)
    end
end
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', through + 1))
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', through)
redis.call('HSET', KEYS[1], 'trimmed', string.format('%.0f', through))
return {'trimmed', string.format('%.0f', through)}
"""
