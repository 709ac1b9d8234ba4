"""The store's own commands: what operators do with it while nodes run, and while none does."""

import json
import os
import unittest

from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim

DOMAIN = "store.example"
PROSODY = """return {
\t["password"] = "prosodys";
};
"""
ROSTER = """return {
\t[false] = { ["version"] = 1; };
\t["friend@store.example"] = {
\t\t["subscription"] = "both";
\t\t["groups"] = {};
\t\t["name"] = "Friend";
\t};
};
"""


class Store(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()

    def node(self, name):
        node = Mongooseim(self.workspace, self.epmd, name)
        node.serve(self.authority, DOMAIN, c2s={"workers": 1})
        self.addCleanup(self.stop, node)
        return node

    def stop(self, node):
        if node.process is not None and node.process.popen.poll() is None:
            node.ctl("stop")
            node.process.wait_exit(15)

    def users(self, node):
        done = node.ctl("registered_users", DOMAIN)
        self.assertEqual(done.code, 0, done)
        return done.out.split()

    def test_a_backup_while_the_node_runs_and_a_restore_while_it_does_not(self):
        node = self.node("s1").live()
        node.register("romeo", "secret")
        copy = node.path("copy.db")
        done = node.ctl("store", "backup", copy)
        self.assertEqual((done.code, done.out), (0, f"The store is copied to {copy}\n"))
        self.assertEqual(node.ctl("store", "backup", copy).code, 1, "it exists")
        node.register("juliet", "secret")
        refused = node.ctl("store", "restore", copy)
        self.assertEqual(refused.code, 1)
        self.assertIn("the node runs", refused.out)
        self.stop(node)
        done = node.ctl("restore", copy)
        self.assertEqual(done.code, 0, done)
        self.assertIn("mongooseim.db.before-1", done.out)
        node.live()
        self.assertEqual(self.users(node), [f"romeo@{DOMAIN}"])
        self.assertEqual(node.ctl("store", "restore").code, 2)

    def test_a_store_moves_to_another_file_and_clients_find_what_they_had(self):
        node = self.node("s2").live()
        node.register("romeo", "secret")
        refused = node.ctl("store", "migrate", "sqlite:data/mongooseim.db", "sqlite:data/new.db")
        self.assertEqual(refused.code, 1)
        self.assertIn("the node runs", refused.out)
        self.stop(node)
        done = node.ctl("store", "migrate", "sqlite:data/mongooseim.db", "sqlite:data/new.db")
        self.assertEqual(done.code, 0, done)
        self.assertIn("Copied 1 accounts", done.out)
        again = node.ctl("store", "migrate", "sqlite:data/mongooseim.db", "sqlite:data/new.db")
        self.assertEqual(again.code, 1)
        self.assertIn("is not empty", again.out)
        text = node.read("etc/mongooseim.toml")
        node.write("etc/mongooseim.toml",
                   text.replace('#url = "sqlite:data/mongooseim.db"', 'url = "sqlite:data/new.db"'))
        node.live()
        self.assertEqual(self.users(node), [f"romeo@{DOMAIN}"])

    def test_accounts_go_out_and_come_in_as_xep_0227(self):
        one = self.node("s3").live()
        one.register("romeo", "secret")
        element = "<my xmlns='x:1'>mine</my>"
        done = one.ctl("private", "setPrivate", "--user", f"romeo@{DOMAIN}", "--elementString",
                       element)
        self.assertEqual(done.code, 0, done)
        file = one.path("all.xml")
        done = one.ctl("export", "xep0227", file)
        self.assertEqual((done.code, done.out),
                         (0, f"Exported 1 users with 0 messages to {file}\n"))
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        self.assertEqual(one.ctl("export", "xep0227", file).code, 1, "it exists")
        other = self.node("s4")
        done = other.ctl("import", "xep0227", file)
        self.assertEqual(done.code, 0, done)
        self.assertIn("Imported 1 users with 0 messages; 0 existed, 0 could not be read", done.out)
        other.live()
        self.assertEqual(self.users(other), [f"romeo@{DOMAIN}"])
        self.assertEqual(other.ctl("check_password", "romeo", DOMAIN, "secret").code, 0)
        done = other.ctl("private", "getPrivate", "--user", f"romeo@{DOMAIN}", "--element", "my",
                         "--nameSpace", "x:1")
        self.assertEqual(json.loads(done.out)["data"]["private"]["getPrivate"], element)
        done = other.ctl("import", "xep0227", file)
        self.assertIn("0 users", done.out)
        self.assertIn("1 existed", done.out)
        broken = one.path("broken.xml")
        with open(file, encoding="utf-8") as whole, open(broken, "w", encoding="utf-8") as cut:
            cut.write(whole.read()[:-40])
        self.assertEqual(other.ctl("import", "xep0227", broken).code, 1)

    def test_accounts_come_from_prosody(self):
        node = self.node("s5").live()
        folder = node.path("prosody")
        for kind, text in (("accounts", PROSODY), ("roster", ROSTER)):
            os.makedirs(os.path.join(folder, "store%2eexample", kind))
            with open(os.path.join(folder, "store%2eexample", kind, "guest.dat"), "w",
                      encoding="utf-8") as file:
                file.write(text)
        done = node.ctl("import", "prosody", folder)
        self.assertEqual(done.code, 0, done)
        self.assertIn("Imported 1 users", done.out)
        self.assertEqual(node.ctl("check_password", "guest", DOMAIN, "prosodys").code, 0)
        self.assertIn("friend@store.example\tFriend\tboth", node.ctl("get_roster", "guest", DOMAIN).out)
        self.assertEqual(node.ctl("import", "prosody", node.path("nothing")).code, 1)
        self.assertEqual(node.ctl("import", "nothing", "x").code, 2)


if __name__ == "__main__":
    unittest.main()
