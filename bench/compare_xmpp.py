"""bench/compare xmpp: ours beside ejabberd and Prosody (Debian's), one worker, scheduler or thread each:
logins, messages, presence, rooms, memory of sessions, pages of archives."""

import os
import tempfile

import compare_lib as lib
import compare_tls
import xmpp_accounts
import xmpp_peers

PACKAGES = {
    "/usr/bin/prosody": "prosody",
    "/usr/share/lua/5.4/ssl.lua": "lua-sec",
    "/usr/share/lua/5.4/DBI.lua": "lua-dbi-sqlite3",
    "/usr/sbin/ejabberdctl": "ejabberd",
    "/usr/share/doc/erlang-p1-sqlite3": "erlang-p1-sqlite3",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "ip": "iproute2",
}

METRICS = {
    "message_cpu_us": ("us", "lower"),
    "messages_per_s": ("1/s", "higher"),
    "delivery_p99_us": ("us", "lower"),
    "sm_ack_p99_us": ("us", "lower"),
    "login_scram_cpu_us": ("us", "lower"),
    "login_starttls_cpu_us": ("us", "lower"),
    "resume_cpu_us": ("us", "lower"),
    "presence_fanout_cpu_us": ("us", "lower"),
    "muc_fanout_cpu_us": ("us", "lower"),
    "session_rss_bytes": ("bytes", "lower"),
    "session_tls_rss_bytes": ("bytes", "lower"),
    "mam_page_ms": ("ms", "lower"),
}

CONTACTS = 20
PAIRS = 100
WINDOW = 4
PACED_PER_S = 500
LOGIN_ACCOUNTS = 210
LOGINS_AT_ONCE = 32
PASSWORD = "bench-secret"
LOAD_LIMIT_S = 600  # entering a room takes some of them minutes
PAGE = 50


class Size:
    """How much is done: sessions between which the slope is taken, rows of archives, seconds."""

    def __init__(self, quick):
        self.few, self.many = (500, 2_500) if quick else (2_000, 12_000)
        self.occupants = 200 if quick else 1000
        self.archive_rows = 1_000_000 if quick else 10_000_000
        self.seconds = 2 if quick else 6
        self.rounds = 1 if quick else 5
        self.budget_s = 120 if quick else 3600


def run_load(peer, mode, *arguments, security="plain"):
    """A run's result; Invalid when it says so itself."""
    return lib.load(["xmpp", mode, peer.target(security == "tls"), "--security", security,
                     *account_options(), *arguments], peer.pids(), LOAD_LIMIT_S)


def account_options():
    return ["--users", f"user%d@{xmpp_peers.DOMAIN}", "--password", PASSWORD]


def add_cpu(results, metric, peer, result):
    """Microseconds of the server's CPU for an operation."""
    results.add(metric, peer.name, lib.server_cpu_s(result) / result["completed"] * 1e6)


# ---- the metrics -----------------------------------------------------------------------------------


def measure_messages(peer, results, seconds):
    result = run_load(peer, "message", "--pairs", str(PAIRS), "--window", str(WINDOW), "-d",
                      f"{seconds}s")
    add_cpu(results, "message_cpu_us", peer, result)
    results.add("messages_per_s", peer.name, result["achieved_per_s"])


def measure_delivery(peer, results, seconds):
    result = run_load(peer, "message", "--pairs", str(PAIRS), "--rate", str(PACED_PER_S),
                      "--ack-every", "1", "-d", f"{seconds}s")
    results.add("delivery_p99_us", peer.name, result["phases"]["total"]["p99_us"])
    results.add("sm_ack_p99_us", peer.name, result["phases"]["sm_ack"]["p99_us"])


def measure_logins(peer, results, metric, security, seconds):
    result = run_load(peer, "login", "-c", str(LOGINS_AT_ONCE), "--accounts", str(LOGIN_ACCOUNTS),
                      "--no-presence", "-d", f"{seconds}s", security=security)
    add_cpu(results, metric, peer, result)


def measure_resumptions(peer, results, seconds):
    result = run_load(peer, "login", "--resume", "-c", str(LOGINS_AT_ONCE), "--no-presence", "-d",
                      f"{seconds}s")
    add_cpu(results, "resume_cpu_us", peer, result)


def measure_presence(peer, results, seconds):
    result = run_load(peer, "presence", "-c", str(10 * (CONTACTS + 1)), "--contacts", str(CONTACTS),
                      "-d", f"{seconds}s")
    add_cpu(results, "presence_fanout_cpu_us", peer, result)


def measure_muc(peer, results, size):
    """One speaker, one message under way: no copies that wait together are sent as one. The server
    starts anew, and the occupants are cut off at the end: their leaving would be told to all."""
    with peer:
        result = run_load(peer, "muc", "-c", str(size.occupants), "--window", "1", "--cut", "-d",
                          f"{size.seconds}s", "--timeout", "30s")
    results.add("muc_fanout_cpu_us", peer.name,
                lib.server_cpu_s(result) / result["deliveries"] * 1e6)


