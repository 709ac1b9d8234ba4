"""`mongoosebench scenario`: clients through a kill of the node that they speak to, and the judge of
what became of their messages."""

import json
import os
import subprocess
import unittest

from lib.bench import BENCH
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim

DOMAIN = "chat.example"
SESSIONS = 20


class Story(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        cls.node = Mongooseim(cls.workspace, cls.epmd, "mim1")
        cls.node.serve(cls.authority, DOMAIN)
        cls.node.start()
        for i in range(SESSIONS):
            cls.node.register(f"user{i}", "secret")

    @classmethod
    def tearDownClass(cls):
        cls.node.mim("stop")
        super().tearDownClass()

    def scenario(self, *args, duration="4s", settle="60s"):
        page = self.workspace.path("story.html")
        done = subprocess.run(
            [BENCH, "scenario", self.node.endpoint, "--users", f"user%d@{DOMAIN}",
             "--password", "secret", "--ca", self.authority.ca_file, "-c", str(SESSIONS), "--rate",
             "200", "-d", duration, "--settle", settle, "--json", "-", "--html", page, *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150, check=False,
            env=self.node.env)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        story = json.loads(done.stdout.splitlines()[-1])
        with open(page, encoding="utf-8") as file:
            shown = file.read()
        return done, story, shown

    def test_without_acts_all_is_counted_and_comes(self):
        done, story, shown = self.scenario()
        self.assertEqual(story["invalid"], [], done.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)
        verdict = story["verdict"]
        self.assertTrue(verdict["faultless"])
        self.assertGreater(verdict["sent"], 500)
        self.assertEqual(verdict["counted"], verdict["sent"])
        self.assertEqual(verdict["received"], verdict["sent"])
        self.assertIn("nothing counted was lost, doubled or swapped", shown)
        self.assertEqual(story["targets"], [self.node.endpoint])
        self.assertEqual(sum(sum(second["landings"]) for second in story["seconds"]),
                         sum(second["logins"] + second["resumptions"] for second in story["seconds"]))
        self.assertIn(f"landings at {self.node.endpoint} ", shown)
        self.assertEqual(shown.count("<svg"), 11)

    def test_a_node_that_is_killed_and_comes_back_keeps_its_word(self):
        done, story, _ = self.scenario("--do", f"2s:kill -9 {self.node.pid()}", "--do",
                                       f"3s:{self.node.bin('mongooseim')} start", duration="8s")
        self.assertEqual(story["invalid"], [], done.stderr)
        self.assertTrue(story["verdict"]["faultless"], done.stderr)
        self.assertEqual([act["status"] for act in story["acts"]], [0, 0])
        self.assertGreaterEqual(sum(second["broken"] for second in story["seconds"]), SESSIONS)
        self.assertGreaterEqual(sum(second["refused"] for second in story["seconds"]), SESSIONS)
        self.assertGreater(story["verdict"]["uncounted"], 0, "some were under way")

    def test_a_run_that_proves_nothing_is_invalid(self):
        done, story, shown = self.scenario("--do", "1s:exit 3", duration="2s")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(story["invalid"], ['"exit 3" ended with status 3'])
        self.assertIn("INVALID", shown)

    def test_mistakes_are_named(self):
        for args, words in ((["--do", "soon:true"], "--do"), (["--do", "9s:true"], "behind the end"),
                            (["-c", "3"], "even number"), (["--settle", "x"], "--settle")):
            done = subprocess.run(
                [BENCH, "scenario", "127.0.0.1:1", "--users", "u%d@a", "--password", "x", "-d", "5s",
                 *args], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main()
