"""A link to a broker that is as narrow, late and unreliable as one likes: an emulated satellite modem.

A relay listens on 127.0.0.1 and passes TCP on to a broker. Each way has a delay, a bit rate with the
framing of TCP/IP, a queue as short as a modem's, and lost segments; the whole link can be cut, frozen
and restored while it is in use.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from obslab.errors import BrokerError, ConfigError

SEGMENT_BYTES = 1460  # what TCP puts into one packet of 1,500 bytes
HEADER_BYTES = 40  # of TCP and IPv4 on each packet
_BUFFER_BYTES = 4096  # of a socket in the kernel, which would else hide the modem's queue
_WINDOW_BYTES = 1 << 20  # not yet delivered on one connection, as TCP's receive window bounds it
_RTO_FLOOR_S = 0.2  # Linux' TCP_RTO_MIN; RFC 6298 has 1 s, which stacks have left behind
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST and forgets what was not sent

T = TypeVar("T")


class Way:
    """One direction of the link, shared by all connections; counts what it carried.

    ``payload_bytes`` is what the sockets gave, ``wire_bytes`` has headers and retransmissions too.
    """

    def __init__(
        self, latency_s: float, loss: float, bits_per_s: float | None, queue_bytes: int, rng: random.Random
    ) -> None:
        self.payload_bytes = self.wire_bytes = self.segments = self.lost = 0
        self._latency_s, self._loss, self._rng = latency_s, loss, rng
        self._bytes_per_s = bits_per_s / 8 if bits_per_s else None
        self._queue_bytes = queue_bytes
        self._free_at = 0.0
        self._turn = asyncio.Lock()

    async def room(self) -> None:
        """Return when the modem's queue takes one more segment; callers have their turn in order."""
        if self._bytes_per_s is None:
            return
        loop = asyncio.get_running_loop()
        allowed_s = max(0, self._queue_bytes - SEGMENT_BYTES - HEADER_BYTES) / self._bytes_per_s
        async with self._turn:
            while (wait_s := self._free_at - loop.time() - allowed_s) > 0:
                await asyncio.sleep(wait_s)

    def send(self, size: int) -> float:
        """Queue a segment; the loop time at which it is at the other end.

        A lost one is sent again after a retransmission time-out, when the line is charged once more.
        """
        now = asyncio.get_running_loop().time()
        self.payload_bytes += size
        at = self._on_the_line(now, size)
        while self._rng.random() < self._loss:
            self.lost += 1
            at = max(self._on_the_line(now, size), at + 2 * self._latency_s + _RTO_FLOOR_S)
        return at + self._latency_s

    def _on_the_line(self, now: float, size: int) -> float:
        self.segments += 1
        self.wire_bytes += size + HEADER_BYTES
        took_s = (size + HEADER_BYTES) / self._bytes_per_s if self._bytes_per_s else 0.0
        self._free_at = max(now, self._free_at) + took_s
        return self._free_at


class Relay:
    """A relay to ``(host, port)``; clients connect to ``url``, which stays the same while it is cut.

    ``latency_s`` is the delay one way, so a round trip takes twice that; ``loss`` the fraction of
    segments lost, each of which holds back itself and what follows on its connection; ``bits_per_s``
    holds for each way by itself. The same seed loses the same segments. ``up`` is towards the broker.
    Every method may be called from any thread.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        latency_s: float = 0.0,
        loss: float = 0.0,
        bits_per_s: float | None = None,
        queue_bytes: int = 8192,
        seed: int = 0,
        listen_port: int = 0,
    ) -> None:
        if latency_s < 0 or not 0 <= loss < 1 or (bits_per_s is not None and bits_per_s <= 0):
            raise ConfigError(
                f"relay with latency {latency_s!r} s, loss {loss!r}, {bits_per_s!r} bit/s: wanted are "
                "0 or more, a fraction below 1, and a positive number"
            )
        self._target = (host, port)
        self.port = listen_port
        self.up, self.down = (
            Way(latency_s, loss, bits_per_s, queue_bytes, random.Random(seed * 2 + side)) for side in (0, 1)
        )
        self._round_trip_s = 2 * latency_s
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="obslab-relay", daemon=True)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen. Raises BrokerError when the port is taken."""
        self._thread.start()
        self._do(self._listen())

    def cut(self) -> None:
        """Reset every connection and refuse new ones: both ends learn of it at once."""
        self._do(self._cut())

    def freeze(self) -> None:
        """Go silent: connections stay open and new ones are accepted, but nothing passes, not even an end."""
        self._do(self._set(flowing=False))

    def restore(self) -> None:
        """Pass on again; what a frozen link held is delivered now, in order."""
        self._do(self._set(flowing=True))

    def stop(self) -> None:
        """Cut for good."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self.cut()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *what: object) -> None:
        self.stop()

    # ---- on the relay's own thread

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by what it accepts; later would be too late for the window that TCP announces.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        listener.setblocking(False)
        try:
            listener.bind(("127.0.0.1", self.port))
            listener.listen(100)
        except OSError as error:
            listener.close()
            raise BrokerError(
                f"relay on port {self.port} did not start: {error.strerror}", port=self.port
            ) from error
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener))

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self._connection(client))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _set(self, *, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()
        if self._listener is None:
            await self._listen()

    async def _cut(self) -> None:
        if self._listener is not None and self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._listener.close()
            self._listener = None
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, client: socket.socket) -> None:
        broker = socket.socket()
        broker.setblocking(False)
        reset = True
        try:
            for one in (client, broker):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.sleep(self._round_trip_s)  # of the handshake
            await self._flowing.wait()
            await asyncio.get_running_loop().sock_connect(broker, self._target)
            async with asyncio.TaskGroup() as both:  # a reset on one side ends the other
                both.create_task(self._pass_on(client, broker, self.up))
                both.create_task(self._pass_on(broker, client, self.down))
            reset = False
        except* OSError:
            pass
        finally:
            for one in (client, broker):
                if reset:  # after an orderly end the kernel may still have the last bytes to send
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.close()

    async def _pass_on(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        """One direction of one connection; an orderly end is passed on behind the data."""
        loop = asyncio.get_running_loop()
        flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        window = _Window(_WINDOW_BYTES)

        async def deliver() -> None:
            while True:
                at, chunk = await flight.get()
                await asyncio.sleep(max(0.0, at - loop.time()))
                await self._flowing.wait()
                if not chunk:
                    target.shutdown(socket.SHUT_WR)
                    return
                await loop.sock_sendall(target, chunk)
                window.give(len(chunk))

        async with asyncio.TaskGroup() as ends:
            ends.create_task(deliver())
            arrives, chunk = 0.0, b"-"
            while chunk:
                await window.take()
                await way.room()
                await self._flowing.wait()
                chunk = await loop.sock_recv(source, SEGMENT_BYTES)
                await way.room()  # while this one waited for data, another connection may have filled it
                arrives = max(arrives, way.send(len(chunk)))  # TCP keeps the order
                window.hold(len(chunk))
                flight.put_nowait((arrives, chunk))


class _Window:
    """Bytes on the way on one connection, bounded."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._free = asyncio.Event()
        self._free.set()

    async def take(self) -> None:
        await self._free.wait()

    def hold(self, size: int) -> None:
        self._held += size
        if self._held >= self._most:
            self._free.clear()

    def give(self, size: int) -> None:
        self._held -= size
        if self._held < self._most:
            self._free.set()