def measure_sessions(peer, results, metric, security, size):
    """The slope of RSS between few and many sessions, which the server starts to hold anew."""
    with peer:
        held = []
        common = [peer.target(security == "tls"), "--security", security, "--cut", "--timeout", "60s",
                  *account_options()]
        with lib.IdleLoad([*common, "-c", str(size.few)], ("xmpp", "idle")) as first:
            held.append(first.held)
            few = lib.settled_rss(peer.pids(), 20)
            more = size.many - size.few
            with lib.IdleLoad([*common, "-c", str(more), "--first", str(size.few)],
                              ("xmpp", "idle")) as second:
                held.append(second.held)
                many = lib.settled_rss(peer.pids(), 20)
        if held != [size.few, more]:
            raise lib.Invalid(f"idle: {held} of {[size.few, more]} sessions held")
    results.add(metric, peer.name, (many - few) / more)
    results.note(f"RSS {peer.name} {security}: {few / 1e6:.0f} MB with {size.few}, "
                 f"{many / 1e6:.0f} MB with {size.many} sessions")


def measure_archive(peer, results, size):
    """Pages through the first account's archive; the server starts with the archive filled."""
    with peer:
        result = run_load(peer, "archive", "--page", str(PAGE), "--no-carbons", "--no-roster",
                          "--no-presence", "-d", f"{size.seconds}s")
    if result["deliveries"] < PAGE * (result["completed"] - 2):
        raise lib.Invalid(f"archive: {result['deliveries']} messages on {result['completed']} pages")
    results.add("mam_page_ms", peer.name, result["phases"]["total"]["p50_us"] / 1e3)


def one_round(peers, results, size):
    """Only one server runs at a time: another's timers would cost the measured one's core."""
    for peer in peers:
        with peer:
            lib.attempt(results, peer, measure_messages, size.seconds)
            lib.attempt(results, peer, measure_delivery, size.seconds)
            lib.attempt(results, peer, measure_logins, "login_scram_cpu_us", "plain", size.seconds)
            lib.attempt(results, peer, measure_logins, "login_starttls_cpu_us", "starttls",
                        size.seconds)
            lib.attempt(results, peer, measure_resumptions, size.seconds)
            lib.attempt(results, peer, measure_presence, size.seconds)
        lib.guarded(results, peer, measure_muc, size)


# ---- the run ---------------------------------------------------------------------------------------


def describe(results, size):
    results.note("primary: CPU of the server (process clock, all threads) per operation; SCRAM-SHA-1, "
                 f"{xmpp_accounts.ITERATIONS} iterations; plain TCP but where TLS is named")
    results.note("on for all: stream management with resumption (1 h), carbons, archive of every "
                 "message, roster, ping, rooms; 1 worker, scheduler or thread; nothing logged but warnings")
    results.note("durability: archives in SQLite for all, on a file system in memory; Prosody and "
                 "ejabberd as SQLite's defaults are (rollback journal, synchronous=FULL), "
                 "ours WAL with synchronous=FULL; each message is two rows")
    results.note(f"message: {PAIRS} pairs, {WINDOW} under way each; delivery and sm_ack: "
                 f"{PACED_PER_S}/s over the same pairs, an acknowledgement asked for each")
    results.note("login: to the session's last answer (SM, carbons, roster of "
                 f"{CONTACTS}), no presence, then the goodbye; resume: cut, reconnected, resumed; "
                 f"presence_fanout: a change told to {CONTACTS} contacts who are there")
    results.note(f"muc_fanout: a copy of what one of {size.occupants} occupants of a room with an archive "
                 "says; one message under way, all have it before the next")
    results.note(f"session_rss: slope from {size.few} to {size.many} available sessions; mam_page: "
                 f"median of pages of {PAGE} out of {size.archive_rows:,} rows of "
                 f"{xmpp_accounts.ARCHIVE_OWNERS} archives")


def prepare(kinds, directory, accounts, results):
    """Peers that have their accounts; one that cannot be started is left out and said so."""
    compare_tls.make_certificates(directory)
    certificate, key = (os.path.join(directory, "p256" + end) for end in (".crt", ".key"))
    os.chmod(key, 0o644)  # made for this run, gone after it; servers run as users of their own
    peers = []
    for kind in kinds:
        peer = xmpp_peers.KINDS[kind](directory, accounts, certificate, key)
        try:
            peer.prepare()
            peers.append(peer)
        except lib.Failure as failure:
            results.note(f"left out: {kind}: {failure}")
    if not peers:
        raise lib.Failure("no server could be started: " + " ".join(results.notes[-len(kinds):]))
    return peers


def run(quick):
    size = Size(quick)
    results = lib.Results(METRICS)
    describe(results, size)
    names = lib.wanted(list(xmpp_peers.KINDS))
    lib.need("mongoosebench", *(["mongooseim"] if "ours" in names else []))
    accounts = xmpp_accounts.Accounts(size.many, xmpp_peers.DOMAIN, PASSWORD, CONTACTS)
    with lib.Scratch() as directory:
        peers = prepare(names, directory, accounts, results)
        lib.repeat(size.rounds, size.budget_s,
                   lambda i: one_round(peers[::-1] if i % 2 else peers, results, size))
        for metric, security in (("session_rss_bytes", "plain"), ("session_tls_rss_bytes", "starttls")):
            for peer in peers:
                lib.guarded(results, peer, measure_sessions, metric, security, size)
        for peer in peers:
            # Ten million rows are too much for memory.
            with tempfile.TemporaryDirectory(prefix="mongoose-compare-", dir="/var/tmp") as disk:
                os.chmod(disk, 0o755)
                xmpp_accounts.fill_archive(peer.name, accounts, size.archive_rows,
                                           peer.move_archive(disk))
                lib.guarded(results, peer, measure_archive, size)
            peer.discard()
    return results.metrics()
