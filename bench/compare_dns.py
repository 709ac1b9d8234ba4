"""bench/compare dns: eight A records of one name, from Knot, NSD, gdnsd (multifo), PowerDNS (LUA
pickrandom), mongoosedns and a bare loop (floor), one thread each, rate limits off; then mongoosedns
and gdnsd under ten health changes a second. The primary figure is the server's CPU per query, from
its process clock. dnsperf is the witness that our own generator counts right.

Asked over 64 ports with 16 queries under way on each, as load generators and forwarders do, whose
answers can be sent in runs; and over 512 ports with one each (_apart), as resolvers do, whose
answers cannot."""

import json
import os
import re
import socket
import subprocess
import threading
import time

import compare_lib as lib

PACKAGES = {
    "knotd": "knot",
    "nsd": "nsd",
    "gdnsd": "gdnsd",
    "pdns_server": "pdns-server",
    "/usr/lib/x86_64-linux-gnu/pdns/libbindbackend.so": "pdns-backend-bind",
    "dnsperf": "dnsperf",
    "taskset": "util-linux",
    "ip": "iproute2",
}

METRICS = {
    "query_cpu_us": ("us", "lower"),
    "queries_per_s": ("1/s", "higher"),
    "query_cpu_us_apart": ("us", "lower"),
    "queries_per_s_apart": ("1/s", "higher"),
    "query_cpu_us_under_changes": ("us", "lower"),
    "queries_per_s_under_changes": ("1/s", "higher"),
    "rss_bytes": ("bytes", "lower"),
}

ZONE = "bench.test"
NAME = "www8." + ZONE
PORTS = {"ours": 5301, "gdnsd": 5302, "knot": 5303, "nsd": 5304, "pdns_lua": 5305,
         "ours_uring": 5306, "floor": 5307}
ADDRESSES = [f"192.0.2.{i}" for i in range(1, 9)]
APART = ("--flows", "512", "--window", "512")
CHANGES_PER_S = 10
NINTH = "192.0.2.9"


def zone_file():
    lines = [f"$ORIGIN {ZONE}.", "$TTL 60", "@ IN SOA ns1 hostmaster 1 3600 600 86400 60",
             "@ IN NS ns1", "ns1 IN A 127.0.0.1"]
    lines += [f"www8 IN A {address}" for address in ADDRESSES]
    return "\n".join(lines) + "\n"


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


def ours(directory, name="ours", engine="recvmmsg", addresses=ADDRESSES):
    balancers = "".join(f'[[pool.p.balancer]]\nname = "lb{i}"\naddresses = ["{a}"]\n'
                        for i, a in enumerate(addresses, 1))
    config = write(directory, f"{name}-{len(addresses)}.toml", f"""
[server]
listen = ["127.0.0.1:{PORTS[name]}"]
workers = 1
udp_engine = "{engine}"
admin_listen = "127.0.0.1:{PORTS[name] + 1000}"
ctl_socket = "{directory}/{name}.ctl"
[rate_limit]
responses = "0"
[log]
level = "error"
[pool.p]
{balancers}
[zone."{ZONE}"]
ns = ["ns1"]
records = ["ns1 60 IN A 127.0.0.1"]
[[zone."{ZONE}".pool]]
pool = "p"
name = "www8"
""")
    return [lib.program("mongoosedns"), "run", config]


def gdnsd(directory, addresses=ADDRESSES):
    home = os.path.join(directory, "gdnsd")
    for folder in ("zones", "run", "state"):
        os.makedirs(os.path.join(home, folder), exist_ok=True)
    write(home, "zones/" + ZONE, """@ SOA ns1 hostmaster 1 3600 600 86400 60
@ NS ns1
ns1 A 127.0.0.1
www8 60 DYNA multifo!all
""")
    records = ", ".join(f"a{i} => {a}" for i, a in enumerate(addresses, 1))
    write(home, "config", f"""options => {{
  listen => [ 127.0.0.1:{PORTS["gdnsd"]} ], udp_threads => 1, tcp_threads => 1,
  run_dir => {home}/run, state_dir => {home}/state
}}
plugins => {{ multifo => {{ up_thresh => 0.01, all => {{ addrs_v4 => {{ {records} }} }} }} }}
""")
    return ["gdnsd", "-c", home, "start"]


