"""bench/compare tls: TLS 1.3 ended by HAProxy, nginx stream, hitch and mongooselb, plain to the
sink, and OpenSSL in memory as the floor. One thread or worker each."""

import json
import os
import ssl
import subprocess

import compare_lib as lib

PACKAGES = {
    "haproxy": "haproxy",
    "nginx": "nginx",
    "/usr/lib/nginx/modules/ngx_stream_module.so": "libnginx-mod-stream",
    "hitch": "hitch",
    "openssl": "openssl",
    "taskset": "util-linux",
    "ip": "iproute2",
}

METRICS = {
    "handshake_p256_cpu_us": ("us", "lower"),
    "handshake_rsa2048_cpu_us": ("us", "lower"),
    "handshake_resumed_cpu_us": ("us", "lower"),
    "tls_echo_cpu_us": ("us", "lower"),
    "tls_bulk_cpu_s_per_gb": ("s/GB", "lower"),
    "tls_idle_rss_bytes": ("bytes", "lower"),
}

ECHO_CONNECTIONS = 1000
IDLE_CONNECTIONS = 4000
# The ECDSA listener; the one with the RSA certificate is RSA_OFFSET above it.
PORTS = {"haproxy": 6011, "nginx": 6012, "hitch": 6013, "ours": 6014}
RSA_OFFSET = 20
KEYS = {"p256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "rsa2048": ["-newkey", "rsa:2048"]}


def make_certificates(directory):
    for name, key in KEYS.items():
        base = os.path.join(directory, name)
        done = subprocess.run(
            ["openssl", "req", "-x509", *key, "-nodes", "-days", "30", "-subj",
             "/CN=xmpp.test", "-addext", "subjectAltName=DNS:xmpp.test", "-keyout", base + ".key",
             "-out", base + ".crt"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise lib.Failure(f"openssl could not make a {name} certificate: {done.stderr}")
        with open(base + ".pem", "w", encoding="ascii") as both:
            for part in (".crt", ".key"):
                with open(base + part, encoding="ascii") as file:
                    both.write(file.read())
        os.chmod(base + ".pem", 0o600)


def haproxy_config(directory):
    servers = "\n".join(f"  server n{i} {address}:{lib.SINK_PORT} check inter 5s"
                        for i, address in enumerate(lib.SINK_ADDRESSES, 1))
    port = PORTS["haproxy"]
    return f"""global
  nbthread 1
  maxconn 9000
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode tcp
  log global
  option tcplog
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend in
  bind 127.0.0.1:{port} ssl crt {directory}/p256.pem backlog 4096
  bind 127.0.0.1:{port + RSA_OFFSET} ssl crt {directory}/rsa2048.pem backlog 4096
  default_backend nodes
backend nodes
  balance leastconn
{servers}
"""


def nginx_config(directory):
    servers = "\n".join(f"    server {address}:{lib.SINK_PORT} max_fails=3 fail_timeout=5s;"
                        for address in lib.SINK_ADDRESSES)
    listeners = "\n".join(f"""  server {{
    listen 127.0.0.1:{PORTS["nginx"] + offset} ssl backlog=4096;
    ssl_certificate {directory}/{key}.crt;
    ssl_certificate_key {directory}/{key}.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    proxy_pass nodes;
  }}""" for key, offset in (("p256", 0), ("rsa2048", RSA_OFFSET)))
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
{listeners}
}}
"""


def hitch_config(directory):
    frontends = "\n".join(f"""frontend = {{
  host = "127.0.0.1"
  port = "{PORTS["hitch"] + offset}"
  pem-file = "{directory}/{key}.pem"
}}""" for key, offset in (("p256", 0), ("rsa2048", RSA_OFFSET)))
    return f"""{frontends}
backend = "[{lib.SINK_ADDRESSES[0]}]:{lib.SINK_PORT}"
workers = 1
backlog = 4096
daemon = off
user = "nobody"
group = "nogroup"
tls-protos = TLSv1.2 TLSv1.3
log-level = 1
"""


def ours_config(directory):
    nodes = "\n".join(f'[[pool.nodes.node]]\nname = "n{i}"\naddress = "{address}:{lib.SINK_PORT}"'
                      for i, address in enumerate(lib.SINK_ADDRESSES, 1))
    listeners = "\n".join(f"""[listener.{key}]
bind = "127.0.0.1:{PORTS["ours"] + offset}"
pool = "nodes"
mode = "tls"
certificates = [{{ chain = "{directory}/{key}.crt", key = "{directory}/{key}.key" }}]"""
                          for key, offset in (("p256", 0), ("rsa2048", RSA_OFFSET)))
    return f"""[process]
workers = 1
ctl_socket = "{directory}/ours.ctl"
admin_listen = "127.0.0.1:6404"
[log]
access = "{directory}/ours.access"
{listeners}
[pool.nodes]
balance = "leastconn"
connect_timeout = "5s"
idle_timeout = "1h"
[[pool.nodes.check]]
type = "tcp"
interval = "5s"
{nodes}
"""


def wrap(raw):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname="xmpp.test")


def make_server(name, directory):
    path = os.path.join(directory, name + ".conf")
    stdout = os.path.join(directory, name + ".access") if name == "haproxy" else None
    config, command = {
        "haproxy": lambda: (haproxy_config(directory), ["haproxy", "-db", "-f", path]),
        "nginx": lambda: (nginx_config(directory), ["nginx", "-c", path, "-p", directory]),
        "hitch": lambda: (hitch_config(directory), ["hitch", "--config=" + path]),
        "ours": lambda: (ours_config(directory), [lib.program("mongooselb"), "run", path]),
    }[name]()
    return lib.Server(name, command, PORTS[name], directory, config, stdout, wrap)


TLS = ["--tls", "--sni", "xmpp.test", "--tls-version", "1.3"]


def measure_handshakes(server, results, metric, seconds):
    target = [f"127.0.0.1:{server.port + (RSA_OFFSET if 'rsa' in metric else 0)}"]
    resume = ["--resume"] if "resumed" in metric else []
    result = lib.load(["connect", *target, *TLS, *resume, "-c", "16", "-d", f"{seconds}s"],
                      server.pids())
    if not resume and result["resumed"] != 0:
        raise lib.Failure(f"{server.name}: {result['resumed']} handshakes that should be full "
                          "were resumed")
    results.add(metric, server.name, server.cpu_s(result) / result["completed"] * 1e6)


def measure_echo(server, results, _metric, seconds):
    result = lib.load(["echo", *server.target(), *TLS, "-c", str(ECHO_CONNECTIONS), "--payload",
                       "300", "-d", f"{seconds}s"], server.pids())
    results.add("tls_echo_cpu_us", server.name, server.cpu_s(result) / result["completed"] * 1e6)


def measure_bulk(server, results, _metric, gigabytes):
    result = lib.load(["bulk", *server.target(), *TLS, "-c", "4", "--gigabytes", str(gigabytes)],
                      server.pids())
    results.add("tls_bulk_cpu_s_per_gb", server.name,
                server.cpu_s(result) / (result["bytes"] / 1e9))


def measure_floor(results, directory, count):
    for metric, key, kind in (("handshake_p256_cpu_us", "p256", "full"),
                              ("handshake_rsa2048_cpu_us", "rsa2048", "full"),
                              ("handshake_resumed_cpu_us", "p256", "resumed")):
        base = os.path.join(directory, key)
        done = subprocess.run(
            ["taskset", "-c", str(lib.cores()[0]), lib.program("tls_floor"), base + ".crt",
             base + ".key", kind, str(count)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise lib.Failure(f"tls_floor {kind}: {done.stdout}{done.stderr}")
        results.add(metric, "openssl_floor", json.loads(done.stdout)["server_us"])


def one_round(servers, results, directory, quick):
    handshake_s, echo_s, gigabytes = (0.6, 0.6, 0.6) if quick else (1.5, 1.5, 1)
    if lib.wanted(["openssl_floor"]):
        measure_floor(results, directory, 300 if quick else 3000)
    for metric in ("handshake_p256_cpu_us", "handshake_rsa2048_cpu_us",
                   "handshake_resumed_cpu_us"):
        for server in servers:
            lib.attempt(results, server, measure_handshakes, metric, handshake_s)
    for server in servers:
        lib.attempt(results, server, measure_echo, "tls_echo_cpu_us", echo_s)
    for server in servers:
        lib.attempt(results, server, measure_bulk, "tls_bulk_cpu_s_per_gb", gigabytes)


def describe(results):
    results.note("primary: CPU of the server (process clock, all threads) per operation; a "
                 "handshake is a whole connection: TCP, TLS 1.3, to the node, 64 B echoed, closed")
    results.note("openssl_floor: OpenSSL's own handshake in memory, server side only, no sockets")
    results.note("resumed: P-256 session tickets, every handshake checked to be resumed")
    results.note("on for all: 1 thread or worker; all but hitch: connect timeout 5 s, least "
                 "connections over 4 nodes, idle timeout 1 h, one access log line a connection to "
                 "a file in memory (hitch has one backend and no access log); active tcp checks: "
                 "haproxy, ours")


def run(quick):
    results = lib.Results(METRICS)
    describe(results)
    names = lib.wanted(["haproxy", "nginx", "hitch", "ours"])
    lib.need("mongoosebench", "tls_floor", *(["mongooselb"] if "ours" in names else []))
    with lib.Scratch() as directory, lib.start_sink(directory) as sink:
        make_certificates(directory)
        lib.wait_until_serving(sink, lib.SINK_ADDRESSES[0], lib.SINK_PORT)
        for name in names:
            with make_server(name, directory) as server:
                lib.attempt(results, server, lib.measure_idle, "tls_idle_rss_bytes",
                            IDLE_CONNECTIONS, TLS)
        with lib.Together([make_server(name, directory) for name in names]) as running:
            # The shorter the runs, the more alike is the machine for those beside each other.
            lib.repeat(7 if quick else 15, 120 if quick else 3600,
                       lambda i: one_round(running[::-1] if i % 2 else running, results, directory,
                                           quick))
    return results.metrics()
