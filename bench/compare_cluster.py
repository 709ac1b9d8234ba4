"""bench/compare cluster: two nodes of ours beside two of Debian's ejabberd as their clients find them
(cluster_clients.py); below that a link between two of ours beside one between two of Debian's erl, on two
cores, and the engine of the replicated tables alone. The primary figures are the CPU time of both ends; the
ping is net_adm:ping's. cluster_measure makes the engine's figures: 100,000 sessions of three owners, and
a fourth node that joins them."""

import json
import os
import select
import socket
import subprocess
import time

import cluster_clients
import compare_lib as lib

PACKAGES = {
    **cluster_clients.PACKAGES,
    "epmd": "erlang-base",
    "erl": "erlang-base",
    "taskset": "util-linux",
    "ip": "iproute2",
}

METRICS = {
    **cluster_clients.METRICS,
    "link_message_cpu_us": ("us", "lower"),
    "link_messages_per_s": ("1/s", "higher"),
    "ping_us": ("us", "lower"),
    "fill_s": ("s", "lower"),
    "join_s": ("s", "lower"),
    "join_stall_p99_us": ("us", "lower"),
    "record_bytes": ("bytes", "lower"),
}

COOKIE = "compare"
MESSAGE_BYTES = 300
PINGS = 1000
ANSWER_LIMIT_S = 60

# Evaluates a line, answers with a line.
ERL_LOOP = """
Count = fun(F, N) -> receive {stop, P} -> P ! N, F(F, 0); _ -> F(F, N + 1) end end,
register(sink, spawn(fun() -> Count(Count, 0) end)),
io:format("ready~n"),
L = fun(L) -> case io:get_line("") of eof -> halt(0); T ->
  {ok, S, _} = erl_scan:string(T), {ok, E} = erl_parse:parse_exprs(S),
  {value, V, _} = erl_eval:exprs(E, []), io:format("=~0tp~n", [V]), L(L) end end, L(L)."""

# Compiled, as a program of Erlang's would be: an evaluated loop costs ten times as much.
ERL_MODULE = """-module(flood).
-export([run/3, pings/2]).
run(Node, Count, Bytes) -> run({sink, Node}, Count, binary:copy(<<"x">>, Bytes), Node).
run(To, 0, _, _) -> To ! {stop, self()}, receive N -> N end;
run(To, Count, Payload, Node) -> To ! Payload, run(To, Count - 1, Payload, Node).
pings(Node, Count) ->
    T = lists:sort([begin {U, pong} = timer:tc(net_adm, ping, [Node]), U end
                    || _ <- lists:seq(1, Count)]),
    lists:nth(Count div 2, T).
"""


def cpu_s(pid):
    """The process's CPU clock, all threads."""
    return time.clock_gettime((~pid << 3) | 2)


def wait_until_listening(port):
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise lib.Failure(f"nobody listens on port {port}")
        time.sleep(0.02)


class Told:
    """A node that is told lines and answers lines, pinned to a core."""

    def __init__(self, argv, core, directory, ready, environment=None):
        self.log = open(os.path.join(directory, "told.log"), "ab")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log, cwd=directory, env={**os.environ, **(environment or {})}, bufsize=0)
        self.pid = self.process.pid
        self.rest = b""
        self.expect(ready)

    def expect(self, begin):
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while True:
            line, newline, rest = self.rest.partition(b"\n")
            if newline:
                self.rest = rest
                if line.decode().startswith(begin):
                    return line.decode()[len(begin):].strip()
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise lib.Failure(f"{self.process.args} did not say {begin!r}")
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                raise lib.Failure(f"{self.process.args} ended before it said {begin!r}")
            self.rest += part

    def ask(self, line, begin):
        self.process.stdin.write(line.encode() + b"\n")
        return self.expect(begin)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()


