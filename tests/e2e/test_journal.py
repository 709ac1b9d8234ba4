"""The balancer's logs in a real systemd-journald: found by its fields, as operators look."""

import socket
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.journald import Journald
from lib.node import node_tables, start_sinks
from lib.wait import wait_until


@unittest.skipUnless(Journald.usable(), "needs root and systemd-journald")
class Journal(FreshCase):
    def setUp(self):
        super().setUp()
        self.journal = Journald(self.workspace)
        self.nodes = start_sinks(self.workspace, 2)
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "log": {"access": "journald", "access_format": "text", "target": "journald"},
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "node": node_tables(self.nodes),
                              "warmup": {"mode": "off"}}},
        }, launcher=self.journal.inside).start()

    def talk(self, text):
        """One connection that is over when this returns; its address."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            name = "%s:%d" % connection.getsockname()
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        return name

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


if __name__ == "__main__":
    unittest.main()
