"""A PostgreSQL server of its own for a test or the demo (Debian's), on a socket in the workspace's folder and, for who
wants to be cut off from it, on a port of 127.0.0.1."""

import os
import pwd
import signal
import subprocess
import tempfile

from lib import net
from lib.wait import wait_until

BIN = "/usr/lib/postgresql/15/bin"
USER = "postgres"


class Postgres:
    def __init__(self, workspace, settings=(), root=None, of=None):
        """`root`: where its folder is made. None: in memory where there is such a place, since its
        syncs are not what is tested. `of`: another one that runs, whose standby this is until it is
        promoted."""
        self.workspace = workspace
        if root is None and os.path.isdir("/dev/shm"):
            root = "/dev/shm"
        self.folder = tempfile.mkdtemp(prefix="mongoose-pg-", dir=root)
        os.chmod(self.folder, 0o711)
        self.as_user = []
        if os.getuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        self.port = net.free_port()
        self.settings = ["listen_addresses=127.0.0.1", f"port={self.port}", "max_connections=60",
                         "shared_buffers=32MB", *settings]
        if of is None:
            self._run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8",
                      "--locale=C", "--no-sync")
        else:
            self._run("pg_basebackup", "-D", self.data, "-h", of.folder, "-p", str(of.port), "-U",
                      USER, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.name = "postgres" if of is None else "postgres-standby"
        self.process = None

    @property
    def data(self):
        return os.path.join(self.folder, "data")

    def start(self):
        options = [word for setting in self.settings for word in ("-c", setting)]
        self.process = self.workspace.start(
            self.name, [*self.as_user, f"{BIN}/postgres", "-D", self.data, "-k", self.folder,
                        *options], cwd="/")
        self.workspace.wait_ready(self.process, self._answers, "PostgreSQL answers")
        return self

    def _answers(self):
        return subprocess.run([f"{BIN}/pg_isready", "-q", "-h", self.folder, "-p", str(self.port)],
                              check=False).returncode == 0

    def sql(self, text, database=USER):
        return subprocess.run(
            [f"{BIN}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder,
             "-p", str(self.port), "-U", USER, "-c", text, database], capture_output=True,
            text=True, check=True).stdout.strip()

    def url(self, database, port=None):
        """Of a new database; by the port that leads there."""
        self.sql(f"CREATE DATABASE {database}")
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}"

    def url_by_socket(self, database):
        """Of a new database; reached from other network namespaces, too."""
        self.sql(f"CREATE DATABASE {database}")
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={self.port}"

    def standby(self):
        """Another server that has each commit before whoever asked for it hears of it."""
        other = Postgres(self.workspace, of=self).start()
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("SELECT pg_reload_conf()")
        wait_until(lambda: self.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = "
                                    "'sync'") == "1", "the standby follows", 30)
        return other

    def promote(self):
        self.sql("SELECT pg_promote()")

    def stop(self):
        """As a power cut ends it."""
        self.process.signal(signal.SIGQUIT)
        self.process.wait_exit(10)

    def children(self):
        """It, and the processes that serve connections."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="ascii") as file:
            return [self.process.pid, *map(int, file.read().split())]

    def remove(self):
        self.process.stop()
        subprocess.run(["rm", "-rf", self.folder], check=False)

    def _run(self, program, *words):
        done = subprocess.run([*self.as_user, f"{BIN}/{program}", *words], cwd="/",
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
