"""Choice and health through real sockets: how arrivals spread, what checks ask, who joins by DNS."""

import base64
import json
import socket
import unittest
from collections import Counter

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.dns_server import DnsServer
from lib.http_node import HttpNode
from lib.load import Load, failures
from lib.node import node_tables, start_sinks
from lib.status_api import common_free_port
from lib.wait import wait_until

FAST = {"interval": "300ms", "fast_interval": "100ms", "timeout": "500ms", "rise": 1, "fall": 2}


class Pools(FreshCase):
    def start(self, pool, nodes=3, node_keys=None):
        self.nodes = start_sinks(self.workspace, nodes)
        self.port = net.free_port()
        tables = [{**table, **(node_keys or {}).get(table["name"], {})}
                  for table in node_tables(self.nodes)]
        self.balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"node": tables, "warmup": {"mode": "off"}, **pool}},
        }).start()

    def landed(self, count, sources=()):
        """{node: held connections} of `count` new ones."""
        with Load("127.0.0.1", self.port, sources=sources) as load:
            return Counter(held.node for held in load.hold(count, at_once=1))

    def wait_serving(self, names, deadline_s=15):
        wait_until(lambda: set(self.landed(12)) == set(names), f"arrivals go to {sorted(names)}",
                   deadline_s, pause_s=0.1)

    def test_roundrobin_gives_each_its_turn_by_weight(self):
        self.start({"balance": "roundrobin"}, node_keys={"n1": {"weight": 200}})
        self.assertEqual(self.landed(80), {"n1": 40, "n2": 20, "n3": 20})

    def test_leastconn_and_p2c_even_out_what_is_held(self):
        for policy, spread in (("leastconn", 1), ("p2c", 12)):
            with self.subTest(policy):
                if policy == "leastconn":
                    self.start({"balance": policy})
                else:
                    self.balancer.reload({"pool": {"xmpp": {"balance": policy}}})
                landed = self.landed(120)
                self.assertEqual(sum(landed.values()), 120)
                self.assertLessEqual(max(landed.values()) - min(landed.values()), spread, landed)

    def test_source_and_maglev_keep_an_address_on_its_node_and_move_few_when_one_leaves(self):
        self.start({"balance": "source", "bounded_load": 0.0})
        sources = [f"127.0.7.{i}" for i in range(1, 61)]

        def map_of():
            with Load("127.0.0.1", self.port) as load:
                result = {}
                for source in sources:
                    load.sources = [source]
                    result[source] = load.hold(1)[0].node
                return result
        for policy in ("source", "maglev"):
            with self.subTest(policy):
                self.balancer.reload({"pool": {"xmpp": {"balance": policy}}})
                first = map_of()
                self.assertEqual(map_of(), first, "the same address, the same node")
                self.assertEqual(set(first.values()), {"n1", "n2", "n3"})
                self.balancer.ctl_ok("maint", "n3")
                after = map_of()
                self.balancer.ctl_ok("ready", "n3")
                moved = [s for s in sources if first[s] != "n3" and after[s] != first[s]]
                self.assertLess(len(moved), 10, "who was not on n3 stays")
                self.assertNotIn("n3", after.values())

    def test_a_backup_serves_only_when_no_other_does(self):
        self.start({"balance": "roundrobin", "check": [{"type": "tcp", **FAST}]},
                   node_keys={"n3": {"backup": True}})
        self.wait_serving({"n1", "n2"})
        self.nodes[0].kill()
        self.nodes[1].kill()
        self.wait_serving({"n3"})
        self.nodes[0].start()
        self.wait_serving({"n1"})

    def test_full_nodes_queue_newcomers_and_serve_them_as_soon_as_there_is_room(self):
        self.start({"balance": "leastconn", "queue_max": 10, "queue_timeout": "8s"}, nodes=2,
                   node_keys={"n1": {"connections_max": 5}, "n2": {"connections_max": 5}})
        with Load("127.0.0.1", self.port) as load:
            held = load.hold(10)
            load.arrive(rate=10)
            wait_until(lambda: self.balancer.metric("mongooselb_queued_total") >= 3, "some queue")
            self.assertEqual(load.arrivals, [], "nobody was served or turned away")
            load.close_held(held)
            wait_until(lambda: len(load.arrivals) >= 5, "they are served")
            self.assertEqual(failures(load.stop_arrivals()), [])

    def test_who_waits_too_long_or_finds_the_queue_full_is_closed(self):
        self.start({"balance": "leastconn", "queue_max": 4, "queue_timeout": "1s"}, nodes=1,
                   node_keys={"n1": {"connections_max": 5}})
        with Load("127.0.0.1", self.port, deadline_s=4) as load:
            load.hold(5)
            load.arrive(rate=20)
            self.balancer.access_log.wait_for(4, end="queue_timeout")
            self.balancer.access_log.wait_for(4, end="queue_full")
            self.assertEqual({a.outcome for a in load.stop_arrivals()} & {"ok", "silent"}, set())
            self.assertEqual(load.echo_all(), [])

    def test_the_http_check_asks_mongooseims_graphql_and_believes_its_status_code_only(self):
        password = self.workspace.write("graphql.password", "s3cret\n", mode=0o600)
        port = common_free_port(["127.0.0.2", "127.0.0.3", "127.0.0.4"])
        apis = [HttpNode(f"127.0.0.{i}", port) for i in (2, 3, 4)]
        for api in apis:
            self.addCleanup(api.close)

        def answer(code):
            return (200, json.dumps({"data": {"server": {"status": {
                "statusCode": code, "message": "…"}}}}).encode())
        apis[0].answer = answer("RUNNING")
        apis[1].answer = answer("NOT_RUNNING")
        apis[2].answer = (401, b"{}")
        query = '{"query":"{server{status{statusCode message}}}"}'
        self.start({"balance": "roundrobin", "check": [
            {"type": "tcp", **FAST},
            {"type": "http", "port": port, "method": "POST", "path": "/api/graphql", "body": query,
             "headers": ["Content-Type: application/json"], "user": "admin",
             "password_file": password, "expect_status": 200,
             "expect_json": "data.server.status.statusCode", "expect_value": "RUNNING", **FAST}]})
        self.wait_serving({"n1"})
        method, path, headers, body = apis[0].requests[0]
        self.assertEqual((method, path, body), ("POST", "/api/graphql", query.encode()))
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(base64.b64decode(headers["Authorization"].split(" ")[1]), b"admin:s3cret")
        self.assertNotIn("s3cret", self.balancer.process.log())
        apis[1].answer = answer("RUNNING")
        self.wait_serving({"n1", "n2"})
        # Checks combine: the API alone does not keep a node in whose port is dead.
        self.nodes[0].kill()
        self.wait_serving({"n2"})

    def test_passive_errors_take_a_node_out_long_before_its_next_check(self):
        self.start({"balance": "roundrobin", "passive_errors": 3,
                    "check": [{"type": "tcp", "interval": "10m", "fast_interval": "10m",
                               "start": "up", "rise": 1}]})
        self.wait_serving({"n1", "n2", "n3"})
        self.nodes[2].kill()
        with Load("127.0.0.1", self.port) as load:
            load.arrive(rate=50)
            wait_until(lambda: len(load.arrivals) >= 60, "arrivals meet the dead node")
            self.assertEqual(failures(load.stop_arrivals()), [])
        self.assertEqual(self.balancer.node_states()["n3"], "down")

    def test_nodes_join_and_leave_by_dns(self):
        dns = DnsServer()
        self.addCleanup(dns.close)
        sinks = start_sinks(self.workspace, 3)
        srv = [f"10 50 {node.port} {node.name}.nodes.example." for node in sinks]
        for node in sinks:
            dns.records[(f"{node.name}.nodes.example.", "A")] = [node.address]
        dns.records[("_xmpp-client._tcp.nodes.example.", "SRV")] = srv[:2]
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "warmup": {"mode": "off"}, "discover": {
                "record": "srv", "name": "_xmpp-client._tcp.nodes.example",
                "resolver": dns.endpoint, "interval": "1s"}}},
        }).start()
        self.wait_serving({"n1", "n2"})
        with Load("127.0.0.1", self.port) as load:
            load.hold(6)
            dns.records[("_xmpp-client._tcp.nodes.example.", "SRV")] = srv[1:]
            self.wait_serving({"n2", "n3"})
            self.assertEqual(load.lost(), [], "who is on a node that left the answer stays")
            for fault in ("silent", "broken"):
                setattr(dns, fault, True)
                asked = dns.queries
                wait_until(lambda: dns.queries >= asked + 2, f"two queries at a {fault} server")
                self.wait_serving({"n2", "n3"})
                setattr(dns, fault, False)

    def test_a_pool_of_dns_is_ready_only_when_dns_has_answered_or_its_time_ran_out(self):
        dns = DnsServer()
        self.addCleanup(dns.close)
        dns.silent = True
        sinks = start_sinks(self.workspace, 1)
        dns.records[("nodes.example.", "A")] = [sinks[0].address]
        self.port = net.free_port()
        balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "warmup": {"mode": "off"}, "discover": {
                "record": "a", "name": "nodes.example", "port": sinks[0].port,
                "resolver": dns.endpoint, "interval": "1s"}}}})
        self.balancer = balancer.launch()
        wait_until(lambda: dns.queries >= 1, "it asks")
        self.assertEqual(balancer.get("/readyz")[0], 503, "nobody knows yet which nodes there are")
        dns.silent = False
        wait_until(lambda: balancer.get("/readyz")[0] == 200, "it is ready")
        self.wait_serving({"n1"})
        # A process that takes over has the nodes of the one before, even while DNS is silent; and
        # what an operator asked of one of them holds.
        name = balancer.status()["pools"][0]["nodes"][0]["name"]
        balancer.ctl_ok("weight", name, "40")
        dns.silent = True
        balancer.upgrade()
        self.wait_serving({"n1"})
        self.assertEqual(balancer.status()["pools"][0]["nodes"][0]["weight"], 40)

    def test_unix_sockets_and_ipv6_listen_too(self):
        self.start({"balance": "roundrobin"}, nodes=1)
        path, port6 = self.workspace.path("c2s.sock"), net.free_port("::1")
        self.balancer.reload({"listener": {
            "six": {"bind": f"[::1]:{port6}", "pool": "xmpp"},
            "local": {"bind": f"unix:{path}", "pool": "xmpp"}}})
        for family, target in ((socket.AF_INET6, ("::1", port6)), (socket.AF_UNIX, path)):
            with self.subTest(target=target), socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(5)
                sock.connect(target)
                self.assertEqual(sock.recv(3), b"n1\n")
                sock.sendall(b"echo")
                self.assertEqual(sock.recv(4), b"echo")


if __name__ == "__main__":
    unittest.main()
