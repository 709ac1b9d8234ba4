"""A cgroup with a memory limit for one process of a test: of version 2 where its memory controller can
be had, else of version 1. Below our own group, so that its limits hold as well."""

import os
import unittest

from lib.wait import wait_until

ROOT = "/sys/fs/cgroup"


def _read(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _own(controllers):
    """The path of our own group in the hierarchy of these controllers."""
    for line in _read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if (names == "") if controllers == "" else controllers in names.split(","):
            return path.strip("/")
    return None


class MemoryGroup:
    """`limit` bytes, of what the processes in it take. Skips the test, with the remedy, where none can
    be made."""

    def __init__(self, name, limit):
        tried = []
        for second in (True, False):
            try:
                self._make(name, limit, second)
                return
            except OSError as error:
                tried.append(str(error))
        raise unittest.SkipTest(
            "no cgroup with a memory limit can be made (" + "; ".join(tried) + "): run as root, with "
            "the memory controller of /sys/fs/cgroup (version 2: '+memory' in cgroup.subtree_control "
            "of the group above; version 1: mounted at /sys/fs/cgroup/memory and writable)")

    def _make(self, name, limit, second):
        self.second = second
        if second:
            # Groups with processes have no controllers for groups below: ours stands at the root.
            if "memory" not in _read(f"{ROOT}/cgroup.controllers").split():
                raise OSError(f"{ROOT}/cgroup.controllers has no memory")
            _write(f"{ROOT}/cgroup.subtree_control", "+memory")
            base = ROOT
        else:
            own = _own("memory")
            base = f"{ROOT}/memory/{own}" if own else f"{ROOT}/memory"
            if not os.path.isdir(base):
                base = f"{ROOT}/memory"
        self.folder = f"{base}/mongoose-{name}-{os.getpid()}"
        os.mkdir(self.folder)
        try:
            _write(self.file("memory.max" if second else "memory.limit_in_bytes"), str(limit))
        except OSError:
            os.rmdir(self.folder)
            raise

    def file(self, name):
        return f"{self.folder}/{name}"

    # What runs it: `prefix` before a program's words puts it into the group.
    @property
    def prefix(self):
        return ("/bin/sh", "-c", f'echo $$ > {self.file("cgroup.procs")} && exec "$@"', "sh")

    def kills(self):
        """How many processes the kernel has killed for the limit. (The group's peak tells nothing: the
        kernel fills what is left with its cache of files.)"""
        events = _read(self.file("memory.events" if self.second else "memory.oom_control"))
        found = [line.split()[1] for line in events.splitlines() if line.startswith("oom_kill ")]
        return int(found[0]) if found else 0

    def remove(self):
        wait_until(lambda: not _read(self.file("cgroup.procs")).strip(),
                   "nobody is in the group any more", 10)
        os.rmdir(self.folder)
