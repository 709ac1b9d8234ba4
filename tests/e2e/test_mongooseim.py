"""mongooseim and mongooseimctl: a node's folder, its life, its answers; MongooseIM's texts and codes
word for word, and what it says of bad input."""

import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import time
import unittest

from lib import net
from lib.case import FreshCase
from lib.certs import Authority
from lib.dist_probe import BIN
from lib.erl import Epmd, Erl, hold
from lib.mongooseim import PROGRAM, Mongooseim
from lib.notify import NotifySocket
from lib.postgres import Postgres
from lib.raw_xmpp import RawXmpp
from lib.wait import wait_until
from lib.workspace import REPO

CONTAINER = os.path.join(REPO, "conf", "container", "start.sh")
DROP = ("Warning. This will drop all current connections and will discard all persistent data from "
        "Mnesia. Do you want to continue? (yes/no)\n")
DROP_REMOTE = ("Warning. If the node is alive this will drop all current connections on the remote "
               "node and will discard all persistent data from Mnesia. Do you want to continue? "
               "(yes/no)\n")


class NodeCase(FreshCase):
    def setUp(self):
        self.epmd = Epmd(self.workspace).start()

    def node(self, name, **options):
        return Mongooseim(self.workspace, self.epmd, name, **options)

    def nodes(self, *names):
        return [self.node(name).live() for name in names]

    def cluster(self, *names):
        """Nodes that the first one was joined by, one after the other."""
        nodes = self.nodes(*names)
        for node in nodes[1:]:
            self.assertEqual(node.ctl("join_cluster", "-f", nodes[0].name).code, 0)
        for node in nodes:
            node.wait_running(nodes)
        return nodes

    def ends(self, done, code, out):
        self.assertEqual((done.code, done.out), (code, out), done.err)

    def fails(self, node, *parts, **options):
        """`start` fails, and its words hold these."""
        done = node.mim("start", **options)
        self.assertEqual(done.code, 1, done)
        for part in parts:
            self.assertIn(part, done.err)
        return done.err