class OurPair:
    name = "ours"

    def __init__(self, directory):
        probe = lib.program("dist_probe")
        self.nodes = [Told([probe, f"{name}@localhost", COOKIE], core, directory, "ready ")
                      for name, core in zip(("ours1", "ours2"), lib.cores())]
        self.sunk = 0
        if self.nodes[0].ask("connect ours2@localhost", "connected ") != "ok":
            raise lib.Failure("our nodes do not connect")

    def flood(self, count):
        self.nodes[0].ask(f"flood ours2@localhost sink {count} {MESSAGE_BYTES}", "flooded ")
        self.sunk += count
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while int(self.nodes[1].ask("sunk", "sunk ")) < self.sunk:
            if time.monotonic() > deadline:
                raise lib.Invalid("not all messages came")

    def ping_us(self):
        return float(self.nodes[0].ask(f"pings ours2@localhost {PINGS}", "pinged "))


class ErlPair:
    name = "erl"

    def __init__(self, directory):
        with open(os.path.join(directory, "flood.erl"), "w", encoding="ascii") as file:
            file.write(ERL_MODULE)
        # Without a compiler's package the running system compiles it from its source.
        self.nodes = [Told(["erl", "-noshell", "-sname", f"{name}@localhost", "-setcookie", COOKIE,
                            "+S", "1:1", "+sbwt", "none", "-eval", ERL_LOOP], core, directory, "ready",
                           {"HOME": directory, "ERL_CRASH_DUMP": "/dev/null"})
                      for name, core in zip(("erl1", "erl2"), lib.cores())]
        for node in self.nodes:
            if not node.ask("compile:file(flood), code:load_file(flood).", "=").startswith("{module"):
                raise lib.Failure("erl cannot compile: apt-get install erlang-dev")
        if self.nodes[0].ask("net_adm:ping(erl2@localhost).", "=") != "pong":
            raise lib.Failure("the erl nodes do not connect")

    def flood(self, count):
        came = self.nodes[0].ask(f"flood:run(erl2@localhost, {count}, {MESSAGE_BYTES}).", "=")
        if int(came) != count:
            raise lib.Invalid(f"{came} of {count} messages came")

    def ping_us(self):
        return float(self.nodes[0].ask(f"flood:pings(erl2@localhost, {PINGS}).", "="))


def measure(pair, results, messages):
    pair.flood(messages // 10)
    before = sum(cpu_s(node.pid) for node in pair.nodes)
    began = time.monotonic()
    pair.flood(messages)
    took = time.monotonic() - began
    cpu = sum(cpu_s(node.pid) for node in pair.nodes) - before
    results.add("link_message_cpu_us", pair.name, cpu / messages * 1e6)
    results.add("link_messages_per_s", pair.name, messages / took)
    results.add("ping_us", pair.name, pair.ping_us())


def engine(results):
    done = subprocess.run(["taskset", "-c", str(lib.cores()[0]), lib.program("cluster_measure")],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise lib.Failure(f"cluster_measure: {done.stderr.strip()}")
    figures = json.loads(done.stdout)
    for metric in ("fill_s", "join_s", "join_stall_p99_us", "record_bytes"):
        results.add(metric, "ours", figures[metric])


def run(quick):
    lib.need("dist_probe", "cluster_measure", "mongoosebench", "mongooseim")
    results = lib.Results(METRICS)
    size = cluster_clients.Size(quick)
    cluster_clients.describe(results, size)
    results.note(f"{MESSAGE_BYTES}-byte messages, CPU of both ends; engine: 100,000 sessions, three owners")
    messages = 100_000 if quick else 500_000
    makers = {"ours": OurPair, "erl": ErlPair}
    with lib.Scratch() as directory:
        epmd = lib.Process("epmd", ["epmd", "-address", "127.0.0.1"], lib.cores()[1], directory)
        with epmd:
            wait_until_listening(4369)
            pairs = []
            clusters = cluster_clients.prepare(directory, size, results)
            try:
                for name in lib.wanted(list(makers)):
                    pairs.append(makers[name](directory))

                def one_round(number):
                    for pair in pairs if number % 2 == 0 else reversed(pairs):
                        lib.attempt(results, pair, measure, messages)
                    if "ours" in lib.wanted(["ours"]):
                        engine(results)

                lib.repeat(3 if quick else 9, 40 if quick else 400, one_round)
            finally:
                for pair in pairs:
                    for node in pair.nodes:
                        node.close()
            cluster_clients.repeat(clusters, results, size)
    return results.metrics()
