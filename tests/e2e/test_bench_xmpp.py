"""Each mode of `mongoosebench xmpp`, shortly, against a real Prosody."""

import json
import os
import re
import subprocess
import sys
import unittest

from lib.bench import BENCH
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.prosody import Prosody
from lib.workspace import REPO

sys.path.insert(0, os.path.join(REPO, "bench"))
from xmpp_accounts import Accounts, write_prosody  # noqa: E402

DOMAIN = "chat.example"
PASSWORD = "secret"
CONTACTS = 4
# How the generator itself fared, on a machine that other tests may load: no matter here.
PACE = re.compile("pacing lagged|core was saturated")

# However slow the machine is: the window ends with the twentieth operation.
COUNTED = ["--count", "20", "--warmup", "1ms", "-d", "60s"]


class BenchXmpp(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.prosody = Prosody(cls.workspace, cls.authority, "n1", "127.0.0.2", DOMAIN,
                              storage="internal", modules=["mam"], rooms=True)
        write_prosody(Accounts(20, DOMAIN, PASSWORD, CONTACTS), cls.prosody.data, Prosody.USER)
        cls.prosody.start()

    def bench(self, mode, *args, users="user", port=None):
        """The result of a run that may be believed."""
        done = subprocess.run(
            [BENCH, "xmpp", mode, f"127.0.0.2:{port or self.prosody.c2s_port}", "--users",
             f"{users}%d@{DOMAIN}", "--password", PASSWORD, "--ca", self.authority.ca_file, "-q",
             "--json", "-", *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        result = json.loads(done.stdout.splitlines()[-1])
        doubts = [reason for reason in result["invalid"] if not PACE.search(reason)]
        self.assertEqual(doubts, [], result["examples"])
        self.assertEqual(result["failed"], 0, result["failures"])
        self.assertEqual(result["lost"], 0)
        self.assertGreater(result["completed"], 0)
        return result

    def logins(self):
        return self.prosody.process.log().count("Authenticated as")

    def test_register_makes_accounts_that_can_log_in(self):
        made = self.bench("register", "--accounts", "6", "-c", "3", users="new")
        self.assertEqual(made["completed"], 6)
        again = self.bench("register", "--accounts", "6", users="new")
        self.assertEqual(again["completed"], 6)
        self.bench("login", "-c", "6", *COUNTED, users="new")

    def test_login_has_a_histogram_for_each_phase(self):
        before = self.logins()
        result = self.bench("login", "--accounts", "5", "-c", "2", *COUNTED, "--watch", str(self.prosody.process.pid))
        phases = result["phases"]
        for phase in ("tcp_connect", "stream", "starttls", "tls_handshake", "sasl", "bind",
                      "session", "total"):
            self.assertGreater(phases[phase]["count"], 0, phase)
        self.assertGreater(phases["total"]["p50_us"], phases["sasl"]["p50_us"])
        # Those of priming, of the edges of the window, and what was completed in it.
        self.assertGreaterEqual(self.logins() - before, result["completed"] + 5)
        self.assertGreater(list(result["watched"].values())[0]["per_op_us"], 0)

    def test_login_over_direct_tls_and_by_name(self):
        result = self.bench("login", "-c", "2", *COUNTED, "--security", "tls",
                            port=self.prosody.c2s_tls_port)
        self.assertNotIn("starttls", result["phases"])
        self.assertGreater(result["phases"]["tls_handshake"]["count"], 0)

    def test_paced_logins_count_from_their_intended_start(self):
        result = self.bench("login", "-c", "20", "--rate", "20", "-d", "2s", "--mechanism", "plain")
        self.assertTrue(result["open_loop"])
        self.assertAlmostEqual(result["offered"], 40, delta=2)
        self.assertGreater(result["phases"]["pacing_lag"]["count"], 0)

    def test_login_resumes_cut_sessions(self):
        result = self.bench("login", "--resume", "-c", "3", *COUNTED)
        # Three may have been under way when the window opened.
        self.assertGreaterEqual(result["resumptions"], result["completed"] - 3)
        self.assertEqual(result["resumptions_refused"], 0)
        self.assertGreater(result["phases"]["resume"]["count"], 0)
        self.assertNotIn("bind", result["phases"])

    def test_messages_arrive_once_in_order_and_are_acknowledged(self):
        result = self.bench("message", "--pairs", "4", "--window", "2", *COUNTED, "--ack-every", "1")
        self.assertEqual(result["held"], 8)
        self.assertGreater(result["phases"]["sm_ack"]["count"], 0)
        self.assertEqual(result["deliveries"], result["completed"])

    def test_paced_messages(self):
        result = self.bench("message", "--pairs", "4", "--rate", "100", "-d", "1s")
        self.assertAlmostEqual(result["offered"], 100, delta=3)
        self.assertGreater(result["phases"]["total"]["p99_us"], 0)

    def test_presence_reaches_all_contacts(self):
        result = self.bench("presence", "-c", "10", "--contacts", str(CONTACTS), *COUNTED)
        # A broadcast counts when its last contact has it.
        self.assertGreaterEqual(result["deliveries"],
                                (result["completed"] - 16) * CONTACTS)

    def test_what_is_said_in_a_room_reaches_all_occupants(self):
        result = self.bench("muc", "-c", "10", "--speakers", "2", *COUNTED, "--watch",
                            str(self.prosody.process.pid))
        self.assertEqual(result["held"], 10)
        # A message counts when its last occupant has it; two speakers have four under way each.
        self.assertGreaterEqual(result["deliveries"], (result["completed"] - 8) * 10)
        self.assertEqual([result[f"copies_{fault}"] for fault in ("lost", "doubled", "swapped")],
                         [0, 0, 0])
        self.assertEqual(result["phases"]["copy"]["count"], result["deliveries"])
        self.assertGreaterEqual(result["phases"]["total"]["p50_us"],
                                result["phases"]["copy"]["min_us"])
        self.assertGreater(list(result["watched"].values())[0]["per_delivery_us"], 0)

    def test_paced_speakers_over_direct_tls(self):
        result = self.bench("muc", "-c", "5", "--speakers", "5", "--rate", "50", "-d", "1s",
                            "--security", "tls", port=self.prosody.c2s_tls_port)
        self.assertAlmostEqual(result["offered"], 50, delta=3)
        self.assertTrue(result["tls"])

    def test_archives_are_read_page_by_page(self):
        self.bench("message", "--pairs", "1", *COUNTED)
        result = self.bench("archive", "--page", "10", *COUNTED)
        self.assertGreater(result["completed"], 2)
        self.assertGreater(result["deliveries"], 10)

    def test_idle_sessions_are_held(self):
        result = self.bench("idle", "-c", "20", "--hold", "1s")
        self.assertEqual(result["held"], 20)

    def test_storms_of_logins_and_of_resumptions(self):
        for shape in ("constant", "poisson", "jittered"):
            result = self.bench("storm", "-c", "10", "--rate", "40", "--arrivals", shape, "--hold",
                                "100ms", "--retries", "3")
            self.assertEqual((result["held"], result["completed"]), (10, 10), shape)
        result = self.bench("storm", "-c", "10", "--profile", "10/s:500ms,40/s:1s", "--resume",
                            "--hold", "100ms")
        self.assertEqual((result["held"], result["resumptions"]), (10, 10))
        self.assertEqual(result["phases"]["resume"]["count"], 10)

    def test_what_the_server_refuses_is_shown(self):
        done = subprocess.run(
            [BENCH, "xmpp", "login", self.prosody.endpoint, "--users", f"user%d@{DOMAIN}",
             "--password", "wrong", "-d", "200ms", "--no-prime", "-c", "1", "-q", "--json", "-"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        result = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1)
        self.assertFalse(result["valid"])
        self.assertGreater(result["failures"]["refused"], 0)
        self.assertIn("not-authorized", result["examples"][0])


if __name__ == "__main__":
    unittest.main()
