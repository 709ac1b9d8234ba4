"""Imports run downwards: a room may use what stands on a lower floor, never one beside or above it.

The floors are written here, from the top. A folder that is not listed fails, so a new room is placed
by whoever makes it; so does a circle between files of one room.
"""

import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Rooms on one line stand side by side and do not know each other.
FLOORS = {
    "net": [
        "net/ctl net/probe",
        "net/service",
        "net/http net/conn",
        "net/tls",
        "net/tls/context",
        "net/tls/record",
        "net/io net/limit net/proxy_protocol net/xmpp net/dns net/config",
        "net/report",
        "net/base",
    ],
    "lb": [
        "lb", "lb/admin", "lb/control", "lb/health", "lb/config", "lb/proxy", "lb/balance",
    ],
    "dns": [
        "dns", "dns/admin", "dns/control", "dns/config", "dns/serve", "dns/answer", "dns/pool",
        "dns/zone", "dns/update", "dns/tsig", "dns/wire",
    ],
    # Membership and tables are pure: of the links they know names only. All meet in the node.
    "server": [
        "server",
        "server/program",
        "server/node server/ctl server/c2s server/transfer",
        "server/muc",
        "server/modules",
        "server/im",
        "server/store server/cluster server/config",
        "server/dist server/sasl",
        "server/xmpp",
    ],
}

# Arrows that run up, each with its reason. None is wanted: what is mended goes from here.
ALLOWED = {
    ("dns/serve/tcp_server.h", "dns/config/config.h"): "takes its part of the configuration whole",
    ("dns/serve/transfer.h", "dns/config/config.h"): "takes a zone's part of it whole",
}

# Pieces of one room that know each other, each circle with its reason.
CIRCLES = {
    "ends header listener pair proxy_worker tls_pair": "a Pair and its worker are one machine in parts",
    "config config_pool config_read config_tls": "one reader in parts",
    "ctl_orders ctl_server": "orders need the hooks that the server was given",
}

INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def sources():
    listed = subprocess.run(
        ["git", "ls-files", *FLOORS], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split() if listed.returncode == 0 else [
        str(path.relative_to(ROOT)) for top in FLOORS for path in (ROOT / top).rglob("*")]
    return [name for name in names if name.endswith((".cc", ".h")) and (ROOT / name).exists()]


def room(name):
    return name.rpartition("/")[0]


class Rooms(unittest.TestCase):
    def setUp(self):
        self.floor = {}
        for floors in FLOORS.values():
            for level, rooms in enumerate(reversed(floors)):
                for name in rooms.split():
                    self.floor[name] = level
        self.files = sources()
        self.assertGreater(len(self.files), 200, "the sources were not found")
        self.includes = {
            name: [to for to in INCLUDE.findall((ROOT / name).read_text(encoding="utf-8"))]
            for name in self.files}

    def test_every_room_has_its_floor(self):
        self.assertEqual(sorted({room(name) for name in self.files} - set(self.floor)), [])

    def test_imports_run_downwards(self):
        wrong = []
        for name, targets in self.includes.items():
            for target in targets:
                here, there = room(name), room(target)
                if here == there or (name, target) in ALLOWED or there not in self.floor:
                    continue
                top, other = name.partition("/")[0], target.partition("/")[0]
                down = other == "net" if top != other else self.floor[there] < self.floor[here]
                if not down:
                    wrong.append(f"{name} includes {target}")
        self.assertEqual(wrong, [])
        gone = [arrow for arrow in ALLOWED if arrow[1] not in self.includes.get(arrow[0], ())]
        self.assertEqual(gone, [], "mended: take it from the list")

    def test_no_circle_within_a_room(self):
        # A header and its source are one piece; what the pieces include makes the arrows.
        arrows = {}
        for name, targets in self.includes.items():
            piece = name.rpartition(".")[0]
            arrows.setdefault(piece, set()).update(
                target.rpartition(".")[0] for target in targets
                if room(target) == room(name) and target.rpartition(".")[0] != piece)
        index, low, stack, circles = {}, {}, [], []

        def strong(piece):  # Tarjan's strongly connected components
            index[piece] = low[piece] = len(index)
            stack.append(piece)
            for target in arrows.get(piece, ()):
                if target not in index:
                    strong(target)
                    low[piece] = min(low[piece], low[target])
                elif target in stack:
                    low[piece] = min(low[piece], index[target])
            if low[piece] == index[piece]:
                at = stack.index(piece)
                circle = sorted(name.rpartition("/")[2] for name in stack[at:])
                del stack[at:]
                if len(circle) > 1:
                    circles.append(" ".join(circle))

        for piece in sorted(arrows):
            if piece not in index:
                strong(piece)
        self.assertEqual([circle for circle in circles if circle not in CIRCLES], [])
        self.assertEqual(sorted(set(CIRCLES) - set(circles)), [], "mended: take it from the list")


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    sys.exit(0 if program.result.wasSuccessful() else 1)
