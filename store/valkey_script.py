"""What the Valkey server does with a batch of one session's entries, as one script: nothing else comes in between.

    KEYS  the stream; a hash beside it, which holds what the facts have said so far:
          step        the step now running
          <scope>     the last word on a scope: the fact's offset and the attempt that may speak (0: closed)
          bytes       what the stream holds, roughly
          run         the server's run in which the stream was written
          clock       1 when the next delta is to be numbered from the clock
    ARGV  run, most entries, most bytes, milliseconds to live; then for each entry: offset (empty for a delta), opens,
          again, attempt, scope, text

**Fencing** is that of session.live.Tail, decided here once for all readers, for the stream alone cannot tell a late
reader what was trimmed from it. A fact that is not newer than the last entry is left out, but its word on a scope
holds.

**Ids never come twice.** A server that came back with an older state would give them again, so a stream of another run
is deleted, and deltas wait for the next fact; the hash stays, an old word is a true one. The run is part of the
script's text and so of its name: no publisher can write under a run that is over. A fact whose fate was unknown is sent
`again`, and may have been heard with deltas after it: those that follow it now are numbered from the clock (ms) on.

Answers how many deltas were left out because no fact is known that they could follow.
"""

from __future__ import annotations

from typing import Any, Final

from session.live import KEEP_BYTES, KEEP_DELTAS
from store.valkey_wire import Entry

KEPT_MS: Final = 15 * 60 * 1000
"""How long a session's stream outlives its last entry: longer than any session."""
KEPT_AFTER_END_MS: Final = 60_000

_APPEND: Final = """
local run = '%s'
local key, words = KEYS[1], KEYS[2]
local length, most, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local was = redis.call('HMGET', words, 'run', 'step', 'bytes', 'clock')
local step, bytes, known, homeless = tonumber(was[2] or 0), tonumber(was[3] or 0), {}, 0
if was[1] and was[1] ~= run then
  redis.call('DEL', key)
  bytes = 0
end
local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local last = newest and tonumber(string.match(newest[1], '^%%d+'))
local from_clock = was[4] == '1'

local function step_of(scope)
  return tonumber(string.match(scope, '^step/(%%d+)') or -1)
end

local function word_on(scope)
  if not known[scope] then
    local word = redis.call('HGET', words, scope) or '0 -1'
    known[scope] = {tonumber(string.match(word, '^%%d+')), tonumber(string.match(word, '%%S+$'))}
  end
  return known[scope][1], known[scope][2]
end

local function heed(offset, scope, attempt)
  local of, since = step_of(scope), word_on(scope)
  if of < step or offset <= since then
    return false
  end
  if of > step then
    step = of
    for _, other in ipairs(redis.call('HKEYS', words)) do
      if string.sub(other, 1, 5) == 'step/' and step_of(other) < step then
        redis.call('HDEL', words, other)
      end
    end
    known = {}
  end
  known[scope] = {offset, attempt}
  redis.call('HSET', words, scope, offset .. ' ' .. attempt)
  return true
end

local function may_speak(scope, attempt)
  local _, latest = word_on(scope)
  if latest < 0 then
    return step_of(scope) >= step
  end
  return latest > 0 and attempt >= latest
end

local function trim()
  local kept, oldest, before = 0, nil, '+'
  repeat
    local page = redis.call('XREVRANGE', key, before, '-', 'COUNT', 64)
    for _, one in ipairs(page) do
      kept = kept + #one[2][2]
      if oldest and kept > most * 0.75 then
        kept = kept - #one[2][2]
        page = {}
        break
      end
      oldest = one[1]
    end
    before = '(' .. (oldest or '0')
  until #page == 0
  redis.call('XTRIM', key, 'MINID', oldest)
  bytes = kept
end

for i = 4, #ARGV, 6 do
  local offset, opens, again = tonumber(ARGV[i]), ARGV[i + 1] == '1', ARGV[i + 2] == '1'
  local attempt, scope, entry, id = tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5], nil
  if offset then
    local heeded = scope ~= '' and heed(offset, scope, attempt)
    if not last or offset > last then
      id = redis.call('XADD', key, 'MAXLEN', '~', length, ARGV[i] .. '-0', 'e', entry)
      last, from_clock = offset, again
      if opens then
        redis.call('XTRIM', key, 'MINID', id)
        bytes = 0
      end
    elseif heeded then
      redis.call('PUBLISH', key, ARGV[i] .. '-0\\n' .. entry)
    end
  elseif not last then
    homeless = homeless + 1
  elseif may_speak(scope, attempt) then
    local number = '*'
    if from_clock then
      local now = redis.call('TIME')
      number = now[1] .. string.format('%%03d', math.floor(now[2] / 1000))
      from_clock = false
    end
    id = redis.call('XADD', key, 'MAXLEN', '~', length, string.format('%%.0f', last) .. '-' .. number, 'e', entry)
  end
  if id then
    bytes = bytes + #entry
    if bytes > most then
      trim()
    end
    redis.call('PUBLISH', key, id .. '\\n' .. entry)
  end
end
redis.call('HSET', words, 'run', run, 'step', step, 'bytes', bytes, 'clock', from_clock and 1 or 0)
redis.call('PEXPIRE', words, ttl)
redis.call('PEXPIRE', key, ttl)
return homeless
"""


def append_script(run_id: str) -> str:
    """The script for one run of the server."""
    return _APPEND % run_id


def append_arguments(entries: list[Entry]) -> list[Any]:
    over = any(entry.over for entry in entries)
    told: list[Any] = [KEEP_DELTAS, KEEP_BYTES, KEPT_AFTER_END_MS if over else KEPT_MS]
    for entry in entries:
        told += [entry.offset or "", int(entry.opens), int(entry.again), entry.attempt, entry.scope, entry.text()]
    return told
