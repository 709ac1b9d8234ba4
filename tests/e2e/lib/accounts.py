"""Accounts put into a store beside its node, many at once; their keys are cheap ones."""

import base64
import fcntl
import hashlib
import hmac
import sqlite3

ITERATIONS = 16


def _keys(password, salt=b"0123456789abcdef"):
    """As stores keep them: iterations:salt$stored key:server key."""
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).digest()
    server = hmac.digest(salted, b"Server Key", "sha1")
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"{ITERATIONS}:{salt}${stored}:{server}"


def rows_sql(names, domain, password="secret"):
    keys = _keys(password)
    values = ", ".join(f"('{name}@{domain}', '{domain}', '{keys}', '', '', '', 1)"
                       for name in names)
    return ("INSERT INTO users (jid, domain, scram_sha1, scram_sha256, scram_sha512, banned, "
            f"created_s) VALUES {values}")


def add_to_sqlite(path, names, domain):
    with open(path + ".lock", "r+b") as lock:  # the rule of who writes into it
        fcntl.flock(lock, fcntl.LOCK_EX)
        with sqlite3.connect(path) as db:
            db.execute(rows_sql(names, domain))
        db.close()


def add_to_postgres(server, database, names, domain):
    server.sql(rows_sql(names, domain), database)
