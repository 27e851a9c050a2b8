# SPDX-License-Identifier: Apache-2.0
"""A TCP forwarder that keeps every byte: what a client and a server have really sent through this place.

Two of them around something that forwards (client, tap, it, tap, server) tell whether it changed a byte. An `edit`
makes one that does: a deliberately wrong proxy, which a test that compares must find.
"""

import asyncio
import dataclasses
import threading

READ_BYTES = 64 << 10


@dataclasses.dataclass
class Recording:
    """One connection, in full."""
    to_server: bytearray = dataclasses.field(default_factory=bytearray)
    to_client: bytearray = dataclasses.field(default_factory=bytearray)


def drop_first_notice():
    """An edit that takes the first NoticeResponse out of what the server sends; for sessions without TLS."""
    buffer, dropped = bytearray(), False

    def edit(data):
        nonlocal dropped
        buffer.extend(data)
        out = bytearray()
        while len(buffer) >= 5:
            size = 1 + int.from_bytes(buffer[1:5], "big")
            if len(buffer) < size:
                break
            if buffer[0] == ord("N") and not dropped:
                dropped = True
            else:
                out += buffer[:size]
            del buffer[:size]
        return bytes(out)

    return edit


class Tap:
    """Listens on 127.0.0.1:`port` and ::1, and forwards to `to`, an address and a port. `make_edit`: called for each
    connection; gives what changes the server's bytes on their way."""

    def __init__(self, port, to, make_edit=None):
        self.port, self.to = port, to
        self.make_edit = make_edit
        self.recordings = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *exc):
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def take(self):
        """What was recorded since the last time."""
        taken, self.recordings = self.recordings, []
        return taken

    async def _listen(self):
        self._server = await asyncio.start_server(self._serve, ["127.0.0.1", "::1"], self.port, limit=READ_BYTES)

    async def _close(self):
        self._server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        recording = Recording()
        self.recordings.append(recording)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.to, limit=READ_BYTES)
        except OSError:
            writer.transport.abort()
            return
        edit = self.make_edit() if self.make_edit else None
        try:
            await asyncio.gather(self._move(reader, server_writer, recording.to_server, None),
                                 self._move(server_reader, writer, recording.to_client, edit))
        except OSError:  # an end has reset its connection: the other learns it, too
            server_writer.transport.abort()
            writer.transport.abort()
        finally:
            server_writer.close()
            writer.close()

    async def _move(self, reader, writer, kept, edit):
        while data := await reader.read(READ_BYTES):
            kept += data
            if edit:
                data = edit(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()
