"""The TestCase of the end-to-end tests."""

import unittest

from lib.workspace import Workspace


class EndToEndCase(unittest.TestCase):
    """One workspace a class. When a test fails, the logs of its servers are printed; all processes
    are ended in any case, and the folder is kept only after a failure."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.failed = False
        cls.workspace = Workspace(cls.__name__.lower())
        cls.addClassCleanup(cls._tear_down)

    @classmethod
    def _tear_down(cls):
        cls.workspace.stop()
        if cls.failed:
            print(f"logs are kept in {cls.workspace.folder}", flush=True)
        else:
            cls.workspace.remove()

    def run(self, result=None):
        known = [] if result is None else [len(result.failures), len(result.errors)]
        super().run(result)
        if result is None:
            return
        told = result.failures[known[0]:] + result.errors[known[1]:]
        if told:
            type(self).failed = True
            # What went wrong comes first, so that no log hides it.
            print("\n".join(text for _, text in told), flush=True)
            print(f"=== logs of {self.id()}", flush=True)
            self.workspace.dump_logs()


class FreshCase(EndToEndCase):
    """The same with a workspace for each test."""

    def run(self, result=None):
        type(self).workspace = Workspace(self._testMethodName.lower()[:40])
        try:
            super().run(result)
        finally:
            self.workspace.stop()
            if not type(self).failed:
                self.workspace.remove()

    @classmethod
    def _tear_down(cls):
        pass
