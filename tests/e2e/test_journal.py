"""Logs of the balancer and of a node in a real systemd-journald: found by its fields, as operators
look; and a journal that stands still."""

import os
import signal
import socket
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.erl import Epmd
from lib.journald import Journald
from lib.mongooseim import Mongooseim
from lib.node import node_tables, start_sinks
from lib.wait import wait_until


class JournalCase(FreshCase):
    def setUp(self):
        super().setUp()
        self.journal = Journald(self.workspace)
        self.start_balancer(self.journal.inside)

    def start_balancer(self, launcher):
        self.nodes = start_sinks(self.workspace, 2)
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "log": {"access": "journald", "access_format": "text", "target": "journald"},
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "node": node_tables(self.nodes),
                              "warmup": {"mode": "off"}}},
        }, launcher=launcher).start()

    def talk(self, text):
        """One connection that is over when this returns; its address."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            name = "%s:%d" % connection.getsockname()
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        return name


@unittest.skipUnless(Journald.usable(), "needs root and systemd-journald")
class Journal(JournalCase):
    def test_each_connection_is_an_entry_with_its_fields(self):
        clients = [self.talk(b"x" * size) for size in (10, 20, 30, 40)]
        entries = self.journal.wait_entries(4, "SYSLOG_IDENTIFIER=mongooselb",
                                            "MONGOOSELB_POOL=xmpp")
        self.assertEqual({entry["MONGOOSELB_CLIENT"] for entry in entries}, set(clients))
        for entry in entries:
            size = 10 * (1 + clients.index(entry["MONGOOSELB_CLIENT"]))
            self.assertEqual(entry["MONGOOSELB_BYTES_IN"], str(size))
            self.assertEqual(entry["MONGOOSELB_LISTENER"], "c2s")
            self.assertIn(entry["MONGOOSELB_NODE"], ("n1", "n2"))
            self.assertEqual(entry["MONGOOSELB_RETRIES"], "0")
            self.assertEqual(entry["PRIORITY"], "6")
            self.assertEqual(entry["_TRANSPORT"], "journal")
            self.assertEqual(entry["_COMM"], "mongooselb")
            self.assertIn(f"client={entry['MONGOOSELB_CLIENT']}", entry["MESSAGE"])
            self.assertIn(entry["MONGOOSELB_END"], entry["MESSAGE"])
        self.assertEqual(len(self.journal.entries("MONGOOSELB_NODE=n1")), 2)
        self.assertEqual(self.journal.entries("MONGOOSELB_NODE=n9"), [])

    def test_what_changed_is_an_entry_with_its_fields(self):
        self.balancer.ctl_ok("drain", "n1")
        entry, = self.journal.wait_entries(1, "SYSLOG_IDENTIFIER=mongooselb",
                                           "MONGOOSELB_COMPONENT=lb", "MONGOOSELB_NODE=n1",
                                           "MONGOOSELB_WAS=up")
        self.assertEqual(entry["PRIORITY"], "4")
        self.assertEqual(entry["MONGOOSELB_POOL"], "xmpp")
        self.assertEqual(entry["MONGOOSELB_WHY"], "drained by an administrator")
        self.assertEqual(entry["_TRANSPORT"], "journal")
        self.assertTrue(entry["MESSAGE"].startswith("lb: node is drain pool=xmpp node=n1"), entry)

    def test_a_journal_that_was_away_is_written_to_again(self):
        before = self.talk(b"before")
        self.journal.wait_entries(1, f"MONGOOSELB_CLIENT={before}")
        # Its socket goes away and comes back, as with a restart of the daemon.
        self.assertEqual(self.journal.run("mv", "/run/systemd/journal/socket", "/run/away"), 0)
        lost = self.talk(b"meanwhile")
        wait_until(lambda: self.balancer.metric("mongooselb_access_log_dropped_total") == 1,
                   "the loss is counted")
        self.assertEqual(self.journal.run("mv", "/run/away", "/run/systemd/journal/socket"), 0)
        after = self.talk(b"after")
        self.journal.wait_entries(1, f"MONGOOSELB_CLIENT={after}")
        self.assertEqual(self.journal.entries(f"MONGOOSELB_CLIENT={lost}"), [])
        self.assertEqual(self.balancer.status()["connections"], 0)


@unittest.skipUnless(Journald.usable(), "needs root and systemd-journald")
class StandsStill(JournalCase):
    """Neither the journal nor who has the other end of stderr reads."""

    def setUp(self):
        FreshCase.setUp(self)
        self.journal = Journald(self.workspace)
        pipe = self.workspace.path("stderr.pipe")
        os.mkfifo(pipe)
        self.stderr = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, self.stderr)
        self.start_balancer([*self.journal.inside, "sh", "-c", f'exec "$0" "$@" 2> "{pipe}"'])

    def test_it_holds_no_thread_and_what_was_dropped_is_counted_and_told(self):
        self.journal.process.signal(signal.SIGSTOP)
        self.addCleanup(self.journal.process.signal, signal.SIGCONT)
        with socket.socket(socket.AF_UNIX) as ctl:
            ctl.settimeout(10)
            ctl.connect(self.balancer.ctl_socket)
            answers = ctl.makefile("r")
            for number in range(3000):  # a line each
                ctl.sendall(b'{"command":"weight","node":"n1","weight":%d}\n' % (number % 100 + 1))
                self.assertIn("has weight", answers.readline())
        self.talk(b"served")
        dropped = self.balancer.metric("mongooselb_log_dropped_total")
        self.assertGreater(dropped, 500)
        self.journal.process.signal(signal.SIGCONT)

        def told():
            self.balancer.ctl_ok("weight", "n1", "100")
            return self.journal.entries("MONGOOSELB_COMPONENT=log")
        entry = wait_until(told, "what was dropped is told")[-1]
        self.assertGreaterEqual(int(entry["MONGOOSELB_DROPPED"]), dropped)
        self.assertEqual(entry["PRIORITY"], "4")


@unittest.skipUnless(Journald.usable(), "needs root and systemd-journald")
class NodesJournal(FreshCase):
    def test_a_node_writes_its_log_where_it_is_told_to(self):
        journal = Journald(self.workspace)
        epmd = Epmd(self.workspace).start()
        node = Mongooseim(self.workspace, epmd, "n1")
        node.prefix = journal.inside
        node.set_keys("log", {"target": "journald"})
        node.live()
        entry, = journal.wait_entries(1, "SYSLOG_IDENTIFIER=mongooseim", "MONGOOSEIM_COMPONENT=node",
                                      "MONGOOSEIM_NODE=n1@localhost")
        self.assertTrue(entry["MESSAGE"].startswith("node: started node=n1@localhost"), entry)
        self.assertEqual(entry["_COMM"], "mongooseim")
        self.assertFalse(os.path.exists(node.path("log/mongooseim.log")))
        self.assertIn("mongooseim_log_dropped_total 0", node.get("/metrics")[1])
        node.process.stop()
        text = node.read("etc/mongooseim.toml").replace('"journald"', '"stderr"')
        node.write("etc/mongooseim.toml", text)
        node.live()
        self.assertIn("node: started node=n1@localhost", node.process.log())
        self.assertFalse(os.path.exists(node.path("log/mongooseim.log")))
        node.process.stop()
        node.write("etc/mongooseim.toml", text.replace('"stderr"', '"syslog"'))
        refused = node.mim("live")
        self.assertNotEqual(refused.code, 0)
        self.assertRegex(refused.err, r"mongooseim.toml:\d+: log.target: .*syslog.*file, stderr, journald")


if __name__ == "__main__":
    unittest.main()
