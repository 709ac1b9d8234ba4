"""`mongoosebench xmpp muc` over the nodes of a cluster: occupants everywhere, and runs that prove
nothing."""

import json
import subprocess
import unittest

from lib.bench import BENCH
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.wait import wait_until

DOMAIN = "chat.example"
SERVICE = f"conference.{DOMAIN}"
OCCUPANTS = 8


class BenchMuc(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        store = {"url": f"sqlite:{cls.workspace.path('store.db')}"}
        cls.nodes = [Mongooseim(cls.workspace, cls.epmd, f"mim{i}") for i in (1, 2)]
        for node in cls.nodes:
            node.serve(cls.authority, DOMAIN, store=store)
            node.live()
        done = cls.nodes[1].ctl("join_cluster", "-f", cls.nodes[0].name)
        assert done.code == 0, done
        for node in cls.nodes:
            node.wait_running(cls.nodes)
        for i in range(OCCUPANTS):
            cls.nodes[0].register(f"user{i}", "secret")

    def command(self, *args, nodes=None):
        return [BENCH, "xmpp", "muc", *(node.endpoint for node in nodes or self.nodes), "--users",
                f"user%d@{DOMAIN}", "--password", "secret", "--ca", self.authority.ca_file, "-c",
                str(OCCUPANTS), "-q", "--json", "-", *args]

    def bench(self, *args):
        done = subprocess.run(self.command(*args), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=90, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def test_occupants_of_all_nodes_hear_each_other(self):
        result = self.bench("--speakers", "4", "--count", "50", "-d", "60s", "--warmup", "1ms")
        self.assertEqual(result["failed"], 0, result["examples"])
        self.assertEqual((result["held"], result["lost"], result["copies_lost"]), (OCCUPANTS, 0, 0))
        self.assertGreaterEqual(result["deliveries"], (result["completed"] - 16) * OCCUPANTS)

    def test_every_second_occupant_is_at_the_second_node(self):
        running = subprocess.Popen(self.command("-d", "60s"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: [node.metric("sm_node_sessions_count") for node in self.nodes]
                       == [OCCUPANTS / 2] * 2, "half of them at each node", 30)
        finally:
            running.terminate()
            running.communicate(timeout=30)

    def test_an_occupant_that_is_put_out_makes_the_run_invalid(self):
        room = f"lounge@{SERVICE}"
        running = subprocess.Popen(self.command("--room", room, "--rate", "20", "-d", "60s"),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)

        def occupants():
            done = self.nodes[0].ctl("muc", "listRoomUsers", "--room", room)
            return done.out.count('"nick"')
        wait_until(lambda: occupants() == OCCUPANTS, "all are in the room", 30)
        done = self.nodes[0].ctl("muc", "kickUser", "--room", room, "--nick", "o3", "--reason", "test")
        self.assertEqual(done.code, 0, done)
        result = json.loads(running.communicate(timeout=30)[0].splitlines()[-1])
        self.assertEqual(running.returncode, 1)
        self.assertIn("stopped before its end", result["invalid"])
        self.assertEqual(result["failures"], {"refused": 1})
        self.assertIn("type='unavailable'", result["examples"][0])

    def test_a_room_that_cannot_be_entered_is_shown(self):
        result = self.bench("--room", "lounge@nowhere.example")
        self.assertFalse(result["valid"])
        self.assertEqual(result["failures"], {"refused": 1})
        self.assertIn("<error", result["examples"][0])


if __name__ == "__main__":
    unittest.main()
