"""The channel between supervisor and worker: length-prefixed JSON messages over a socket pair.

A pipe of `multiprocessing` blocks its reader in the middle of a message, and the supervisor must never wait for one
worker. It would also unpickle what a worker sends, and workers read requests from outside.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import MSG_DONTWAIT, socket
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import ConfigDict, Field, TypeAdapter

from index_store.bundle.trials import Role
from service.contract.errors import ErrorType, ServiceError

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Release:
    """A bundle to serve: its name in the folder of bundles, and the id of its content."""

    name: str
    folder: Path
    bundle_id: str

    def __str__(self) -> str:
        return f"{self.name} ({self.bundle_id})"


@dataclass(frozen=True)
class Serve:
    """To a worker: open this bundle, which has passed its check, and serve it from then on."""

    release: Release


@dataclass(frozen=True)
class Try:
    """To a worker: have these bundles, which have passed their checks, on trial beside the one that serves.

    Attributes:
        canary: answers the share of the users.
        share: above 0 up to 1; 0 without a canary.
        shadow: answers nobody, and is compared with the one that serves.

    What is not named is on trial no longer.
    """

    canary: Release | None = None
    share: float = 0.0
    shadow: Release | None = None

    def of(self, role: Role) -> Release | None:
        return self.canary if role == "canary" else self.shadow


@dataclass(frozen=True)
class Drain:
    """To a worker: refuse new requests."""


@dataclass(frozen=True)
class Serving:
    """From a worker: this bundle answers every request from now on."""

    release: Release


@dataclass(frozen=True)
class Failed:
    """From a worker: it cannot serve this bundle and keeps serving the one that it had."""

    release: Release
    reason: str


@dataclass(frozen=True)
class Trying:
    """From a worker: these bundles are on trial from now on."""

    tried: Try


@dataclass(frozen=True)
class TrialFailed:
    """From a worker: a bundle on trial cannot be opened, or has failed; it is on trial no longer."""

    role: Role
    release: Release
    reason: str


@dataclass(frozen=True)
class Call:
    """From a worker: an authorised admin call; `requests` are recent request bodies to try a bundle on.

    `try` begins a trial of the `role`, or gives it another `share`; `end` ends it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    number: int
    action: Literal["list", "load", "rollback", "try", "end"]
    bundle: str = ""
    force: bool = False
    requests: Sequence[bytes] = ()
    role: Role = "canary"
    share: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """A ServiceError on its way to the worker that will raise it."""

    error_type: ErrorType
    message: str
    remedy: str
    details: str = ""


@dataclass(frozen=True)
class Reply:
    """To a worker: the outcome of its call."""

    number: int
    outcome: Annotated[Refusal | dict[str, Any], Field(union_mode="left_to_right")]


Message = Serve | Try | Drain | Serving | Failed | Trying | TrialFailed | Call | Reply

_FORMS: dict[bytes, TypeAdapter[Message]] = {
    kind.__name__.encode(): TypeAdapter(kind) for kind in get_args(Message)}


def packed(message: Message) -> bytes:
    """A message as bytes."""
    kind = type(message).__name__.encode()
    content = kind + b" " + _FORMS[kind].dump_json(message)
    return _LENGTH.pack(len(content)) + content


@dataclass
class Inbox:
    """Assembles messages from the bytes of a stream."""

    _bytes: bytearray = field(default_factory=bytearray)

    def take(self, data: bytes) -> Iterator[Message]:
        """Adds bytes; yields the messages that are now complete."""
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            kind, _, content = bytes(self._bytes[_LENGTH.size:end]).partition(b" ")
            del self._bytes[:end]
            yield _FORMS[kind].validate_json(content)


class SupervisorEnd:
    """The supervisor's end of the channel to one worker; nothing here waits.

    Args:
        connection: one socket of a pair.
    """

    def __init__(self, connection: socket) -> None:
        self.connection = connection
        self._inbox = Inbox()

    def send(self, message: Message) -> bool:
        """Sends if there is room; False for a worker that has stopped reading, or is gone."""
        content = packed(message)
        try:
            return self.connection.send(content, MSG_DONTWAIT) == len(content)
        except OSError:
            return False

    def receive(self) -> list[Message]:
        """The messages that have arrived.

        Raises:
            EOFError: the worker is gone.
        """
        try:
            data = self.connection.recv(_CHUNK, MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        return list(self._inbox.take(data))


class WorkerEnd(asyncio.Protocol):
    """A worker's end, in its event loop.

    Args:
        on_message: takes Serve, Try and Drain.
    """

    def __init__(self, on_message: Callable[[Message], None]) -> None:
        self._on_message = on_message
        self._inbox = Inbox()
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._transport: asyncio.WriteTransport | None = None

    async def connect(self, connection: socket) -> None:
        """Takes over the worker's socket of the pair."""
        connection.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connection)

    def send(self, message: Message) -> None:
        """Sends as soon as the supervisor reads; does nothing if the supervisor is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packed(message))

    async def call(self, action: Literal["list", "load", "rollback"], bundle: str = "", *, force: bool = False,
                   requests: Sequence[bytes] = ()) -> dict[str, Any]:
        """As `ask`, for a call about the pointer."""
        return await self.ask(Call(0, action, bundle, force, requests))

    async def ask(self, call: Call) -> dict[str, Any]:
        """Sends a call to the supervisor, which always answers; its number is given here.

        Raises:
            ServiceError: its refusal.
        """
        number = next(self._numbers)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            self.send(replace(call, number=number))
            outcome: dict[str, Any] = await answer
            return outcome
        finally:
            del self._calls[number]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's transports are not subclasses

    def data_received(self, data: bytes) -> None:
        for message in self._inbox.take(data):
            if not isinstance(message, Reply):
                self._on_message(message)
                continue
            answer = self._calls.get(message.number)
            if answer is None or answer.done():  # the caller has disconnected
                continue
            if isinstance(message.outcome, Refusal):
                refused = message.outcome
                answer.set_exception(ServiceError(refused.error_type, refused.message, refused.remedy,
                                                  details=refused.details))
            else:
                answer.set_result(message.outcome)
