"""Load on the balancer: connections that are held, and connections that keep arriving.

Runs in a thread with an event loop of its own, so that a test can block in a ctl command while the
load goes on. Nodes are sink.py in its echo mode: each greets with its name.

    with Load("127.0.0.1", port) as load:
        load.hold(2000)
        load.arrive(rate=100)
        ...
        arrivals = load.stop_arrivals()
        lost = load.lost()

With `tls`, an SSLContext, connections are direct TLS to `name`.
"""

import asyncio
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Arrival:
    """One short connection: when it was meant to start, where it landed, how it went."""
    at: float  # time.time()
    node: str | None
    outcome: str  # ok | refused | reset | closed | silent
    took_s: float


@dataclass
class Held(asyncio.Protocol):
    """One connection that stays open. `node` is set by the greeting."""
    node: str | None = None
    local_port: int = 0
    ended_at: float | None = None
    reason: str | None = None
    received: bytearray = field(default_factory=bytearray)
    transport: asyncio.Transport | None = None
    greeted: asyncio.Future | None = None
    waiter: asyncio.Future | None = None
    closing: bool = False

    def connection_made(self, transport):
        self.transport = transport
        self.local_port = transport.get_extra_info("sockname")[1]
        self.greeted = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.received += data
        if self.node is None:
            name, newline, rest = self.received.partition(b"\n")
            if not newline:
                return
            self.node, self.received = name.decode(), bytearray(rest)
            if not self.greeted.done():
                self.greeted.set_result(True)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(True)

    def connection_lost(self, exc):
        self.ended_at = time.time()
        self.reason = "by us" if self.closing else (repr(exc) if exc else "closed by the other side")
        for future in (self.greeted, self.waiter):
            if future is not None and not future.done():
                future.set_exception(exc or ConnectionResetError("closed by the other side"))
                future.exception()

    async def echo(self, payload, deadline_s):
        """The node gives back exactly `payload`."""
        self.transport.write(payload)
        end = asyncio.get_running_loop().time() + deadline_s
        while len(self.received) < len(payload):
            if self.ended_at is not None:
                return False
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self.waiter, end - asyncio.get_running_loop().time())
            except (OSError, asyncio.TimeoutError):
                return False
        answer, self.received = bytes(self.received), bytearray()
        return answer == payload

    def close(self):
        self.closing = True
        if self.transport is not None:
            self.transport.close()


class Load:
    def __init__(self, host, port, sources=(), deadline_s=10.0, tls=None, name=None):
        self.target = (host, port)
        self._tls = {"ssl": tls, "server_hostname": name, "ssl_handshake_timeout": deadline_s} \
            if tls else {}
        self.sources = list(sources)
        self.deadline_s = deadline_s
        self.held = []
        self.arrivals = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="load", daemon=True)
        self._arriving = None  # the event that ends it, and its future
        self._next_source = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        if self._arriving is not None:
            self.stop_arrivals()
        self._call(self._close_all(), 30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # --- held ---

    def hold(self, count, at_once=64, deadline_s=60.0):
        """Opens `count` connections, each greeted by its node, and keeps them. Returns them."""
        return self._call(self._hold(count, at_once), deadline_s)

    def lost(self):
        """Held connections that ended though nobody here closed them."""
        return [h for h in self.held if h.ended_at is not None and not h.closing]

    def living(self):
        return [h for h in self.held if h.ended_at is None]

    def echo_all(self, deadline_s=20.0):
        """Every living held connection carries bytes both ways; those that do not."""
        return self._call(self._echo_all(deadline_s), deadline_s + 10)

    def close_held(self, held):
        self._call(self._close(held), 30)

    # --- arriving ---

    def arrive(self, rate, keep_s=0.0):
        """From now on `rate` connections a second: connect, greeting, one echo, `keep_s`, close."""
        self.arrivals = []
        enough = asyncio.Event()
        running = asyncio.run_coroutine_threadsafe(self._arrive(rate, keep_s, enough), self._loop)
        self._arriving = (enough, running)

    def stop_arrivals(self):
        """No new ones; those under way finish. All arrivals since `arrive`."""
        enough, running = self._arriving
        self._arriving = None
        self._loop.call_soon_threadsafe(enough.set)
        running.result(self.deadline_s + 10)
        return list(self.arrivals)

    # --- inside the loop ---

    def _call(self, coroutine, deadline_s):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(deadline_s)

    def _source(self):
        if not self.sources:
            return None
        self._next_source += 1
        return (self.sources[self._next_source % len(self.sources)], 0)

    async def _open(self):
        _, held = await self._loop.create_connection(Held, *self.target, local_addr=self._source(),
                                                      **self._tls)
        try:
            await asyncio.wait_for(held.greeted, self.deadline_s)
        except BaseException:
            held.close()
            raise
        return held

    async def _hold(self, count, at_once):
        gate = asyncio.Semaphore(at_once)

        async def one():
            async with gate:
                return await self._open()
        opened = await asyncio.gather(*(one() for _ in range(count)))
        self.held += opened
        return opened

    async def _echo_all(self, deadline_s):
        async def one(number, held):
            return None if await held.echo(f"ping {number}\n".encode(), deadline_s) else held
        answers = await asyncio.gather(*(one(i, h) for i, h in enumerate(self.living())))
        return [h for h in answers if h is not None]

    async def _close(self, held):
        for one in held:
            one.close()

    async def _close_all(self):
        await self._close(self.living())

    async def _arrive(self, rate, keep_s, enough):
        tasks = set()
        start = self._loop.time()
        count = 0
        while not enough.is_set():
            count += 1
            await asyncio.sleep(max(0.0, start + count / rate - self._loop.time()))
            task = self._loop.create_task(self._one_arrival(keep_s))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)

    async def _one_arrival(self, keep_s):
        at, node, outcome = time.time(), None, "ok"
        held = None
        try:
            held = await self._open()
            node = held.node
            if not await held.echo(b"hello\n", self.deadline_s):
                outcome = "closed" if held.ended_at is not None else "silent"
            if keep_s:
                await asyncio.sleep(keep_s)
        except ConnectionRefusedError:
            outcome = "refused"
        except asyncio.TimeoutError:
            outcome = "silent"
        except OSError:
            outcome = "reset"
        if held is not None:
            held.close()
        self.arrivals.append(Arrival(at, node, outcome, time.time() - at))


def failures(arrivals):
    return [a for a in arrivals if a.outcome != "ok"]


def per_second(arrivals, node, start, seconds):
    """How many landed on `node` in each of the seconds after `start`."""
    buckets = [0] * seconds
    for arrival in arrivals:
        second = int(arrival.at - start)
        if arrival.node == node and 0 <= second < seconds and arrival.at >= start:
            buckets[second] += 1
    return buckets
