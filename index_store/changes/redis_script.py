"""What a change log looks like in Redis, and the script that appends to it.

    changes                    set: the indexes that have a log
    changes:{INDEX}            hash: format, last (sequence number)
    changes:{INDEX}:entries    stream: change n has the id n-0
    changes:{INDEX}:keys       hash: idempotency key -> "n fingerprint"
    changes:{INDEX}:ad:AD      hash: the ad's last change: n, at, its state

An entry has the fields `ad`, `at`, `key` and `fingerprint` (both empty without a key) and the ad's whole state: a field
`=NAME` with the JSON of each value. The script merges fields without parsing values, so numbers stay as they are. The
braces keep all keys of a log in one slot of a Redis Cluster.
"""

from __future__ import annotations

INDEXES = "changes"
FORMAT = "1"
FILLING = "filling"
"""Stands for the format while a backup is restored: nobody may use the log yet."""

APPEND = """
-- KEYS: log, entries, keys. ARGV: format, prefix of the ads' hashes; then of each write: its ad, the version that it
-- expects or '', '=' and its key or '', fingerprint, number of fields, and of each field: '=' and its name, JSON.
-- Looks at everything before it writes anything, since Redis does not undo what a script has written.
local found = redis.call('HMGET', KEYS[1], 'format', 'last')
if found[1] ~= ARGV[1] then
    return {'format', found[1] or ''}
end
local last = tonumber(found[2])
local now = redis.call('TIME')
local at = string.format('%s.%06d', now[1], now[2])
local ads, keys, made, results = {}, {}, {}, {}

local function state_of(ad)
    if not ads[ad] then
        local state, stored = {n = 0, names = {}, values = {}}, redis.call('HGETALL', ARGV[2] .. ad)
        for i = 1, #stored, 2 do
            if stored[i] == 'n' then
                state.n = tonumber(stored[i + 1])
            elseif stored[i] ~= 'at' then
                table.insert(state.names, stored[i])
                state.values[stored[i]] = stored[i + 1]
            end
        end
        ads[ad] = state
    end
    return ads[ad]
end

local position, index = 3, 0
while position <= #ARGV do
    local ad, expected, key, fingerprint = ARGV[position], ARGV[position + 1], ARGV[position + 2], ARGV[position + 3]
    local first_field, fields = position + 5, tonumber(ARGV[position + 4])
    position = first_field + 2 * fields
    local used = key ~= '' and (keys[key] or redis.call('HGET', KEYS[3], key))
    if used then
        local n, mark = string.match(used, '^(%d+) (.*)$')
        if mark ~= fingerprint then
            return {'key', index}
        end
        table.insert(results, n)
    else
        local state = state_of(ad)
        if expected ~= '' and tonumber(expected) ~= state.n then
            return {'version', index, string.format('%.0f', state.n)}
        end
        last = last + 1
        state.n = last
        local n = string.format('%.0f', last)
        local update = {ARGV[2] .. ad, 'n', n, 'at', at}
        for i = first_field, position - 1, 2 do
            if not state.values[ARGV[i]] then
                table.insert(state.names, ARGV[i])
            end
            state.values[ARGV[i]] = ARGV[i + 1]
            table.insert(update, ARGV[i])
            table.insert(update, ARGV[i + 1])
        end
        local entry = {KEYS[2], n .. '-0', 'ad', ad, 'at', at, 'key', key, 'fingerprint', fingerprint}
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
        table.insert(made, {entry = entry, update = update, key = key, used = keys[key]})
        table.insert(results, n)
    end
    index = index + 1
end

for _, change in ipairs(made) do
    redis.call('XADD', unpack(change.entry))
    redis.call('HSET', unpack(change.update))
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