def knot(directory):
    write(directory, "knot.zone", zone_file())
    config = write(directory, "knot.conf", f"""server:
    listen: 127.0.0.1@{PORTS["knot"]}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    rundir: {directory}
database:
    storage: {directory}/knot-db
log:
  - target: stderr
    any: error
template:
  - id: default
    storage: {directory}
zone:
  - domain: {ZONE}
    file: knot.zone
    zonefile-load: whole
    journal-content: none
""")
    return ["knotd", "-c", config]


def nsd(directory):
    write(directory, "nsd.zone", zone_file())
    config = write(directory, "nsd.conf", f"""server:
  server-count: 1
  ip-address: 127.0.0.1@{PORTS["nsd"]}
  username: ""
  chroot: ""
  zonesdir: "{directory}"
  pidfile: "{directory}/nsd.pid"
  xfrdfile: "{directory}/nsd.xfrd"
  zonelistfile: "{directory}/nsd.list"
  xfrdir: "{directory}"
  logfile: "{directory}/nsd.log"
  rrl-ratelimit: 0
  round-robin: yes
  minimal-responses: yes
remote-control:
  control-enable: no
zone:
  name: {ZONE}
  zonefile: nsd.zone
""")
    return ["nsd", "-d", "-c", config]


def pdns_lua(directory):
    quoted = ",".join(f"'{a}'" for a in ADDRESSES)
    write(directory, "pdns.zone", f"""$ORIGIN {ZONE}.
$TTL 60
@ IN SOA ns1 hostmaster 1 3600 600 86400 60
@ IN NS ns1
ns1 IN A 127.0.0.1
www8 60 IN LUA A "pickrandomsample(8,{{{quoted}}})"
""")
    write(directory, "pdns.named", f'zone "{ZONE}" {{ type master; file "{directory}/pdns.zone"; }};\n')
    home = os.path.join(directory, "pdns")
    os.makedirs(home, exist_ok=True)
    write(home, "pdns.conf", f"""launch=bind
bind-config={directory}/pdns.named
local-address=127.0.0.1
local-port={PORTS["pdns_lua"]}
receiver-threads=1
distributor-threads=1
enable-lua-records=shared
cache-ttl=0
query-cache-ttl=60
negquery-cache-ttl=60
socket-dir={home}
daemon=no
guardian=no
loglevel=3
log-dns-queries=no
""")
    return ["pdns_server", "--config-dir=" + home]


def floor(_directory):
    return [lib.program("dns_floor"), f"127.0.0.1:{PORTS['floor']}"]


def descendants(pid):
    """The process and all below it: NSD's workers are grandchildren."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                found += descendants(int(child))
    return found


class DnsServer:
    """Started, proved to give eight addresses, pinned; stopped at the end of the block."""

    def __init__(self, name, command, directory, answers="8"):
        self.name = name
        self.port = PORTS[name]
        self.expected = answers
        self.process = lib.Process(name, command, lib.cores()[0], directory)

    def __enter__(self):
        self.process.__enter__()
        try:
            deadline = time.monotonic() + lib.START_DEADLINE_S
            while not self.answers():
                self.process.check_alive()
                if time.monotonic() > deadline:
                    raise lib.Failure(f"{self.name} does not answer {NAME} with eight addresses; "
                                      f"see {self.process.log_path}")
                time.sleep(0.1)
            self.pin()
        except BaseException:
            self.process.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.__exit__(*error)

    def answers(self):
        result = blast(self, 0.2, check=False, answers=self.expected)
        return result is not None and result["right"] > 0

    def pin(self):
        """Again after the start: some choose their cores themselves."""
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(task), {lib.cores()[0]})

    def pids(self):
        self.process.check_alive()
        return descendants(self.process.process.pid)


def blast(server, seconds, check=True, answers="8", shape=()):
    watch = []
    for pid in descendants(server.process.process.pid):
        watch += ["--watch", str(pid)]
    done = subprocess.run(
        ["taskset", "-c", str(lib.cores()[1]), lib.program("dns_blaster"),
         f"127.0.0.1:{server.port}", NAME, "--answers", answers, "--seconds", str(seconds),
         *shape, *watch], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        if check:
            raise lib.Failure(f"dns_blaster: {done.stderr.strip()}")
        return None
    result = json.loads(done.stdout)
    if check and not result["valid"]:
        raise lib.Invalid(f"{result['wrong']} wrong, {result['lost']} lost of {result['sent']}")
    return result


def measure(server, results, seconds, suffix="", answers="8", shape=()):
    result = blast(server, seconds, answers=answers, shape=shape)
    if result["server_cpu_s"] < result["seconds"] / 100:
        raise lib.Failure(f"{server.name}: its CPU clock stands still: the wrong process is watched")
    results.add("query_cpu_us" + suffix, server.name,
                result["server_cpu_s"] / result["right"] * 1e6)
    results.add("queries_per_s" + suffix, server.name, result["queries_per_s"])
    if not suffix:
        results.add("rss_bytes", server.name, lib.rss_bytes(server.pids()))


def measure_both(server, results, seconds):
    measure(server, results, seconds)
    measure(server, results, seconds, "_apart", shape=APART)


def witness(server, results, directory):
    """dnsperf counts the same server's answers; it saturates early, so it only confirms."""
    queries = write(directory, "queries", f"{NAME} A\n")
    done = subprocess.run(
        ["taskset", "-c", str(lib.cores()[1]), "dnsperf", "-s", "127.0.0.1", "-p",
         str(server.port), "-d", queries, "-l", "2", "-q", "500", "-c", "16"],
        capture_output=True, text=True, timeout=60, check=False)
    rate = re.search(r"Queries per second:\s+([\d.]+)", done.stdout)
    lost = re.search(r"Queries lost:\s+(\d+)", done.stdout)
    if rate:
        results.note(f"dnsperf on {server.name}: {float(rate.group(1)):.0f} queries/s, "
                     f"{lost.group(1) if lost else '?'} lost")