class Folder(NodeCase):
    def test_init_makes_all_and_touches_nothing_that_is_there(self):
        node = self.node("m1")
        for name in ("bin/mongooseim", "bin/mongooseimctl", "etc/vm.args", "etc/vm.dist.args",
                     "etc/mongooseim.toml", "data", "log"):
            self.assertTrue(os.path.exists(node.path(name)), name)
        mode = stat.S_IMODE(os.stat(node.path("etc/vm.args")).st_mode)
        self.assertEqual(mode, 0o600, "it holds the cookie")
        before = node.read("etc/vm.args")
        self.assertIn("-sname m1@localhost\n", before)
        self.ends(node.run(PROGRAM, "init", node.folder, "--sname", "other"), 0,
                  "nothing to do: all is there\n")
        self.assertEqual(node.read("etc/vm.args"), before)

    def test_cookies_of_two_inits_differ(self):
        texts = []
        for name in ("a", "b"):
            folder = self.workspace.path(name)
            subprocess.run([PROGRAM, "init", folder, "--sname", "m@localhost"], check=True,
                           stdout=subprocess.DEVNULL)
            with open(os.path.join(folder, "etc/vm.args"), encoding="utf-8") as file:
                texts.append(re.search(r"^-setcookie ([A-Z]{20})$", file.read(), re.M)[1])
        self.assertNotEqual(*texts)

    def test_containers_say_it_by_their_environment(self):
        folder = self.workspace.path("c")
        env = {**os.environ, "NODE_TYPE": "name", "NODE_NAME": "mim", "NODE_HOST": "pod-0.mim.svc",
               "CLUSTER_COOKIE": "oreo"}
        subprocess.run([PROGRAM, "init", folder], check=True, env=env, stdout=subprocess.DEVNULL)
        with open(os.path.join(folder, "etc/vm.args"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("-name mim@pod-0.mim.svc\n", text)
        self.assertIn("-setcookie oreo\n", text)

    def test_every_key_of_the_toml_is_there_with_its_default(self):
        node = self.node("m1")
        text = node.read("etc/mongooseim.toml")
        with open(os.path.join(os.path.dirname(__file__), "../../conf/mongooseim.toml"),
                  encoding="utf-8") as file:
            keys = re.findall(r"^(\w+) = ", file.read(), re.M)
        self.assertEqual(re.findall(r"^#?(\w+) = ", text, re.M), keys)
        node.write("etc/mongooseim.toml", re.sub(r"^#(?=\w+ = )", "", text, flags=re.M))
        self.assertEqual(node.mim("check").code, 0)

    def test_the_folder_is_found_by_the_link_the_environment_and_the_place(self):
        node = self.node("m1")
        here = self.workspace.path("elsewhere")
        os.symlink(node.bin("mongooseim"), here)
        for done in (node.mim("check"), node.run(here, "check"),
                     node.run(PROGRAM, "check", cwd=node.folder),
                     node.run(PROGRAM, "check", env={"MONGOOSEIM_DIR": node.folder})):
            self.assertEqual(done.code, 0, done)
            self.assertIn(f"{node.folder}: good: m1@localhost", done.out)
        self.assertIn("mongooseim init DIR", node.run(PROGRAM, "check").err)


class Life(NodeCase):
    def test_start_status_stop(self):
        node = self.node("mongooseim")
        self.ends(node.ctl("status"), 3,
                  "Failed RPC connection to the node mongooseim@localhost: nodedown\n")
        self.ends(node.mim("ping"), 1, "Node mongooseim@localhost not responding to pings.\n")
        self.ends(node.ctl("start"), 0, "")
        process = self.workspace.adopt("mongooseim", node.pid(), node.path("log/mongooseim.log"))
        self.ends(node.ctl("started"), 0, "")
        self.assertEqual(node.status_file(), "started")
        for program in (node.ctl, node.mim):
            self.ends(program("start"), 1, "Node is already running!\n")
        self.ends(node.mim("ping"), 0, "pong\n")
        lines = node.lines("status")
        self.assertEqual(lines[0], "MongooseIM node mongooseim@localhost:")
        self.assertEqual(lines[1], f"    operating system pid: {node.pid()}")
        self.assertEqual(lines[2:4], [
            "    Erlang VM status: started (of: starting | started | stopping)",
            "    boot script status: started"])
        self.assertRegex(lines[4], r"^    version: [\d.]+ \(as mongooseim\)$")
        self.assertRegex(lines[5], r"^    uptime: 0 days 00:00:\d\d$")
        self.assertEqual(lines[6:], ["    distribution protocol: inet_tcp", "    logs:",
                                     f"        {node.path('log/mongooseim.log')}"])
        self.ends(node.ctl("stop"), 0, "")
        self.assertFalse(process.alive(), "stop waits for the end")
        self.ends(node.ctl("stopped"), 0, "")
        self.assertEqual(node.status_file(), "stopped")
        self.ends(node.mim("stop"), 1, "Node is not running!\n")
        self.assertEqual(self.epmd.names(), {})

    def test_restart_keeps_the_process_and_the_members(self):
        one, two = self.cluster("m1", "m2")
        self.ends(one.ctl("restart"), 0, "")
        wait_until(lambda: one.log().count("node: started") == 2, "started again")
        self.assertTrue(one.process.alive())
        one.wait_running([one, two])
        two.wait_running([one, two])

    def test_a_daemon_restarts_as_a_daemon(self):
        node = self.node("m1").start()
        pid = node.pid()
        self.ends(node.mim("restart"), 0, "")
        wait_until(lambda: node.log().count("node: started") == 2, "started again")
        self.ends(node.ctl("started"), 0, "")
        self.assertEqual(node.pid(), pid)
        self.ends(node.ctl("stop"), 0, "")

    def test_signals_stop_it_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            one = self.node(f"s{number}").live()
            one.process.signal(number)
            self.assertEqual(one.process.wait_exit(10), 0)
            self.assertEqual(one.status_file(), "stopped")

    def test_what_stops_in_order_is_known_at_once(self):
        one, two = self.cluster("m1", "m2")
        began = time.monotonic()
        self.ends(two.ctl("stop"), 0, "")
        wait_until(lambda: one.db_nodes("stopped") == [two.name], "m2 is stopped", 5)
        self.assertLess(time.monotonic() - began, 2)

    def test_the_status_file_is_where_scripts_say(self):
        path = self.workspace.path("status")
        node = self.node("m1")
        process = self.workspace.start("m1", [node.bin("mongooseim"), "live"],
                                       env={**node.env, "EJABBERD_STATUS_PATH": path})
        def status():
            with open(path, encoding="utf-8") as file:
                return file.read()
        self.workspace.wait_ready(process, lambda: status() == "started\n", "it is started")
        self.assertEqual(process.stop(), 0)
        self.assertEqual(status(), "stopped\n")

    def test_systemd_is_told(self):
        notify = NotifySocket(self.workspace.path("notify"))
        self.addCleanup(notify.close)
        node = self.node("m1").live(NOTIFY_SOCKET=notify.path)
        notify.wait_for("READY")
        self.assertIn("running, 1 of 1 members",
                      wait_until(lambda: [m["STATUS"] for m in notify.messages
                                          if "running" in m.get("STATUS", "")], "its status")[0])
        node.process.signal(signal.SIGTERM)
        notify.wait_for("STOPPING")
        self.assertEqual(node.process.wait_exit(10), 0)

    def test_the_log_moves_and_the_cookie_is_in_none(self):
        node = self.node("m1", cookie="SECRETCOOKIE").live()
        os.rename(node.path("log/mongooseim.log"), node.path("log/old.log"))
        node.process.signal(signal.SIGHUP)
        wait_until(lambda: "opened again" in node.log(), "the log is opened again")
        node.ctl("join_cluster", "-f", "nobody@localhost")
        node.ctl("server", "setLoglevel", "--level", "DEBUG")
        self.ends(node.ctl("get_loglevel"), 0, "DEBUG\n")
        for text in (node.log(), node.read("log/old.log"), node.process.log()):
            self.assertNotIn("SECRETCOOKIE", text)
        self.ends(node.ctl("get_cookie"), 0, "SECRETCOOKIE\n")

    def test_an_epmd_is_started_where_there_is_none(self):
        self.epmd.process.kill()
        node = self.node("m1")
        try:
            node.live()
            self.assertIn("m1", self.epmd.names())
            node.process.stop()
        finally:
            subprocess.run(["epmd", "-port", str(self.epmd.port), "-kill"], check=False,
                           capture_output=True, timeout=10)

    def test_without_epmd(self):
        self.epmd.process.kill()
        node = self.node("m1")
        port = str(net.free_port())
        node.env["ERL_DIST_PORT"] = port
        node.live()
        self.ends(node.mim("ping"), 0, "pong\n")
        self.assertIn(f"dist_port={port}", node.log())

    def test_there_is_no_shell_and_it_says_so(self):
        node = self.node("m1")
        for word in ("console", "attach", "debug"):
            done = node.mim(word)
            self.assertEqual(done.code, 1)
            self.assertIn("no Erlang shell", done.err)

    def test_memory_grows_with_erl_max_ports(self):
        node = self.node("m1")
        sizes = []
        for ports in (1024, 250_000):
            done = node.mim("memory", env={"ERL_MAX_PORTS": str(ports)})
            self.assertEqual(done.code, 0, done)
            sizes.append(int(done.out))
        self.assertGreater(sizes[1], sizes[0] + 16 * 200_000)

    def test_ctl_answers_in_20_ms(self):
        node = self.node("m1").live()
        times = []
        for _ in range(20):
            began = time.monotonic()
            self.assertEqual(node.ctl("mnesia", "info").code, 0)
            times.append(time.monotonic() - began)
        self.assertLess(min(times), 0.020)

    def test_pages(self):
        node = self.node("m1").live()
        self.assertEqual(node.get("/livez"), (200, "alive\n"))
        wait_until(lambda: node.get("/readyz") == (200, "ready\n"), "it is ready")
        status = node.status()
        self.assertEqual(status["members"], ["m1@localhost"])
        self.assertEqual(status["max_sessions"], 65536)
        self.assertIn("mongooseim_cluster_members 1\n", node.get("/metrics")[1])


class Joining(NodeCase):
    def test_the_page_word_for_word(self):
        one, two = self.nodes("mongooseim", "mongooseim2")
        self.ends(two.ctl("join_cluster", one.name, text="yes\n"), 0,
                  DROP + "Joining the cluster...\nYou have successfully joined the node "
                  "mongooseim2@localhost to the cluster with node member mongooseim@localhost\n")
        for node in (one, two):
            node.wait_running([one, two])
            self.assertIn("running db nodes   = [mongooseim2@localhost, mongooseim@localhost]\n",
                          node.ctl("mnesia", "info").out)
            self.assertIn("stopped db nodes   = [] \n", node.ctl("mnesia", "info").out)
        self.ends(two.ctl("leave_cluster", text="yes\n"), 0,
                  DROP + "Leaving the cluster...\nYou have successfully left the node "
                  "mongooseim2@localhost from the cluster.\n")
        one.wait_running([one])
        two.wait_running([two])
        self.ends(two.ctl("join_cluster", "-f", one.name), 0,
                  "You have successfully joined the node mongooseim2@localhost to the cluster with "
                  "node member mongooseim@localhost\n")
        one.wait_running([one, two])
        self.ends(one.ctl("remove_from_cluster", two.name, text="yes\n"), 0,
                  DROP_REMOTE + "Removing node from the cluster...\nThe node "
                  "mongooseim2@localhost has been removed from the cluster\n")
        one.wait_running([one])
        two.wait_running([two])

    def test_no_and_the_end_of_the_input_leave_all_unchanged(self):
        one, two = self.nodes("m1", "m2")
        discarded = DROP + "Operation discarded by user\n"
        self.ends(two.ctl("join_cluster", one.name, text="no\n"), 1, discarded)
        self.ends(two.ctl("join_cluster", one.name, text=""), 1, discarded)
        self.ends(two.ctl("join_cluster", one.name, text="maybe\nno\n"), 1,
                  DROP + "Command unknown. Do you want to continue? (yes/no)\n" + discarded)
        for node in (one, two):
            self.assertEqual(node.db_nodes("running"), [node.name])
            self.assertNotIn("joined", node.log())

    def test_twice_is_said(self):
        one, two = self.cluster("m1", "m2")
        self.ends(two.ctl("join_cluster", one.name, "--force"), 1,
                  "The node m1@localhost has already joined the cluster\n")
        self.ends(two.ctl("join_cluster", "-f", two.name), 1,
                  "The node m2@localhost has already joined the cluster\n")
        self.assertEqual(two.ctl("leave_cluster", "-f").code, 0)
        self.ends(two.ctl("leave_cluster", "-f"), 1, "The node m2@localhost is not in the cluster\n")
        one.wait_running([one])
        self.ends(one.ctl("leave_cluster", "-f"), 1, "The node m1@localhost is not in the cluster\n")

    def test_the_same_join_twice_at_once_is_one(self):
        one, two = self.nodes("m1", "m2")
        runs = [subprocess.Popen([two.bin("mongooseimctl"), "join_cluster", "-f", one.name],
                                 env=two.env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        outs = [run.communicate(timeout=60)[0] for run in runs]
        for run, out in zip(runs, outs):
            joined = "You have successfully joined" in out and run.returncode == 0
            already = "has already joined the cluster" in out and run.returncode == 1
            self.assertTrue(joined or already, out)
        self.assertIn(0, [run.returncode for run in runs])
        one.wait_running([one, two])

    def test_who_is_not_reached_and_what_was_not_said(self):
        node = self.node("m1").live()
        began = time.monotonic()
        self.ends(node.ctl("join_cluster", "-f", "nobody@localhost"), 1,
                  "Timeout while attempting to connect to node nobody@localhost\n")
        self.assertLess(time.monotonic() - began, 3, "epmd has said that nobody is there")
        self.assertIn("knows no node nobody",
                      node.ctl("join_cluster", "-f", "nobody@localhost").err, "the reason, apart")
        self.ends(node.ctl("join_cluster"), 1,
                  "This command requires one argument: other node's name\n")
        self.ends(node.ctl("remove_from_cluster", "-f"), 1,
                  "This command requires one argument: other node's name\n")
        done = node.ctl("remove_from_cluster", "-f", "nobody@localhost")
        self.assertEqual(done.code, 1)
        self.assertIn("nobody@localhost is not known in the cluster", done.out)
        self.assertEqual(node.ctl().code, 2)

    def test_a_name_that_holds_dash_f_is_a_name(self):
        node = self.node("m1").live()
        self.ends(node.ctl("join_cluster", "mim@my-foo", text="no\n"), 1,
                  DROP + "Operation discarded by user\n")

    def test_three_stepwise_and_one_dead(self):
        one, two, three = self.nodes("m1", "m2", "m3")
        self.assertEqual(two.ctl("join_cluster", "-f", one.name).code, 0)
        self.assertEqual(three.ctl("join_cluster", "-f", two.name).code, 0)
        for node in (one, two, three):
            node.wait_running([one, two, three])
        three.process.kill()
        for node in (one, two):
            wait_until(lambda node=node: node.db_nodes("stopped") == [three.name],
                       f"{node.name} sees that m3 is gone")
            self.assertEqual(node.db_nodes("running"), [one.name, two.name])
            self.assertEqual(node.status()["state"], "running")
        self.ends(one.ctl("remove_from_cluster", "-f", three.name), 0,
                  "The dead node m3@localhost has been removed from the cluster\n")
        for node in (one, two):
            node.wait_running([one, two])
        # It comes again as a stranger, and says so.
        three.live()
        wait_until(lambda: "stands alone" in three.log(), "m3 says that it stands alone")
        three.wait_running([three])
        for node in (one, two):
            self.assertEqual(node.db_nodes("running"), [one.name, two.name])
        self.assertEqual(three.ctl("join_cluster", "-f", one.name).code, 0)
        for node in (one, two, three):
            node.wait_running([one, two, three])

    def test_killed_and_back(self):
        one, two, three = self.cluster("m1", "m2", "m3")
        two.process.kill()
        wait_until(lambda: one.db_nodes("stopped") == [two.name], "m2 is gone")
        two.live()
        for node in (one, two, three):
            node.wait_running([one, two, three])
        digests = {node.ctl("cluster", "digest").out for node in (one, two, three)}
        self.assertEqual(len(digests), 1)

    def test_leave_with_all_others_down(self):
        one, two = self.cluster("m1", "m2")
        one.process.kill()
        wait_until(lambda: two.db_nodes("stopped") == [one.name], "m1 is gone")
        done = two.ctl("leave_cluster", text="yes\n")
        self.assertEqual(done.code, 1)
        self.assertIn("these nodes are down: m1@localhost", done.out)
        self.assertEqual(two.db_nodes("stopped"), [one.name])
        self.ends(two.ctl("leave_cluster", "--force"), 0,
                  "You have successfully left the node m2@localhost from the cluster.\n")
        two.wait_running([two])

    def test_a_lost_disk_joins_again_under_its_name(self):
        one, two = self.cluster("m1", "m2")
        two.process.kill()
        wait_until(lambda: one.db_nodes("stopped") == [two.name], "m2 is gone")
        self.assertEqual(one.ctl("remove_from_cluster", "-f", two.name).code, 0)
        os.remove(two.path("data/cluster"))
        two.live()
        self.assertEqual(two.ctl("join_cluster", "-f", one.name).code, 0)
        for node in (one, two):
            node.wait_running([one, two])

    def test_a_full_disk_fails_a_join_and_changes_nothing(self):
        one, two = self.node("m1").live(), self.node("m2")
        # A small disk of its own for the data; the test fills it by way of the process.
        two.prefix = ["unshare", "--mount", "/bin/sh", "-c",
                      f'mount -t tmpfs -o size=64k tmpfs "{two.path("data")}" && exec "$0" "$@"']
        two.live()
        two.prefix = ()
        filler = f"/proc/{two.process.pid}/root{two.path('data/filler')}"
        with self.assertRaises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        for _ in range(2):
            done = two.ctl("join_cluster", "-f", one.name)
            self.assertEqual(done.code, 1)
            self.assertRegex(done.out, r"^Error: .*data/cluster.*No space left on device")
            self.assertEqual([node.db_nodes("running") for node in (one, two)],
                             [[one.name], [two.name]])
        os.remove(filler)
        self.assertEqual(two.ctl("join_cluster", "-f", one.name).code, 0)
        for node in (one, two):
            node.wait_running([one, two])

    def test_nine_at_once(self):
        nodes = self.nodes(*(f"m{i}" for i in range(1, 10)))
        began = time.monotonic()
        joins = [subprocess.Popen([node.bin("mongooseimctl"), "join_cluster", "-f", nodes[0].name],
                                  env=node.env, stdout=subprocess.PIPE, text=True)
                 for node in nodes[1:]]
        for join in joins:
            out = join.communicate(timeout=60)[0]
            self.assertEqual(join.returncode, 0, out)
        nodes[8].wait_running(nodes)
        took = time.monotonic() - began
        for node in nodes:
            node.wait_running(nodes)
        print(json.dumps({"nine_joined_s": round(took, 2)}), flush=True)
        self.assertLess(took, 5)

    def test_the_containers_flow(self):
        one = self.node("m1").live()
        two = self.node("m2")
        for words in (("start",), ("started",), ("status",), ("join_cluster", "-f", one.name)):
            done = two.ctl(*words)
            self.assertEqual(done.code, 0, done)
            self.workspace.adopt("m2", two.pid(), two.path("log/mongooseim.log"))
        self.assertEqual(two.ctl("stop").code, 0)
        two.live()
        for node in (one, two):
            node.wait_running([one, two])

    def test_the_containers_script(self):
        one = self.node("m1").live()
        two = Mongooseim(self.workspace, self.epmd, "m2", folder=self.workspace.path("volume"))
        env = {**two.env, "PATH": f"{BIN}:{os.environ['PATH']}", "NODE_NAME": "m2",
               "NODE_HOST": "localhost", "CLUSTER_COOKIE": "C", "CLUSTER_WITH": one.name,
               "HTTP_LISTEN": f"127.0.0.1:{two.http}", "MONGOOSEIM_DIR": two.folder}
        for start in (1, 2):
            process = self.workspace.start(f"container{start}", [CONTAINER], env=env)
            wait_until(lambda: two.get("/readyz")[0] == 200 and two.pid() == process.pid,
                       "the container's first process is the node, and ready")
            one.wait_running([one, two])
            text = process.log()
            self.assertEqual(text.count("You have successfully joined the node m2@localhost"),
                             1 if start == 1 else 0, text)
            self.assertEqual(process.stop(), 0)
            wait_until(lambda: one.db_nodes("stopped") == [two.name], "it has stopped")

    def test_discovery_by_file(self):
        names = ("m1", "m2", "m3")
        nodes = [self.node(name) for name in names]
        for node in nodes:
            node.write("etc/nodes", "".join(f"{name}@localhost\n" for name in names))
            text = node.read("etc/mongooseim.toml")
            node.write("etc/mongooseim.toml", text.replace(
                '#discovery_file = ""', 'discovery_file = "etc/nodes"').replace(
                "#auto_join = false", "auto_join = true"))
        for node in reversed(nodes):
            node.live()
        for node in nodes:
            node.wait_running(nodes, 60)

    def found_by_store(self, url):
        authority = Authority(self.workspace)
        nodes = [self.node(name).serve(authority, "chat.example", store={"url": url},
                                       cluster={"discovery": "store", "auto_join": True})
                 for name in ("m1", "m2", "m3")]
        for node in nodes:
            node.live()
        for node in nodes:
            node.wait_running(nodes, 60)

    def test_discovery_by_the_store_of_one_machine(self):
        self.found_by_store(f"sqlite:{self.workspace.path('shared.db')}")

    def test_discovery_by_the_store_of_many(self):
        postgres = Postgres(self.workspace)
        self.addCleanup(postgres.stop)
        self.found_by_store(postgres.start().url("found"))


class NewerGeneration(NodeCase):
    def answer(self, node, *words, code=0):
        done = node.ctl(*words)
        self.assertEqual(done.code, code, done)
        return json.loads(done.out)

    def test_join_and_leave_in_the_envelope(self):
        one, two = self.nodes("m1", "m2")
        self.assertEqual(self.answer(two, "server", "joinCluster", "--node", one.name), {
            "data": {"server": {"joinCluster":
                "You have successfully added the MongooseIM node m2@localhost to the cluster with "
                "node member m1@localhost."}}})
        one.wait_running([one, two])
        again = self.answer(two, "server", "joinCluster", "--node", one.name, code=1)
        self.assertEqual(again["errors"][0]["extensions"],
                         {"node": one.name, "code": "already_joined"})
        self.assertEqual(self.answer(one, "mnesia", "systemInfo", "--keys", '["running_db_nodes"]'), {
            "data": {"mnesia": {"systemInfo": [
                {"result": [one.name, two.name], "key": "running_db_nodes"}]}}})
        info = self.answer(one, "cets", "systemInfo")["data"]["cets"]["systemInfo"]
        self.assertEqual(info["joinedNodes"], [one.name, two.name])
        self.assertEqual(self.answer(two, "server", "leaveCluster")["data"]["server"]["leaveCluster"],
                         "The MongooseIM node m2@localhost has successfully left the cluster")
        pang = self.answer(two, "server", "joinCluster", "--node", "nobody@localhost", code=1)
        self.assertEqual(pang["errors"][0]["extensions"]["code"], "pang")

    def test_status_and_what_is_not_there_yet(self):
        node = self.node("m1").live()
        status = self.answer(node, "server", "status")["data"]["server"]["status"]
        self.assertEqual(status["statusCode"], "RUNNING")
        missing = self.answer(node, "inbox", "flushUserBin", "--user", "a@localhost",
                              code=1)
        self.assertIn("is not there yet", missing["errors"][0]["message"])
        stopped = self.answer(node, "server", "stop")
        self.assertEqual(stopped["data"]["server"]["stop"], "Stop scheduled")
        self.assertEqual(node.process.wait_exit(10), 0)


class WitnessCases:
    suite = None

    def test_stock_erl(self):
        node = self.node("mongooseim").live()
        erl = Erl(self.workspace, self.epmd, "probe", suite=self.suite)
        self.assertEqual(erl.eval("net_adm:ping(mongooseim@localhost)"), "pong")
        call = "rpc:call(mongooseim@localhost, {}, {}, {})".format
        self.assertEqual(erl.eval(call("mnesia", "system_info", "[running_db_nodes]")),
                         "[mongooseim@localhost]")
        self.assertEqual(erl.eval(call("file", "get_cwd", "[]")), f'{{ok,"{node.folder}"}}')
        self.assertEqual(erl.eval(call("mongoose_server_api", "join_cluster", '["nobody@localhost"]')),
                         '{pang,"Timeout while attempting to connect to node nobody@localhost"}')
        self.assertEqual(erl.eval(call("cets_discovery", "wait_for_ready", "[x, 20000]")), "ok")
        self.assertIn("badrpc", erl.eval(call("mongoose_config", "get_opt", "[hosts]")))
        other = self.node("m2").live()
        self.assertEqual(other.ctl("join_cluster", "-f", node.name).code, 0)
        both = f"[{node.name}, {other.name}]"
        self.assertEqual(erl.eval(f"erpc:multicall({both}, erlang, node, [])"),
                         f"[{{ok,{node.name}}},{{ok,{other.name}}}]")
        self.assertEqual(erl.eval(f"rpc:multicall({both}, erlang, node, [])"),
                         f"{{[{node.name},{other.name}],[]}}")
        self.assertEqual(erl.eval(call("init", "stop", "[]")), "ok")
        self.assertEqual(node.process.wait_exit(10), 0)


class Witness25(WitnessCases, NodeCase):
    def test_a_silent_link_stands_for_a_minute_and_a_dead_one_ends(self):
        node = self.node("mongooseim")
        node.append("etc/vm.dist.args", "-kernel net_ticktime 8\n")
        node.live()
        erl = Erl(self.workspace, self.epmd, "ticked", flags=["-kernel", "net_ticktime", "8"])
        self.assertEqual(erl.eval(f"net_adm:ping({node.name})"), "pong")
        linked = f"[{node.name}]"
        self.assertTrue(hold(lambda: erl.eval("nodes(hidden)") == linked, 61),
                        "a minute without a word but ticks")
        node.process.signal(signal.SIGSTOP)
        wait_until(lambda: erl.eval("nodes(hidden)") == "[]", "erl misses the ticks", 20)
        node.process.signal(signal.SIGCONT)
        self.assertEqual(erl.eval(f"net_adm:ping({node.name})"), "pong")


class Witness27(WitnessCases, NodeCase):
    suite = "trixie"


class Witness29(WitnessCases, NodeCase):
    suite = "forky"


class Links(NodeCase):
    def test_over_tls(self):
        authority = Authority(self.workspace)
        chain, key = authority.issue("node", ["localhost"])
        opts = (f"-proto_dist inet_tls\n-ssl_dist_opt server_certfile {chain} server_keyfile {key}\n"
                f"-ssl_dist_opt server_cacertfile {authority.ca_file} server_verify verify_peer "
                "server_fail_if_no_peer_cert true\n"
                f"-ssl_dist_opt client_certfile {chain} client_keyfile {key}\n"
                f"-ssl_dist_opt client_cacertfile {authority.ca_file} client_verify verify_peer\n")
        nodes = [self.node(name) for name in ("m1", "m2")]
        for node in nodes:
            node.append("etc/vm.dist.args", opts)
            node.live()
        one, two = nodes
        self.assertEqual(two.ctl("join_cluster", "-f", one.name).code, 0)
        one.wait_running(nodes)
        self.assertIn("    distribution protocol: inet_tls", one.lines("status"))
        erl = Erl(self.workspace, self.epmd, "probe", flags=opts.split())
        self.assertEqual(erl.eval("net_adm:ping(m1@localhost)"), "pong")
        plain = Erl(self.workspace, self.epmd, "plain")
        self.assertEqual(plain.eval("net_adm:ping(m1@localhost)"), "pang")

    def test_over_tls_by_erlangs_own_file_of_options(self):
        authority = Authority(self.workspace)
        chain, key = authority.issue("node", ["localhost"])
        side = (f'[{{certfile, "{chain}"}}, {{keyfile, "{key}"}}, {{cacertfile, '
                f'"{authority.ca_file}"}}, {{verify, verify_peer}}')
        optfile = self.workspace.write("inet_tls.conf", f"%% both ways\n[{{server, {side}, "
                                       f"{{fail_if_no_peer_cert, true}}]}},\n {{client, {side}]}}].\n")
        opts = f"-proto_dist inet_tls\n-ssl_dist_optfile {optfile}\n"
        node = self.node("m1")
        node.append("etc/vm.dist.args", opts)
        node.live()
        erl = Erl(self.workspace, self.epmd, "probe", flags=opts.split())
        self.assertEqual(erl.eval("net_adm:ping(m1@localhost)"), "pong")
        self.workspace.write("inet_tls.conf", "[{server, [{certfile}]}].\n")
        done = node.run(node.bin("mongooseim"), "check")
        self.assertNotEqual(done.code, 0)
        self.assertIn("inet_tls.conf: line 1: expected {option, value}", done.err)

    def test_only_those_who_are_allowed_connect(self):
        node = self.node("m1")
        node.set_keys("dist", {"allow": ["m*@nowhere", "other@localhost"]})
        done = node.run(node.bin("mongooseim"), "check")
        self.assertIn("dist.allow", done.err)
        self.assertIn("'m*@nowhere', which names no node", done.err)
        text = node.read("etc/mongooseim.toml")
        node.write("etc/mongooseim.toml", text.replace("m*@nowhere", "*@nowhere"))
        node.live()
        other = Erl(self.workspace, self.epmd, "other")
        self.assertEqual(other.eval("net_adm:ping(m1@localhost)"), "pong")
        stranger = Erl(self.workspace, self.epmd, "stranger")
        self.assertEqual(stranger.eval("net_adm:ping(m1@localhost)"), "pang")
        self.assertEqual(node.ctl("status").code, 0, "mongooseimctl has a name of ours")

    def test_the_commit_of_the_sources_is_told(self):
        node = self.node("m1").live()
        done = node.ctl("server", "status")
        commit = json.loads(done.out)["data"]["server"]["status"]["commitHash"]
        self.assertRegex(commit, r"^[0-9a-f]{12,}\+?$")

    def test_another_cookie_is_said_on_both_sides(self):
        one, two = self.node("m1", cookie="A").live(), self.node("m2", cookie="B").live()
        done = two.ctl("join_cluster", "-f", one.name)
        self.ends(done, 1, "Timeout while attempting to connect to node m1@localhost\n")
        wait_until(lambda: re.search(
            r"Connection attempt from node m2@localhost rejected.*address=127\.0\.0\.1:\d+", one.log()),
            "m1 logs who it was")
        for text in (done.err, two.log()):
            self.assertIn("cookies differ", text)
        two.write("etc/vm.args", two.read("etc/vm.args").replace("-setcookie B", "-setcookie A"))
        done = two.ctl("status")
        self.assertEqual(done.code, 3)
        self.assertIn("cookie", done.err)


class BadInput(NodeCase):
    def test_of_vm_args(self):
        node = self.node("m1")
        text = node.read("etc/vm.args")
        for line, *words in (
                ("-sname2 x", "vm.args:", "-sname2", "did you mean -sname?"),
                ("-kernel inet_dist_listen_min 50010 inet_dist_listen_max 50000",
                 "inet_dist_listen_min", "above inet_dist_listen_max", "turn them round"),
                ("-env ERL_MAX_PORTS many", "ERL_MAX_PORTS", "'many'"),
                ("-proto_dist inet_tls", "-ssl_dist_opt server_certfile")):
            node.write("etc/vm.args", text + line + "\n")
            self.fails(node, *words)
        for gone, words in (("-sname", "vm.args needs to have either -name or -sname parameter."),
                            ("-setcookie", "vm.args needs to have a -setcookie parameter.")):
            node.write("etc/vm.args", re.sub(rf"^{gone} .*\n", "", text, flags=re.M))
            self.fails(node, words)

    def test_of_the_environment(self):
        node = self.node("m1")
        self.fails(node, "ERL_MAX_PORTS", "'lots'", env={"ERL_MAX_PORTS": "lots"})
        self.fails(node, "ERL_EPMD_PORT", "'x'", env={"ERL_EPMD_PORT": "x"})

    def test_of_the_toml(self):
        node = self.node("m1")
        text = node.read("etc/mongooseim.toml")
        node.write("etc/mongooseim.toml", text.replace("[cluster]\n", "[cluster]\nsilense = \"1s\"\n"))
        self.fails(node, "mongooseim.toml:", "cluster.silense", "silence")

    def test_a_host_that_nobody_knows(self):
        node = self.node("m1", host="no-such-host")
        self.fails(node, "no-such-host has no IPv4 address", "/etc/hosts")
        self.assertIn("no-such-host", node.ctl("status").err)

    def test_a_cookie_that_others_may_read(self):
        node = self.node("m1")
        node.write("etc/cookie", "C\n")
        os.chmod(node.path("etc/cookie"), 0o644)
        node.write("etc/vm.args", re.sub(r"^-setcookie .*\n", "", node.read("etc/vm.args"), flags=re.M))
        text = node.read("etc/mongooseim.toml")
        node.write("etc/mongooseim.toml",
                   text.replace('#cookie_file = ""', 'cookie_file = "etc/cookie"'))
        self.fails(node, "etc/cookie", "has mode 0644", "chmod 0600")
        os.chmod(node.path("etc/cookie"), 0o600)
        node.start()
        self.ends(node.ctl("get_cookie"), 0, "C\n")
        os.chmod(node.path("etc/vm.args"), 0o644)  # holds none
        self.ends(node.ctl("stop"), 0, "")

    def test_a_range_that_is_full(self):
        low = net.free_port()
        range_line = f"-kernel inet_dist_listen_min {low} inet_dist_listen_max {low}\n"
        one, two = self.node("m1"), self.node("m2")
        for node in (one, two):
            node.append("etc/vm.dist.args", range_line)
        one.live()
        self.assertEqual(self.epmd.names()["m1"], low)
        self.fails(two, f"inet_dist_listen_min {low} .. inet_dist_listen_max {low} is free",
                   "widen the range in vm.args")

    def test_two_nodes_with_one_folder(self):
        one = self.node("m1").live()
        pid = one.pid()
        copy = self.node("m2")
        os.rmdir(copy.path("data"))
        os.symlink(one.path("data"), copy.path("data"))
        done = copy.mim("live")
        self.ends(done, 1, "Node is already running!\n")
        self.assertEqual(one.pid(), pid)
        one.process.stop()
        # Nor one after the other: what is in there is m1's.
        self.fails(copy, "m1@localhost")

    def test_a_name_that_is_taken(self):
        self.node("m1").live()
        other = Mongooseim(self.workspace, self.epmd, "other")
        other.write("etc/vm.args", other.read("etc/vm.args").replace("other@", "m1@"))
        self.fails(other, "m1 seems to be in use by another Erlang node", "epmd -names")

    def test_something_else_where_the_pages_should_be(self):
        node = self.node("m1")
        with socket.create_server(("127.0.0.1", node.http)):
            self.fails(node, "http.listen", str(node.http), "of its own")

    def test_an_epmd_that_is_none(self):
        self.epmd.process.kill()
        with socket.create_server(("127.0.0.1", self.epmd.port)) as server:
            node = self.node("m1")
            run = subprocess.Popen([node.bin("mongooseim"), "live"], env=node.env,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")
                err = run.communicate(timeout=30)[1]
        self.assertEqual(run.returncode, 1)
        self.assertIn("is no epmd", err)

    def test_too_few_descriptors_for_any(self):
        node = self.node("m1")
        done = node.run("/bin/sh", "-c", 'ulimit -n 256; exec "$0" start', node.bin("mongooseim"))
        self.assertEqual(done.code, 1)
        self.assertIn("not even 770 sockets", done.err)
        self.assertNotIn("connections_max", done.err, "that is another program's key")
        node.write("etc/mongooseim.toml", node.read("etc/mongooseim.toml").replace(
            "#links_max = 256", "links_max = 2000"))
        self.fails(node, "dist.links_max", "ERL_MAX_PORTS is 1024", env={"ERL_MAX_PORTS": "1024"})

    def test_too_few_descriptors(self):
        node = self.node("m1")
        done = node.run("/bin/sh", "-c", 'ulimit -n 2048; exec "$0" "$@"', node.bin("mongooseim"),
                        "start")
        self.workspace.adopt("m1", node.pid(), node.path("log/mongooseim.log"))
        self.assertEqual(done.code, 0, done)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        for part in ("the limit of open files is 2048", "/etc/security/limits.conf",
                     f"{user}   soft   nofile   1000000", f"{user}   hard   nofile   1000000",
                     "session required pam_limits.so", "LimitNOFILE=1000000"):
            self.assertIn(part, done.err)
        self.assertIn("emfile", node.log())
        self.ends(node.ctl("stop"), 0, "")

    def crowd_out(self, node, count, *words):
        """So many come at once; `alice` is there, the operator reads these words, and when they have
        gone newcomers get in."""
        authority = self.authority
        node.register("alice", "secret")
        login = lambda resource: RawXmpp(node.tls_endpoint, "chat.example", authority.ca_file).login(
            "alice", "secret", resource)
        alice = login("x")
        self.addCleanup(alice.cut)
        wait_until(lambda: node.status()["sessions"] == 1, "its session is in the node's status", 5)
        host, port = node.endpoint.rsplit(":", 1)
        crowd = []
        self.addCleanup(lambda: [one.close() for one in crowd])
        for _ in range(count):
            crowd.append(socket.create_connection((host, int(port)), 5))
        wait_until(lambda: all(word in node.log() for word in words), f"the log says {words}")
        alice.say("<iq type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>")
        alice.until("still")
        for one in crowd:
            one.close()
        newcomer = wait_until(lambda: self.tried(login), "a newcomer gets in", 30)
        newcomer.cut()

    @staticmethod
    def tried(login):
        try:
            return login("y")
        except (OSError, AssertionError):
            return None

    def test_sockets_that_run_out_end_nobody(self):
        self.authority = Authority(self.workspace)
        node = self.node("m1").serve(self.authority, "chat.example",
                                     c2s={"workers": 1}).live(ERL_MAX_PORTS="1024")
        other = self.node("m2").live()
        self.crowd_out(node, 900, "no room for another connection", "ERL_MAX_PORTS", "LimitNOFILE")
        self.assertEqual(other.ctl("join_cluster", "-f", node.name).code, 0)
        node.wait_running([node, other])

    def test_the_limit_of_connections_is_said(self):
        self.authority = Authority(self.workspace)
        node = self.node("m1").serve(self.authority, "chat.example", c2s={
            "workers": 1, "connections_max": 20}).live()
        self.crowd_out(node, 60, "no room for another connection",
                       "raise c2s.connections_max")

    def test_a_limit_of_files_that_is_lowered_meanwhile_ends_nobody(self):
        """Clients need none, but a new connection of the store does: who logs in is asked to come again."""
        self.authority = Authority(self.workspace)
        node = self.node("m1").serve(self.authority, "chat.example").live()
        node.register("bob", "secret")
        pid = node.pid()
        taken = len(os.listdir(f"/proc/{pid}/fd"))
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken, limits[1]))
        login = lambda: RawXmpp(node.tls_endpoint, "chat.example", self.authority.ca_file).login(
            "bob", "secret", "x")
        with self.assertRaisesRegex(AssertionError, "temporary-auth-failure"):
            login()
        wait_until(lambda: "reads fail" in node.log(), "the log says what is wrong")
        self.assertEqual(node.ctl("status").code, 0)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        login().cut()
        self.assertEqual(node.ctl("status").code, 0)


if __name__ == "__main__":
    unittest.main()
