"""The dialogues of tests/dialogues, over sockets: a node of ours with each of its stores, and
clients that say and hear what stands there."""

import glob
import os
import re
import subprocess
import tempfile
import unittest

from lib import net
from lib.case import EndToEndCase
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.postgres import Postgres
from lib.workspace import REPO

PLAYER = os.path.join(os.environ["MONGOOSE_TESTS"], "server", "dialogues", "dialogue_player")
# Rooms have a scenery of their own.
FILES = sorted(path for folder in ("dialogues", "dialogues/modules")
               for path in glob.glob(os.path.join(REPO, "tests", folder, "*.txt")))
HOSTS_MAX = 64  # of a node


def scenes(path):
    with open(path, encoding="utf-8") as file:
        return sum(line.startswith("== ") for line in file)


def groups():
    """Files whose scenes have a domain each, together."""
    made = [[]]
    for path in FILES:
        if sum(map(scenes, made[-1])) + scenes(path) > HOSTS_MAX:
            made.append([])
        made[-1].append(path)
    return made


class Dialogues(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.epmd = Epmd(cls.workspace).start()

    def play(self, name, url):
        """All files against a node with that store: one worker and one who reads, so that order is
        known."""
        node = Mongooseim(self.workspace, self.epmd, name)
        port = net.free_port()
        text = node.read("etc/mongooseim.toml")
        for key, value in (("listen", "[]"), ("listen_tls", "[]"),
                           ("listen_proxy", f'["127.0.0.1:{port}"]'),
                           ("proxy_from", '["127.0.0.0/8"]'), ("workers", "1"), ("url", f'"{url}"'),
                           ("readers", "1")):
            text, times = re.subn(rf"^#{key} = .*$", f"{key} = {value}", text, flags=re.M)
            self.assertEqual(times, 1, key)
        faults, left_out = [], 0
        for number, files in enumerate(groups()):
            domain = f"s%d.g{number}.example"
            hosts = "".join(f'\n[[host]]\ndomain = "{domain % i}"\n' for i in range(HOSTS_MAX))
            node.write("etc/mongooseim.toml", text + hosts)
            node.live()
            done = subprocess.run([PLAYER, str(port), url, domain, *files], capture_output=True,
                                  text=True, timeout=200, check=False)
            node.process.stop()
            faults += [line for line in done.stdout.splitlines() if line.startswith("wrong: ")]
            ended = re.search(r"^played (\d+), left out (\d+), wrong \d+$", done.stdout, re.M)
            self.assertIsNotNone(ended, done.stdout + done.stderr)
            self.assertEqual(int(ended[1]) + int(ended[2]), sum(map(scenes, files)))
            left_out += int(ended[2])
        self.assertFalse(faults, "\n".join(faults))
        # Those of homes alone.
        self.assertLessEqual(left_out, 10)

    def test_over_sqlite(self):
        # In memory where there is such a place: its syncs are not what is tested.
        root = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.TemporaryDirectory(prefix="mongoose-dialogues-", dir=root) as folder:
            self.play("lite", f"sqlite:{folder}/dialogues.db")

    def test_over_postgresql(self):
        server = Postgres(self.workspace).start()
        self.addCleanup(server.remove)
        self.play("pg", server.url("dialogues"))


if __name__ == "__main__":
    unittest.main()
