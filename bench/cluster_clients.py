"""What clients find of a cluster of two nodes, for bench/compare cluster: messages between sessions of
different nodes, a room over both, and how long a killed node's sessions are away."""

import json
import os

import cluster_peers
import compare_lib as lib
import compare_tls
import xmpp_accounts
import xmpp_peers

PACKAGES = {
    "/usr/sbin/ejabberdctl": "ejabberd",
    "/usr/share/doc/erlang-p1-sqlite3": "erlang-p1-sqlite3",
    "openssl": "openssl",
    "setpriv": "util-linux",
}

METRICS = {
    "cross_node_message_cpu_us": ("us", "lower"),
    "cross_node_messages_per_s": ("1/s", "higher"),
    "cross_node_p99_us": ("us", "lower"),
    "muc_fanout_cpu_us": ("us", "lower"),
    "relogin_storm_s": ("s", "lower"),
}

PAIRS = 100
WINDOW = 4
PACED_PER_S = 500
PASSWORD = "bench-secret"
LOAD_LIMIT_S = 600
STORM_MESSAGES_PER_S = 100  # of all sessions, while they come back


class Size:
    def __init__(self, quick):
        self.occupants = 200 if quick else 1000
        self.sessions = 500 if quick else 5000  # of both nodes, half of which lose theirs
        self.accounts = max(self.occupants, self.sessions)
        self.settle = "30s" if quick else "90s"  # to be back in; as long as that lasts if messages are lost
        self.seconds = 1 if quick else 6
        self.rounds = 1 if quick else 5
        self.budget_s = 90 if quick else 3600


def describe(results, size):
    results.note(f"cross_node: {PAIRS} pairs, each over both nodes; CPU of both with {WINDOW} under way a "
                 f"pair, p99 at {PACED_PER_S}/s in all")
    results.note(f"muc_fanout: a copy of what one of {size.occupants} occupants of both nodes says; CPU of "
                 "both nodes, one message under way")
    results.note(f"relogin_storm: of {size.sessions} sessions half lose their node by kill -9; until the last "
                 "one is back, at the other node; the first pause of each 0.1 to 0.2 s, doubled")
    results.note("clusters: both nodes on the server's core, one worker or scheduler each; stream management, "
                 "carbons, roster, archives on; ours with one SQLite file for both nodes, ejabberd with one "
                 "a node (each has what its own sessions say and hear)")


def prepare(directory, size, results):
    """Clusters with their accounts; one that cannot be started is left out and said so."""
    compare_tls.make_certificates(directory)
    certificate, key = (os.path.join(directory, "p256" + end) for end in (".crt", ".key"))
    os.chmod(key, 0o644)  # made for this run, gone after it; servers run as users of their own
    accounts = xmpp_accounts.Accounts(size.accounts, xmpp_peers.DOMAIN, PASSWORD, contacts=0)
    clusters = []
    for kind in lib.wanted(list(cluster_peers.KINDS)):
        cluster = cluster_peers.KINDS[kind](directory, accounts, certificate, key)
        try:
            cluster.prepare()
            clusters.append(cluster)
        except lib.Failure as failure:
            results.note(f"left out: {kind}: {failure}")
    return clusters


def account_options():
    return ["--security", "plain", "--users", f"user%d@{xmpp_peers.DOMAIN}", "--password", PASSWORD]


def run_load(cluster, mode, *arguments):
    return lib.load(["xmpp", mode, *cluster.targets(), *account_options(), *arguments],
                    cluster.pids(), LOAD_LIMIT_S)


def measure_messages(cluster, results, seconds):
    result = run_load(cluster, "message", "--pairs", str(PAIRS), "--window", str(WINDOW), "-d",
                      f"{seconds}s")
    results.add("cross_node_message_cpu_us", cluster.name,
                lib.server_cpu_s(result) / result["completed"] * 1e6)
    results.add("cross_node_messages_per_s", cluster.name, result["achieved_per_s"])


def measure_delivery(cluster, results, seconds):
    result = run_load(cluster, "message", "--pairs", str(PAIRS), "--rate", str(PACED_PER_S), "-d",
                      f"{seconds}s")
    results.add("cross_node_p99_us", cluster.name, result["phases"]["total"]["p99_us"])


def measure_muc(cluster, results, size):
    """On nodes that start anew: what an earlier run's occupants left costs, too. They are cut off at the
    end, since their leaving would be told to all."""
    with cluster:
        result = run_load(cluster, "muc", "-c", str(size.occupants), "--window", "1", "--cut", "-d",
                          f"{size.seconds}s", "--timeout", "30s")
    results.add("muc_fanout_cpu_us", cluster.name,
                lib.server_cpu_s(result) / result["deliveries"] * 1e6)


def measure_storm(cluster, results, size):
    with cluster:
        story = play_storm(cluster, size)
    lost = sum(second["broken"] for second in story["seconds"])
    if lost < size.sessions / 2 or lost > size.sessions * 0.6:
        raise lib.Invalid(f"storm: {lost} of {size.sessions} sessions lost their streams, half were to")
    results.add("relogin_storm_s", cluster.name, story["absence_max_us"] / 1e6)
    verdict = story["verdict"]
    results.note(f"storm of {cluster.name}: p50 of the absence {story['absence_p50_us'] / 1e6:.2f} s; "
                 f"of {verdict['counted']} counted messages {verdict['lost']} lost, "
                 f"{verdict['doubled']} doubled, {verdict['swapped']} swapped")


def play_storm(cluster, size):
    """The story of the kill; whatever became of its messages, all sessions have to come back."""
    done = lib.run_generator(
        ["scenario", *cluster.targets(), *account_options(), "-c", str(size.sessions), "--rate",
         str(STORM_MESSAGES_PER_S), "-d", "4s", "--settle", size.settle, "--timeout", "60s", "--do",
         f"2s:{cluster.nodes[1].kill_command()}"], LOAD_LIMIT_S)
    if done.returncode == 2 or not done.stdout.strip():
        raise lib.Failure(f"mongoosebench scenario: {done.stderr.strip()}")
    story = json.loads(done.stdout.strip().splitlines()[-1])
    if story["invalid"]:
        raise lib.Invalid("storm: " + "; ".join(story["invalid"]))
    return story


def one_round(clusters, results, size):
    """Only one cluster runs at a time: another's timers would cost the measured one's core."""
    for cluster in clusters:
        with cluster:
            lib.attempt(results, cluster, measure_messages, size.seconds)
            lib.attempt(results, cluster, measure_delivery, size.seconds)
        lib.guarded(results, cluster, measure_muc, size)
        lib.guarded(results, cluster, measure_storm, size)


def repeat(clusters, results, size):
    lib.repeat(size.rounds, size.budget_s,
               lambda i: one_round(clusters[::-1] if i % 2 else clusters, results, size))
