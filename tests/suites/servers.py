"""Starts and ends the two servers that suites run on: a fresh Lockstep and a fresh PostgreSQL 15, on loopback.

Each has a directory of its own under a temporary one. A server that died is started again by `alive`, which tells
that it had to: a crash is a finding, not the end of the run.
"""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

POSTGRES = next(iter(sorted(glob.glob("/usr/lib/postgresql/15/bin"))), None)


def free_port():
    """A port with its hundredth-next neighbour free, for clients and peers."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


# What Lockstep may take: others run on the machine, too.
MEMORY = 4 << 30


class Server:
    """One running server. `port`, `name` ("lockstep" or "postgres") and `environment` for libpq."""

    name = None

    def __init__(self, directory, port=None):
        self.directory = directory
        self.port = port or free_port()
        self.process = None
        self.deaths = []
        self.log = open(os.path.join(directory, "server.log"), "ab")

    def environment(self, database="postgres", **more):
        """The environment of a client: nothing of the caller's PG* variables is left."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        clean |= {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "PGDATABASE": database}
        return clean | {"LANG": "C", "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:{POSTGRES}"} | more

    def start(self):
        self.process = self.launch()
        for _ in range(1200):
            if self.answers():
                return self
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended at its start: see {self.log.name}")
            time.sleep(0.1)
        raise SystemExit(f"{self.name} does not answer: see {self.log.name}")

    def answers(self):
        return self.psql("SELECT 1").returncode == 0

    def psql(self, *commands, database="postgres"):
        """Runs commands, unaligned and with tuples only; the completed process has stdout and stderr as text."""
        arguments = ["psql", "-XqAt"] + [word for command in commands for word in ("-c", command)]
        return subprocess.run(arguments, env=self.environment(database), capture_output=True, text=True, timeout=300)

    def alive(self, during):
        """Starts the server again if it died `during` something; whether it had lived."""
        if self.process.poll() is None:
            return True
        self.deaths.append(f"{during} (exit {self.process.returncode})")
        self.start()
        return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if self.name == "postgres" else signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Lockstep(Server):
    name = "lockstep"

    def __init__(self, directory, binary, port=None):
        super().__init__(directory, port)
        self.binary = binary

    def launch(self):
        return subprocess.Popen(
            [self.binary, "--listen", f"127.0.0.1:{self.port}", "--peer-listen", f"127.0.0.1:{self.port + 1}",
             "--data-dir", os.path.join(self.directory, "data"), "--node", "suites", "--memory-limit", str(MEMORY)],
            stdout=self.log, stderr=self.log)


class Postgres(Server):
    name = "postgres"

    def launch(self):
        data = os.path.join(self.directory, "data")
        as_user = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (self.directory, os.path.dirname(self.directory)):
                os.chmod(path, 0o755)
        if not os.path.exists(data):
            os.mkdir(data)
            if as_user:
                os.chown(data, user.pw_uid, user.pw_gid)
            subprocess.run([f"{POSTGRES}/initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--no-locale", "-A", "trust",
                            "--no-sync"], check=True, stdout=self.log, stderr=self.log, **as_user)
        return subprocess.Popen(
            [f"{POSTGRES}/postgres", "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
             "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_prepared_transactions=10"],
            stdout=self.log, stderr=self.log, **as_user)


class Pair:
    """Both servers for one suite; a context manager that ends them. `keep` leaves the directory."""

    def __init__(self, binary, keep=False):
        self.directory = tempfile.mkdtemp(prefix="lockstep-suites-")
        os.chmod(self.directory, 0o755)
        self.keep = keep
        for name in ("lockstep", "postgres"):
            os.mkdir(os.path.join(self.directory, name))
        self.lockstep = Lockstep(os.path.join(self.directory, "lockstep"), binary)
        self.postgres = Postgres(os.path.join(self.directory, "postgres"))

    def __enter__(self):
        for server in self:
            server.start()
        return self

    def __iter__(self):
        return iter((self.lockstep, self.postgres))

    def __exit__(self, kind, *_):
        for server in self:
            server.stop()
        if not self.keep and kind is None:
            shutil.rmtree(self.directory, ignore_errors=True)
