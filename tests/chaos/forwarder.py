"""Carries connections on, byte by byte: from a socket that listens in a namespace to a part of the system."""

import asyncio
import socket
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

Target = Path | tuple[str, int]  # a Unix socket, or a host and a port
# A server that was left by a client that it no longer reaches finds out, as one does with keepalives.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}


class Forwarder:
    """Serves while inside, in a thread of its own. It owns the listening sockets, and closes them at the end."""

    def __init__(self, routes: Mapping[socket.socket, Target]) -> None:
        self._routes = routes
        self._open: set[StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        servers = [
            await asyncio.start_server(partial(self._carry, target), sock=listener)
            for listener, target in self._routes.items()
        ]
        await self._end.wait()
        for server in servers:
            server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0.1)  # the transports close their sockets in the next rounds

    async def _carry(self, target: Target, reader: StreamReader, writer: StreamWriter) -> None:
        self._open.add(writer)
        outer = writer.get_extra_info("socket")
        outer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            outer.setsockopt(socket.IPPROTO_TCP, option, value)
        try:
            inner_reader, inner = await _connect(target)
        except OSError:
            writer.transport.abort()  # nobody listens there: the nearest to a refusal that is left
            self._open.discard(writer)
            return
        self._open.add(inner)
        ways = [asyncio.create_task(_pump(reader, inner)), asyncio.create_task(_pump(inner_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, inner):
                one.close()
                await asyncio.gather(one.wait_closed(), return_exceptions=True)
                self._open.discard(one)


async def _connect(target: Target) -> tuple[StreamReader, StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
    except OSError:
        return  # either end is gone, and so is the connection
