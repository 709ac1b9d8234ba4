"""bench/compare lb: plain TCP through HAProxy, nginx stream and mongooselb, through a bare loop
(floor), and straight to the sink. One thread or worker each, the same four nodes, least connections, checks and timeouts on, one
access log line a connection into a file in memory."""

import os

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
    "paced_echo_cpu_us": ("us", "lower"),
    "paced_echo_machine_us": ("us", "lower"),
    "rare_echo_cpu_us": ("us", "lower"),
    "rare_echo_machine_us": ("us", "lower"),
    "bulk_cpu_s_per_gb": ("s/GB", "lower"),
    "idle_rss_bytes": ("bytes", "lower"),
}

ECHO_CONNECTIONS = 1000
ECHO_RATE = 10000  # of the paced run for the latency: well below what any of them can carry
# How XMPP behaves: many connections, of which few say something at any moment; the rarer the bytes,
# the more of their cost is waking up.
PACED_RATE = 2000
RARE_RATE = 500
IDLE_CONNECTIONS = 5000
PORTS = {"haproxy": 6001, "haproxy_splice": 6002, "nginx": 6003, "ours": 6004, "floor": 6005,
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


def make_server(name, directory):
    path = os.path.join(directory, name + ".conf")
    stdout = None
    if name.startswith("haproxy"):
        config = haproxy_config(name == "haproxy_splice")
        command = ["haproxy", "-db", "-f", path]
        stdout = os.path.join(directory, name + ".access")
    elif name == "nginx":
        config, command = nginx_config(directory), ["nginx", "-c", path, "-p", directory]
    elif name == "floor":
        config, command = "", [lib.program("proxy_floor"), f"127.0.0.1:{PORTS[name]}",
                               *(f"{address}:{lib.SINK_PORT}" for address in lib.SINK_ADDRESSES)]
    else:
        config, command = ours_config(directory), [lib.program("mongooselb"), "run", path]
    return lib.Server(name, command, PORTS[name], directory, config, stdout)


def measure_connect(server, results, seconds):
    result = lib.load(["connect", *server.target(), "-c", "64", "-d", f"{seconds}s"],
                      server.pids())
    results.add("connection_cpu_us", server.name,
                server.cpu_s(result) / result["completed"] * 1e6)
    results.add("connections_per_s", server.name, result["achieved_per_s"])


def echo_arguments(server, seconds):
    return ["echo", *server.target(), "-c", str(ECHO_CONNECTIONS), "--payload", "300",
            "-d", f"{seconds}s"]


def measure_echo(server, results, seconds):
    result = lib.load(echo_arguments(server, seconds), server.pids())
    results.add("echo_cpu_us", server.name, server.cpu_s(result) / result["completed"] * 1e6)


def measure_paced_echo(server, results, seconds):
    result = lib.load([*echo_arguments(server, seconds), "--rate", str(ECHO_RATE)], server.pids())
    results.add("echo_p99_us", server.name, result["phases"]["total"]["p99_us"])


def measure_slow_echo(server, results, seconds, name, rate):
    """CPU of the process, and of the whole machine: work can move to kernel threads."""
    result = lib.load([*echo_arguments(server, seconds), "--rate", str(rate)], server.pids())
    results.add(name + "_cpu_us", server.name, server.cpu_s(result) / result["completed"] * 1e6)
    if result["machine_busy_s"] is not None:
        results.add(name + "_machine_us", server.name,
                    result["machine_busy_s"] / result["completed"] * 1e6)


def measure_paced(server, results, seconds):
    measure_slow_echo(server, results, seconds, "paced_echo", PACED_RATE)


def measure_rare(server, results, seconds):
    measure_slow_echo(server, results, seconds, "rare_echo", RARE_RATE)


# What the bare loop does as well: it knows no back-pressure, so no bulk; its memory is a table.
FLOOR = (measure_connect, measure_echo, measure_paced_echo, measure_paced, measure_rare)


def measure_bulk(server, results, gigabytes):
    result = lib.load(["bulk", *server.target(), "-c", "4", "--gigabytes", str(gigabytes)],
                      server.pids())
    results.add("bulk_cpu_s_per_gb", server.name, server.cpu_s(result) / (result["bytes"] / 1e9))


def one_round(servers, results, quick):
    connect_s, echo_s, gigabytes = (0.6, 0.6, 0.8) if quick else (1.5, 1.5, 1.5)
    slow_s = 1.0 if quick else 2.5
    for measure, size in ((measure_connect, connect_s), (measure_echo, echo_s),
                          (measure_paced_echo, echo_s), (measure_paced, slow_s),
                          (measure_rare, slow_s), (measure_bulk, gigabytes)):
        for server in servers:
            if server.name == "floor" and measure not in FLOOR:
                continue
            if server.name != "haproxy_splice" or measure is measure_bulk:
                lib.attempt(results, server, measure, size)


def describe(results):
    results.note("primary: CPU of the server (process clock, all threads) per operation; direct: "
                 "CPU of generator and sink together")
    results.note("on for all: 1 thread or worker, least connections over 4 nodes, connect timeout "
                 "5 s, idle timeout 1 h, one access log line a connection to a file in memory; "
                 "active tcp checks every 5 s (nginx: passive only, it has no others)")
    results.note("floor: a bare loop on io_uring without time-outs, limits, checks, logs, half-closes "
                 "or back-pressure; *_machine_us: all cores, generator and sink included")
    results.note(f"paced_echo: {PACED_RATE}/s in all over {ECHO_CONNECTIONS} connections; rare_echo: "
                 f"{RARE_RATE}/s")
    results.note(f"echo_p99_us: 300 B, {ECHO_RATE}/s in all over {ECHO_CONNECTIONS} connections, "
                 "from the intended start; echo_cpu_us: as fast as replies come")


def run(quick):
    results = lib.Results(METRICS)
    describe(results)
    names = lib.wanted(["haproxy", "haproxy_splice", "nginx", "ours", "floor"])
    lib.need("mongoosebench", *(["mongooselb"] if "ours" in names else []),
             *(["proxy_floor"] if "floor" in names else []))
    with lib.Scratch() as directory, lib.start_sink(directory) as sink:
        lib.wait_until_serving(sink, lib.SINK_ADDRESSES[0], lib.SINK_PORT)
        for name in names:
            if name not in ("haproxy_splice", "floor"):
                with make_server(name, directory) as server:
                    lib.attempt(results, server, lib.measure_idle, "idle_rss_bytes",
                                IDLE_CONNECTIONS)
        servers = [make_server(name, directory) for name in names]
        if lib.wanted(["direct"]):
            servers.append(lib.Direct(sink))
        with lib.Together(servers) as running:
            # The shorter the runs, the more alike is the machine for those beside each other.
            lib.repeat(9 if quick else 15, 130 if quick else 3600,
                       lambda i: one_round(running[::-1] if i % 2 else running, results, quick))
    return results.metrics()
