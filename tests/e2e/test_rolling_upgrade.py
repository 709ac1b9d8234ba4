"""Three nodes of an older release become this one, one after the other, while clients chat: none of what
they counted is lost, and while releases are mixed all nodes are of one side. By tests/upgrade."""

import os
import shlex
import unittest

from lib.case import EndToEndCase
from lib.certs import Authority
from lib.mongooseim import PROGRAM
from lib.story_cluster import StoryCluster

SESSIONS = int(os.environ.get("MONGOOSE_STORY_SESSIONS", "60"))
RATE = 2 * SESSIONS
BETWEEN_S = 10


class RollingUpgrade(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        older = os.environ.get("MONGOOSE_PREVIOUS")
        assert older, "MONGOOSE_PREVIOUS names no folder of older programs: run tests/upgrade"
        cls.cluster = StoryCluster(cls.workspace, Authority(cls.workspace), "chat.example",
                                   accounts=SESSIONS, program=os.path.join(older, "mongooseim"))
        cls.addClassCleanup(cls.cluster.close)
        cls.addClassCleanup(cls.workspace.stop)

    def program_of(self, node):
        with open(node.path("data/lock"), encoding="ascii") as file:
            return os.path.realpath(f"/proc/{file.read().split()[0]}/exe")

    def upgrade(self, node):
        """Stop in order, other programs, start."""
        links = "; ".join(f"ln -sfn {shlex.quote(os.path.join(os.path.dirname(PROGRAM), name))} "
                          f"{shlex.quote(node.bin(name))}" for name in ("mongooseim", "mongooseimctl"))
        return (f"{self.cluster.ctl(node, 'stop')} && {self.cluster.ctl(node, 'stopped')}; {links}; "
                f"{self.cluster.start(node)}")

    def test_under_load_nothing_is_lost_and_nobody_is_refused(self):
        cluster = self.cluster
        before = {self.program_of(node) for node in cluster.nodes}
        self.assertEqual(len(before), 1)
        self.assertNotEqual(before, {os.path.realpath(PROGRAM)}, "it is this release already")
        acts = [(3 + i * BETWEEN_S, self.upgrade(node)) for i, node in enumerate(cluster.nodes)]
        story = cluster.play(acts, 3 + len(acts) * BETWEEN_S, SESSIONS, RATE)
        print(f"upgrade: {story.verdict}, resumed {story.count('resumptions')}, "
              f"refused {story.count('refused')}, broken {story.count('broken')}", flush=True)
        self.assertEqual(story.faults(of_loss_alone=True), [])
        self.assertEqual({self.program_of(node) for node in cluster.nodes},
                         {os.path.realpath(PROGRAM)})
        cluster.wait_at_rest()
        for node in cluster.nodes:
            self.assertEqual(node.status()["running"], sorted(one.name for one in cluster.nodes))


if __name__ == "__main__":
    unittest.main()
