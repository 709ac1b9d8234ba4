"""mongoosebench as operators call it: exit statuses, messages, JSON. Argument: the program."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
LIMIT_S = 60


def call(*arguments):
    done = subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LIMIT_S, check=False)
    return done.returncode, done.stdout, done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sink:
    def __enter__(self):
        self.at = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen([PROGRAM, "sink", self.at], stdout=subprocess.PIPE,
                                        text=True)
        assert json.loads(self.process.stdout.readline()) == {"ready": True}
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=LIMIT_S)
        self.stats = json.loads(out)


class Usage(unittest.TestCase):
    def check(self, message, *arguments):
        status, out, err = call(*arguments)
        self.assertEqual(status, 2, err)
        self.assertIn(message, err)
        self.assertEqual(out, "")

    def test_wrong_usage_says_what_is_wrong(self):
        self.check("A subcommand is required")
        self.check("target is required", "echo")
        self.check("has no port", "echo", "127.0.0.1")
        self.check("needs --rate or --profile", "storm", "127.0.0.1:1")
        self.check("has no duration", "connect", "127.0.0.1:1", "--profile", "5/s")
        self.check("not both", "connect", "127.0.0.1:1", "--profile", "5/s:1s", "--rate", "5")
        self.check("is no duration", "echo", "127.0.0.1:1", "-d", "5")
        self.check("--resume needs --tls", "connect", "127.0.0.1:1", "--resume")
        self.check("no process", "connect", "127.0.0.1:1", "--watch", "99999999")
        xmpp = ("127.0.0.1:1", "--users", "u%d@d", "--password", "p")
        self.check("some of the occupants", "xmpp", "muc", *xmpp, "-c", "2", "--speakers", "3")
        self.check("is no room", "xmpp", "muc", *xmpp, "--room", "lounge")
        self.check("without --no-presence", "xmpp", "muc", *xmpp, "--no-presence")
        self.check("A subcommand is required", "xmpp")
        self.check("--users is required", "xmpp", "login", "127.0.0.1:1", "--password", "p")
        self.check("put a %d", "xmpp", "login", "127.0.0.1:1", "--users", "u@d", "--password", "p")
        self.check("--accounts", "xmpp", "register", *xmpp)
        self.check("needs --rate or --profile", "xmpp", "storm", *xmpp)
        self.check("is without --no-sm", "xmpp", "login", *xmpp, "--resume", "--no-sm")
        self.check("is without --no-sm", "xmpp", "message", *xmpp, "--ack-every", "1", "--no-sm")
        self.check("is no mode", "sink", "127.0.0.1:1=mirror")

    def test_more_connections_than_descriptors_are_refused_with_the_remedy(self):
        self.check("ulimit -n", "idle", "127.0.0.1:1", "-c", "1000000", "--source",
                   "127.0.0.1-127.0.0.200")
        self.check("ulimit -n", "xmpp", "idle", "127.0.0.1:1", "-c", "1000000", "--source",
                   "127.0.0.1-127.0.0.200", "--users", "u%d@d", "--password", "p")

    def test_help_is_no_error(self):
        status, out, _ = call("echo", "--help")
        self.assertEqual(status, 0)
        self.assertIn("--connections", out)


class Runs(unittest.TestCase):
    def test_echo_gives_valid_json_with_offered_achieved_and_held_apart(self):
        with Sink() as sink:
            status, out, _ = call("echo", sink.at, "-c", "10", "--rate", "200", "-d", "500ms",
                                  "--watch", str(sink.process.pid), "-q", "--json", "-")
        result = json.loads(out)
        self.assertEqual(result["valid"], status == 0)
        self.assertEqual(result["held"], 10)
        self.assertTrue(90 <= result["offered"] <= 110, result["offered"])
        self.assertGreater(result["phases"]["total"]["p99_us"], 0)
        self.assertGreater(result["watched"][str(sink.process.pid)]["per_op_us"], 0)
        self.assertEqual(sink.stats["accepted"], {sink.at: 10})

    def test_idle_says_what_it_holds_and_ends_when_told(self):
        with Sink() as sink:
            process = subprocess.Popen(
                [PROGRAM, "idle", sink.at, "-c", "50", "--hold", "stdin", "-q", "--json", "-"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.assertEqual(json.loads(process.stdout.readline()), {"held": 50})
            out, _ = process.communicate("\n", timeout=LIMIT_S)
            self.assertEqual(process.returncode, 0)
            self.assertEqual(json.loads(out)["lost"], 0)

    def test_nobody_there_is_an_invalid_run(self):
        status, _, err = call("connect", f"127.0.0.1:{free_port()}", "-d", "100ms")
        self.assertEqual(status, 1)
        self.assertIn("INVALID", err)


class Compare(unittest.TestCase):
    def compare(self, before, after, *options):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, value in (("a", before), ("b", after)):
                paths.append(os.path.join(folder, name))
                with open(paths[-1], "w", encoding="ascii") as file:
                    json.dump({"metrics": [{"name": "cpu", "better": "lower",
                                            "results": {"ours": value}}]}, file)
            return call("compare", *paths, *options)

    def test_exit_status_tells_a_regression(self):
        self.assertEqual(self.compare(100, 104)[0], 0)
        status, out, _ = self.compare(100, 106)
        self.assertEqual(status, 1)
        self.assertIn("REGRESSED", out)
        self.assertEqual(self.compare(100, 106, "--tolerance", "0.1")[0], 0)

    def test_unreadable_results_are_no_verdict(self):
        status, _, err = call("compare", "/nonexistent", "/nonexistent")
        self.assertEqual(status, 2)
        self.assertIn("cannot be read", err)


if __name__ == "__main__":
    unittest.main()