class Changes(threading.Thread):
    """Takes the ninth of nine addresses in and out, ten times a second, by the operator's word."""

    def __init__(self, change):
        super().__init__(daemon=True)
        self.change = change
        self.made = 0
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(1 / CHANGES_PER_S):
            self.change(self.made % 2 == 0)
            self.made += 1


def change_ours(directory):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"{directory}/ours.ctl")
    reader = connection.makefile("rb")

    def change(down):
        command = {"command": "down" if down else "auto", "balancer": "lb9"}
        connection.sendall(json.dumps(command).encode() + b"\n")
        if not json.loads(reader.readline())["ok"]:
            raise lib.Failure("mongoosedns refuses the change")

    return change


def change_gdnsd(directory):
    path = f"{directory}/gdnsd/state/admin_state"

    def change(down):
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(f"{NINTH}/up => {'DOWN' if down else 'UP'}\n")
        os.rename(path + ".new", path)

    return change


def measure_under_changes(server, results, seconds, change):
    changes = Changes(change)
    changes.start()
    try:
        measure(server, results, seconds, "_under_changes", answers="0")
    finally:
        changes.ending.set()
        changes.join(5)
    if changes.made < CHANGES_PER_S * seconds / 2:
        raise lib.Invalid(f"only {changes.made} changes were made")
    results.note(f"{changes.made} changes in the last run of {server.name}")


def run(quick):
    seconds = 2 if quick else 5
    results = lib.Results(METRICS)
    with lib.Scratch() as directory:
        commands = {"ours": ours(directory), "ours_uring": ours(directory, "ours_uring", "io_uring"),
                    "gdnsd": gdnsd(directory), "knot": knot(directory), "nsd": nsd(directory),
                    "pdns_lua": pdns_lua(directory), "floor": floor(directory)}
        names = lib.wanted(list(commands))

        def one_round(_):
            for name in names:
                with DnsServer(name, commands[name], directory) as server:
                    lib.attempt(results, server, measure_both, seconds / 2)

        lib.repeat(2 if quick else 5, 90 if quick else 600, one_round)
        if "ours" in names:
            with DnsServer("ours", commands["ours"], directory) as server:
                witness(server, results, directory)
        nine = {"ours": (ours, change_ours), "gdnsd": (gdnsd, change_gdnsd)}
        changing = {name: make(directory, addresses=ADDRESSES + [NINTH])
                    for name, (make, _) in nine.items() if name in names}

        def one_changing_round(_):
            for name, command in changing.items():
                with DnsServer(name, command, directory, answers="0") as server:
                    lib.attempt(results, server, measure_under_changes, seconds,
                                nine[name][1](directory))

        lib.repeat(1 if quick else 3, 30 if quick else 300, one_changing_round)
    return results.metrics()
