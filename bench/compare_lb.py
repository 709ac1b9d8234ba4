"""bench/compare lb: plain TCP through HAProxy, nginx stream and mongooselb, and straight to the
sink. One thread or worker each, the same four nodes, least connections, checks and timeouts on, one
access log line a connection into a file in memory."""

import os
import shutil
import sys
import tempfile

import compare_lib as lib

PACKAGES = {
    "haproxy": "haproxy",
    "nginx": "nginx",
    "/usr/lib/nginx/modules/ngx_stream_module.so": "libnginx-mod-stream",
    "taskset": "util-linux",
    "ip": "iproute2",
}

METRICS = {
    "connection_cpu_us": ("us", "lower"),
    "connections_per_s": ("1/s", "higher"),
    "echo_cpu_us": ("us", "lower"),
    "echo_p99_us": ("us", "lower"),
    "bulk_cpu_s_per_gb": ("s/GB", "lower"),
    "idle_rss_bytes": ("bytes", "lower"),
}

ECHO_CONNECTIONS = 1000
ECHO_RATE = 10000  # of the paced run for the latency: well below what any of them can carry
IDLE_CONNECTIONS = 5000
PORTS = {"haproxy": 6001, "haproxy_splice": 6002, "nginx": 6003, "ours": 6004,
         "direct": lib.SINK_PORT}


def haproxy_config(splice):
    # With 20,000 descriptors splicing starts up only with fewer connections and bounded pipes.
    limits = "maxconn 4800\n  maxpipes 2000" if splice else "maxconn 9000"
    servers = "\n".join(f"  server n{i} {address}:{lib.SINK_PORT} check inter 5s"
                        for i, address in enumerate(lib.SINK_ADDRESSES, 1))
    # Not splice-auto: its guess finds no bulk here, and nothing is spliced.
    splicing = "option splice-request\n  option splice-response" if splice else ""
    port = PORTS["haproxy_splice" if splice else "haproxy"]
    return f"""global
  nbthread 1
  {limits}
  log stdout format raw local0
defaults
  mode tcp
  log global
  option tcplog
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  {splicing}
frontend in
  bind 127.0.0.1:{port} backlog 4096
  default_backend nodes
backend nodes
  balance leastconn
{servers}
"""


def nginx_config(directory):
    servers = "\n".join(f"    server {address}:{lib.SINK_PORT} max_fails=3 fail_timeout=5s;"
                        for address in lib.SINK_ADDRESSES)
    return f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error;
events {{ worker_connections 18000; }}
stream {{
  log_format line '$remote_addr:$remote_port $time_iso8601 $server_port $upstream_addr '
                  '$upstream_connect_time $session_time $bytes_sent $bytes_received $status';
  access_log {directory}/nginx.access line;
  proxy_connect_timeout 5s;
  proxy_timeout 1h;
  upstream nodes {{
    least_conn;
{servers}
  }}
  server {{
    listen 127.0.0.1:{PORTS["nginx"]} backlog=4096;
    proxy_pass nodes;
  }}
}}
"""


def ours_config(directory):
    nodes = "\n".join(f'[[pool.nodes.node]]\nname = "n{i}"\naddress = "{address}:{lib.SINK_PORT}"'
                      for i, address in enumerate(lib.SINK_ADDRESSES, 1))
    return f"""[process]
