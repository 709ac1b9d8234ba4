"""Checks speak TLS as the pool's connections do, and a node that fails in TLS, or resets whoever comes,
does not count as one that is up. The operator reads why."""

import socket
import struct
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase, FreshCase
from lib.certs import Authority
from lib.ejabberd import start_cluster
from lib.node import SinkNode, node_tables
from lib.prosody import start_nodes
from lib.thread_node import ThreadNode
from lib.tls import read_until
from lib.wait import wait_until
from test_tls_attacks import TlsNode

DOMAIN = "chat.example"
CHECK = {"type": "tcp", "interval": "200ms", "fast_interval": "100ms", "timeout": "5s", "rise": 1,
         "fall": 2}


class ResettingNode(ThreadNode):
    """Takes connections and resets them: at once, or when they have said something."""

    def __init__(self, name, listens=False):
        self.name = name
        self.listens = listens
        self.count = 0
        super().__init__()

    def one(self, sock):
        try:
            sock.settimeout(10)
            if not self.listens or sock.recv(4096):
                self.count += 1
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        sock.close()


class TlsChecks(FreshCase):
    def start(self, pools):
        self.ports = {name: net.free_port() for name in pools}
        self.balancer = Balancer(self.workspace, {
            "listener": {name: {"bind": f"127.0.0.1:{port}", "pool": name}
                         for name, port in self.ports.items()},
            "pool": pools,
        }).start()

    def states(self):
        """{pool: {state of each of its nodes}}."""
        return {pool["name"]: {node["name"]: (node["state"], node["why"]) for node in pool["nodes"]}
                for pool in self.balancer.ctl_json("list")["pools"]}

    def node(self, **how):
        node = TlsNode(self.authority.issue(f"node{len(self.nodes)}", [DOMAIN]), **how)
        self.addCleanup(node.close)
        self.nodes.append(node)
        return node

    def setUp(self):
        super().setUp()
        self.nodes = []
        self.authority = Authority(self.workspace)

    def pool(self, nodes, **more):
        return {"node": node_tables(nodes), "retries": 0, "tls": "tls",
                "tls_ca": self.authority.ca_file, "tls_verify_name": DOMAIN, "check": [CHECK], **more}

    def state_of(self, pool):
        return next(iter(self.states()[pool].values()))

    def test_a_pool_whose_tls_fails_at_every_node_is_down_and_the_list_says_why(self):
        good, starttls, plain = self.node(), self.node(starttls=True), \
            SinkNode(self.workspace, "plain", "127.0.0.2").start()
        starttls_pool = {"tls": "starttls", "starttls_to": DOMAIN}
        self.start({
            "good": self.pool([good]),
            "asks": self.pool([starttls], **starttls_pool),
            "name": self.pool([good], tls_verify_name="other.example"),
            "plain": self.pool([plain], check=[{**CHECK, "timeout": "1s"}]),
            "starttls_plain": self.pool([plain], check=[{**CHECK, "timeout": "1s"}],
                                        **starttls_pool),
            "off": self.pool([plain], check=[{**CHECK, "tls": False}]),
        })
        for pool in ("good", "asks", "off"):
            wait_until(lambda name=pool: self.state_of(name)[0] == "up", f"{pool} is up")
        for pool in ("name", "plain", "starttls_plain"):
            wait_until(lambda name=pool: self.state_of(name)[0] == "down", f"{pool} is down")
        self.assertRegex(self.state_of("name")[1], "TLS.*certificate")
        self.assertRegex(self.state_of("plain")[1], "TLS")
        self.assertRegex(self.state_of("starttls_plain")[1], "STARTTLS")
        self.assertRegex(self.balancer.ctl_ok("list"), "TLS.*certificate")
        self.assertTrue(all(asked in (DOMAIN, "other.example") and not resumed
                            for asked, resumed in good.handshakes), good.handshakes)
        with socket.create_connection(("127.0.0.1", self.ports["good"]), timeout=10) as sock:
            self.assertEqual(read_until(sock, b"\n"), b"tlsnode\n")
        self.assertFalse(any(resumed for _, resumed in good.handshakes),
                         "a check left a session to a client's connection")

    def test_failures_of_tls_and_early_resets_count_where_checks_see_nothing(self):
        good = self.node()
        deaf = ResettingNode("deaf", listens=True)  # resets when it hears the ClientHello
        echo = SinkNode(self.workspace, "echo", "127.0.0.2").start()
        rude = ResettingNode("rude")
        for node in (deaf, rude):
            self.addCleanup(node.close)
        seldom = {**CHECK, "interval": "60s", "fast_interval": "60s", "start": "up"}
        self.start({
            "tls": self.pool([good, deaf], passive_errors=3, balance="roundrobin",
                             check=[{**seldom, "tls": False}]),
            "plain": {"node": node_tables([echo, rude]), "retries": 0, "passive_errors": 3,
                      "balance": "roundrobin", "check": [seldom]},
        })
        for pool, bad in (("tls", "deaf"), ("plain", "rude")):
            def down(name=pool, node=bad):
                with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=10) as sock:
                    try:
                        read_until(sock, b"\n")
                    except OSError:
                        pass
                return self.states()[name][node][0] == "down"
            # The first check of all comes within seconds, and sees nothing.
            wait_until(down, f"{bad} is down")
            # A reset that comes as soon as the connection stands may meet the connect itself.
            self.assertRegex(self.states()[pool][bad][1], "TLS: reset|reset before|connect_failed")
            others = {name: state for name, (state, _) in self.states()[pool].items()
                      if name != bad}
            self.assertEqual(set(others.values()), {"up"})

    def test_a_client_cannot_mark_nodes_down_by_what_it_says(self):
        """A node that hangs up on much that it has not read resets the connection; so may one that was
        shouted at."""
        deaf = ResettingNode("deaf", listens=True)
        self.addCleanup(deaf.close)
        echo = SinkNode(self.workspace, "echo", "127.0.0.2").start()
        self.start({"p": {"node": node_tables([echo, deaf]), "retries": 0, "passive_errors": 2,
                          "balance": "roundrobin",
                          "check": [{**CHECK, "interval": "60s", "start": "up"}]}})
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", self.ports["p"]), timeout=10) as sock:
                try:
                    sock.sendall(b"x" * 4000)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass
                except OSError:
                    pass
        wait_until(lambda: deaf.count >= 10, "the node reset them")
        wait_until(lambda: self.balancer.open_connections() == 0, "all have ended")
        self.assertEqual({state for state, _ in self.states()["p"].values()}, {"up"})


