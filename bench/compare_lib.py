"""What the areas of bench/compare share: namespaces, pinning, servers that are proved to run, the
generator, medians and the table. Standard library only."""

import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SINK_ADDRESSES = ["127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"]
SINK_PORT = 7001
SOURCES = "127.0.1.1-127.0.1.16"
PORT_RANGE = "16000 64999"  # no port that anything listens on lies in it
START_DEADLINE_S = 15
WARM_UP = "200ms"

_settings = {"build": "", "rounds": None, "only": None}


class Failure(Exception):
    """What went wrong and the remedy; shown to the operator as it is."""


def configure(build, rounds, only):
    _settings["build"] = os.path.abspath(build)
    _settings["rounds"] = rounds
    _settings["only"] = only.split(",") if only else None


def rounds(default):
    return _settings["rounds"] or default


def wanted(names):
    """Those of `names` that --only leaves."""
    only = _settings["only"]
    return [name for name in names if only is None or name in only]


def program(name):
    path = os.path.join(_settings["build"], "bin", name)
    if not os.access(path, os.X_OK):
        raise Failure(f"{path} is missing: cmake --preset release && ninja -C build/release {name}"
                      " (or name the build folder with --build)")
    return path


def need(*names):
    """Fails before anything has been measured when one of our programs is missing."""
    for name in names:
        program(name)


def install(packages):
    """Installs the Debian packages of missing programs. `packages`: program or file -> package."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    os.environ["PATH"] = search
    missing = sorted({package for need, package in packages.items()
                      if not (os.path.exists(need) or shutil.which(need, path=search))})
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    print("installing:", " ".join(missing), file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode != 0:
        raise Failure("peers are missing; as root: " + " ".join(command))


# ---- the machine ---------------------------------------------------------------------------------


def machine():
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}"


def set_up_network():
    """Loopback up; Reno, since BBR paces on loopback and hides every difference; a port range that
    leaves the listening ports alone; TIME_WAIT never in the way."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in (("tcp_congestion_control", "reno"), ("ip_local_port_range", PORT_RANGE),
                        ("tcp_tw_reuse", "1"), ("tcp_max_syn_backlog", "16384")):
        try:
            with open("/proc/sys/net/ipv4/" + name, "w", encoding="ascii") as file:
                file.write(value)
        except OSError as error:
            raise Failure(f"cannot set net.ipv4.{name} to {value}: {error}; run as root") from error


def set_up_memory():
    """A /dev/shm of our own, which goes with the namespace, for configurations and logs."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"cannot mount a file system in memory: {done.stderr.strip()}; run as root")


def cores():
    """(server's core, generator's core)."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise Failure("two cores are needed, one for the server, one for the generator")
    return available[0], available[1]


# ---- processes -----------------------------------------------------------------------------------


def _children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found


