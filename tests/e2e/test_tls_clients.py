"""Real clients through each mode that knows TLS, with real Prosody and ejabberd nodes behind; and
two real servers that speak to each other through the balancer.

The pool that served a connection tells what the client said in its hello, since names and protocols
route: "alpn" got the protocol xmpp-client (XEP-0368), "name" the name alone, "neither" none of
both. Over direct TLS, slixmpp and go-sendxmpp send both, profanity the name alone, and @xmpp/client
neither (node's tls.connect sends no name unless its caller gives one): it comes to the listener's
own pool.
"""

import asyncio
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.client_cases import ClientCases
from lib.ejabberd import start_cluster
from lib.node import node_tables
from lib.prosody import Prosody
from lib.slix import SlixClient, exchange
from lib.tls import certificates
from lib.wait import Timeout, wait_until

DOMAIN = "chat.example"
CAME_BY = {"slixmpp": "alpn", "go_sendxmpp": "alpn", "profanity": "name", "xmpp_js": "neither"}


class TlsClients(ClientCases):
    """The cases of every client, and where each has come in. Classes below say which nodes, and
    which mode; pools have the same nodes under three names."""

    mode = "tls"
    tls = "direct"
    balance = "roundrobin"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.domain = DOMAIN
        cls.authority = Authority(cls.workspace)
        cls.nodes = cls.start_nodes()
        cls.node_names = [node.name for node in cls.nodes]
        cls.lb_port = net.free_port()
        listener = {"bind": f"127.0.0.1:{cls.lb_port}", "pool": "neither", "mode": cls.mode,
                    "route": cls.routes()}
        if cls.mode != "sni":
            listener["certificates"] = certificates(cls.authority.issue("front", [DOMAIN]))
        cls.balancer = Balancer(cls.workspace, {
            "listener": {"c2s": listener},
            "pool": {name: cls.pool() for name in ("alpn", "name", "neither")},
        }).start()
        wait_until(lambda: set(cls.balancer.node_states().items()) ==
                   {(name, "up") for name in cls.node_names}, "all nodes are up")

    def setUp(self):
        super().setUp()
        self.finished_before = len(self.balancer.access_log.lines())

    def tearDown(self):
        """Every client came in by what its hello said."""
        pools = {"name"} if self.mode == "starttls" else \
            {CAME_BY["slixmpp"]} | {pool for client, pool in CAME_BY.items() if client in self.id()}

        def seen():
            lines = self.balancer.access_log.lines()
            return {line["pool"] for line in lines[self.finished_before:]}
        try:
            wait_until(lambda: seen() == pools, "the clients came in as they do", 30)
        except Timeout:
            self.fail(f"pools {sorted(seen())}, expected {sorted(pools)}")
        super().tearDown()

    @classmethod
    def routes(cls):
        by_name = [{"domain": DOMAIN, "pool": "name"}]
        return by_name if cls.mode == "starttls" else \
            [{"domain": DOMAIN, "alpn": "xmpp-client", "pool": "alpn"}] + by_name

    @classmethod
    def pool(cls):
        raise NotImplementedError

    @classmethod
    def common(cls):
        return {"balance": cls.balance,
                "check": [{"type": "tcp", "interval": "1s", "fast_interval": "200ms"}]}

    @classmethod
    def verified(cls):
        return {"tls_ca": cls.authority.ca_file, "tls_verify_name": DOMAIN}

    @classmethod
    def plain_ports(cls):
        """To the nodes by STARTTLS, as a client asks for it."""
        return {"node": node_tables(cls.nodes), "tls": "starttls", "starttls_to": DOMAIN,
                **cls.verified(), **cls.common()}

    @classmethod
    def direct_ports(cls):
        """To the nodes' ports of direct TLS: as it is (sni), or by TLS again."""
        nodes = [{"name": node.name, "address": f"{node.address}:{node.c2s_tls_port}"}
                 for node in cls.nodes]
        return {"node": nodes, "tls": "off" if cls.mode == "sni" else "tls",
                **({} if cls.mode == "sni" else cls.verified()), **cls.common()}


