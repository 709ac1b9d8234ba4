"""The balancer's access log in its JSON form, read back: one object a finished connection."""

import json
import os
from datetime import datetime

from lib.wait import wait_until


class AccessLog:
    def __init__(self, path):
        self.path = path

    def lines(self, **match):
        """All entries so far whose fields equal `match`; a half-written last line is left out."""
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="utf-8") as file:
            text = file.read()
        entries = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
        return [e for e in entries if all(e.get(key) == value for key, value in match.items())]

    def wait_for(self, count, deadline_s=10.0, **match):
        """The matching entries, once there are at least `count`."""
        return wait_until(
            lambda: (found := self.lines(**match)) and len(found) >= count and found,
            f"{count} access log entries with {match} in {self.path}", deadline_s)

    def node_of(self, client_port, deadline_s=10.0):
        """The node on which the finished connection from this client port was."""
        def find():
            return [e for e in self.lines() if e["client"].endswith(f":{client_port}")]
        return wait_until(find, f"the connection from port {client_port} in {self.path}",
                          deadline_s)[-1]["node"]


def finished_at(entry):
    """Seconds since the epoch at which the line was written: the end of the connection."""
    return datetime.fromisoformat(entry["t"].replace("Z", "+00:00")).timestamp()


def arrived_at(entry):
    return finished_at(entry) - entry["duration_ms"] / 1000
