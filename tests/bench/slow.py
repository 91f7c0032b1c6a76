"""Callers that send one byte a second, from a process of their own."""

import asyncio
import contextlib
from collections.abc import Sequence


async def _dribble(port: int, head: bytes, rest: bytes, seconds: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    for byte in rest[:seconds]:
        if reader.at_eof():
            break
        with contextlib.suppress(ConnectionError):
            writer.write(bytes([byte]))
        await asyncio.sleep(1)
    held = not reader.at_eof()
    writer.close()
    return held


def hold(port: int, callers: Sequence[tuple[bytes, bytes]], seconds: int) -> int:
    """Send each caller's first part at once and its second a byte a second; how many the server held to the end."""

    async def run() -> list[bool]:
        return await asyncio.gather(*(_dribble(port, head, rest, seconds) for head, rest in callers))

    return sum(asyncio.run(run()))
