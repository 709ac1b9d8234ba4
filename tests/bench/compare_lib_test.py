"""The pure parts of bench/compare: medians, ratios, budgets, refusals."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))

import compare_lb  # noqa: E402
import compare_lib as lib  # noqa: E402
import compare_tls  # noqa: E402


def sample_results():
    results = lib.Results({"cpu": ("us", "lower"), "unused": ("us", "lower")})
    for value in (30, 10, 20):
        results.add("cpu", "ours", value)
    for value in (50, 40):
        results.add("cpu", "peer", value)
    results.note("once")
    results.note("once")
    return results


class ResultsTest(unittest.TestCase):
    def test_medians_runs_and_spread_are_those_of_the_samples(self):
        (metric,) = sample_results().metrics()
        self.assertEqual(metric["results"], {"ours": 20, "peer": 45})
        self.assertEqual(metric["runs"], 2)
        self.assertEqual(metric["spread"]["ours"], [10, 30])
        self.assertEqual(metric["notes"], ["once"])

    def test_table_shows_ratio_of_ours_to_each_peer(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            lib.print_table("lb", "machine", sample_results().metrics())
        self.assertIn("45.0 (0.44x)", out.getvalue())
        self.assertIn("| ours | peer |", out.getvalue())

    def test_ratio_is_that_of_what_was_measured_in_the_same_round(self):
        results = lib.Results({"cpu": ("us", "lower")})
        for ours, peer in ((10, 20), (40, 80), (30, 90)):  # a machine that slows down
            results.add("cpu", "ours", ours)
            results.add("cpu", "peer", peer)
        (metric,) = results.metrics()
        self.assertEqual(metric["ratios"], {"peer": 0.5})

    def test_json_has_the_agreed_form(self):
        with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
            for _ in range(2):  # a second result replaces the first
                lib.write_json(lib.open_json(file.name), "lb", "machine",
                               sample_results().metrics())
            document = json.load(file)
        self.assertEqual(document["area"], "lb")
        self.assertLessEqual({"name", "unit", "better", "runs", "results"},
                             set(document["metrics"][0]))

    def test_unwritable_json_is_a_clear_failure(self):
        with self.assertRaisesRegex(lib.Failure, "cannot write /nonexistent/x.json"):
            lib.open_json("/nonexistent/x.json")


class RepeatTest(unittest.TestCase):
    def setUp(self):
        lib.configure("build", None, None)
        self.quiet = contextlib.redirect_stderr(io.StringIO())
        self.quiet.__enter__()
        self.addCleanup(self.quiet.__exit__, None, None, None)

    def test_runs_all_rounds_within_the_budget(self):
        rounds = []
        lib.repeat(3, 100, rounds.append)
        self.assertEqual(rounds, [0, 1, 2])

    def test_first_round_is_always_made_and_no_more_without_budget(self):
        rounds = []
        lib.repeat(3, -1, rounds.append)
        self.assertEqual(rounds, [0])


class RefusalTest(unittest.TestCase):
    def setUp(self):
        lib.configure("/nonexistent", None, "direct")
        self.quiet = contextlib.redirect_stderr(io.StringIO())
        self.quiet.__enter__()
        self.addCleanup(self.quiet.__exit__, None, None, None)

    def test_missing_program_names_the_remedy(self):
        with self.assertRaisesRegex(lib.Failure, "ninja -C build/release mongooselb"):
            lib.program("mongooselb")

    def test_only_leaves_the_named_servers(self):
        self.assertEqual(lib.wanted(["haproxy", "direct"]), ["direct"])

    def test_invalid_run_is_repeated_then_left_out_and_said(self):
        results = lib.Results({"cpu": ("us", "lower")})
        calls = []

        class Server:
            name = "peer"

        def measure(_server, _results):
            calls.append(1)
            raise lib.Invalid("echo: pacing lagged")

        lib.attempt(results, Server(), measure)
        self.assertEqual(len(calls), lib.ATTEMPTS)
        self.assertEqual(results.notes, ["INVALID and left out: peer echo: pacing lagged"])

    def test_dead_server_gives_no_figure(self):
        with self.assertRaisesRegex(lib.Failure, "did it die"):
            lib.server_cpu_s({"watched": {"1": {"cpu_s": None}}})


class ConfigurationTest(unittest.TestCase):
    def test_all_balancers_get_the_same_nodes(self):
        for text in (compare_lb.haproxy_config(False), compare_lb.nginx_config("/d"),
                     compare_lb.ours_config("/d"), compare_tls.haproxy_config("/d"),
                     compare_tls.nginx_config("/d"), compare_tls.ours_config("/d")):
            for address in lib.SINK_ADDRESSES:
                self.assertEqual(text.count(f"{address}:{lib.SINK_PORT}"), 1)

    def test_no_listening_port_lies_in_the_local_port_range(self):
        low, high = (int(edge) for edge in lib.PORT_RANGE.split())
        ports = list(compare_lb.PORTS.values()) + list(compare_tls.PORTS.values())
        ports += [port + compare_tls.RSA_OFFSET for port in compare_tls.PORTS.values()]
        self.assertEqual(len(set(ports)), len(ports))
        for port in ports:
            self.assertFalse(low <= port <= high)


class GeneratorTest(unittest.TestCase):
    def test_one_that_does_not_end_is_a_failure_that_says_so(self):
        with tempfile.TemporaryDirectory() as build:
            os.mkdir(os.path.join(build, "bin"))
            program = os.path.join(build, "bin", "mongoosebench")
            with open(program, "w", encoding="ascii") as file:
                file.write("#!/bin/sh\nexec sleep 60\n")
            os.chmod(program, 0o755)
            lib.configure(build, None, None)
            with self.assertRaisesRegex(lib.Failure, "had not ended after 0.2 s"):
                lib.load(["echo", "127.0.0.1:1"], [], 0.2)


if __name__ == "__main__":
    unittest.main()
