"""Real clients reach a real ejabberd cluster through the balancer, on whichever node they land."""

import asyncio
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.client_cases import ClientCases
from lib.ejabberd import start_cluster
from lib.node import node_tables
from lib.slix import SlixClient, exchange


class ClientsOfEjabberd(ClientCases, EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.domain = "chat.example"
        cls.authority = Authority(cls.workspace)
        cls.nodes = start_cluster(cls.workspace, cls.authority, 2, cls.domain)
        cls.node_names = [node.name for node in cls.nodes]
        cls.lb_port = net.free_port()
        cls.balancer = Balancer(cls.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{cls.lb_port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "node": node_tables(cls.nodes),
                              "check": [{"type": "xmpp", "to": cls.domain, "interval": "1s",
                                         "fast_interval": "200ms"}]}},
        }).start()

    def test_two_clients_on_different_nodes_chat_through_the_balancer(self):
        async def scene():
            here = await SlixClient("here", register=True, **self.options()).login()
            there = await SlixClient("there", register=True, **self.options()).login()
            await exchange(here, there, "from node to node")
            ports = here.local_port, there.local_port
            await here.logout()
            await there.logout()
            return ports
        nodes = [self.balancer.access_log.node_of(port) for port in asyncio.run(scene())]
        self.assertEqual(sorted(nodes), sorted(self.node_names), "round robin over two nodes")


if __name__ == "__main__":
    unittest.main()
