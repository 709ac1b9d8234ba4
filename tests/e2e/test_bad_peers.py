"""Hostile or broken clients: silent ones, floods, half-open and half-closed ones, slow readers. The
others are served all the time, and memory stays bounded."""

import socket
import struct
import time
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.load import Load, failures
from lib.mute import half_open, mute
from lib.node import node_tables, start_sinks
from lib.recorder import Recorder
from lib.wait import wait_until


class BadPeers(FreshCase):
    def start(self, listener=None, pool=None, process=None, nodes=None):
        self.nodes = start_sinks(self.workspace, 2) if nodes is None else nodes
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "process": process or {},
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp",
                                 **(listener or {})}},
            "pool": {"xmpp": {"balance": "p2c", "node": node_tables(self.nodes),
                              "warmup": {"mode": "off"}, **(pool or {})}},
        }).start()

    def connect(self, source="127.0.0.1"):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10,
                                        source_address=(source, 0))

    def test_silent_connections_are_closed_after_the_idle_timeout_and_active_ones_are_not(self):
        self.start(pool={"idle_timeout": "2s"})
        with Load("127.0.0.1", self.port) as silent, Load("127.0.0.1", self.port) as active:
            silent.hold(200)
            active.hold(5)
            began = time.monotonic()

            def all_silent_gone():
                self.assertEqual(active.echo_all(), [])  # keeps them busy
                return len(silent.lost()) == 200
            wait_until(all_silent_gone, "the silent ones are closed", 15, pause_s=0.3)
            self.assertGreater(time.monotonic() - began, 1.0)
            self.assertEqual(active.lost(), [])
        self.balancer.access_log.wait_for(200, end="idle")

    def test_a_listener_at_its_limit_serves_again_when_connections_leave(self):
        self.start(listener={"connections_max": 100})
        with Load("127.0.0.1", self.port, deadline_s=2) as load:
            held = load.hold(100)
            with self.connect() as sock:
                sock.settimeout(2)
                try:
                    self.assertEqual(sock.recv(16), b"", "over the limit nobody is greeted")
                except (ConnectionError, TimeoutError):
                    pass
            self.assertEqual(load.echo_all(), [])
            load.close_held(held[:50])

            def served():
                with Load("127.0.0.1", self.port, deadline_s=1) as probe:
                    return len(probe.hold(20)) == 20
            wait_until(served, "there is room again", 10)

    def test_one_address_reaches_its_limit_and_others_do_not_notice(self):
        self.start(listener={"source_connections_max": 20})
        greedy = Load("127.0.0.1", self.port, sources=["127.0.0.66"], deadline_s=2)
        with greedy, Load("127.0.0.1", self.port, sources=["127.0.0.67", "127.0.0.68"]) as others:
            greedy.hold(20)
            greedy.arrive(rate=50)
            others.hold(30)
            wait_until(lambda: len(greedy.arrivals) >= 50, "50 attempts over the limit", 20)
            self.assertEqual([a for a in greedy.stop_arrivals() if a.outcome == "ok"], [])
            self.assertEqual(others.echo_all(), [])
            self.assertEqual(greedy.echo_all(), [], "what is within the limit stays")
        self.balancer.access_log.wait_for(1, end="limited")

    def test_one_address_is_limited_to_its_rate(self):
        self.start(listener={"source_rate": "20/s"})
        with Load("127.0.0.1", self.port, sources=["127.0.0.66"], deadline_s=2) as greedy, \
                Load("127.0.0.1", self.port, sources=["127.0.0.67"]) as other:
            greedy.arrive(rate=200)
            other.arrive(rate=5)
            wait_until(lambda: len(greedy.arrivals) >= 600, "three seconds of greed", 20)
            served = [a for a in greedy.stop_arrivals() if a.outcome == "ok"]
            self.assertEqual(failures(other.stop_arrivals()), [])
        self.assertLess(len(served), 160)   # about 3 s at 20/s, and one burst
        self.assertGreater(len(served), 30)

    def test_a_flood_of_connections_that_vanish_leaves_nothing_behind(self):
        """Connect and reset at once, as a scanner does; some reset before they are accepted."""
        self.start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(50)
            before = self.balancer.rss_bytes()
            for _ in range(5000):
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.connect(("127.0.0.1", self.port))
                sock.close()
            self.assertEqual(load.echo_all(), [])
            wait_until(lambda: self.balancer.open_connections() == 50,
                       "only the 50 held connections are left", 20)
            self.assertLess(self.balancer.rss_bytes() - before, 16 << 20)

    def test_a_client_that_resets_is_logged_as_such(self):
        self.start()
        with self.connect() as sock:
            self.assertTrue(sock.recv(16))
            own = sock.getsockname()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        entry = self.balancer.access_log.wait_for(1, client=f"{own[0]}:{own[1]}")[-1]
        self.assertEqual(entry["end"], "client_reset")

    def test_a_client_that_vanishes_without_a_word_is_given_up_by_keepalive(self):
        # With a user timeout the kernel goes by that one and not by the count of probes.
        self.start(pool={"keepalive_idle": "1s", "keepalive_interval": "1s", "keepalive_count": 2,
                         "tcp_user_timeout": "0"})
        with self.connect() as sock, Load("127.0.0.1", self.port) as load:
            load.hold(5)
            self.assertTrue(sock.recv(16))
            own = sock.getsockname()
            mute(sock)
            entry = self.balancer.access_log.wait_for(1, 15, client=f"{own[0]}:{own[1]}")[-1]
            self.assertEqual(entry["end"], "client_reset")
            self.assertGreater(entry["duration_ms"], 1500)
            self.assertEqual(load.echo_all(), [], "those who answer keepalives stay")

    def test_a_client_that_vanishes_while_data_is_on_its_way_is_given_up_by_the_user_timeout(self):
        self.start(pool={"tcp_user_timeout": "2s", "keepalive_idle": "0"})
        with self.connect() as sock:
            self.assertTrue(sock.recv(16))
            own = sock.getsockname()
            sock.sendall(b"answer me\n")
            mute(sock)
            sock.sendall(b"and me\n")
            self.balancer.access_log.wait_for(1, 20, client=f"{own[0]}:{own[1]}")

    def test_a_flood_of_half_open_handshakes_keeps_nobody_out(self):
        self.start(listener={"backlog": 1024})
        flood = half_open("127.0.0.1", self.port, "127.0.0.99", 5000)
        try:
            with Load("127.0.0.1", self.port) as load:
                load.hold(100)
                load.arrive(rate=100)
                wait_until(lambda: len(load.arrivals) >= 200, "two seconds of arrivals", 20)
                self.assertEqual(failures(load.stop_arrivals()), [])
                self.assertEqual(load.echo_all(), [])
        finally:
            for sock in flood:
                sock.close()

    def test_half_close_reaches_the_node_and_its_answer_comes_back(self):
        node = Recorder(answer=b"late answer", answer_after=None)
        self.addCleanup(node.close)
        self.start(nodes=[node])
        with self.connect() as sock:
            sock.sendall(b"last word")
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(node.wait_for(0, 9), b"last word")
            received = b""
            while len(received) < 11:
                data = sock.recv(64)
                self.assertTrue(data, "closed before the answer")
                received += data
            self.assertEqual(received, b"late answer")
            self.assertTrue(node.ended[0], "it came after the end of the client's direction")

    def test_a_slow_reader_holds_back_its_own_bytes_only(self):
        """64 MiB for a client that reads nothing: the balancer keeps a bounded part of it."""
        node = Recorder(answer=b"x" * (64 << 20), answer_after=1)
        self.addCleanup(node.close)
        self.start(nodes=[node], pool={"pending_bytes_max": "256KiB"})
        before = self.balancer.rss_bytes()
        slow = [self.connect() for _ in range(8)]
        for sock in slow:
            sock.sendall(b"go")
        with self.connect() as quick:
            quick.sendall(b"go")
            received = 0
            while received < 64 << 20:
                data = quick.recv(1 << 20)
                self.assertTrue(data)
                received += len(data)
        self.assertLess(self.balancer.rss_bytes() - before, 8 * (1 << 20) + (8 << 20))
        for sock in slow:
            sock.close()


if __name__ == "__main__":
    unittest.main()
