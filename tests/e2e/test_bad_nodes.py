"""Nodes and status APIs that misbehave: each becomes a clear state with a reason, the others serve."""

import socket
import time
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.load import Load, failures
from lib.mute import mute
from lib.node import node_tables, start_sinks
from lib.recorder import Recorder
from lib.status_api import StatusApi, common_free_port, healthy
from lib.wait import wait_until

FEATURES = (b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' from='chat.example' id='1' "
            b"version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>"
            b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")


class DeafNode:
    """Listens, but its kernel answers no SYN: connects hang until somebody gives up."""

    def __init__(self, name="deaf", address="127.0.0.30"):
        self.name = name
        self.listener = socket.create_server((address, 0))
        mute(self.listener)
        self.endpoint = f"{address}:{self.listener.getsockname()[1]}"

    def close(self):
        self.listener.close()


class BadNodes(FreshCase):
    def start(self, nodes, pool):
        self.nodes = nodes
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "node": node_tables(nodes),
                              "warmup": {"mode": "off"}, **pool}},
        }).start()

    def test_a_node_that_answers_no_connect_costs_each_client_one_timeout_until_it_is_out(self):
        deaf = DeafNode()
        self.addCleanup(deaf.close)
        self.start([deaf, *start_sinks(self.workspace, 2)],
                   {"connect_timeout": "300ms", "retries": 2, "passive_errors": 3,
                    "check": [{"type": "tcp", "interval": "10m", "fast_interval": "10m",
                               "start": "up"}]})
        with Load("127.0.0.1", self.port) as load:
            load.arrive(rate=50)
            wait_until(lambda: len(load.arrivals) >= 200, "four seconds of arrivals", 20)
            arrivals = load.stop_arrivals()
        self.assertEqual(failures(arrivals), [], "retry and redispatch save everyone")
        slow = [a for a in arrivals if a.took_s > 0.25]
        self.assertGreater(len(slow), 0, "the deaf node was tried")
        self.assertLess(max(a.at for a in slow), arrivals[0].at + 2, "and given up soon")
        self.assertEqual({a.node for a in arrivals}, {"n1", "n2"})

    def test_a_node_that_accepts_and_never_answers_is_found_out_by_the_xmpp_check(self):
        good, mumbling, silent = Recorder("127.0.0.31", FEATURES, 20), \
            Recorder("127.0.0.32", b"HTTP/1.1 400 Bad Request\r\n\r\n", 20), Recorder("127.0.0.33")
        for node, name in ((good, "good"), (mumbling, "mumbling"), (silent, "silent")):
            node.name = name
            self.addCleanup(node.close)
        self.start([good, mumbling, silent], {"check": [
            {"type": "xmpp", "to": "chat.example", "interval": "300ms", "fast_interval": "100ms",
             "timeout": "300ms", "rise": 1, "fall": 2}]})
        wait_until(lambda: self.balancer.node_states() ==
                   {"good": "up", "mumbling": "down", "silent": "down"},
                   "the checks told them apart", 15)
        self.assertRegex(self.balancer.ctl_ok("explain"), "(?s)silent.*(time|answer)")
        self.assertIn(b"to='chat.example'", bytes(good.received[0]).replace(b'"', b"'"))

    def test_a_node_that_floods_its_checker_does_not_grow_the_balancer(self):
        babbling = Recorder("127.0.0.34", b"<x>" * (8 << 20), 1)
        self.addCleanup(babbling.close)
        self.start([babbling], {"check": [{"type": "xmpp", "to": "chat.example",
                                           "interval": "200ms", "timeout": "500ms", "fall": 1}]})
        before = self.balancer.rss_bytes()
        wait_until(lambda: len(babbling.received) >= 8, "eight checks", 20)
        self.assertEqual(self.balancer.node_states(), {"recorder": "down"})
        self.assertLess(self.balancer.rss_bytes() - before, 8 << 20)


