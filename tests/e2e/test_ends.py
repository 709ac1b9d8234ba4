"""How connections end: resets behind a reader that is slow, last words, resets passed on, whose
fault a failure was. Nodes are sockets of this process; the balancer is real."""

import json
import os
import select
import selectors
import socket
import struct
import subprocess
import sys
import threading
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.lan import HubBalancer
from lib.node import SINK, SinkNode, node_tables
from lib.wait import wait_until

FIN_TIMEOUT_S = 2
CLIENTS = 24
ERROR = (b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' version='1.0' "
         b"xmlns:stream='http://etherx.jabber.org/streams'><stream:error><policy-violation "
         b"xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_to_end(sock):
    """(what came, how it ended: "end" or "reset")."""
    data = b""
    try:
        while part := sock.recv(65536):
            data += part
        return data, "end"
    except ConnectionResetError:
        return data, "reset"


class HandNode:
    """A listening socket whose connections the test holds in its hands."""

    name = "n1"

    def __init__(self, receive_buffer=None):
        self.listener = socket.socket()
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(256)
        self.listener.settimeout(10)
        self.port = self.listener.getsockname()[1]

    def accept(self):
        sock = self.listener.accept()[0]
        sock.settimeout(10)
        return sock


class Ends(FreshCase):
    def start(self, node, listener=None, pool=None):
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp",
                                 **(listener or {})}},
            "pool": {"xmpp": {"node": [{"name": "n1", "address": f"127.0.0.1:{node.port}"}],
                              "fin_timeout": f"{FIN_TIMEOUT_S}s", "warmup": {"mode": "off"},
                              **(pool or {})}},
        }).start()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def pairs(self, node, count):
        made = []
        for _ in range(count):
            client = self.connect()
            client.sendall(b"hello")
            server = node.accept()
            self.assertEqual(server.recv(5), b"hello")
            made.append((client, server))
        return made

    def fill(self, sock):
        """Sends until nobody takes any more."""
        sock.setblocking(False)
        while select.select([], [sock], [], 0.5)[1]:
            try:
                sock.send(b"x" * 65536)
            except BlockingIOError:
                pass
        sock.setblocking(True)

    def check_paused_resets(self, by_client, pool):
        node = HandNode(receive_buffer=4096)
        self.addCleanup(node.listener.close)
        self.start(node, pool=pool)
        pairs = self.pairs(node, CLIENTS)
        for client, server in pairs:
            self.fill(client if by_client else server)
        self.assertEqual(self.balancer.open_connections(), CLIENTS)
        for client, server in pairs:
            reset(client if by_client else server)
        wait_until(lambda: self.balancer.open_connections() == 0,
                   "nothing is left of those that were reset", FIN_TIMEOUT_S + 2)
        reason = "client_reset" if by_client else "node_reset"
        for entry in self.balancer.access_log.wait_for(CLIENTS, end=reason):
            self.assertEqual(entry["error"], "ECONNRESET")
        for client, server in pairs:
            left = server if by_client else client
            left.settimeout(10)
            self.assertEqual(read_to_end(left)[1], "reset")
            left.close()

    def test_a_node_that_has_ended_acknowledges_nothing_more(self):
        """Both sides of it stop at once: the client is lost, the node has ended and then resets what
        it had not read, which nobody is told of. What waits for it is not waited for."""
        node = HandNode(receive_buffer=4096)
        self.addCleanup(node.listener.close)
        self.start(node, pool={"fin_timeout": "60s"})
        pairs = self.pairs(node, CLIENTS)
        unread = 30_000
        for client, _ in pairs:
            client.sendall(b"x" * unread)
            client.shutdown(socket.SHUT_WR)

        def relayed():
            rows = self.balancer.ctl_ok("list", "--connections", "--json")
            return all(row["bytes_in"] == 5 + unread for row in json.loads(rows)["connections"])
        wait_until(relayed, "all that the clients said is on its way to the node", 10)
        for client, server in pairs:
            reset(client)
            server.sendall(b"y")  # by which the balancer learns of it
            server.shutdown(socket.SHUT_WR)
            server.close()
        wait_until(lambda: self.balancer.open_connections() == 0, "nothing is left of them", 8)

    def test_clients_that_reset_while_the_node_reads_nothing_leave_nothing_behind(self):
        self.check_paused_resets(True, {"splice_after": "0"})

    def test_nodes_that_reset_while_the_client_reads_nothing_leave_nothing_behind(self):
        self.check_paused_resets(False, {"splice_after": "0"})

    def test_the_same_while_bytes_are_spliced(self):
        self.check_paused_resets(True, {"splice_after": "64KiB"})

    def test_last_words_of_a_node_that_refuses_reach_every_client(self):
        """It says why and closes at once, with our PROXY header and the client's words unread."""
        node = HandNode()
        self.addCleanup(node.listener.close)
        self.start(node, pool={"send_proxy": "v2"})
        count = 200

        def refuse():
            for _ in range(count):
                sock = node.accept()
                sock.sendall(ERROR)
                sock.close()
        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        lost = 0
        for _ in range(count):
            with self.connect() as client:
                try:
                    for _ in range(20):
                        client.sendall(b"<stream:stream to='example.org'>")
                except OSError:
                    pass
                lost += read_to_end(client)[0] != ERROR
        thread.join(20)
        self.assertEqual(lost, 0, f"of {count} stream errors")

    def test_a_reset_is_passed_on_as_one_and_an_end_as_an_end_either_way(self):
        node = HandNode()
        self.addCleanup(node.listener.close)
        self.start(node)
        for by_client in (True, False):
            for how in ("reset", "end"):
                with self.subTest(by_client=by_client, how=how):
                    (client, server), = self.pairs(node, 1)
                    one, other = (client, server) if by_client else (server, client)
                    one.sendall(b"last words")
                    if how == "reset":
                        reset(one)
                    else:
                        one.shutdown(socket.SHUT_WR)
                    self.assertEqual(read_to_end(other), (b"last words", how))
                    other.close()
                    one.close()
        wait_until(lambda: self.balancer.open_connections() == 0, "all have ended", 10)

    def test_a_refused_connect_is_named_in_log_and_metrics(self):
        node = HandNode()
        self.start(node)
        node.listener.close()
        with self.connect() as client:
            self.assertEqual(read_to_end(client)[0], b"")
        entry = self.balancer.access_log.wait_for(1, end="connect_failed")[-1]
        self.assertEqual(entry["error"], "ECONNREFUSED")
        self.assertGreaterEqual(self.balancer.metric("mongooselb_socket_errors_total",
                                                     side="connect", errno="ECONNREFUSED"), 1)