workers = 1
ctl_socket = "{directory}/ours.ctl"
admin_listen = "127.0.0.1:6404"
[log]
access = "{directory}/ours.access"
[listener.in]
bind = "127.0.0.1:{PORTS["ours"]}"
pool = "nodes"
[pool.nodes]
balance = "leastconn"
connect_timeout = "5s"
idle_timeout = "1h"
[[pool.nodes.check]]
type = "tcp"
interval = "5s"
{nodes}
"""


class Peer:
    """One balancer, started fresh by each `with`."""

    def __init__(self, name, directory):
        self.name = name
        self.port = PORTS[name]
        path = os.path.join(directory, name + ".conf")
        stdout = None
        if name.startswith("haproxy"):
            text = haproxy_config(name == "haproxy_splice")
            command = ["haproxy", "-db", "-f", path]
            stdout = os.path.join(directory, name + ".access")
        elif name == "nginx":
            text, command = nginx_config(directory), ["nginx", "-c", path, "-p", directory]
        else:
            text, command = ours_config(directory), [lib.program("mongooselb"), "run", path]
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        self.process = lib.Process(name, command, lib.cores()[0], directory, stdout)

    def __enter__(self):
        lib.refuse_taken_port("127.0.0.1", self.port)
        self.process.__enter__()
        lib.wait_until_serving(self.process, "127.0.0.1", self.port)
        return self

    def __exit__(self, *error):
        self.process.__exit__(*error)

    def target(self):
        return [f"127.0.0.1:{self.port}"]

    def pids(self):
        self.process.check_alive()
        return self.process.all_pids()

    def extra_cpu_s(self, _result):
        return 0.0


class Direct:
    """The generator straight to the sink: what the two of them cost, which no balancer can undercut
    in throughput."""

    name = "direct"

    def __init__(self, sink):
        self.sink = sink

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def target(self):
        return [f"{address}:{lib.SINK_PORT}" for address in lib.SINK_ADDRESSES]

    def pids(self):
        return self.sink.all_pids()

    def extra_cpu_s(self, result):
        return result["generator_cpu_s"]


def measure_connect(peer, results, seconds):
    result = lib.load(["connect", *peer.target(), "-c", "64", "-d", f"{seconds}s"], peer.pids())
    cpu = lib.server_cpu_s(result) + peer.extra_cpu_s(result)
    results.add("connection_cpu_us", peer.name, cpu / result["completed"] * 1e6)
    results.add("connections_per_s", peer.name, result["achieved_per_s"])


def measure_echo(peer, results, seconds):
    common = [*peer.target(), "-c", str(ECHO_CONNECTIONS), "--payload", "300", "-d", f"{seconds}s"]
    result = lib.load(["echo", *common], peer.pids())
    cpu = lib.server_cpu_s(result) + peer.extra_cpu_s(result)
    results.add("echo_cpu_us", peer.name, cpu / result["completed"] * 1e6)
    paced = lib.load(["echo", *common, "--rate", str(ECHO_RATE)], peer.pids())
    results.add("echo_p99_us", peer.name, paced["phases"]["total"]["p99_us"])


def measure_bulk(peer, results, gigabytes):
    result = lib.load(["bulk", *peer.target(), "-c", "4", "--gigabytes", str(gigabytes)],
                      peer.pids())
    cpu = lib.server_cpu_s(result) + peer.extra_cpu_s(result)
    results.add("bulk_cpu_s_per_gb", peer.name, cpu / (result["bytes"] / 1e9))


def measure_idle(peer, results):
    """On a fresh process: what a pool kept from earlier runs would hide the growth."""
    pids = peer.pids()
    before = lib.settled_rss(pids)
    with lib.IdleLoad([*peer.target(), "-c", str(IDLE_CONNECTIONS)]) as idle:
        if idle.held != IDLE_CONNECTIONS:
            raise lib.Invalid(f"{peer.name}: {idle.held} of {IDLE_CONNECTIONS} connections held")
        held = lib.settled_rss(pids)
    results.add("idle_rss_bytes", peer.name, (held - before) / IDLE_CONNECTIONS)
    results.note(f"RSS {peer.name}: {before / 1e6:.1f} MB at rest, {held / 1e6:.1f} MB with "
                 f"{IDLE_CONNECTIONS} idle connections")


def attempt(results, peer, measure, *arguments):
    """An INVALID run is repeated once, then left out and said."""
    for last in (False, True):
        try:
            return measure(peer, results, *arguments)
        except lib.Invalid as error:
            if last:
                results.note(f"INVALID and left out: {peer.name} {error}")
                print(f"  {peer.name}: {error}", file=sys.stderr)
    return None


def one_round(peers, results, quick):
    connect_s, echo_s, gigabytes = (1.5, 1.5, 1.5) if quick else (4, 4, 4)
    for peer in peers:
        if peer.name != "haproxy_splice":
            attempt(results, peer, measure_connect, connect_s)
    for peer in peers:
        if peer.name != "haproxy_splice":
            attempt(results, peer, measure_echo, echo_s)
    for peer in peers:
        attempt(results, peer, measure_bulk, gigabytes)


def describe(results):
    results.note("primary: CPU of the server (process clock, all threads) per operation; direct: "
                 "CPU of generator and sink together")
    results.note("on for all: 1 thread or worker, least connections over 4 nodes, connect timeout "
                 "5 s, idle timeout 1 h, one access log line a connection to a file in memory; "
                 "active tcp checks every 5 s (nginx: passive only, it has no others)")
    results.note(f"echo_p99_us: 300 B, {ECHO_RATE}/s in all over {ECHO_CONNECTIONS} connections, "
                 "from the intended start; echo_cpu_us: as fast as replies come")


def run(quick):
    results = lib.Results(METRICS)
    describe(results)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    directory = tempfile.mkdtemp(prefix="mongoose-compare-", dir=memory)
    try:
        with lib.start_sink(directory) as sink:
            lib.wait_until_serving(sink, lib.SINK_ADDRESSES[0], lib.SINK_PORT)
            names = lib.wanted(["haproxy", "haproxy_splice", "nginx", "ours"])
            for name in names:
                if name != "haproxy_splice":
                    with Peer(name, directory) as peer:
                        attempt(results, peer, measure_idle)
            run_rounds(results, directory, sink, names, quick)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return results.metrics()


def run_rounds(results, directory, sink, names, quick):
    peers = [Peer(name, directory) for name in names]
    if lib.wanted(["direct"]):
        peers.append(Direct(sink))
    started = []
    try:
        for peer in peers:
            started.append(peer.__enter__())
        lib.repeat(3 if quick else 7, 140 if quick else 3600,
                   lambda _: one_round(started, results, quick))
    finally:
        for peer in reversed(started):
            peer.__exit__(None, None, None)
