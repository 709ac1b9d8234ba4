"""bench/compare dns_start: how a zone file of a million names is taken in, by mongoosedns, Knot and
NSD: their CPU time from the start until the last name is answered, and the memory that they then
hold. The names stand in the file in the order of their numbers, which is not that of DNSSEC."""

import os
import subprocess
import time

import compare_lib as lib
from compare_dns import descendants, write

PACKAGES = {"knotd": "knot", "nsd": "nsd", "ip": "iproute2", "taskset": "util-linux"}

METRICS = {
    "start_cpu_s": ("s", "lower"),
    "start_wall_s": ("s", "lower"),
    "start_rss_bytes": ("bytes", "lower"),
}

ZONE = "big.test"
NAMES = 1_000_000
LAST = f"h{NAMES - 1}.{ZONE}"
PORTS = {"ours": 5311, "knot": 5312, "nsd": 5313}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_DEADLINE_S = 120


def zone_file(directory):
    lines = [f"$ORIGIN {ZONE}.", "$TTL 60", "@ IN SOA ns1 hostmaster 1 3600 600 86400 60",
             "@ IN NS ns1", "ns1 IN A 127.0.0.1"]
    lines += [f"h{i} IN A 10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(NAMES)]
    return write(directory, "big.zone", "\n".join(lines) + "\n")


def ours(directory):
    config = write(directory, "ours.toml", f"""
[server]
listen = ["127.0.0.1:{PORTS["ours"]}"]
workers = 1
admin_listen = "127.0.0.1:{PORTS["ours"] + 1000}"
ctl_socket = "{directory}/ours.ctl"
state_file = "{directory}/ours.state"
[log]
level = "error"
[zone."{ZONE}"]
file = "{directory}/big.zone"
""")
    return [lib.program("mongoosedns"), "run", config]


def knot(directory):
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
zone:
  - domain: {ZONE}
    storage: {directory}
    file: big.zone
    zonefile-load: whole
    journal-content: none
""")
    return ["knotd", "-c", config]


def nsd(directory):
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
remote-control:
  control-enable: no
zone:
  name: {ZONE}
  zonefile: big.zone
""")
    return ["nsd", "-d", "-c", config]


def cpu_s(pids):
    """User and system time, of children that have ended, too: some start with helpers."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS_PER_S


def answers_last(port):
    done = subprocess.run(
        ["taskset", "-c", str(lib.cores()[1]), lib.program("dns_blaster"), f"127.0.0.1:{port}", LAST,
         "--answers", "1", "--flows", "1", "--window", "1", "--rate", "50", "--seconds", "0.05"],
        capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0 and '"valid":true' in done.stdout


def measure(name, command, directory, results):
    begin = time.monotonic()
    with lib.Process(name, command, lib.cores()[0], directory) as process:
        while not answers_last(PORTS[name]):
            process.check_alive()
            if time.monotonic() - begin > START_DEADLINE_S:
                raise lib.Failure(f"{name} does not answer {LAST}; see {process.log_path}")
        pids = descendants(process.process.pid)
        results.add("start_cpu_s", name, cpu_s(pids))
        results.add("start_wall_s", name, time.monotonic() - begin)
        results.add("start_rss_bytes", name, lib.rss_bytes(pids))


def run(quick):
    results = lib.Results(METRICS)
    with lib.Scratch() as directory:
        zone_file(directory)
        commands = {"ours": ours(directory), "knot": knot(directory), "nsd": nsd(directory)}
        names = lib.wanted(list(commands))

        def one_round(_):
            for name in names:
                measure(name, commands[name], directory, results)

        lib.repeat(2 if quick else 5, 120 if quick else 600, one_round)
    return results.metrics()
