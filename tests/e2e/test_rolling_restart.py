"""`mongooselb ctl rolling-restart`: real nodes are drained, restarted by a hook and warm before the next
goes, while clients chat; and what pauses, ends and refuses it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import unittest
import urllib.error
import urllib.request

from lib import net
from lib.balancer import BINARY, Balancer
from lib.case import EndToEndCase, FreshCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.load import Load
from lib.mongooseim import Mongooseim
from lib.node import node_tables, start_sinks
from lib.status_api import common_free_port
from lib.story import Story
from lib.wait import wait_until

DOMAIN = "chat.example"
SESSIONS = 20
CONNECT = ("import os, socket; host, port = os.environ[\"MONGOOSELB_ADDRESS\"].split(\":\"); "
           "socket.create_connection((host, int(port)), 5)")


class RollingRestart(EndToEndCase):
    """Three mongooseim nodes of one cluster behind a balancer that asks their status."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        store = cls.workspace.path("shared.db")
        addresses = [f"127.0.0.{n}" for n in (2, 3, 4)]
        status, c2s = common_free_port(addresses), common_free_port(addresses)
        cls.nodes = []
        for number, address in enumerate(addresses, 1):
            node = Mongooseim(cls.workspace, cls.epmd, f"n{number}")
            node.write("etc/mongooseim.toml",
                       f'[http]\nlisten = ["127.0.0.1:{node.http}", "{address}:{status}"]\n'
                       'drain_file = "etc/drain"\n')
            node.write("etc/drain", "balancer:s3cret\n")
            os.chmod(node.path("etc/drain"), 0o600)
            node.serve(cls.authority, DOMAIN, c2s={"workers": 1, "listen": [f"{address}:{c2s}"],
                                                   "listen_tls": [], "resume_timeout": "20s"},
                       store={"url": f"sqlite:{store}"}, auth={"failures_per_address": "0"})
            cls.nodes.append(node.start())
        for node in cls.nodes[1:]:
            done = node.ctl("join_cluster", "-f", cls.nodes[0].name)
            assert done.code == 0, done
        for i in range(SESSIONS):
            cls.nodes[0].register(f"user{i}", "secret")
        for node in cls.nodes:
            node.wait_running(cls.nodes)
        cls.port = net.free_port()
        cls.balancer = Balancer(cls.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{cls.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {
                "node": [{"name": node.alive, "address": f"{address}:{c2s}"}
                         for node, address in zip(cls.nodes, addresses)],
                "warmup": {"duration": "2s", "start_rate": "20/s"},
                "check": [{"type": "tcp", "interval": "500ms", "fast_interval": "100ms"}],
                "status": {"port": status, "interval": "200ms", "drain": "/api/drain",
                           "user": "balancer", "password_file": cls.workspace.write(
                               "password", "s3cret\n", mode=0o600)}}},
        }).start()

    @classmethod
    def tearDownClass(cls):
        for node in cls.nodes:
            node.mim("stop")
        super().tearDownClass()

    def hook(self):
        """As an operator would write it."""
        return (f'd={self.workspace.folder}/$MONGOOSELB_NODE; $d/bin/mongooseimctl stop && '
                '$d/bin/mongooseimctl stopped && $d/bin/mongooseimctl start && '
                '$d/bin/mongooseimctl started')

    def states(self):
        return {node["name"]: (node["state"], node["incarnation"])
                for node in self.balancer.status()["pools"][0]["nodes"]}

    def wait_all_up(self):
        wait_until(lambda: {state for state, _ in self.states().values()} == {"up"},
                   f"all nodes are up and warm: {self.states()}", 30)

    def test_all_nodes_are_restarted_one_by_one_and_no_message_is_lost(self):
        self.wait_all_up()
        before = {name: incarnation for name, (_, incarnation) in self.states().items()}
        self.assertEqual(len(set(before.values())), 3)
        output = self.workspace.path("rolling.out")
        command = (f"{BINARY} ctl --socket {self.balancer.ctl_socket} rolling-restart xmpp "
                   f"--deadline 3s --hook '{self.hook()}' > {output} 2>&1")
        story = Story([f"127.0.0.1:{self.port}"], DOMAIN, self.authority.ca_file, SESSIONS, 100, 45,
                      [("2.000", command)], env=self.nodes[0].env)
        with open(output, encoding="utf-8") as file:
            said = file.read()
        self.assertEqual([act["status"] for act in story.found["acts"]], [0], said)
        self.assertIn("all 3 nodes of xmpp were restarted, are up and warm", said)
        self.assertEqual(said.count("the node was asked to drain within 2.7s and answered that it "
                                    "does"), 3, said)
        self.assertGreater(story.count("broken"), 0)
        self.assertEqual(story.faults(of_loss_alone=True), [])
        self.assertGreater(story.verdict["received"], 500)
        after = {name: incarnation for name, (_, incarnation) in self.states().items()}
        for name, incarnation in before.items():
            self.assertNotEqual(after[name], incarnation, name)
        ended = self.balancer.status()["rollouts"]
        self.assertEqual([(one["pool"], one["ended"]) for one in ended], [("xmpp", True)])
        for earlier, later in (("n1", "n2"), ("n2", "n3")):
            self.assertLess(said.index(f"{earlier}: runs the hook"),
                            said.index(f"node {later} drains"))

    def post(self, path, credentials=None, method="POST", node=None):
        node = node or self.nodes[0]
        request = urllib.request.Request(f"http://127.0.0.1:{node.http}{path}", method=method)
        if credentials:
            request.add_header("Authorization",
                               "Basic " + base64.b64encode(credentials.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_a_node_drains_only_by_the_word_of_who_is_named(self):
        path = "/api/drain?rate=5"
        for credentials in (None, "balancer:wrong", "balancer:s3cret2", "x:s3cret", "balancer"):
            self.assertEqual(self.post(path, credentials)[0], 401, credentials)
        for wrong in ("/api/drain", "/api/drain?rate=0", "/api/drain?rate=x", "/api/drain?rate=-1",
                      "/api/drain?deadline=nan"):
            self.assertEqual(self.post(wrong, "balancer:s3cret")[0], 400, wrong)
        self.assertEqual(self.post(path, "balancer:s3cret", method="GET")[0], 405)
        self.assertEqual(self.nodes[0].status()["state"], "running")
        self.assertEqual(self.nodes[0].get("/readyz")[0], 200)
        node = self.nodes[0]
        os.chmod(node.path("etc/drain"), 0o644)
        check = node.mim("check")
        self.assertEqual(check.code, 1, check)
        self.assertIn("http.drain_file", check.err)
        self.assertIn("chmod 0600", check.err)
        os.chmod(node.path("etc/drain"), 0o600)

    def test_ready_takes_back_what_the_node_itself_drains(self):
        self.wait_all_up()
        before = self.states()
        done = self.balancer.ctl("drain", "n1", "--rate", "1/s")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("answered that it does", done.stdout)
        wait_until(lambda: self.nodes[0].get("/readyz")[0] == 503, "n1 drains")
        address = self.balancer.config["pool"]["xmpp"]["node"][0]["address"]
        host, port = address.rsplit(":", 1)
        with self.assertRaises(OSError):
            socket.create_connection((host, int(port)), 5)
        done = self.balancer.ctl("ready", "n1")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("asked to take clients again, and does", done.stdout)
        socket.create_connection((host, int(port)), 5).close()
        self.wait_all_up()
        # A hook that fails leaves the node in maint; what its answer says brings it back.
        done = self.balancer.ctl("rolling-restart", "xmpp", "--nodes", "n1", "--deadline", "1s",
                                 "--hook", "exit 3")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("mongooselb ctl ready xmpp/n1", done.stderr)
        self.assertEqual(self.balancer.ctl("ready", "xmpp/n1").returncode, 0)
        self.wait_all_up()
        self.assertEqual(self.states(), before, "nobody was restarted")
        self.assertEqual(self.nodes[0].ctl("drain").code, 0)
        self.assertEqual(self.nodes[0].ctl("undrain").code, 0)
        self.assertEqual(self.nodes[0].get("/readyz")[0], 200)

    def test_the_deadline_of_an_order_before_is_none_of_the_next(self):
        self.wait_all_up()
        address = self.balancer.config["pool"]["xmpp"]["node"][1]["address"]
        host, port = address.rsplit(":", 1)
        node = self.nodes[1]
        with socket.create_connection((host, int(port)), 5) as client:
            # (Ready takes a drain back, and its deadline with it.)
            for order in ("rate=0.001&deadline=1", "rate=0.001&deadline=600"):
                self.assertEqual(self.post("/api/drain?" + order, "balancer:s3cret", node=node)[0],
                                 200)
            client.settimeout(1.5)
            with self.assertRaises(TimeoutError):
                client.recv(1)
        self.assertEqual(self.post("/api/drain", "balancer:s3cret", method="DELETE", node=node),
                         (200, '{"draining":false}\n'))
        self.wait_all_up()

    def test_a_hook_that_restarts_nothing_is_found_by_the_incarnation(self):
        self.wait_all_up()
        done = self.balancer.ctl("rolling-restart", "xmpp", "--nodes", "n2", "--deadline", "1s",
                                 "--return-within", "2s", "--hook", "true")
        self.assertEqual(done.returncode, 4, done)
        self.assertIn("nothing restarted it", done.stderr)
        self.wait_all_up()

    def test_a_node_that_says_it_drains_keeps_a_restart_from_beginning(self):
        self.wait_all_up()
        self.assertEqual(self.nodes[2].ctl("drain").code, 0)
        wait_until(lambda: self.states()["n3"][0] == "not_running", "n3 is seen to drain")
        done = self.balancer.ctl("rolling-restart", "xmpp", "--nodes", "n1", "--hook", "true")
        self.assertEqual(done.returncode, 1)
        self.assertIn("n3 is not_running", done.stderr)
        self.assertIn("only one node may be out", done.stderr)
        self.assertEqual(self.nodes[2].ctl("stop").code, 0)
        self.assertEqual(self.nodes[2].ctl("stopped").code, 0)
        self.nodes[2].start()
        self.wait_all_up()


class Course(FreshCase):
    """What an operator does with one that is under way; the nodes are sinks, and the hook waits for a
    file."""

    def start(self, **node_keys):
        self.nodes = start_sinks(self.workspace, 3)
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "warmup": {"mode": "off"},
                              "node": [{**table, **node_keys} for table in node_tables(self.nodes)],
                              "check": [{"type": "tcp", "interval": "200ms",
                                         "fast_interval": "100ms"}]}},
        }).start()
        wait_until(lambda: set(self.balancer.node_states().values()) == {"up"}, "all are up")

    def lead(self, *more, hook=None):
        """The restart in the background. Its hook writes its node's name, then waits for `go`."""
        self.ran, self.go = self.workspace.path("ran"), self.workspace.path("go")
        hook = hook or (f'echo "$MONGOOSELB_NODE $MONGOOSELB_POOL $MONGOOSELB_ADDRESS" >> {self.ran};'
                        f' until [ -e {self.go} ]; do sleep 0.05; done')
        self.process = subprocess.Popen(
            [BINARY, "ctl", "--socket", self.balancer.ctl_socket, "rolling-restart", "xmpp",
             "--deadline", "2s", *(["--hook", hook] if hook != "none" else []), *more],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.leave)
        return self.process

    def leave(self):
        self.let_go()  # a hook holds the pipes
        if self.process.poll() is None:
            self.process.kill()
        if not self.process.stdout.closed:
            self.process.communicate(timeout=20)

    def let_go(self):
        self.workspace.write("go", "")

    def finish(self):
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out, err

    def hooks(self):
        try:
            with open(self.ran, encoding="utf-8") as file:
                return [line.split()[0] for line in file]
        except FileNotFoundError:
            return []

    def wait_hook(self, names):
        wait_until(lambda: self.hooks() == names, f"the hook ran for {names}: {self.hooks()}", 20)

    def rollout(self):
        return self.balancer.status()["rollouts"][0]

    def admin(self):
        return {node["name"]: node["admin"]
                for node in self.balancer.status()["pools"][0]["nodes"]}

    def test_one_is_out_at_a_time_and_what_is_open_ends_by_the_drain(self):
        self.start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(30)
            self.lead()
            self.wait_hook(["n1"])
            self.assertEqual(self.admin(), {"n1": "maint", "n2": "ready", "n3": "ready"})
            self.assertEqual(len(load.living()), 20, "n1's ended, the others' did not")
            with open(self.ran, encoding="utf-8") as file:
                node, pool, address = file.read().split()
            self.assertEqual((node, pool), ("n1", "xmpp"))
            self.assertEqual(address, node_tables(self.nodes)[0]["address"])
            self.let_go()
            code, out, err = self.finish()
        self.assertEqual((code, err), (0, ""), out)
        self.assertEqual(self.hooks(), ["n1", "n2", "n3"])
        self.assertEqual(set(self.admin().values()), {"ready"})
        self.assertIn("all 3 nodes of xmpp were restarted", out)
        self.assertIn("ended", self.balancer.ctl_ok("rollout", "status"))

    def test_paused_no_new_step_begins_and_an_upgrade_of_the_balancer_does_not_resume_it(self):
        self.start()
        self.lead("--json")
        self.wait_hook(["n1"])
        self.assertIn("pauses", self.balancer.ctl_ok("rollout", "pause", "xmpp"))
        self.let_go()
        wait_until(lambda: "paused before n2" in self.rollout()["text"], "it holds before n2")
        self.assertIn("paused", self.balancer.ctl_ok("list"))
        self.balancer.upgrade()
        wait_until(lambda: self.balancer.status()["rollouts"] and self.rollout()["paused"],
                   "the new process knows that it is paused")
        self.assertIn("paused before n2", self.rollout()["text"])
        self.assertEqual(self.hooks(), ["n1"])
        self.assertEqual(set(self.admin().values()), {"ready"}, "nothing is out meanwhile")
        self.balancer.ctl_ok("rollout", "resume", "xmpp")
        code, out, err = self.finish()
        self.assertEqual(code, 0, err)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((lines[-1]["ok"], lines[-1]["restarted"]), (True, 3))
        self.assertEqual([line["node"] for line in lines if line.get("stage") == "draining"],
                         ["n1", "n2", "n3"])

    def test_aborted_by_order_or_by_signal_no_node_is_left_out(self):
        for how in ("order", "signal"):
            with self.subTest(how):
                self.start()
                self.lead()
                self.wait_hook(["n1"])
                if how == "order":
                    self.balancer.ctl_ok("rollout", "abort", "xmpp")
                else:
                    self.process.send_signal(signal.SIGINT)
                self.let_go()
                code, _, err = self.finish()
                self.assertEqual(code, 1)
                self.assertIn("aborted; n1 was restarted", err)
                self.assertIn("--nodes n2,n3", err)
                wait_until(lambda: set(self.balancer.node_states().values()) == {"up"},
                           "all are up again")
                self.balancer.stop()
                os.remove(self.go)
                os.remove(self.ran)
                for node in self.nodes:
                    node.stop()

    def test_without_a_hook_the_operator_restarts_and_resumes(self):
        self.start()
        self.lead("--nodes", "n3", hook="none")
        wait_until(lambda: self.balancer.status()["rollouts"] and
                   "restart it now" in self.rollout()["text"], "it asks for n3's restart")
        self.assertEqual(self.admin()["n3"], "maint")
        self.balancer.ctl_ok("rollout", "resume", "xmpp")
        code, out, err = self.finish()
        self.assertEqual(code, 0, err)
        self.assertIn("all 1 node", out)

    def test_a_hook_that_fails_or_hangs_stops_it_with_the_node_named(self):
        self.start()
        self.lead(hook="echo words; exit 3")
        code, out, err = self.finish()
        self.assertEqual(code, 1)
        self.assertIn("the hook failed at n1: it exited with 3", err)
        self.assertIn("mongooselb ctl ready xmpp/n1", err)
        self.assertIn("words", err, "what the hook says is not mixed into answers")
        self.assertNotIn("words", out)
        self.assertEqual(self.admin(), {"n1": "maint", "n2": "ready", "n3": "ready"})
        self.lead(hook="true")
        code, _, err = self.finish()
        self.assertEqual(code, 1)
        self.assertIn("n1 is maint", err)
        self.balancer.ctl_ok("ready", "n1")
        wait_until(lambda: set(self.balancer.node_states().values()) == {"up"}, "all are up")
        self.lead("--hook-within", "1s", hook="exec sleep 600")
        code, _, err = self.finish()
        self.assertEqual(code, 1)
        self.assertIn("it was ended after 1s (it was ended by signal 15", err)

    def test_a_node_that_does_not_come_back_stops_it(self):
        self.start()
        pid = self.nodes[0].process.pid
        # Until nobody listens there: the first check that passes is enough.
        self.lead("--return-within", "1s",
                  hook=f"kill {pid}; while {sys.executable} -c '{CONNECT}' 2> {os.devnull}; do sleep 0.05; done")
        code, _, err = self.finish()
        self.assertEqual(code, 4)
        self.assertIn("n1 did not come back within 1s", err)
        self.assertIn("--nodes n2,n3", err)
        self.assertEqual(self.balancer.node_states()["n2"], "up")

    def test_it_does_not_begin_beside_another_or_where_the_others_cannot_carry_it(self):
        self.start(connections_max=10)
        with Load("127.0.0.1", self.port) as load:
            load.hold(24)
            plan = self.balancer.ctl("rolling-restart", "xmpp", "--dry-run")
            self.assertEqual(plan.returncode, 1)
            self.assertIn("n1 (up, 8 connections): drain within 10m, restart by you, checks", plan.stdout)
            self.assertIn("have room for 4 of n1's 8 connections", plan.stderr)
            self.lead()
            code, _, err = self.finish()
            self.assertEqual(code, 1)
            self.assertIn("have room for 4 of n1's 8 connections", err)
            self.assertEqual(len(load.living()), 24)
        self.assertEqual(set(self.admin().values()), {"ready"})
        wait_until(lambda: self.balancer.open_connections() == 0, "all have left")
        plan = self.balancer.ctl_ok("rolling-restart", "xmpp", "--dry-run", "--hook", "true")
        self.assertEqual(len(plan.splitlines()), 5, "a line each: head, nodes, end")
        self.assertIn("nothing was done", plan)
        self.lead()
        self.wait_hook(["n1"])
        other = self.balancer.ctl("rolling-restart", "xmpp", "--nodes", "n2", "--force", "--hook",
                                  "true")
        self.assertEqual(other.returncode, 1)
        self.assertIn(f"under way, led by pid {self.process.pid}", other.stderr)
        self.assertEqual(self.admin()["n2"], "ready")

    def test_mistakes_are_named(self):
        self.start()
        for words, code, said in (
                (("nope",), 3, "there is no pool 'nope'; there are xmpp"),
                (("xmpp", "--nodes", "n1,n9"), 3, "has no node n9"),
                (("xmpp", "--nodes", "n1,n1"), 2, "names n1 twice"),
                (("xmpp", "--nodes", ","), 2, "names no node"),
                ((), 2, "needs pool")):
            done = self.balancer.ctl("rolling-restart", *words)
            self.assertEqual(done.returncode, code, done)
            self.assertIn(said, done.stderr)
        done = self.balancer.ctl("rollout", "pause", "xmpp")
        self.assertEqual(done.returncode, 3)
        self.assertIn("no rolling restart", done.stderr)
        self.assertIn("no rolling restart is under way", self.balancer.ctl_ok("rollout", "status"))


if __name__ == "__main__":
    unittest.main()
