"""Real clients reach three real Prosody nodes through the balancer; STARTTLS is passed through."""

import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.client_cases import ClientCases
from lib.node import node_tables
from lib.prosody import start_nodes


class ClientsOfProsody(ClientCases, EndToEndCase):
    """The nodes share accounts but not sessions (lib/prosody.py): a source address stays on a node."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.domain = "chat.example"
        cls.authority = Authority(cls.workspace)
        cls.nodes = start_nodes(cls.workspace, cls.authority, 3, cls.domain)
        cls.node_names = [node.name for node in cls.nodes]
        cls.lb_port = net.free_port()
        cls.balancer = Balancer(cls.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{cls.lb_port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "source", "bounded_load": 0.0, "node": node_tables(cls.nodes),
                              "check": [{"type": "tcp", "interval": "1s", "fast_interval": "200ms"},
                                        {"type": "xmpp", "to": cls.domain, "interval": "1s",
                                         "fast_interval": "200ms"}]}},
        }).start()


if __name__ == "__main__":
    unittest.main()