def rss_bytes(pids):
    """Resident memory of the processes together."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Rss:"):
                    total += int(line.split()[1]) * 1024
    return total


class Process:
    """A pinned child with its output in a file. Ends with the `with` block."""

    def __init__(self, name, command, core, directory, stdout=None):
        self.name = name
        self.command = command
        self.core = core
        self.log_path = os.path.join(directory, name + ".out")
        self.stdout_path = stdout or self.log_path
        self.process = None

    def __enter__(self):
        with open(self.log_path, "ab") as log, open(self.stdout_path, "ab") as out:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(self.core), *self.command], stdin=subprocess.DEVNULL,
                stdout=out, stderr=log)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                for pid in self.all_pids():
                    os.kill(pid, signal.SIGKILL)
                self.process.wait(3)

    def all_pids(self):
        return [self.process.pid, *_children(self.process.pid)]

    def check_alive(self):
        if self.process.poll() is not None:
            with open(self.log_path, "r", encoding="utf-8", errors="replace") as log:
                tail = log.read()[-1500:]
            raise Failure(f"{self.name} ended with status {self.process.returncode}:\n{tail}")

    def pin(self):
        """Pins every thread again: some servers choose their cores themselves."""
        for pid in self.all_pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(task), {self.core})
                if os.sched_getaffinity(int(task)) != {self.core}:
                    raise Failure(f"{self.name}: thread {task} could not be pinned")


def answers(address, port, payload=b"hello\n", wrap=None):
    """Whether a whole exchange passes: connected, sent, echoed."""
    try:
        with socket.create_connection((address, port), 2) as raw:
            raw.settimeout(2)
            stream = wrap(raw) if wrap else raw
            stream.sendall(payload)
            received = b""
            while len(received) < len(payload):
                part = stream.recv(4096)
                if not part:
                    return False
                received += part
            return received == payload
    except OSError:
        return False


def wait_until_serving(process, address, port, wrap=None):
    deadline = time.monotonic() + START_DEADLINE_S
    while not answers(address, port, wrap=wrap):
        process.check_alive()
        if time.monotonic() > deadline:
            raise Failure(f"{process.name} does not serve on {address}:{port} after "
                          f"{START_DEADLINE_S} s; see {process.log_path}")
        time.sleep(0.1)
    process.check_alive()  # or somebody else answered on its port
    process.pin()


def refuse_taken_port(address, port):
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((address, port)) == 0:
            raise Failure(f"{address}:{port} is taken already")


class Server:
    """A server under test: started, proved to serve, pinned; stopped at the end of the block."""

    def __init__(self, name, command, port, directory, config, stdout=None, wrap=None):
        self.name = name
        self.port = port
        self.wrap = wrap
        with open(os.path.join(directory, name + ".conf"), "w", encoding="ascii") as file:
            file.write(config)
        self.process = Process(name, command, cores()[0], directory, stdout)

    def __enter__(self):
        refuse_taken_port("127.0.0.1", self.port)
        self.process.__enter__()
        try:
            wait_until_serving(self.process, "127.0.0.1", self.port, self.wrap)
        except BaseException:
            self.process.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.__exit__(*error)

    def target(self):
        return [f"127.0.0.1:{self.port}"]

    def pids(self):
        self.process.check_alive()
        return self.process.all_pids()

    def cpu_s(self, result):
        """CPU that the measured side took in the window."""
        return server_cpu_s(result)


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
        return [f"{address}:{SINK_PORT}" for address in SINK_ADDRESSES]

    def pids(self):
        return self.sink.all_pids()

    def cpu_s(self, result):
        return server_cpu_s(result) + result["generator_cpu_s"]


class Together:
    """Starts all, in order; stops all, whatever happens."""

    def __init__(self, servers):
        self.servers = servers
        self.started = []

    def __enter__(self):
        try:
            for server in self.servers:
                self.started.append(server.__enter__())
        except BaseException:
            self.__exit__()
            raise
        return self.started

    def __exit__(self, *_):
        for server in reversed(self.started):
            server.__exit__(None, None, None)
        self.started = []


class Scratch:
    """A folder in memory for configurations, sockets and logs; removed at the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="mongoose-compare-", dir="/dev/shm")
        os.chmod(self.path, 0o755)
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def start_sink(directory):
    listens = [f"{address}:{SINK_PORT}" for address in SINK_ADDRESSES]
    return Process("sink", [program("mongoosebench"), "sink", *listens], cores()[1], directory)


# ---- the generator -------------------------------------------------------------------------------


def generator_command(arguments):
    return ["taskset", "-c", str(cores()[1]), program("mongoosebench"), *arguments,
            "--source", SOURCES, "--quiet", "--json", "-"]


class Invalid(Exception):
    """A run that proves nothing."""


def run_generator(arguments, limit_s):
    """To its end; what it said."""
    try:
        return subprocess.run(generator_command(arguments), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"mongoosebench {' '.join(arguments)} had not ended after {limit_s} s") from error


