"""A bare node of ours (tests/server/dist/dist_probe.cc), told what to do by lines."""

import os

from lib.erl import Told, spawn
from lib.workspace import REPO

BIN = os.environ.get("MONGOOSE_BIN", os.path.join(REPO, "build", "release", "bin"))
PROBE = os.path.join(BIN, "dist_probe")
CALL = os.path.join(BIN, "dist_call")


class Probe(Told):
    def __init__(self, workspace, epmd, name, cookie="C", ready=True, host="localhost", **options):
        self.node = f"{name}@{host}"
        argv = [PROBE, self.node, cookie, "--epmd", str(epmd.port)]
        for key, value in options.items():
            argv += ["--" + key.replace("_", "-"), str(value)]
        super().__init__(spawn(workspace, name, argv))
        self.port = None
        if ready:
            self.port = int(self.expect("ready ").split()[1])

    def ping(self, node):
        return self.ask(f"ping {node}", "pinged ")

    def connect(self, node):
        return self.ask(f"connect {node}", "connected ")

    def links(self):
        return self.ask("links", "links").split()

    def call(self, node, module, function, *args):
        return self.ask(" ".join(("call", node, module, function, *args)), "called ")

    def counter(self, name):
        return int(self.ask(f"counter {name}", "counter "))
