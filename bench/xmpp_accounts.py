"""Accounts for a load, written where a server keeps them: registering thousands one by one would take
longer than the measurement. All share salt, iterations and password, so that the generator salts the
password once. Standard library only.

Accounts come in groups in which everybody is everybody's contact (subscription "both"): account i is
in group i // (contacts + 1). What a session sends to its contacts then reaches sessions that are
there, whichever groups are logged in.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import pwd
import re
import sqlite3
import time

ITERATIONS = 4096
SALT = b"mongoose-bench-1"


class Accounts:
    """`count` accounts user0@domain, … with `contacts` contacts each."""

    def __init__(self, count, domain, password, contacts=20):
        self.count = count
        self.domain = domain
        self.password = password
        self.contacts = contacts

    def user(self, number):
        return f"user{number}"

    def jid(self, number):
        return f"{self.user(number)}@{self.domain}"

    def contacts_of(self, number):
        first = number - number % (self.contacts + 1)
        return [i for i in range(first, min(first + self.contacts + 1, self.count)) if i != number]


def scram_keys(password, digest="sha1", salt=SALT, iterations=ITERATIONS):
    """(stored key, server key) of RFC 5802."""
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", digest).digest()
    stored = hashlib.new(digest, client).digest()
    return stored, hmac.new(salted, b"Server Key", digest).digest()


# ---- Prosody: one file an account, one a roster (util.datamanager) ---------------------------------


def prosody_name(text):
    """As datamanager escapes the names of its files."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"%{ord(match.group()):02x}", text)


def write_prosody(accounts, data_path, owner=None):
    """Into Prosody's data folder, before it starts (authentication = "internal_hashed")."""
    stored, server = scram_keys(accounts.password)
    account = ("return {\n" + f'\t["iteration_count"] = {ITERATIONS};\n'
               f'\t["salt"] = "{SALT.decode()}";\n'
               f'\t["stored_key"] = "{stored.hex()}";\n\t["server_key"] = "{server.hex()}";\n' + "};\n")
    host = os.path.join(data_path, prosody_name(accounts.domain))
    for store in ("accounts", "roster"):
        os.makedirs(os.path.join(host, store), exist_ok=True)
    for number in range(accounts.count):
        name = prosody_name(accounts.user(number)) + ".dat"
        with open(os.path.join(host, "accounts", name), "w", encoding="ascii") as file:
            file.write(account)
        with open(os.path.join(host, "roster", name), "w", encoding="ascii") as file:
            file.write(_prosody_roster(accounts, number))
    if owner and os.geteuid() == 0:
        _give(data_path, owner)


def _prosody_roster(accounts, number):
    items = "".join(f'\t["{accounts.jid(i)}"] = {{ ["subscription"] = "both"; ["groups"] = {{}}; }};\n'
                    for i in accounts.contacts_of(number))
    return "return {\n\t[false] = { [\"version\"] = 1; [\"pending\"] = {}; };\n" + items + "};\n"


def _give(path, user):
    entry = pwd.getpwnam(user)
    for folder, _, names in os.walk(path):
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        for name in names:
            os.chown(os.path.join(folder, name), entry.pw_uid, entry.pw_gid)


# ---- ejabberd: records of mnesia, written by the node itself ---------------------------------------


def ejabberd_fill(accounts):
    """An Erlang expression that makes them in a node that runs (auth_method: internal, rosters in
    mnesia), with the records of ejabberd 23.01."""
    stored, server = scram_keys(accounts.password)
    return f"""
D = <<"{accounts.domain}">>,
K = {{scram, <<"{_b64(stored)}">>, <<"{_b64(server)}">>, <<"{_b64(SALT)}">>, sha, {ITERATIONS}}},
U = fun(I) -> iolist_to_binary(["user", integer_to_list(I)]) end,
lists:foreach(fun(I) ->
  mnesia:dirty_write({{passwd, {{U(I), D}}, K}}),
  F = I - I rem {accounts.contacts + 1},
  lists:foreach(fun(C) when C =:= I -> ok; (C) ->
    J = {{U(C), D, <<>>}},
    mnesia:dirty_write({{roster, {{U(I), D, J}}, {{U(I), D}}, J, <<>>, both, none, [], <<>>, []}})
  end, lists:seq(F, min(F + {accounts.contacts}, {accounts.count - 1})))
end, lists:seq(0, {accounts.count - 1}))"""


