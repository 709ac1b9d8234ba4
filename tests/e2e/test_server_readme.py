"""server/README.md as it is read: every example is run, in its order, and its output compared."""

import os
import re
import subprocess
import unittest

from lib import net
from lib.case import EndToEndCase
from lib.dist_probe import BIN
from lib.wait import wait_until
from lib.workspace import REPO

README = os.path.join(REPO, "server", "README.md")
PROMPT = re.compile(r"^(\w*)\$ (.+)$")
# A cluster's views settle within a moment: such a question is asked again until the answer fits.
SETTLES = re.compile(r"db nodes|running_db_nodes|cluster_running|/api/cluster/status|/readyz|digest|"
                     r"\bepmd -names")


def examples():
    """(folder, command, expected lines) of all console blocks."""
    with open(README, encoding="utf-8") as file:
        blocks = re.findall(r"^```console\n(.*?)^```$", file.read(), re.M | re.S)
    found = []
    for line in "".join(blocks).splitlines():
        if prompt := PROMPT.match(line):
            found.append((prompt[1], prompt[2], []))
        else:
            found[-1][2].append(line)
    return found


def pattern(lines):
    """… stands for a part of a line, alone for any number of them."""
    parts = [r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
             for line in lines]
    return re.compile("".join(parts) + r"\Z")


class Readme(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The page's ports may be in use here.
        range_start = net.free_port()
        while any(net.accepts("127.0.0.1", range_start + i) for i in range(11)):
            range_start = net.free_port()
        ports = {"4369": net.free_port(), "5280": net.free_port(), "5281": net.free_port(),
                 "50000": range_start, "50010": range_start + 10}
        cls.ports = {page: str(port) for page, port in ports.items()}
        cls.env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": cls.workspace.folder,
                   "ERL_EPMD_PORT": cls.ports["4369"], "ERL_EPMD_ADDRESS": "127.0.0.1"}
        for key in ("MONGOOSEIM_DIR", "ERL_MAX_PORTS"):
            cls.env.pop(key, None)
        cls.addClassCleanup(cls._stop_all)

    @classmethod
    def _stop_all(cls):
        for node in ("node1", "node2"):
            subprocess.run([os.path.join(BIN, "mongooseim"), "force_stop"], check=False,
                           capture_output=True, timeout=100,
                           env={**cls.env, "MONGOOSEIM_DIR": cls.workspace.path(node)})
        subprocess.run(["epmd", "-kill"], env=cls.env, check=False, capture_output=True, timeout=10)

    def run_one(self, folder, command):
        for page, port in self.ports.items():
            command = re.sub(rf"\b{page}\b", port, command)
        done = subprocess.run(["/bin/bash", "-c", command], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=90, check=False, env=self.env,
                              cwd=self.workspace.path(folder))
        out = done.stdout + done.stderr
        for page, port in self.ports.items():
            out = re.sub(rf"\b{port}\b", page, out)
        return out

    def test_every_example(self):
        shown = examples()
        self.assertGreater(len(shown), 40, "the examples were not found")
        for folder, command, lines in shown:
            expected = pattern(lines)
            out = self.run_one(folder, command)
            if not expected.match(out) and SETTLES.search(command):
                def again(folder=folder, command=command, expected=expected):
                    nonlocal out
                    out = self.run_one(folder, command)
                    return expected.match(out)
                try:
                    wait_until(again, f"{command} answers as the page says", 20)
                except Exception:  # pylint: disable=broad-except
                    pass  # told below, with what it said
            if not expected.match(out):
                self.fail(f"{folder}$ {command}\nshould say\n" + "\n".join(lines) + f"\nand says\n{out}")

    def test_the_sections_stand_in_the_pages_order(self):
        with open(README, encoding="utf-8") as file:
            heads = re.findall(r"^#+ (.*)$", file.read(), re.M)
        wanted = ["Environment configuration", "File descriptors", "vm.args file", "Port range",
                  "Connecting nodes", "Initial node", "New node - joining cluster",
                  "Leaving cluster", "Removing a node from the cluster", "Cluster status",
                  "Load Balancing"]
        self.assertEqual([head for head in heads if head in wanted], wanted)


if __name__ == "__main__":
    unittest.main()