# Its port is free again after a second.
CHECK = {"type": "tcp", "interval": "1s", "fast_interval": "500ms", "rise": 1, "fall": 1}


class OurOwnLack(FreshCase):
    """What is missing on this machine is said, with its errno, and no node is taken for dead."""

    def greeting(self, path):
        """A client by the Unix socket: it takes no port. (The socket, what it was told.)"""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(path)
        return sock, sock.recv(8)

    def test_without_a_source_port_towards_a_node_connections_end_as_exhausted_and_it_stays_up(self):
        """In a network namespace of its own, where few ports are to be had. Needs root."""
        name = f"mlb-ports-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "delete", name], check=True)
        inside = ["ip", "netns", "exec", name]
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        subprocess.run([*inside, "sysctl", "-q", "net.ipv4.ip_local_port_range=50000 50031"],
                       check=True)
        self.workspace.start("n1", [*inside, sys.executable, SINK, "n1", "127.0.0.1", "7001", "echo"])
        path = self.workspace.path("c2s.socket")
        balancer = HubBalancer(self.workspace, {
            "listener": {"c2s": {"bind": f"unix:{path}", "pool": "xmpp"}},
            "pool": {"xmpp": {"node": [{"name": "n1", "address": "127.0.0.1:7001"}],
                              "passive_errors": 1, "retries": 0, "check": [CHECK],
                              "warmup": {"mode": "off"}}},
        }, launcher=inside).start()
        wait_until(lambda: balancer.node_states() == {"n1": "up"}, "the node is up")
        downs = balancer.process.log().count("node is down")
        held = []

        def exhausted():
            # A check may have the last port for a moment, and give it back.
            sock, said = self.greeting(path)
            held.append(sock)
            return said == b""
        wait_until(exhausted, "no port is left")
        wait_until(lambda: "checks cannot be made here" in balancer.ctl_ok("list", "--json"),
                   "the checks find none either, and say so")
        for _ in range(20):
            self.assertEqual(self.greeting(path)[1], b"")
        self.assertEqual(balancer.node_states(), {"n1": "up"})
        for entry in balancer.access_log.wait_for(20, end="exhausted"):
            self.assertEqual(entry["error"], "EADDRNOTAVAIL")
        self.assertGreaterEqual(balancer.metric("mongooselb_socket_errors_total", side="connect",
                                                errno="EADDRNOTAVAIL"), 20)
        self.assertGreaterEqual(balancer.metric("mongooselb_local_errors_total"), 20)
        self.assertGreaterEqual(balancer.metric("mongooselb_ended_total", reason="exhausted"), 20)
        self.assertIn("source_addresses", balancer.process.log(), "the remedy")
        for sock in held:
            sock.close()
        wait_until(lambda: self.greeting(path)[1] == b"n1\n", "it serves again", 30)
        self.assertEqual(balancer.process.log().count("node is down"), downs)

    def test_at_a_limit_of_open_files_clients_wait_and_the_node_stays_up(self):
        """Sockets stand in the rings' tables, which that limit bounds: who finds no place waits for
        one, and no connect fails for want of a descriptor."""
        node = SinkNode(self.workspace, "n1").start()
        port = net.free_port()
        balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"node": node_tables([node]), "passive_errors": 1}},
        }, launcher=["prlimit", "--nofile=2100:2100"]).start()
        allowed = balancer.status()["connections_max"]
        self.assertLess(allowed, 1050)
        self.assertIn("the limit of open files allows fewer connections", balancer.process.log())
        clients = [socket.create_connection(("127.0.0.1", port), timeout=10)
                   for _ in range(allowed + 20)]
        looks = selectors.DefaultSelector()
        for client in clients:
            looks.register(client, selectors.EVENT_READ)

        def greeted():
            return [key.fileobj for key, _ in looks.select(0)]
        wait_until(lambda: len(greeted()) == allowed, "as many are served as there are places for")
        self.assertEqual(balancer.node_states(), {"n1": "up"})
        for client in greeted()[:20]:
            looks.unregister(client)
            client.close()
        wait_until(lambda: len(greeted()) == allowed, "who waited is served")
        self.assertEqual(balancer.metric("mongooselb_ended_total", reason="exhausted"), 0)
        self.assertEqual(balancer.metric("mongooselb_local_errors_total"), 0)
        for client in clients:
            client.close()


if __name__ == "__main__":
    unittest.main()
