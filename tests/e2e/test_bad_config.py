"""Wrong configuration: each mistake is named with file, line, key and remedy, and nothing starts."""

import socket
import subprocess
import unittest

from lib import net
from lib.balancer import BINARY, check_config
from lib.case import EndToEndCase
from lib.wait import wait_until

GOOD = """
[process]
workers = 1
ctl_socket = "{ctl}"
admin_listen = ""

[listener.c2s]
bind = "127.0.0.1:{port}"
pool = "xmpp"

[pool.xmpp]
balance = "p2c"

[[pool.xmpp.node]]
name = "n1"
address = "127.0.0.1:{node_port}"
"""


class BadConfig(EndToEndCase):
    def setUp(self):
        self.port = net.free_port()
        self.text = GOOD.format(ctl=self.workspace.path("bad.sock"), port=self.port,
                                node_port=net.free_port())

    def check(self, text):
        path = self.workspace.write("mongooselb.toml", text)
        done = check_config(path)
        return done.returncode, done.stdout + done.stderr

    def assert_refused(self, old, new, *patterns):
        """With `old` replaced by `new` the file is refused, at the right line."""
        self.assertIn(old, self.text)
        text = self.text.replace(old, new)
        status, output = self.check(text)
        self.assertNotEqual(status, 0, output)
        wrong = new.strip().splitlines()[0]
        line = next(i for i, row in enumerate(text.splitlines(), 1) if wrong in row)
        self.assertRegex(output, rf"mongooselb\.toml:{line}\b")
        for pattern in patterns:
            self.assertRegex(output, pattern)

    def test_a_good_file_passes(self):
        status, output = self.check(self.text)
        self.assertEqual(status, 0, output)

    def test_an_unknown_key_is_named_with_its_nearest_neighbour(self):
        self.assert_refused('balance = "p2c"', 'balanse = "p2c"', r"pool\.xmpp\.balanse", "'?balance'?")

    def test_an_unknown_section_is_refused(self):
        self.assert_refused("[process]", "[proces]", "proces", "process")

    def test_a_wrong_type_is_refused(self):
        self.assert_refused("workers = 1", 'workers = "one"', r"process\.workers")

    def test_a_number_out_of_range_is_refused(self):
        self.assert_refused("workers = 1", "workers = -3", r"process\.workers")

    def test_an_unknown_pool_is_named_with_those_that_exist(self):
        self.assert_refused('pool = "xmpp"', 'pool = "xmp"', r"listener\.c2s\.pool", "xmpp")

    def test_an_unknown_balance_lists_the_allowed_ones(self):
        self.assert_refused('balance = "p2c"', 'balance = "fastest"', "leastconn", "maglev")

    def test_a_duration_without_a_unit_is_refused(self):
        self.assert_refused('balance = "p2c"', "connect_timeout = 5", r"pool\.xmpp\.connect_timeout")

    def test_an_address_without_a_port_is_refused(self):
        self.assert_refused(f'bind = "127.0.0.1:{self.port}"', 'bind = "127.0.0.1"',
                            r"listener\.c2s\.bind")

    def test_two_nodes_of_one_name_are_refused(self):
        status, output = self.check(self.text + '\n[[pool.xmpp.node]]\nname = "n1"\n'
                                    'address = "127.0.0.1:9"\n')
        self.assertNotEqual(status, 0, output)
        self.assertRegex(output, r"mongooselb\.toml:\d+.*n1")

    def test_broken_toml_is_refused_with_its_line(self):
        self.assert_refused("workers = 1", "workers = = 1")

    def test_several_mistakes_are_named_in_one_run(self):
        status, output = self.check(self.text.replace('balance = "p2c"', 'balanse = "p2c"')
                                    .replace("workers = 1", "worker = 1"))
        self.assertNotEqual(status, 0)
        self.assertRegex(output, "balanse")
        self.assertRegex(output, r"process\.worker\b")

    def test_a_missing_file_is_named(self):
        done = check_config(self.workspace.path("nowhere.toml"))
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, r"nowhere\.toml")

    def run_refused(self, text, *patterns):
        """`run` ends by itself, with an error that says what to do."""
        path = self.workspace.write("mongooselb.toml", text)
        done = subprocess.run([BINARY, "run", path], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=20, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout + done.stderr)
        for pattern in patterns:
            self.assertRegex(done.stdout + done.stderr, pattern)

    def test_run_refuses_what_check_refuses(self):
        self.run_refused(self.text.replace("workers = 1", "worker = 1"), r"mongooselb\.toml:3\b",
                         r"process\.worker\b")

    def test_a_port_in_use_is_named_with_the_address_and_a_remedy(self):
        with socket.create_server(("127.0.0.1", self.port)):
            self.run_refused(self.text, rf"127\.0\.0\.1:{self.port}", "(?i)in use")

    def test_an_address_that_is_not_ours_is_named(self):
        self.run_refused(self.text.replace(f"127.0.0.1:{self.port}", "192.0.2.1:5222"),
                         r"192\.0\.2\.1:5222")

    def test_a_node_whose_name_does_not_resolve_is_named(self):
        wrong = self.text.replace('address = "127.0.0.1', 'address = "nowhere.invalid')
        path = self.workspace.write("mongooselb.toml", wrong)
        # Names are looked up when it runs; the error names the node, and the file's line where known.
        process = self.workspace.start("unresolvable", [BINARY, "run", path])
        try:
            wait_until(lambda: "nowhere.invalid" in process.log(), "the name is in the log", 15)
            self.assertRegex(process.log(), r"(?i)(resolve|lookup|unknown host|not known)")
        finally:
            process.stop()


if __name__ == "__main__":
    unittest.main()
