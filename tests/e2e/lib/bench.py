"""mongoosebench, which stands beside the balancer under test: a sink as node, and load with its
figures."""

import json
import os
import signal

from lib import net
from lib.balancer import BINARY

BENCH = os.path.join(os.path.dirname(BINARY), "mongoosebench")


def cores():
    """(the balancer's, everybody else's) as command line prefixes: it is not to wait for its
    load."""
    allowed = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(allowed[0])], ["taskset", "-c", str(allowed[-1])]


class BenchSink:
    """A node: `mode` is echo, discard, respond or auto."""

    def __init__(self, workspace, name, address="127.0.0.2", mode="echo", launcher=()):
        self.workspace = workspace
        self.name = name
        self.address = address
        self.port = net.free_port(address)
        self.argv = [*launcher, BENCH, "sink", f"{self.endpoint}={mode}"]

    @property
    def endpoint(self):
        return f"{self.address}:{self.port}"

    def start(self):
        process = self.workspace.start(self.name, self.argv)
        self.workspace.wait_ready(process, lambda: net.accepts(self.address, self.port),
                                  f"{self.name} listens on {self.endpoint}")
        return self


class Bench:
    """One run: `mongoosebench MODE TARGET ARGS`."""

    def __init__(self, workspace, name, mode, target, *args, launcher=()):
        self.json = workspace.path(f"{name}.json")
        self.process = workspace.start(
            name, [*launcher, BENCH, mode, target, "-q", "--json", self.json, *args])

    def alive(self):
        return self.process.alive()

    def result(self, deadline_s):
        """Its figures, once it has ended by itself. An invalid run has figures, too."""
        status = self.process.wait_exit(deadline_s)
        return self._read(status)

    def stop(self):
        """Its figures so far."""
        self.process.signal(signal.SIGINT)
        return self._read(self.process.wait_exit(30))

    def _read(self, status):
        if status not in (0, 1):
            raise RuntimeError(f"mongoosebench ended with {status}: {self.process.log()}")
        with open(self.json, encoding="ascii") as file:
            return json.load(file)
