"""Nodes of plain TCP (sink.py) as fixtures: started, killed, returned."""

import os
import sys

from lib import net

SINK = os.path.join(os.path.dirname(__file__), "sink.py")


class SinkNode:
    """A node that can be killed and returns on the same port."""

    def __init__(self, workspace, name, address="127.0.0.1", mode="echo"):
        self.workspace = workspace
        self.name = name
        self.address = address
        self.port = net.free_port(address)
        self.mode = mode
        self.process = None

    @property
    def endpoint(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def start(self):
        self.process = self.workspace.start(
            self.name,
            [sys.executable, SINK, self.name, self.address, str(self.port), self.mode])
        self.workspace.wait_ready(self.process, lambda: net.accepts(self.address, self.port),
                                  f"{self.name} listens on {self.endpoint}")
        return self

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.stop()


def start_sinks(workspace, count, mode="echo"):
    """n1 … on 127.0.0.2 …"""
    return [SinkNode(workspace, f"n{i + 1}", f"127.0.0.{i + 2}", mode).start()
            for i in range(count)]


def node_tables(nodes):
    """The [[pool.X.node]] tables for these fixtures."""
    return [{"name": node.name, "address": node.endpoint} for node in nodes]