class StatusApis(FreshCase):
    """Three nodes with a status API each; the pool follows what they say."""

    MEMBERS = ["mongooseim@n1", "mongooseim@n2", "mongooseim@n3"]

    def start(self, count=3, **pool):
        self.nodes = start_sinks(self.workspace, count)
        self.members = self.MEMBERS[:count]
        port = common_free_port([node.address for node in self.nodes])
        self.apis = [StatusApi(node.address, port) for node in self.nodes]
        for api in self.apis:
            self.addCleanup(api.close)
        self.all_healthy()
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "node": node_tables(self.nodes),
                              "warmup": {"mode": "off"},
                              "status": {"port": port, "interval": "200ms", "timeout": "300ms",
                                         "fall": 2}, **pool}},
        }).start()
        self.wait_serving({"n1", "n2", "n3"} if count == 3 else {n.name for n in self.nodes})

    def all_healthy(self):
        for name, api in zip(self.members, self.apis):
            api.say_status(healthy(name, self.members))

    def wait_serving(self, names, deadline_s=15):
        def seen():
            with Load("127.0.0.1", self.port) as probe:
                return {held.node for held in probe.hold(9)} == set(names)
        wait_until(seen, f"new connections go to {sorted(names)}", deadline_s, pause_s=0.1)

    def test_sessions_of_a_node_that_is_cut_off_end_where_the_pool_says_so(self):
        """By the others' word (they run without it) or its own (isolated); one that drains ends its
        own sessions."""
        self.start(on_down="close", on_down_rate="100/s")
        first, second, third = self.members
        cut_off = [healthy(first, self.members, [first, second]),
                   healthy(second, self.members, [first, second]),
                   healthy(third, self.members, [third])]
        isolated = [*cut_off[:2], healthy(third, self.members, [third], state="isolated")]
        for case, statuses in (("split", cut_off), ("isolated", isolated)):
            with self.subTest(case), Load("127.0.0.1", self.port) as load:
                load.hold(30)
                for api, status in zip(self.apis, statuses):
                    api.say_status(status)
                wait_until(lambda: len(load.lost()) == 10, "its sessions have ended")
                self.assertEqual({one.node for one in load.lost()}, {"n3"})
                self.assertEqual(load.echo_all(), [], "the others' stay")
                self.all_healthy()
                self.wait_serving({"n1", "n2", "n3"})
        with Load("127.0.0.1", self.port) as load:
            load.hold(30)
            self.apis[2].say_status(healthy(third, self.members, state="draining"))
            self.wait_serving({"n1", "n2"})
            self.assertEqual(load.lost(), [])

    def test_a_broken_status_api_takes_its_node_out_and_a_good_answer_brings_it_back(self):
        self.start()
        api = self.apis[2]
        deep = b"[" * 100_000
        cases = {
            "not JSON": lambda: api.say_body(b"\x00\xff garbage {"),
            "not HTTP": lambda: api.say_raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "JSON of another kind": lambda: api.say_body(b'["running"]'),
            "wrong types": lambda: api.say_body(
                b'{"node":1,"incarnation":[],"state":{},"members":"all","running":7}'),
            "unknown state": lambda: api.say_status(
                healthy("mongooseim@n3", self.members, state="dancing")),
            "cut short": lambda: api.say_raw(
                b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"node":"mongooseim@n3","sta'),
            "an error": lambda: api.say_body(b"{}", status="500 Internal Server Error"),
            "deep nesting": lambda: api.say_body(deep),
            "nothing": api.say_nothing,
            "endless header": lambda: api.say_raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000),
        }
        with Load("127.0.0.1", self.port) as load:
            load.hold(30)
            for name, break_it in cases.items():
                with self.subTest(name):
                    break_it()
                    self.wait_serving({"n1", "n2"})
                    api.say_status(healthy("mongooseim@n3", self.members))
                    self.wait_serving({"n1", "n2", "n3"})
            self.assertEqual(load.lost(), [], "a sick status API closes no connection")
            self.assertEqual(load.echo_all(), [])

    def test_ten_megabytes_of_status_are_not_read(self):
        self.start()
        before = self.balancer.rss_bytes()
        self.apis[2].say_body(b'{"node":"' + b"x" * (10 << 20) + b'"}')
        asked = self.apis[2].requests
        self.wait_serving({"n1", "n2"})
        wait_until(lambda: self.apis[2].requests >= asked + 5, "five such answers", 15)
        self.assertLess(self.balancer.rss_bytes() - before, 8 << 20)

    def test_a_node_that_says_it_is_draining_or_stopping_gets_nothing_new(self):
        self.start()
        for state in ("starting", "joining", "draining", "isolated", "stopping"):
            with self.subTest(state):
                self.apis[1].say_status(healthy("mongooseim@n2", self.members, state=state))
                self.wait_serving({"n1", "n3"})
                self.apis[1].say_status(healthy("mongooseim@n2", self.members))
                self.wait_serving({"n1", "n2", "n3"})

    def test_in_a_netsplit_only_the_majority_side_is_used(self):
        self.start()
        one, two, three = self.members
        self.apis[0].say_status(healthy(one, self.members, running=[one, two]))
        self.apis[1].say_status(healthy(two, self.members, running=[one, two]))
        self.apis[2].say_status(healthy(three, self.members, running=[three]))
        self.wait_serving({"n1", "n2"})
        self.assertRegex(self.balancer.process.log().lower(), "netsplit|minority")
        self.all_healthy()
        self.wait_serving({"n1", "n2", "n3"})

    def test_equal_halves_keep_the_side_with_the_lowest_name(self):
        self.start(count=2)
        one, two = self.members
        self.apis[0].say_status(healthy(one, self.members, running=[one]))
        self.apis[1].say_status(healthy(two, self.members, running=[two]))
        self.wait_serving({"n1"})

    def test_a_restart_between_two_checks_starts_the_warm_up_by_its_incarnation(self):
        self.start()
        self.balancer.reload({"pool": {"xmpp": {"warmup": {
            "mode": "rate", "duration": "30s", "start_rate": "2/s", "end_rate": "50/s"}}}})
        self.apis[2].say_status(healthy("mongooseim@n3", self.members, incarnation=2))
        wait_until(lambda: self.balancer.node_states()["n3"] == "warming", "n3 warms up", 10)
        with Load("127.0.0.1", self.port) as load:
            began = time.time()
            load.arrive(rate=100)
            wait_until(lambda: len(load.arrivals) >= 300, "three seconds of arrivals", 20)
            arrivals = load.stop_arrivals()
        on_third = len([a for a in arrivals if a.node == "n3"])
        self.assertLess(on_third, 60, f"of {len(arrivals)} in {time.time() - began:.1f} s")
        self.assertEqual(failures(arrivals), [])


if __name__ == "__main__":
    unittest.main()