def load(arguments, watch, limit_s=120):
    """Runs the generator to its end and returns its result; Invalid when it says so."""
    for pid in watch:
        arguments = [*arguments, "--watch", str(pid)]
    if arguments[0] != "bulk":
        arguments = [*arguments, "--warmup", WARM_UP]
    done = run_generator(arguments, limit_s)
    if done.returncode == 2 or not done.stdout.strip():
        raise Failure(f"mongoosebench {' '.join(arguments)}: {done.stderr.strip()}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if not result["valid"]:
        raise Invalid(f"{result['mode']}: {'; '.join(result['invalid'])}")
    return result


def server_cpu_s(result):
    seconds = [entry["cpu_s"] for entry in result["watched"].values()]
    if not seconds or any(value is None for value in seconds):
        raise Failure("the CPU clock of the server could not be read to the end: did it die?")
    return sum(seconds)


class IdleLoad:
    """Connections at rest while the `with` block runs."""

    def __init__(self, arguments, mode=("idle",)):
        self.command = generator_command([*mode, *arguments, "--hold", "stdin"])

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise Failure("mongoosebench idle: " + self.process.stderr.read().strip())
        self.held = json.loads(line).get("held", 0)
        return self

    def __exit__(self, *_):
        out, _ = self.process.communicate("\n", timeout=30)
        if out.strip():
            result = json.loads(out.strip().splitlines()[-1])
            if not result["valid"]:
                raise Invalid("idle: " + "; ".join(result["invalid"]))


def settled_rss(pids, limit_s=10):
    """RSS once it has stood still for about a second."""
    deadline = time.monotonic() + limit_s
    same = 0
    last = rss_bytes(pids)
    while same < 3 and time.monotonic() < deadline:
        time.sleep(0.3)
        now = rss_bytes(pids)
        same = same + 1 if abs(now - last) <= 4096 else 0
        last = now
    return last


def measure_idle(server, results, metric, connections, extra=()):
    """RSS per connection at rest, on a fresh process: what a pool kept from earlier runs would hide
    the growth."""
    pids = server.pids()
    before = settled_rss(pids)
    with IdleLoad([*server.target(), "-c", str(connections), *extra]) as idle:
        if idle.held != connections:
            raise Invalid(f"idle: {idle.held} of {connections} connections held")
        held = settled_rss(pids)
    results.add(metric, server.name, (held - before) / connections)
    results.note(f"RSS {server.name}: {before / 1e6:.1f} MB at rest, {held / 1e6:.1f} MB with "
                 f"{connections} idle connections")


ATTEMPTS = 3


def attempt(results, server, measure, *arguments):
    """An INVALID run is repeated, then left out and said."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return measure(server, results, *arguments)
        except Invalid as error:
            print(f"  {server.name}: {error}", file=sys.stderr)
            if left == 0:
                results.note(f"INVALID and left out: {server.name} {error}")
    return None


def guarded(results, server, measure, *arguments):
    """attempt, where a server that dies or refuses is left out of a metric and said."""
    try:
        attempt(results, server, measure, *arguments)
    except Failure as failure:
        results.note(f"left out: {server.name} {measure.__name__}: {failure}")


# ---- results -------------------------------------------------------------------------------------


def _ratio(ours, peer):
    """The median of the rounds' ratios, since the machine changes from round to round; that of the
    medians where a round was left out and it cannot be said what was measured beside what."""
    if len(ours) != len(peer):
        return statistics.median(ours) / statistics.median(peer)
    return statistics.median(a / b for a, b in zip(ours, peer))


class Results:
    """Samples by metric and server, in the order in which the metrics were declared."""

    def __init__(self, declared):
        self.declared = declared  # name -> (unit, better)
        self.samples = {name: {} for name in declared}
        self.notes = []

    def add(self, metric, server, value):
        self.samples[metric].setdefault(server, []).append(value)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def metrics(self):
        rows = []
        for name, (unit, better) in self.declared.items():
            by_server = self.samples[name]
            if not by_server:
                continue
            ours = by_server.get("ours", [])
            ratios = {server: round(_ratio(ours, values), 3)
                      for server, values in by_server.items()
                      if server != "ours" and ours and all(values)}
            rows.append({
                "name": name, "unit": unit, "better": better,
                "runs": min(len(values) for values in by_server.values()),
                "results": {server: round(statistics.median(values), 3)
                            for server, values in by_server.items()},
                "spread": {server: [round(min(values), 3), round(max(values), 3)]
                           for server, values in by_server.items()},
                "ratios": ratios,
            })
        if rows and self.notes:
            rows[0]["notes"] = self.notes
        return rows


def repeat(default_rounds, budget_s, one_round):
    """Calls one_round(i) until the rounds are done, or another one would break the budget."""
    start = time.monotonic()
    longest = 0.0
    for i in range(rounds(default_rounds)):
        if i > 0 and time.monotonic() - start + longest > budget_s:
            print(f"  time is up after {i} rounds", file=sys.stderr)
            return
        began = time.monotonic()
        one_round(i)
        longest = max(longest, time.monotonic() - began)
        print(f"  round {i + 1}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def _format(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def print_table(area, machine_text, metrics):
    """Medians, and beside each the ratio ours/peer (the median of the rounds' ratios)."""
    servers = []
    for metric in metrics:
        servers += [name for name in metric["results"] if name not in servers]
    servers.sort(key=lambda name: name != "ours")
    print(f"\n{area}: {machine_text}")
    print("| " + " | ".join(["median (ours/peer)", "better", "runs", *servers]) + " |")
    print("| --- " * (3 + len(servers)) + "|")
    for metric in metrics:
        cells = []
        for name in servers:
            value = metric["results"].get(name)
            cell = _format(value)
            if name in metric["ratios"]:
                cell += f" ({metric['ratios'][name]:.2f}x)"
            cells.append(cell)
        title = f"{metric['name']} [{metric['unit']}]"
        print("| " + " | ".join([title, metric["better"], str(metric["runs"]), *cells]) + " |")
    for metric in metrics:
        for note in metric.get("notes", []):
            print("- " + note)


def open_json(path):
    """Opened before the work, so that a wrong path costs no run; emptied only by write_json."""
    try:
        return open(path, "a", encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from error


def write_json(file, area, machine_text, metrics):
    with file:
        file.truncate(0)
        json.dump({"area": area, "machine": machine_text, "metrics": metrics}, file, indent=1)
        file.write("\n")
