"""Drain, reload, shut and binary upgrade under 2,000 open connections and steady new ones: none lost,
none refused."""

import json
import os
import shutil
import socket
import threading
import time
import unittest

from lib import net
from lib.balancer import BINARY, Balancer, ctl
from lib.case import FreshCase
from lib.load import Load, failures
from lib.notify import NotifySocket
from lib.node import SinkNode, node_tables, start_sinks
from lib.wait import wait_until

OPEN = 2000
RATE = 100


class Operations(FreshCase):
    def start(self, pool=None, process=None, nodes=3, node_keys=None, **how):
        self.nodes = start_sinks(self.workspace, nodes)
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "process": process or {},
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "p2c",
                              "node": [{**table, **(node_keys or {})}
                                       for table in node_tables(self.nodes)],
                              "warmup": {"mode": "off"},
                              "check": [{"type": "tcp", "interval": "1s", "fast_interval": "100ms"}],
                              **(pool or {})}},
        }, **how).start()
        self.wait_served_by({node.name for node in self.nodes})
        # What asked for them is gone: the connections that a test makes are all that are spread.
        wait_until(lambda: self.balancer.open_connections() == 0, "nothing is open yet")

    def wait_served_by(self, names, deadline_s=15):
        """New connections go to exactly these nodes."""
        def seen():
            with Load("127.0.0.1", self.port) as probe:
                return {held.node for held in probe.hold(16)} == set(names)
        wait_until(seen, f"new connections go to {sorted(names)}", deadline_s)

    def more_arrivals(self, load, count):
        target = len(load.arrivals) + count
        wait_until(lambda: len(load.arrivals) >= target, f"{count} more arrivals", 30)

    def assert_nothing_lost(self, load, arrivals):
        self.assertEqual(load.lost(), [])
        self.assertEqual(load.echo_all(), [], "every open connection carries bytes both ways")
        self.assertEqual(failures(arrivals), [])

    def test_drain_keeps_what_is_open_and_sends_new_ones_elsewhere(self):
        self.start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(OPEN)
            load.arrive(rate=RATE)
            self.more_arrivals(load, 100)
            self.balancer.ctl_ok("drain", "n2")
            drained_at = time.time()
            self.more_arrivals(load, 300)
            since_drain = [a for a in load.arrivals if a.at > drained_at]
            # p2c between two sends short ones to the less loaded, which may be one and the same.
            self.assertLessEqual({a.node for a in since_drain}, {"n1", "n3"})
            self.assertGreaterEqual(len(since_drain), 250)
            self.balancer.ctl_ok("ready", "n2")
            ready_at = time.time()
            self.more_arrivals(load, 300)
            arrivals = load.stop_arrivals()
            self.assertIn("n2", {a.node for a in arrivals if a.at > ready_at})
            self.assert_nothing_lost(load, arrivals)
            self.assertEqual(len(load.living()), OPEN)

    def test_a_drain_with_a_rate_and_a_deadline_waits_until_the_node_is_empty(self):
        self.start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(300)
            on_node = [held for held in load.held if held.node == "n2"]
            began = time.monotonic()
            done = self.balancer.ctl("drain", "n2", "--rate", "50/s", "--deadline", "30s", "--wait")
            took = time.monotonic() - began
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            wait_until(lambda: len(load.lost()) == len(on_node), "all of n2's connections closed")
            self.assertEqual({held.node for held in load.lost()}, {"n2"})
            self.assertGreater(took, 0.6 * len(on_node) / 50, "paced, not all at once")
            self.assertEqual(load.echo_all(), [])
        ended = self.balancer.access_log.wait_for(len(on_node), node="n2", end="drained")
        self.assertEqual(len(ended), len(on_node))

    def test_a_drain_that_the_survivors_cannot_carry_is_refused_unless_forced(self):
        # Two nodes of 80 each that hold 50 each: one cannot carry 100.
        self.start(nodes=2, node_keys={"connections_max": 80})
        with Load("127.0.0.1", self.port) as load:
            load.hold(100)
            refused = self.balancer.ctl("drain", "n1")
            self.assertNotEqual(refused.returncode, 0, refused.stdout)
            self.assertRegex((refused.stdout + refused.stderr).lower(), "force")
            self.wait_served_by({"n1", "n2"})
            self.balancer.ctl_ok("drain", "n1", "--force")
            self.wait_served_by({"n2"})
            self.assertEqual(load.lost(), [])

    def test_reload_changes_nodes_and_keeps_every_connection(self):
        self.start()
        fourth = SinkNode(self.workspace, "n4", "127.0.0.5").start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(OPEN)
            load.arrive(rate=RATE)
            self.more_arrivals(load, 100)
            for round_number in range(10):  # ten reloads with long connections open
                self.balancer.reload({"pool": {"xmpp": {"idle_timeout": f"{round_number + 1}h"}}})
                self.more_arrivals(load, 10)
            self.balancer.reload({"pool": {"xmpp": {"node": node_tables(self.nodes + [fourth])}}})
            wait_until(lambda: any(a.node == "n4" for a in load.arrivals), "n4 takes connections")
            # n1 leaves the file: its connections stay, new ones go elsewhere.
            self.balancer.reload({"pool": {"xmpp": {"node": node_tables(self.nodes[1:] + [fourth])}}})
            gone_at = time.time()
            self.more_arrivals(load, 200)
            arrivals = load.stop_arrivals()
            self.assertNotIn("n1", {a.node for a in arrivals if a.at > gone_at})
            self.assert_nothing_lost(load, arrivals)

    def test_sighup_reloads_too(self):
        self.start(nodes=2)
        third = SinkNode(self.workspace, "n3", "127.0.0.4").start()
        self.balancer.write_config({"pool": {"xmpp": {"node": node_tables(self.nodes + [third])}}})
        self.balancer.sighup()
        self.wait_served_by({"n1", "n2", "n3"})

    def test_a_wrong_file_changes_nothing_and_the_next_good_one_works(self):
        self.start(nodes=2)
        good = self.balancer.config
        with Load("127.0.0.1", self.port) as load:
            load.hold(50)
            self.balancer.write_config({"pool": {"xmpp": {"balence": "p2c"}}})
            done = self.balancer.ctl("reload")
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stdout + done.stderr, r"lb\.toml:\d+: .*balence.*balance")
            self.balancer.sighup()
            self.wait_served_by({"n1", "n2"})
            self.assertTrue(self.balancer.process.alive())
            self.balancer.config = good
            self.balancer.write_config()
            self.balancer.ctl_ok("reload")
            self.assert_nothing_lost(load, [])

    def test_reload_opens_and_closes_listeners(self):
        self.start(nodes=1)
        second = net.free_port()
        self.balancer.reload({"listener": {"extra": {"bind": f"127.0.0.1:{second}", "pool": "xmpp"}}})
        with Load("127.0.0.1", second) as load:
            load.hold(10)
            del self.balancer.config["listener"]["extra"]
            self.balancer.reload()
            wait_until(lambda: not net.accepts("127.0.0.1", second), "the second listener is closed")
            self.assert_nothing_lost(load, [])

    def test_a_binary_upgrade_loses_and_refuses_nobody(self):
        self.start(process={"drain_deadline": "60s"})
        self.balancer.ctl_ok("weight", "n1", "50")
        with Load("127.0.0.1", self.port) as load:
            held = load.hold(OPEN)
            load.arrive(rate=RATE)
            self.more_arrivals(load, 100)
            first = self.balancer.upgrade()
            self.more_arrivals(load, 200)
            second = self.balancer.upgrade()  # and once more, while the first still finishes
            self.more_arrivals(load, 200)
            arrivals = load.stop_arrivals()
            self.assert_nothing_lost(load, arrivals)
            self.assertTrue(first.alive(), "the first process carries the open connections")
            self.assertEqual(self.balancer.get("/readyz")[0], 200)
            load.close_held(held)
            self.assertEqual(first.wait_exit(20), 0)
            second.wait_exit(20)
        self.wait_served_by({"n1", "n2", "n3"})
        self.assertIn("50", self.balancer.ctl_ok("list"), "the weight was taken over")

    def test_an_upgrade_with_a_wrong_file_fails_and_the_old_process_goes_on(self):
        self.start(nodes=2)
        with Load("127.0.0.1", self.port) as load:
            load.hold(20)
            self.balancer.write_config({"pool": {"xmpp": {"balence": "p2c"}}})
            done = self.balancer.ctl("upgrade")
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.wait_served_by({"n1", "n2"})
            self.assertTrue(self.balancer.process.alive())
            self.assert_nothing_lost(load, [])

    def test_an_upgrade_says_at_once_why_the_new_process_failed(self):
        self.start(nodes=1)
        self.balancer.write_config({"pool": {"xmpp": {"balence": "p2c"}}})
        began = time.monotonic()
        done = self.balancer.ctl("upgrade")
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"lb\.toml:\d+: .*balence")

    def test_a_failed_upgrade_never_holds_the_control_thread(self):
        path = self.workspace.path("mongooselb")
        shutil.copy(BINARY, path)
        self.start(nodes=1, binary=path)
        # A package whose program is broken: it says nothing, serves nothing, and does not end.
        pid_file = self.workspace.path("hangs.pid")
        hangs = self.workspace.write("hangs", "#!/bin/sh\ntrap '' TERM\necho $$ > " + pid_file +
                                     "\nexec 3>&-\nwhile :; do sleep 1; done\n", mode=0o755)
        os.replace(hangs, path)
        upgrade = threading.Thread(target=lambda: answers.append(self.balancer.ctl("upgrade")))
        answers = []
        upgrade.start()
        wait_until(lambda: os.path.exists(pid_file), "the new program runs")
        asked = slowest = 0
        while upgrade.is_alive():
            began = time.monotonic()
            self.assertEqual(self.balancer.get("/livez")[0], 200)
            slowest = max(slowest, time.monotonic() - began)
            asked += 1
            upgrade.join(0.1)
        self.assertGreater(asked, 3)
        self.assertLess(slowest, 1)
        self.assertEqual(answers[0].returncode, 1)
        self.assertIn(path, answers[0].stderr)
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the broken program was killed", 20)
        self.wait_served_by({"n1"})

    def test_an_upgrade_starts_the_file_that_a_package_put_there_under_the_same_name(self):
        for name, replace in (("file", lambda path: os.replace(path + ".new", path)),
                              ("link", lambda path: os.replace(path + ".link", path))):
            with self.subTest(name):
                path = self.workspace.path(f"mongooselb-{name}")
                shutil.copy(BINARY, path + ".new")
                if name == "file":
                    shutil.copy(BINARY, path)
                else:  # two versions side by side, and a link that names the present one
                    shutil.copy(BINARY, path + ".old")
                    os.symlink(path + ".old", path)
                    os.symlink(path + ".new", path + ".link")
                self.start(nodes=1, binary=path)
                replace(path)
                old = self.balancer.upgrade()
                wanted = path if name == "file" else path + ".new"
                self.assertEqual(os.readlink(f"/proc/{self.balancer.process.pid}/exe"), wanted)
                with open(f"/proc/{self.balancer.process.pid}/cmdline", "rb") as file:
                    self.assertEqual(file.read().split(b"\0")[0].decode(), path)
                self.assertEqual(old.wait_exit(20), 0)
                self.balancer.stop()

    def test_an_upgrade_that_drops_an_address_closes_its_sockets(self):
        self.start(nodes=1, process={"drain_deadline": "60s"})
        second = net.free_port()
        self.balancer.reload({"listener": {"extra": {"bind": f"127.0.0.1:{second}", "pool": "xmpp"}}})
        with Load("127.0.0.1", second) as load:
            load.hold(5)
            del self.balancer.config["listener"]["extra"]
            self.balancer.write_config()
            self.balancer.upgrade()
            wait_until(lambda: not net.accepts("127.0.0.1", second), "nobody listens there any more")
            self.assertEqual(load.echo_all(), [])

    def test_an_upgrade_under_systemd_hands_over_the_watchdog_and_the_one_voice(self):
        notify = NotifySocket(self.workspace.path("notify.sock"))
        self.addCleanup(notify.close)
        # As systemd starts a service: the watchdog's variables name the process.
        self.start(process={"drain_deadline": "60s"}, launcher=[
            "/bin/sh", "-c", f"export NOTIFY_SOCKET={notify.path} WATCHDOG_USEC=2000000 "
            "WATCHDOG_PID=$$; exec \"$@\"", "sh"])
        notify.wait_for("WATCHDOG", value="1")
        with Load("127.0.0.1", self.port) as load:
            load.hold(20)
            old = self.balancer.upgrade()
            new = self.balancer.process.pid
            told = notify.wait_for("MAINPID", value=str(new))
            at = next(i for i, m in enumerate(notify.messages) if m is told)
            self.assertEqual(told["pid"], old.pid)
            self.assertEqual({m["pid"] for m in notify.messages[:at]}, {old.pid},
                             "until then, only the main process spoke")
            wait_until(lambda: sum("WATCHDOG" in m for m in notify.messages[at:]) >= 3,
                       "the new process feeds its watchdog")
            self.assertTrue(old.alive(), "it finishes its connections")
            self.assertEqual({m["pid"] for m in notify.messages[at + 1:]}, {new},
                             "from then on, only the new one speaks")
            notify.wait_for("READY", after=at, value="1")
            load.close_held(load.held[:])
            self.assertEqual(old.wait_exit(20), 0)
            self.assertNotIn(old.pid, {m["pid"] for m in notify.messages[at + 1:]},
                             "its end is not the service's")

    def test_a_drained_node_stays_drained_over_another_address_an_upgrade_and_a_restart(self):
        self.start(process={"state_file": self.workspace.path("lb.state"), "drain_deadline": "60s"})
        moved = SinkNode(self.workspace, "n1", "127.0.0.9").start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(30)
            on_node = sum(held.node == "n1" for held in load.held)
            self.balancer.ctl_ok("drain", "n1")
            self.balancer.reload({"pool": {"xmpp": {"node": node_tables([moved] + self.nodes[1:])}}})
            self.wait_served_by({"n2", "n3"})
            self.assertEqual(self.node("n1")["active"], on_node, "the connections are the name's")
            # It leaves the file, and is not forgotten; a new process knows of it, too.
            self.balancer.reload({"pool": {"xmpp": {"node": node_tables(self.nodes[1:])}}})
            absent = self.balancer.ctl_json("list")["absent"]
            self.assertEqual([(n["name"], n["admin"], n["active"]) for n in absent],
                             [("n1", "drain", on_node)])
            old = self.balancer.upgrade()
            self.balancer.reload({"pool": {"xmpp": {"node": node_tables([moved] + self.nodes[1:])}}})
            self.wait_served_by({"n2", "n3"})
            self.assertEqual(self.node("n1")["admin"], "drain")
            self.assertEqual(self.node("n1")["active"], on_node, "the old process carries them")
            self.assertEqual(load.echo_all(), [])
            load.close_held(load.held[:])
            self.assertEqual(old.wait_exit(20), 0)
        self.balancer.stop()
        self.balancer.start()
        self.wait_served_by({"n2", "n3"})
        self.balancer.ctl_ok("ready", "n1")
        self.wait_served_by({"n1", "n2", "n3"})

    def node(self, name):
        return next(n for pool in self.balancer.status()["pools"] for n in pool["nodes"]
                    if n["name"] == name)

    def test_orders_that_the_old_process_does_not_hear_of_stay_in_the_state_file(self):
        state_file = self.workspace.path("lb.state")
        self.start(process={"state_file": state_file, "drain_deadline": "60s"})
        with Load("127.0.0.1", self.port) as load:
            load.hold(20)
            old = self.balancer.upgrade()
            self.balancer.ctl_ok("weight", "n2", "50")
            self.balancer.ctl_ok("drain", "n1")

            def heard():
                return old.log().count("order carried out") == 3  # the two write one log
            wait_until(heard, "the old process has heard what is forwarded")
            # It answers behind what it has carried out.
            self.assertEqual(ctl(f"{self.balancer.ctl_socket}.{old.pid}", "list").returncode, 0)
            with open(state_file, encoding="utf-8") as file:
                saved = json.load(file)["pools"]["xmpp"]
            self.assertEqual(saved["n1"]["admin"], "drain")
            self.assertEqual(saved["n2"].get("weight"), 50)
            self.assertTrue(old.alive())

    def test_the_old_process_can_be_asked_and_its_connections_count_in_the_new_one(self):
        self.start(process={"drain_deadline": "60s"}, pool={"balance": "leastconn"})
        with Load("127.0.0.1", self.port) as load:
            load.hold(60)
            n1 = [held for held in load.held if held.node == "n1"]
            load.close_held([held for held in load.held if held.node == "n2"])
            wait_until(lambda: self.balancer.open_connections() == 40, "n2 is empty")
            old = self.balancer.upgrade()
            status = self.balancer.status()
            self.assertEqual(status["connections_elsewhere"], 40)
            self.assertEqual(self.node("n1")["elsewhere"], len(n1))
            arrived = load.hold(20)
            self.assertEqual({held.node for held in arrived}, {"n2"}, "the least loaded of both")
            asked = ctl(f"{self.balancer.ctl_socket}.{old.pid}", "--json", "list")
            self.assertEqual(asked.returncode, 0, asked.stderr)
            self.assertEqual(json.loads(asked.stdout)["connections"], 40)
            # An order of the new process is about all connections of the node.
            self.balancer.ctl_ok("shut", "n1")
            wait_until(lambda: len(load.lost()) == len(n1), "n1's connections ended")
            wait_until(lambda: self.node("n1")["active"] == 0, "and are counted no longer")
            self.assertEqual(self.balancer.status()["connections_elsewhere"], 20)
            load.close_held([held for held in load.living()])
            self.assertEqual(old.wait_exit(20), 0)
            wait_until(lambda: self.balancer.status()["connections_elsewhere"] == 0, "all have gone")
            self.assertFalse(os.path.exists(f"{self.balancer.ctl_socket}.{old.pid}"))

    def test_at_the_deadline_connections_end_one_after_another_and_idle_ones_first(self):
        self.start(process={"drain_deadline": "6s"}, nodes=1)
        with Load("127.0.0.1", self.port) as load:
            load.hold(300)
            began = time.monotonic()
            self.balancer.process.signal(15)
            lost = []
            while len(lost) < 300 and time.monotonic() < began + 15:
                lost.extend([time.monotonic() - began] * (len(load.lost()) - len(lost)))
                time.sleep(0.02)  # the pace of looking, not a wait for something
            self.assertEqual(len(lost), 300)
            self.assertGreater(lost[0], 2.5, "the first half is theirs")
            self.assertLess(lost[-1], 9)
            halves = [sum(begin <= at < begin + 1 for at in lost) for begin in (3, 4, 5)]
            self.assertLess(max(halves), 200, halves)
            self.assertGreater(min(halves), 30, halves)

    def test_a_wait_says_what_became_of_the_connections(self):
        self.start(nodes=2)
        with Load("127.0.0.1", self.port) as load:
            load.hold(40)
            on_node = [held for held in load.held if held.node == "n2"]
            load.close_held(on_node[:5])
            load.arrive(rate=1)
            done = self.balancer.ctl("--json", "drain", "n2", "--deadline", "4s", "--wait")
            load.stop_arrivals()
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            last = json.loads(done.stdout.splitlines()[-1])
            self.assertEqual(last["remaining"], 0)
            self.assertGreaterEqual(last["ended"], len(on_node) - 6)
            self.assertRegex(last["message"], r"\d+ were ended, \d+ left by themselves")

    def test_ready_stops_a_drain_where_it_is_and_the_wait_says_so(self):
        self.start(nodes=2)
        with Load("127.0.0.1", self.port) as load:
            load.hold(60)
            answers = []
            wait = threading.Thread(target=lambda: answers.append(
                self.balancer.ctl("--json", "drain", "n2", "--rate", "5/s", "--wait")))
            wait.start()
            wait_until(lambda: len(load.lost()) >= 5, "some have been ended")
            told = self.balancer.ctl_ok("ready", "n2")
            self.assertRegex(told, r"its drain ends here: \d+ connections were ended, \d+ stay")
            wait.join(10)
            self.assertEqual(answers[0].returncode, 1)
            last = json.loads(answers[0].stdout.splitlines()[-1])
            lost = len(load.lost())
            self.assertEqual(last["ended"], lost)
            self.assertRegex(last["error"], "ended by an order")
            self.assertEqual(len(load.lost()), lost, "nobody else was ended")
            self.assertEqual(load.echo_all(), [])

    def test_a_silent_resolver_holds_neither_start_nor_reload_nor_the_other_nodes(self):
        # A resolver that takes every question and says nothing, for this process alone.
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.53", 53))
        conf = self.workspace.write("resolv.conf", "nameserver 127.0.0.53\n")
        launcher = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c",
                    f"mount --bind {conf} /etc/resolv.conf && exec \"$@\"", "sh"]
        named = {"name": "by-name", "address": "xmpp9.example.org:5222"}
        self.nodes = start_sinks(self.workspace, 2)
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"node": node_tables(self.nodes), "warmup": {"mode": "off"}}},
        }, launcher=launcher).start()
        began = time.monotonic()
        self.balancer.reload({"pool": {"xmpp": {"node": node_tables(self.nodes) + [named]}}})
        self.assertLess(time.monotonic() - began, 3)
        self.wait_served_by({"n1", "n2"})
        self.assertEqual(self.balancer.get("/livez")[0], 200)
        wait_until(lambda: self.node("by-name")["state"] == "down", "it is down", 60)
        self.assertIn("xmpp9.example.org", self.node("by-name")["why"])
        self.assertEqual(self.balancer.get("/readyz")[0], 200)

    def test_connections_are_listed_in_pages_and_one_of_them_is_ended(self):
        self.start(nodes=2)
        with Load("127.0.0.1", self.port) as load:
            load.hold(1200)
            seen, pages, after = [], 0, []
            while True:
                page = self.balancer.ctl_json("list", "--connections", *after)
                self.assertLessEqual(len(page["connections"]), 500)
                self.assertEqual(page["total"], 1200)
                seen += page["connections"]
                pages += 1
                if page["next"] is None:
                    break
                after = ["--after", page["next"]]
            self.assertEqual(pages, 3)
            self.assertEqual(len({one["id"] for one in seen}), 1200)
            of_n2 = self.balancer.ctl_json("list", "--connections", "--node", "n2")
            self.assertEqual(of_n2["total"], sum(held.node == "n2" for held in load.held))
            chosen = of_n2["connections"][3]
            self.balancer.ctl_ok("shut", "--connection", chosen["id"])
            wait_until(lambda: len(load.lost()) == 1, "it has ended")
            self.assertEqual(load.lost()[0].node, "n2")
            self.balancer.access_log.wait_for(1, client=chosen["client"], end="shut")
            again = self.balancer.ctl("shut", "--connection", chosen["id"])
            self.assertEqual(again.returncode, 3, again.stderr)
            for words in ([], ["n1", "--connection", chosen["id"]]):
                self.assertEqual(self.balancer.ctl("shut", *words).returncode, 2)
            self.assertIn("1199 connections in all", self.balancer.ctl_ok("list", "--connections"))

    def test_weight_zero_takes_a_node_out_and_maint_closes_it(self):
        self.start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(60)
            self.balancer.ctl_ok("weight", "n1", "0")
            self.wait_served_by({"n2", "n3"})
            self.balancer.ctl_ok("weight", "n1", "100")
            self.wait_served_by({"n1", "n2", "n3"})
            self.balancer.ctl_ok("maint", "n2")
            self.wait_served_by({"n1", "n3"})
            self.balancer.ctl_ok("ready", "n2")
            self.wait_served_by({"n1", "n2", "n3"})

    def test_shut_closes_a_nodes_connections_at_the_given_pace(self):
        self.start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(150)
            on_node = [held for held in load.held if held.node == "n3"]
            self.balancer.ctl_ok("shut", "n3", "--rate", "100/s")
            wait_until(lambda: len(load.lost()) == len(on_node), "n3's connections are closed", 10)
            self.assertEqual({held.node for held in load.lost()}, {"n3"})
            self.assertEqual(load.echo_all(), [])
        self.balancer.access_log.wait_for(len(on_node), node="n3", end="shut")

    def test_admin_overrides_survive_a_restart_of_the_balancer(self):
        self.start(process={"state_file": self.workspace.path("lb.state")})
        self.balancer.ctl_ok("maint", "n1")
        self.wait_served_by({"n2", "n3"})
        self.assertEqual(self.balancer.stop(), 0)
        self.balancer.start()
        self.wait_served_by({"n2", "n3"})
        self.balancer.ctl_ok("ready", "n1")
        self.wait_served_by({"n1", "n2", "n3"})

    def test_sigterm_drains_and_a_second_signal_ends_at_once(self):
        self.start(process={"drain_deadline": "60s"})
        with Load("127.0.0.1", self.port) as load:
            load.hold(40)
            self.balancer.process.signal(15)
            wait_until(lambda: not net.accepts("127.0.0.1", self.port), "the listener is closed")
            self.assertEqual(load.echo_all(), [], "open connections live on")
            self.assertTrue(self.balancer.process.alive())
            self.balancer.process.signal(15)
            self.balancer.process.wait_exit(5)
            wait_until(lambda: len(load.lost()) == 40, "the connections ended with it")

    def test_sigterm_ends_by_itself_when_the_last_connection_has_gone(self):
        self.start(process={"drain_deadline": "60s"})
        with Load("127.0.0.1", self.port) as load:
            held = load.hold(5)
            self.balancer.process.signal(15)
            wait_until(lambda: not net.accepts("127.0.0.1", self.port), "the listener is closed")
            load.close_held(held)
            self.assertEqual(self.balancer.process.wait_exit(10), 0)


if __name__ == "__main__":
    unittest.main()
