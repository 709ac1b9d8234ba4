"""The pure parts of bench/compare xmpp: accounts, archives, configurations."""

import contextlib
import os
import sqlite3
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))

import compare_lb  # noqa: E402
import compare_lib as lib  # noqa: E402
import compare_tls  # noqa: E402
import compare_xmpp  # noqa: E402
import xmpp_accounts  # noqa: E402
import xmpp_peers  # noqa: E402

SCHEMAS = {
    "prosody": 'CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY, host TEXT, user TEXT, '
               'store TEXT, key TEXT, "when" INTEGER, "with" TEXT, type TEXT, value TEXT)',
    "ejabberd": "CREATE TABLE archive (username text, timestamp BIGINT, peer text, bare_peer text, "
                "xml text, txt text, id INTEGER PRIMARY KEY, kind text, nick text)",
    "ours": "CREATE TABLE archive (owner TEXT, id INTEGER, peer TEXT, resource TEXT, "
            "outgoing INTEGER, origin_id TEXT, xml TEXT)",
}
OWNER = {"prosody": ("prosodyarchive", "user", "user0"), "ejabberd": ("archive", "username", "user0"),
         "ours": ("archive", "owner", "user0@d.example")}


def accounts(count=210, contacts=20):
    return xmpp_accounts.Accounts(count, "d.example", "pencil", contacts)


class AccountsTest(unittest.TestCase):
    def test_contacts_are_mutual_and_of_one_group(self):
        them = accounts(63)
        for i in range(them.count):
            contacts = them.contacts_of(i)
            self.assertEqual(len(contacts), 20)
            self.assertNotIn(i, contacts)
            for contact in contacts:
                self.assertIn(i, them.contacts_of(contact))
        self.assertEqual(accounts(22).contacts_of(21), [])  # a group that has one member yet

    def test_sessions_of_presence_and_pairs_have_all_their_contacts_there(self):
        self.assertEqual(compare_xmpp.LOGIN_ACCOUNTS % (compare_xmpp.CONTACTS + 1), 0)
        for quick in (True, False):
            size = compare_xmpp.Size(quick)
            for needed in (2 * compare_xmpp.PAIRS, compare_xmpp.LOGIN_ACCOUNTS, size.occupants,
                           xmpp_accounts.ARCHIVE_OWNERS + compare_xmpp.CONTACTS):
                self.assertGreaterEqual(size.many, needed)

    def test_keys_are_those_of_the_rfc(self):
        # RFC 5802 section 5: the server's signature comes from its key.
        stored, server = xmpp_accounts.scram_keys(
            "pencil", "sha1", bytes.fromhex("4125c247e43ab1e93c6dff76"), 4096)
        self.assertEqual(stored.hex(), "e9d94660c39d65c38fbad91c358f14da0eef2bd6")
        self.assertEqual(server.hex(), "0fe09258b3ac852ba502cc62ba903eaacdbf7d31")

    def test_prosody_finds_its_files(self):
        with tempfile.TemporaryDirectory() as folder:
            xmpp_accounts.write_prosody(accounts(21), folder)
            host = os.path.join(folder, "d%2eexample")
            self.assertEqual(len(os.listdir(os.path.join(host, "accounts"))), 21)
            with open(os.path.join(host, "roster", "user3.dat"), encoding="ascii") as file:
                roster = file.read()
            self.assertEqual(roster.count('["subscription"] = "both"'), 20)
            self.assertNotIn('["user3@d.example"]', roster)


class ArchiveTest(unittest.TestCase):
    def test_rows_are_spread_over_the_owners(self):
        for kind, schema in SCHEMAS.items():
            with tempfile.NamedTemporaryFile(suffix=".sqlite") as file:
                with contextlib.closing(sqlite3.connect(file.name)) as connection:
                    connection.execute(schema)
                    connection.commit()
                xmpp_accounts.fill_archive(kind, accounts(), 1000, file.name)
                table, column, value = OWNER[kind]
                with contextlib.closing(sqlite3.connect(file.name)) as connection:
                    total = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
                    first = connection.execute(
                        f"SELECT count(*) FROM {table} WHERE {column} = ?", (value,)).fetchone()
                self.assertEqual((total, first), ((1000,), (10,)), kind)


class PeersTest(unittest.TestCase):
    def test_no_port_lies_in_the_local_range_or_is_anothers(self):
        low, high = (int(edge) for edge in lib.PORT_RANGE.split())
        ports = [port + tls for port in xmpp_peers.PORTS.values() for tls in (0, 1)]
        others = list(compare_lb.PORTS.values()) + list(compare_tls.PORTS.values())
        self.assertEqual(len(set(ports + others)), len(ports) + len(set(others)))
        for port in ports:
            self.assertFalse(low <= port <= high)

    def test_all_have_the_same_modules_and_one_worker(self):
        self.assertIn('"smacks"; "carbons"; "mam"', xmpp_peers.PROSODY)
        for module in ("mod_stream_mgmt", "mod_carboncopy", "mod_mam", "mod_roster", "mod_ping"):
            self.assertIn(module, xmpp_peers.EJABBERD)
        self.assertIn("workers = 1", xmpp_peers.OURS)
        # Rooms are ours by default; theirs hold as many and archive as well.
        self.assertIn('"muc_mam"', xmpp_peers.PROSODY)
        self.assertIn("max_users: 5000, mam: true", xmpp_peers.EJABBERD)
        for text, hour in ((xmpp_peers.PROSODY, "smacks_hibernation_time = 3600"),
                           (xmpp_peers.EJABBERD, "resume_timeout: 3600"),
                           (xmpp_peers.OURS, 'resume_timeout = "1h"')):
            self.assertIn(hour, text)

    def test_a_server_that_cannot_be_measured_is_left_out_and_said(self):
        results = lib.Results(compare_xmpp.METRICS)

        class Peer:
            name = "peer"

        def measure(_peer, _results):
            raise lib.Failure("it died")

        lib.guarded(results, Peer(), measure)
        self.assertEqual(results.notes, ["left out: peer measure: it died"])


if __name__ == "__main__":
    unittest.main()
