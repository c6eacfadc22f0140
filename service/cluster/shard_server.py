"""The shard server: scores items of its shards for roots, one frame after the other, in the thread of its event loop.

A frame takes about a millisecond of computing, and a thread of its own would cost a tenth of that. More cores are used
by more processes of the same shard.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

from index_store.bundle.manifest import BundleError
from service.cluster.opened_shards import OpenedShards, OpenShard
from service.shards.frames import HEAD, Frame, FrameError, Kind, length_of
from service.shards.scoring_frames import logits_frame, read_scoring
from service.telemetry.request_log import log

_LEVEL = 1
"""Of the items in a tree of items alone."""

_LONGEST_ID = 100
"""Bytes of a root's id at most, since it is logged; they are 16."""

_PROBE_SECONDS, _PROBE_EVERY = 60, 20
"""Of silence before a root is asked whether it is still there, and between these questions: one whose machine is gone
would else keep its shard open for ever."""


class ShardServer:
    """Serves the shards of one process.

    Args:
        shards: that it opens when it is asked.

    Attributes:
        port: that it listens on, once it does.
        busy_seconds: in which it has worked on frames so far.
    """

    def __init__(self, shards: OpenedShards) -> None:
        self._shards, self.port, self.busy_seconds = shards, 0, 0.0
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._conversations)

    async def listen(self, host: str, port: int) -> None:
        """Listens from now on; port 0 lets the system choose.

        Raises:
            OSError: the address cannot be bound.
        """
        self._server = await asyncio.start_server(self._begin, host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        log("shard_listening", shard=self._shards.number, host=host, port=self.port)

    async def close(self) -> None:
        """Ends all connections."""
        if self._server is not None:
            self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY)
        conversation = asyncio.create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection to its end."""
        opened: OpenShard | None = None
        try:
            while True:
                body = await reader.readexactly(length_of(await reader.readexactly(HEAD.size)))
                began = time.perf_counter()
                frame = Frame.unpacked(body)
                if frame.kind is Kind.OPEN and opened is None:
                    opened, answer = await self._open(frame)
                    began = time.perf_counter()  # others were answered meanwhile
                elif frame.kind is Kind.SCORE and opened is not None:
                    answer = _scored(frame, opened)
                else:
                    answer = Frame.of_text(Kind.REFUSED, f"{frame.kind.name} is not expected here")
                writer.write(answer.packed())
                self.busy_seconds += time.perf_counter() - began
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the root has closed the connection
        except FrameError as error:
            log("shard_frame_refused", shard=self._shards.number, reason=str(error))
        finally:
            if opened is not None:
                self._shards.give_back(opened)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _open(self, frame: Frame) -> tuple[OpenShard | None, Frame]:
        """Opens the shard of the root that a frame names; the answer."""
        try:
            root, number = bytes(frame.arrays[0][:_LONGEST_ID]).decode(errors="replace"), frame.arrays[1].tolist()[0]
        except (IndexError, TypeError) as error:
            raise FrameError(f"it names no root ({error})") from error
        if number != self._shards.number:
            return None, Frame.of_text(Kind.REFUSED, f"this is shard {self._shards.number}, shard {number} was asked "
                                                     "for")
        try:
            opened = await asyncio.to_thread(self._shards.take, root)
        except (BundleError, OSError) as error:
            log("shard_refused", shard=self._shards.number, root=root, reason=str(error))
            return None, Frame.of_text(Kind.REFUSED, str(error))
        return opened, Frame(Kind.OPENED)


def _scored(frame: Frame, opened: OpenShard) -> Frame:
    """The answer to a frame that asks for logits."""
    scoring, place = read_scoring(frame), opened.place
    if scoring.root != place.root:
        return Frame.of_text(Kind.REFUSED, f"the connection is for root {place.root}, logits of root {scoring.root} "
                                           "were asked for")
    items = place.end - place.first
    if len(scoring.positions) > items:
        return Frame.of_text(Kind.REFUSED, f"{len(scoring.positions)} positions were asked for, the shard has {items}")
    if len(scoring.positions) and not 0 <= scoring.positions.min() <= scoring.positions.max() < items:
        return Frame.of_text(Kind.REFUSED, f"positions {scoring.positions.min()} to {scoring.positions.max()} were "
                                           f"asked for, the shard has 0 to {items - 1}")
    if scoring.seconds <= 0:
        return Frame(Kind.LATE)
    try:
        logits = opened.scorer.score_alone(scoring.query, _LEVEL, scoring.positions)
    except Exception as error:  # whatever is in those arrays, it must not end this process
        return Frame.of_text(Kind.REFUSED, f"{type(error).__name__}: {error}")
    return logits_frame(logits, scoring.query.kernel_seconds)


def run_server(server: ShardServer, host: str, port: int) -> None:
    """Listens until the process ends.

    Raises:
        OSError: the address cannot be bound.
    """
    import uvloop

    async def serve() -> None:
        await server.listen(host, port)
        await asyncio.Event().wait()

    uvloop.run(serve())