class OnProsody(TlsClients):
    @classmethod
    def start_nodes(cls):
        return [Prosody(cls.workspace, cls.authority, "n1", "127.0.0.2", DOMAIN).start()]


class DirectTlsToProsody(OnProsody, EndToEndCase):
    """Ends in the balancer, and is STARTTLS again to the node."""

    @classmethod
    def pool(cls):
        return cls.plain_ports()


class StartTlsToProsody(OnProsody, EndToEndCase):
    """The balancer answers the client, and asks the node for TLS itself."""

    mode, tls = "starttls", "starttls"

    @classmethod
    def pool(cls):
        return cls.plain_ports()


class SniToProsody(OnProsody, EndToEndCase):
    """Passed through: the client's TLS ends in the node."""

    mode = "sni"

    @classmethod
    def pool(cls):
        return cls.direct_ports()


class OnEjabberd(TlsClients):
    @classmethod
    def start_nodes(cls):
        return start_cluster(cls.workspace, cls.authority, 2, DOMAIN)


class DirectTlsToEjabberd(OnEjabberd, EndToEndCase):
    """Ends in the balancer, and is direct TLS again to one of two nodes."""

    @classmethod
    def pool(cls):
        return cls.direct_ports()


class StartTlsToEjabberd(OnEjabberd, EndToEndCase):
    mode, tls = "starttls", "starttls"

    @classmethod
    def pool(cls):
        return cls.plain_ports()


class ServerToServer(EndToEndCase):
    """Two real servers of two domains. Each finds the other behind the balancer only: a.example
    asks for STARTTLS there, b.example comes with direct TLS. Neither has a certificate of the
    other's to go by, so each asks back who it is (dialback, XEP-0220), through the balancer."""

    def test_two_servers_exchange_messages_over_starttls_and_direct_tls(self):
        authority = Authority(self.workspace)
        ports = {"starttls": net.free_port(), "direct": net.free_port()}
        to_b = {"b.example": ("xmpp-server", "127.0.0.1", ports["starttls"])}
        to_a = {"a.example": ("xmpps-server", "127.0.0.1", ports["direct"])}
        one = Prosody(self.workspace, authority, "a", "127.0.0.2", "a.example", to_b).start()
        other = Prosody(self.workspace, authority, "b", "127.0.0.3", "b.example", to_a).start()
        front_a = authority.issue("front-a", ["a.example"])
        front_b = authority.issue("front-b", ["b.example"])

        def pool(node, port, **tls):
            return {"node": [{"name": node.name, "address": f"{node.address}:{port}"}],
                    "tls_ca": authority.ca_file, "tls_verify_name": node.domain, **tls}
        balancer = Balancer(self.workspace, {
            "listener": {
                "starttls": {"bind": f"127.0.0.1:{ports['starttls']}", "mode": "starttls",
                             "namespace": "jabber:server", "pool": "b",
                             "certificates": certificates(front_b)},
                "direct": {"bind": f"127.0.0.1:{ports['direct']}", "mode": "tls", "pool": "none",
                           "route": [{"domain": "a.example", "alpn": "xmpp-server", "pool": "a"}],
                           "certificates": certificates(front_a)},
            },
            "pool": {
                "a": pool(one, one.s2s_tls_port, tls="tls"),
                "b": pool(other, other.s2s_port, tls="starttls", starttls_to="b.example",
                          starttls_namespace="jabber:server"),
                "none": {"node": [{"name": "n0", "address": "127.0.0.1:1"}]},
            },
        }).start()

        async def scene():
            clients = [await SlixClient("user", node.domain, "secret", node.address, node.c2s_port,
                                        authority.ca_file, register=True).login()
                       for node in (one, other)]
            await exchange(*clients, "from domain to domain <&> ü")
            for client in clients:
                await client.logout()
        asyncio.run(scene())
        for node in (one, other):
            node.stop()
        for listener, node in (("starttls", "b"), ("direct", "a")):
            line = balancer.access_log.wait_for(1, listener=listener, node=node)[0]
            self.assertGreater(line["bytes_in"], 0)
            self.assertGreater(line["bytes_out"], 0)


if __name__ == "__main__":
    unittest.main()