def _b64(raw):
    return base64.b64encode(raw).decode()


# ---- ours: rows of its SQLite file -----------------------------------------------------------------


def write_ours(accounts, database):
    """Into the file that the node has made, while it is stopped."""
    def column(digest):
        stored, server = scram_keys(accounts.password, digest)
        return f"{ITERATIONS}:{_b64(SALT)}${_b64(stored)}:{_b64(server)}"
    keys = (column("sha1"), column("sha256"), column("sha512"))
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (jid, domain, scram_sha1, scram_sha256, scram_sha512, banned, "
            "created_s) VALUES (?, ?, ?, ?, ?, '', ?)",
            ((accounts.jid(i), accounts.domain, *keys, int(time.time()))
             for i in range(accounts.count)))
        connection.executemany(
            "INSERT INTO roster (owner, jid, name, group_names, subscription, ask, approved, "
            "pending_in, request, version) VALUES (?, ?, '', '', 'B', 0, 0, 0, '', 1)",
            ((accounts.jid(i), accounts.jid(contact))
             for i in range(accounts.count) for contact in accounts.contacts_of(i)))
        connection.executemany("INSERT INTO roster_version (owner, version) VALUES (?, 1)",
                               ((accounts.jid(i),) for i in range(accounts.count)))


# ---- archives: rows of the SQLite files of all three -----------------------------------------------

ARCHIVE_OWNERS = 100
ARCHIVE_BEGIN_S = 1_700_000_000


def archive_entries(accounts, rows):
    """(owner's number, contact's number, number of the row): one a second, each owner in turn."""
    for row in range(rows):
        owner = row % ARCHIVE_OWNERS
        contacts = accounts.contacts_of(owner)
        yield owner, contacts[row // ARCHIVE_OWNERS % len(contacts)], row


def _message(accounts, owner, contact, row):
    return (f"<message xmlns='jabber:client' type='chat' id='a{row}' to='{accounts.jid(owner)}' "
            f"from='{accounts.jid(contact)}/r'><body>{'x' * 100}</body></message>")


def fill_archive(kind, accounts, rows, database):
    """`rows` messages of 100 bytes in the archives of the first accounts; the server is stopped."""
    statement, row_of = {
        "prosody": (
            'INSERT INTO prosodyarchive (host, user, store, key, "when", "with", type, value) '
            "VALUES (?, ?, 'archive', ?, ?, ?, 'xml', ?)",
            lambda o, c, r: (accounts.domain, accounts.user(o), f"k{r:012}", ARCHIVE_BEGIN_S + r,
                             accounts.jid(c), _message(accounts, o, c, r))),
        "ejabberd": (
            "INSERT INTO archive (username, timestamp, peer, bare_peer, xml, txt, kind, nick) "
            "VALUES (?, ?, ?, ?, ?, ?, 'chat', '')",
            lambda o, c, r: (accounts.user(o), (ARCHIVE_BEGIN_S + r) * 1_000_000,
                             accounts.jid(c) + "/r", accounts.jid(c), _message(accounts, o, c, r),
                             "x" * 100)),
        "ours": (
            "INSERT INTO archive (owner, id, peer, resource, outgoing, origin_id, xml) "
            "VALUES (?, ?, ?, 'r', 0, '', ?)",
            lambda o, c, r: (accounts.jid(o), (ARCHIVE_BEGIN_S + r) * 1_000_000 << 8,
                             accounts.jid(c), _message(accounts, o, c, r))),
    }[kind]
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.executemany(statement, (row_of(*entry)
                                               for entry in archive_entries(accounts, rows)))
