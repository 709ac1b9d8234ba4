"""Limits and times as the operator wrote them: of the whole process, whichever worker gets a connection;
true after they were switched off and on; told of when they are reached. And who must leave: by age, by
silence of one side, or since the node is down."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.load import Load
from lib.node import SinkNode, node_tables, start_sinks
from lib.thread_node import ThreadNode
from lib.wait import wait_until

CHECK = {"type": "tcp", "interval": "200ms", "fast_interval": "100ms", "fall": 1, "rise": 1}


def answered(sock, timeout_s=0.05):
    """What the other side said by now; None: nothing, b"": it has closed."""
    sock.settimeout(timeout_s)
    try:
        return sock.recv(64)
    except TimeoutError:
        return None
    except OSError:
        return b""


class LimitCase(FreshCase):
    def start(self, listener=None, pool=None, process=None, nodes=1, node=None):
        self.nodes = start_sinks(self.workspace, nodes)
        self.port = net.free_port()
        tables = [{**table, **(node or {})} for table in node_tables(self.nodes)]
        self.balancer = Balancer(self.workspace, {
            "process": {"workers": 4, **(process or {})},
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp",
                                 **(listener or {})}},
            "pool": {"xmpp": {"node": tables, "warmup": {"mode": "off"}, **(pool or {})}},
        }).start()

    def connect(self, source="127.0.0.1"):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10,
                                        source_address=(source, 0))
        self.addCleanup(sock.close)
        return sock

    def served(self, source="127.0.0.1"):
        """A connection that a node has greeted, or None: it was closed."""
        sock = self.connect(source)
        said = wait_until(lambda: (got := answered(sock)) is not None and [got], "an answer")[0]
        return sock if said == b"n1\n" else None

    def queued(self):
        return int(self.balancer.metric("mongooselb_pool_queued"))

    def refused(self, limit):
        return int(self.balancer.metric("mongooselb_listener_refused_total", limit=limit))

    def ended(self, reason):
        return int(self.balancer.metric("mongooselb_ended_total", reason=reason))


class Limits(LimitCase):
    def test_the_queue_is_as_long_as_the_file_says_however_many_workers_there_are(self):
        self.start(pool={"queue_max": 2, "queue_timeout": "60s"}, node={"connections_max": 1})
        first = self.served()
        waiting = [self.connect() for _ in range(24)]
        wait_until(lambda: self.ended("queue_full") == 22, "all but two are refused")
        self.assertEqual(self.queued(), 2)
        self.assertEqual(self.balancer.status()["pools"][0]["queued"], 2)
        self.assertIn("so is the queue", self.balancer.process.log())
        # Another length holds from now on, and who waits is still counted.
        self.balancer.reload({"pool": {"xmpp": {"queue_max": 3}}})
        more = [self.connect() for _ in range(5)]
        wait_until(lambda: self.ended("queue_full") == 26, "one more may wait")
        self.assertEqual(self.queued(), 3)
        first.close()
        wait_until(lambda: self.queued() == 2, "the first in line is served")
        for sock in waiting + more:
            sock.close()
        wait_until(lambda: self.queued() == 0, "nobody waits")

    def test_the_bound_of_receive_buffers_is_told_as_the_process_has_it(self):
        self.start(process={"buffers": 512})
        self.assertEqual(self.balancer.metric("mongooselb_buffers_max"), 4 * 512)
        self.assertIsNotNone(self.served())
        wait_until(lambda: self.balancer.metric("mongooselb_buffers") >= 256,
                   "the worker that served has its first buffers")
        self.assertLessEqual(self.balancer.metric("mongooselb_buffers_in_use"),
                             self.balancer.metric("mongooselb_buffers"))

    def test_every_place_of_the_process_is_there_whichever_worker_gets_the_connections(self):
        self.start(process={"connections_max": 8})
        held = [self.served() for _ in range(8)]
        self.assertNotIn(None, held)
        wait_until(lambda: self.balancer.open_connections() == 8, "eight are open")
        late = [self.connect() for _ in range(12)]
        self.assertTrue(all(answered(sock, 0.1) is None for sock in late), "the others wait")
        self.assertEqual(self.balancer.open_connections(), 8)
        served = []
        for count in range(1, 9):
            held.pop(0).close()
            wait_until(lambda count=count: sum(sock in served or answered(sock) == b"n1\n" and
                                               not served.append(sock) for sock in late) == count,
                       "the next one's turn comes")

    def test_a_limit_of_sources_that_is_switched_off_and_on_counts_who_is_there(self):
        self.start()
        held = [self.served() for _ in range(5)]  # without any limit
        self.balancer.reload({"listener": {"c2s": {"source_connections_max": 6}}})
        wait_until(lambda: self.balancer.get("/livez")[0] == 200, "it lives")
        held.append(self.served())
        self.assertIsNone(self.served(), "there are six")
        self.assertIsNotNone(self.served("127.0.0.2"))
        self.balancer.reload({"listener": {"c2s": {"source_connections_max": 0}}})
        held += [self.served(), self.served()]
        self.assertNotIn(None, held)
        self.balancer.reload({"listener": {"c2s": {"source_connections_max": 7}}})
        self.assertIsNone(self.served(), "there are eight, more than may be")
        for _ in range(2):
            held.pop().close()
        wait_until(lambda: self.balancer.open_connections() == 7, "they have gone")
        held.append(self.served())
        self.assertIsNotNone(held[-1], "there were six")
        self.assertIsNone(self.served())
        self.assertIn("one source at its limit", self.balancer.process.log())

    def test_a_listener_at_its_limit_says_so_and_refuses(self):
        self.start(listener={"connections_max": 3})
        held = [self.served() for _ in range(3)]
        self.assertNotIn(None, held)
        for _ in range(20):
            self.assertIsNone(self.served())
        self.assertEqual(self.refused("connections"), 20)
        log = self.balancer.process.log()
        self.assertEqual(log.count("at its limit; clients are refused"), 1, "rate-limited")
        self.assertIn("connections_max=3", log)

    def test_at_its_limit_a_listener_leaves_clients_in_the_listen_queue_when_told_to(self):
        self.start(listener={"connections_max": 3, "at_limit": "wait"})
        held = [self.served() for _ in range(3)]
        waiting = [self.connect() for _ in range(5)]
        self.assertTrue(all(answered(sock, 0.1) is None for sock in waiting))
        served = []
        while waiting:
            held.pop().close()
            wait_until(lambda: [served.append(sock) for sock in waiting
                                if sock not in served and answered(sock) == b"n1\n"], "one is served")
            waiting.remove(served[-1])
            held.append(served[-1])
        self.assertEqual(self.refused("connections"), 0)

    def test_a_listener_takes_connections_at_its_rate_and_refuses_or_lets_wait(self):
        for at_limit in ("refuse", "wait"):
            with self.subTest(at_limit=at_limit):
                self.start(listener={"rate": "20/s", "at_limit": at_limit})
                began = time.monotonic()
                socks = [self.connect() for _ in range(60)]
                if at_limit == "refuse":
                    wait_until(lambda: self.balancer.metric("mongooselb_accepted_total") == 60, "60")
                    # A second's worth at once, and what the time since then brings.
                    most = 20 + 20 * (time.monotonic() - began) + 2
                    self.assertLessEqual(60 - self.refused("connections"), most)
                    self.assertGreaterEqual(60 - self.refused("connections"), 20)
                    self.assertIn("faster than its rate", self.balancer.process.log())
                else:
                    for sock in socks:
                        wait_until(lambda sock=sock: answered(sock) == b"n1\n", "served")
                    self.assertEqual(self.refused("connections"), 0)
                    # Each worker may have taken one token ahead.
                    self.assertGreater(time.monotonic() - began, (60 - 20 - 4) / 20 - 0.2)
                self.balancer.stop()

    def test_a_reload_gives_a_unix_socket_its_mode_or_is_refused(self):
        path = self.workspace.path("c2s.socket")
        self.start(listener={"bind": f"unix:{path}", "unix_mode": "0660"})

        def mode():
            return stat.S_IMODE(os.stat(path).st_mode)

        self.assertEqual(mode(), 0o660)
        self.balancer.reload({"listener": {"c2s": {"unix_mode": "0600"}}})
        self.assertEqual(mode(), 0o600)
        self.balancer.write_config({"listener": {"c2s": {"unix_user": "no-such-user"}}})
        done = self.balancer.ctl("reload")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no-such-user", done.stdout + done.stderr)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(path)
            wait_until(lambda: answered(sock) == b"n1\n", "it serves on")


class Times(LimitCase):
    def test_each_side_has_its_own_time_of_silence(self):
        """The sink echoes, so a client that speaks makes its node speak, too. One that greets and says
        no more is silent, whatever its client says."""
        self.nodes = [SinkNode(self.workspace, "n1", "127.0.0.2").start()]
        deaf = DeafNode()
        self.addCleanup(deaf.close)
        ports = {name: net.free_port() for name in ("client", "node")}
        self.balancer = Balancer(self.workspace, {
            "listener": {name: {"bind": f"127.0.0.1:{port}", "pool": name}
                         for name, port in ports.items()},
            "pool": {"client": {"node": [{"name": "d", "address": deaf.endpoint}],
                                "client_idle_timeout": "1s", "node_idle_timeout": "60s"},
                     "node": {"node": [{"name": "d", "address": deaf.endpoint}],
                              "node_idle_timeout": "1s", "client_idle_timeout": "60s"}},
        }).start()
        # The node speaks all the time, and the client never: its own time ends it.
        deaf.speaks = True
        silent = socket.create_connection(("127.0.0.1", ports["client"]), timeout=10)
        began = time.monotonic()
        wait_until(lambda: answered(silent) == b"", "the silent client is closed", 10)
        self.assertGreater(time.monotonic() - began, 0.9)
        self.assertEqual(self.ended("client_idle"), 1)
        # The other way round.
        deaf.speaks = False
        talker = socket.create_connection(("127.0.0.1", ports["node"]), timeout=10)
        began = time.monotonic()

        def closed():
            try:
                talker.sendall(b"hello")
            except OSError:
                return True
            return answered(talker) == b""
        wait_until(closed, "the silent node's connection is closed", 10)
        self.assertGreater(time.monotonic() - began, 0.9)
        self.assertEqual(self.ended("node_idle"), 1)
        for sock in (silent, talker):
            sock.close()

    def test_connections_end_at_their_age_also_those_that_were_there_before_the_reload(self):
        self.start()
        old = self.served()
        self.balancer.reload({"pool": {"xmpp": {"max_age": "2s"}}})
        began = time.monotonic()
        young = self.served()
        wait_until(lambda: answered(old) == b"", "the old one ends", 4)
        wait_until(lambda: answered(young) == b"", "the young one ends", 4)
        self.assertGreater(time.monotonic() - began, 1.7, "a tenth sooner at most")
        self.assertEqual(self.ended("max_age"), 2)

    def test_sessions_of_a_node_that_is_down_end_at_a_pace_where_the_pool_says_so(self):
        for on_down in ({}, {"on_down": "close", "on_down_rate": "20/s"}):
            with self.subTest(on_down=on_down):
                # What is looked at is another port: so one is down whose connections live on.
                looks = net.free_port("127.0.0.2")
                looked_at = [socket.create_server((f"127.0.0.{n}", looks), backlog=1024)
                             for n in (2, 3)]
                self.start(nodes=2, pool={**on_down, "balance": "roundrobin",
                                          "check": [{**CHECK, "port": looks}]})
                with Load("127.0.0.1", self.port) as load:
                    here = sum(one.node == "n1" for one in load.hold(60))
                    looked_at[0].close()
                    wait_until(lambda: self.balancer.node_states()["n1"] == "down", "it is down")
                    if on_down:
                        began = time.monotonic()
                        wait_until(lambda: self.ended("node_down") == here, "they have ended")
                        self.assertGreater(time.monotonic() - began, (here - 10) / 20)
                        self.assertEqual({one.node for one in load.lost()}, {"n1"})
                    self.assertEqual(load.echo_all(), [], "the others stay")
                looked_at[1].close()
                self.balancer.stop()


class Zones(FreshCase):
    NODE = ("import socket, sys\n"
            "s = socket.socket(socket.AF_INET6)\n"
            "s.bind(('fe80::77', int(sys.argv[1]), 0, socket.if_nametoindex('lo')))\n"
            "s.listen()\n"
            "while True:\n"
            "    client = s.accept()[0]\n"
            "    client.sendall(b'n1\\n')\n"
            "    client.close()\n")
    CLIENT = ("import socket, sys\n"
              "s = socket.socket(socket.AF_INET6)\n"
              "s.settimeout(5)\n"
              "s.connect(('fe80::77', int(sys.argv[1]), 0, socket.if_nametoindex('lo')))\n"
              "print(s.recv(8).decode(), end='')\n")

    def test_a_listener_and_a_node_may_have_link_local_addresses(self):
        """In a network namespace of its own. Needs root, as all that make one."""
        name = f"mlb-zone-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "delete", name], check=True)
        for words in (["link", "set", "lo", "up"],
                      ["address", "add", "fe80::77/64", "dev", "lo", "nodad"]):
            subprocess.run(["ip", "-n", name, *words], check=True)
        inside = ["ip", "netns", "exec", name]
        self.workspace.start("n1", [*inside, sys.executable, "-c", self.NODE, "7001"])
        balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": "[fe80::77%lo]:7000", "pool": "xmpp"}},
            "pool": {"xmpp": {"node": [{"name": "n1", "address": "[fe80::77%lo]:7001"}]}},
        }, launcher=inside).launch()

        def greeted():
            done = subprocess.run([*inside, sys.executable, "-c", self.CLIENT, "7000"],
                                  capture_output=True, text=True, check=False)
            return done.stdout == "n1\n"
        wait_until(greeted, "the node greets the client")
        line = balancer.access_log.wait_for(1, node="n1")[0]
        self.assertRegex(line["client"], r"^\[fe80::77%lo\]:\d+$")


class DeafNode(ThreadNode):
    """Never reads; says something every tenth of a second while `speaks`."""

    def __init__(self):
        self.speaks = False
        self.over = threading.Event()
        super().__init__()

    def close(self):
        self.over.set()
        super().close()

    def one(self, sock):
        with sock:
            while not self.over.wait(0.1):
                try:
                    if self.speaks:
                        sock.sendall(b"still here\n")
                except OSError:
                    return


if __name__ == "__main__":
    unittest.main()
