"""The change log in Redis, for the replicas of several machines."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from index_store.changes import redis_script, redis_server
from index_store.changes.change_log import (
    NEVER_CHANGED,
    NEWER,
    OLDER,
    PUT_BACK,
    RESTORE,
    Change,
    ChangeLogError,
    KeyReusedError,
    Kind,
    TrimmedError,
    VersionConflictError,
    Write,
)
from index_store.changes.records import Record, erased, fingerprint, fingerprint_of_forget, json_text
from index_store.changes.redis_server import reported

if TYPE_CHECKING:
    from redis.client import Pipeline

_BLOCK_SECONDS = 1.0  # less than redis_server.ANSWER_SECONDS
_PAGE = 1_000
_TRIMMED_AT_ONCE = 200
_UNKNOWN = ("whether these changes were made is not known: see whether Redis runs, then repeat them with their "
            "idempotency keys")


class RedisLog:
    """A change log in a Redis that keeps an append-only file and flushes it before each reply.

    An append is one script, which Redis runs without others in between and logs as one transaction: after a crash all
    of its changes are there or none. Redis flushes its file to the disk (`appendfsync always`) before it acknowledges,
    so an acknowledged change survives a killed Redis, and a power failure too if the disk keeps what it has flushed. It
    may not survive a failover to a replica, since replicas lag. The log has to fit into memory. Redis serves nobody
    else during an append, a tenth of a millisecond for each write, so calls of some thousand writes are too long.

    Threads may share an object. If the connection breaks during an append, the error says that it is not known whether
    the changes were made.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the options of redis-py.
        index: says whose ads and users the log is about, as in SqliteLog. Each index has a log of its own in a Redis.

    Attributes:
        log_id: see ChangeLog.

    Raises:
        ChangeLogError: Redis does not answer, or may lose changes (see `redis_server.DURABLE`), or the log has another
            format.
    """

    def __init__(self, url: str, index: str) -> None:
        self.index = index
        self._redis = redis_server.connect(url)
        self._name = f"change log of index {index!r} in {redis_server.address(self._redis)}"
        self._log = f"changes:{{{index}}}"
        self._entries, self._keys, self._erased = (f"{self._log}:{part}" for part in ("entries", "keys", "erased"))
        self._append, self._forget, self._trim = map(
            self._redis.register_script, (redis_script.APPEND, redis_script.FORGET, redis_script.TRIM))
        self._reached = NEVER_CHANGED  # the last number that was seen
        with reported(self._name, "cannot be opened"):
            redis_server.check_durable(self._redis)
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hsetnx(self._log, "format", _format_of(uuid.uuid4().hex))
                pipeline.hsetnx(self._log, "last", str(NEVER_CHANGED))
                pipeline.sadd(redis_script.INDEXES, index)
                pipeline.hget(self._log, "format")
                found: str = pipeline.execute()[-1]
        self.log_id = found.partition(" ")[2]
        if found != _format_of(self.log_id):
            raise self._format_error(found)

    def append(self, writes: Sequence[Write]) -> list[Change]:
        """See ChangeLog."""
        arguments = [_format_of(self.log_id), str(self._reached)]
        for write in writes:
            given = {**write.fields, **write.noted}
            fields = [text for name, value in given.items() for text in (f"={name}", json_text(value))]
            arguments += [write.kind, write.id, "1" if write.kind.has_state else "",
                          "" if write.if_version is None else str(write.if_version),
                          "" if write.key is None else f"={write.key}", fingerprint(write) or "",
                          str(len(given)), *fields]
        with reported(self._name, "cannot be written", _UNKNOWN):
            outcome, *details = self._append(keys=[self._log, self._entries, self._keys], args=arguments)
        if outcome == "made":
            changes = [self._change_of(write.key, entries) for write, entries in zip(writes, details, strict=True)]
            self._reached = max(self._reached, *(change.sequence for change in changes), NEVER_CHANGED)
            return changes
        self._check_usable(outcome, details[0])
        index = int(details[0])
        if outcome == "version":
            raise VersionConflictError(index, writes[index], int(details[1]))
        if outcome == "key":
            raise KeyReusedError(index, writes[index].key or "")
        raise ChangeLogError(f"{self._name}: {writes[index].kind} {writes[index].id} would have {details[1]} fields, "
                             "more than a script of Redis can handle", "give it fewer")

    def forget(self, user_id: str, key: str | None = None) -> Change:
        """See ChangeLog. The append-only file keeps what was erased until Redis rewrites it."""
        arguments = [_format_of(self.log_id), str(self._reached), user_id, "" if key is None else f"={key}",
                     "" if key is None else fingerprint_of_forget(user_id)]
        with reported(self._name, "cannot be written", _UNKNOWN):
            outcome, detail = self._forget(keys=[self._log, self._entries, self._keys], args=arguments)
        self._check_usable(outcome, detail)
        if outcome == "key":
            raise KeyReusedError(0, key or "")
        return self._change_of(key, detail)

    def read(self, after: int, most: int = 1_000) -> list[Change]:
        """See ChangeLog."""
        return [record.change for record in self.records(after, most)]

    def records(self, after: int, most: int = 1_000) -> list[Record]:
        """As `read`, with the idempotency keys."""
        last, entries, gone, trimmed = self._ask(
            ("XRANGE", self._entries, f"{after + 1}-0", f"{after + most}-0"),
            ("ZRANGEBYSCORE", self._erased, after + 1, after + most), ("HGET", self._log, "trimmed"))
        self._check_reached(after, last)
        if int(trimmed or NEVER_CHANGED) > after:
            raise TrimmedError(self._name, after, int(trimmed))
        records = [self._record(entry, fields) for entry, fields in entries]
        if gone:
            records += [_erased(member) for member in gone]
            records.sort(key=lambda record: record.change.sequence)
        expected = range(after + 1, min(after + most, last) + 1)
        if [record.change.sequence for record in records] != list(expected):
            raise ChangeLogError(f"{self._name}: of the changes {after + 1} to {expected[-1]} only {len(records)} are "
                                 "there", RESTORE)
        return records

    def wait(self, after: int, seconds: float) -> bool:
        """See ChangeLog; Redis says when there is a change."""
        until = time.monotonic() + seconds
        while (last := self.last()) <= after:
            self._check_reached(after, last)
            left = until - time.monotonic()
            if left <= 0:
                return False
            with reported(self._name, "cannot be read"):
                self._redis.xread({self._entries: f"{after}-0"}, count=1,
                                  block=max(1, round(1_000 * min(left, _BLOCK_SECONDS))))
        return True

    def state(self, kind: Kind, subject: str) -> Change | None:
        """See ChangeLog."""
        return self.states(kind, [subject]).get(subject)

    def states(self, kind: Kind, subjects: Collection[str]) -> dict[str, Change]:
        """See ChangeLog; one round trip."""
        _, *found = self._ask(*(("HGETALL", self._state_of(kind, subject)) for subject in subjects))
        return {subject: self._record(f"{stored['n']}-0", {"kind": kind, "id": subject, **stored}).change
                for subject, stored in zip(subjects, found, strict=True) if stored}

    def last_states(self, kind: Kind, through: int) -> Iterator[Change]:
        """See ChangeLog; two round trips for each thousand."""
        after = NEVER_CHANGED
        while True:
            _, found = self._ask(("ZRANGEBYSCORE", f"{self._log}:last:{kind}", f"({after}", through, "WITHSCORES",
                                  "LIMIT", 0, _PAGE))
            if not found:
                return
            states = self.states(kind, found[::2])
            # One that was changed in between is no longer among them.
            yield from (states[subject] for subject in found[::2]
                        if subject in states and states[subject].sequence <= through)
            after = int(found[-1])

    def trim(self, through: int) -> None:
        """See ChangeLog. The append-only file shrinks when Redis rewrites it."""
        if through > (last := self.last()):
            raise ChangeLogError(f"{self._name} ends with change {last}, so it cannot be trimmed up to {through}",
                                 "name the log of the index that the bundles belong to")
        trimmed = self.trimmed()
        while trimmed < through:
            with reported(self._name, "cannot be trimmed"):
                outcome, detail = self._trim(keys=[self._log, self._entries, self._keys, self._erased],
                                             args=[_format_of(self.log_id), through, _TRIMMED_AT_ONCE])
            self._check_usable(outcome, detail)
            trimmed = int(detail)

    def trimmed(self) -> int:
        """See ChangeLog."""
        return int(self._ask(("HGET", self._log, "trimmed"))[1] or NEVER_CHANGED)

    def last(self) -> int:
        """See ChangeLog."""
        last: int = self._ask()[0]
        return last

    def close(self) -> None:
        """See ChangeLog."""
        self._redis.close()

    def fill(self, records: Iterable[Record], log_id: str, trimmed: int = NEVER_CHANGED) -> None:
        """Fills an empty log with the records of another one; until it is done nobody can open the log.

        Args:
            records: in order; of those up to `trimmed` only last states.
            log_id, trimmed: of the other one.

        Raises:
            ChangeLogError: the log has changes, or cannot be written.
        """
        if last := self.last():
            raise ChangeLogError(f"{self._name} has {last} changes already", "restore into an empty log only")
        left = iter(records)
        with reported(self._name, "cannot be filled"):
            self._redis.hset(self._log, "format", redis_script.FILLING)
            while page := list(islice(left, _PAGE)):
                with self._redis.pipeline(transaction=False) as pipeline:
                    for record in page:
                        self._put(pipeline, record, trimmed)
                    pipeline.execute()
                last = page[-1].change.sequence
            self._redis.hset(self._log, mapping={"format": _format_of(log_id), "last": max(last, trimmed),
                                                 "trimmed": trimmed})
        self.log_id = log_id

    def _put(self, pipeline: Pipeline, record: Record, trimmed: int) -> None:
        change, key = record.change, "" if record.key is None else f"={record.key}"
        if change.kind is Kind.ERASED:
            left = f" {json_text(dict(change.fields))}" if change.fields else ""
            pipeline.zadd(self._erased, {f"{change.sequence} {change.at!r}{left}": change.sequence})
            return
        state: dict[Any, Any] = {"at": repr(change.at),
                                 **{f"={name}": json_text(value) for name, value in change.fields.items()}}
        if change.kind.has_state:
            pipeline.hset(self._state_of(change.kind, change.id), mapping={"n": change.sequence, **state})
            pipeline.zadd(f"{self._log}:last:{change.kind}", {change.id: change.sequence})
        if change.sequence <= trimmed:
            return
        pipeline.xadd(self._entries, {"kind": change.kind, "id": change.id, "key": key,
                                      "fingerprint": record.fingerprint or "", **state}, id=f"{change.sequence}-0")
        if change.kind in (Kind.USER, Kind.EVENT):
            pipeline.rpush(f"{self._log}:of_user:{change.id}", change.sequence)
        if key:
            pipeline.hset(self._keys, key, f"{change.sequence} {record.fingerprint}")

    def _state_of(self, kind: Kind, subject: str) -> str:
        return f"{self._log}:{kind}:{subject}"

    def _change_of(self, key: str | None, entries: list[tuple[str, list[str]]]) -> Change:
        """The change that a script has made for a write, or found for its key; it gives entries as flat lists."""
        if not entries:
            raise ChangeLogError(f"{self._name}: the change of key {key!r} is missing", RESTORE)
        (entry, flat), = entries
        return self._record(entry, dict(zip(flat[::2], flat[1::2], strict=True))).change

    def _ask(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """Sequence number of the last change, and Redis's answers to some commands at the same moment."""
        reached = self._reached
        with reported(self._name, "cannot be read"), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hmget(self._log, "format", "last")
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            (found, last), *answers = pipeline.execute()
        if found != _format_of(self.log_id):
            raise self._format_error(found)
        self._check_reached(reached, int(last))
        self._reached = max(self._reached, int(last))
        return [int(last), *answers]

    def _record(self, entry: str, fields: Mapping[str, str]) -> Record:
        """A record from the id and the fields of a stream's entry, or from those of the hash of a state."""
        key = fields.get("key")
        try:
            change = Change(sequence=int(entry.removesuffix("-0")), at=float(fields["at"]), kind=Kind(fields["kind"]),
                            id=fields["id"],
                            fields={name[1:]: json.loads(text) for name, text in fields.items() if name[0] == "="})
        except (KeyError, ValueError) as error:
            raise ChangeLogError(f"{self._name}: entry {entry} cannot be read ({error!r})", RESTORE) from error
        return Record(change=change, key=key[1:] if key else None, fingerprint=fields.get("fingerprint") or None)

    def _check_usable(self, outcome: str, found: str) -> None:
        """Raises ChangeLogError if a script has found that this is not the log that was opened."""
        if outcome == "format":
            raise self._format_error(found)
        if outcome == "behind":
            self._check_reached(self._reached, int(found))

    def _format_error(self, found: str | None) -> ChangeLogError:
        if not found:
            return ChangeLogError(f"{self._name} is gone", f"see why Redis has lost it, then {RESTORE}")
        if found == redis_script.FILLING:
            return ChangeLogError(f"{self._name} is being restored, or its restore did not finish",
                                  f"wait, or delete its keys, which begin with {self._log}, and restore it again")
        number, _, log_id = found.partition(" ")
        if number == redis_script.FORMAT:
            return ChangeLogError(f"{self._name} is log {log_id}, but {self.log_id} was opened here",
                                  f"it was replaced by another one: {PUT_BACK}")
        return ChangeLogError(f"{self._name} has format {number}, this version of the program reads format "
                              f"{redis_script.FORMAT}", NEWER if number > redis_script.FORMAT else
                              f"{OLDER}; its keys begin with {self._log}")

    def _check_reached(self, after: int, last: int) -> None:
        if last < after:
            raise ChangeLogError(f"{self._name} ends with change {last}, but {after} was read from it before",
                                 f"it was replaced by an older one: {PUT_BACK}")


def _erased(member: str) -> Record:
    """What is left of an entry, from the member that stands for it in the sorted set."""
    number, at, *left = member.split(" ", 2)
    return erased(int(number), float(at), json.loads(left[0]) if left else {})


def _format_of(log_id: str) -> str:
    """What stands in Redis as the format of the log with this id."""
    return f"{redis_script.FORMAT} {log_id}"