class RealServers(EndToEndCase):
    """Checks of Prosody and ejabberd, by STARTTLS and by direct TLS."""

    def test_checks_go_through_prosodys_tls_and_mind_its_certificate(self):
        authority = Authority(self.workspace)
        self.checks_mind_the_certificate(
            authority, *start_nodes(self.workspace, authority, 1, DOMAIN))

    def test_checks_go_through_ejabberds_tls_and_mind_its_certificate(self):
        authority = Authority(self.workspace)
        self.checks_mind_the_certificate(
            authority, *start_cluster(self.workspace, authority, 1, DOMAIN))

    def checks_mind_the_certificate(self, authority, node):
        xmpp = {**CHECK, "type": "xmpp", "to": DOMAIN}

        def pool(port, check, **more):
            return {"node": [{"name": "n1", "address": f"{node.address}:{port}"}],
                    "tls_ca": authority.ca_file, "tls_verify_name": DOMAIN, "check": [check], **more}

        asks = {"tls": "starttls", "starttls_to": DOMAIN}
        pools = {
            "direct": pool(node.c2s_tls_port, xmpp, tls="tls", tls_sni=DOMAIN),
            "asks": pool(node.c2s_port, xmpp, **asks),
            "name": pool(node.c2s_port, xmpp, **{**asks, "tls_verify_name": "other.example"}),
            "plain": pool(node.c2s_port, CHECK, tls="tls"),
        }
        balancer = Balancer(self.workspace, {
            "listener": {name: {"bind": f"127.0.0.1:{net.free_port()}", "pool": name}
                         for name in pools},
            "pool": pools,
        }, name=f"lb-{node.name}").start()
        self.addCleanup(balancer.process.stop)

        def state(pool):
            return next((node["state"], node["why"])
                        for one in balancer.ctl_json("list")["pools"] if one["name"] == pool
                        for node in one["nodes"])

        for name, up in (("direct", "up"), ("asks", "up"), ("name", "down"), ("plain", "down")):
            wait_until(lambda name=name, up=up: state(name)[0] == up, f"{name} is {up}", 20)
        self.assertRegex(state("name")[1], "TLS.*certificate")
        self.assertRegex(state("plain")[1], "TLS")


if __name__ == "__main__":
    unittest.main()
