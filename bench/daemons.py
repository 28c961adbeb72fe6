"""The servers that are measured: starts them on a free loopback port, reads what they use, stops
them.

stayd and memcached have the same number of threads and the same memory; Redis answers in one
thread. Times are in nanoseconds and sizes in bytes, unless a name says otherwise.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

START_DEADLINE_S = 60
STOP_DEADLINE_S = 15
SETTLE_DEADLINE_S = 20
REWRITE_DEADLINE_S = 120
RUN_DIR_FREE = 256 << 20  # a file system in memory is used if it has this many bytes left


class DaemonError(Exception):
    """A daemon did not start, answer or stop; the message says what it printed."""


@dataclass(frozen=True)
class Cpu:
    """CPU time that all threads of a process have used so far, in nanoseconds."""

    total_ns: int
    user_ns: int
    system_ns: int

    def since(self, earlier):
        """The difference to an earlier reading."""
        return Cpu(
            self.total_ns - earlier.total_ns,
            self.user_ns - earlier.user_ns,
            self.system_ns - earlier.system_ns,
        )


@dataclass(frozen=True)
class Resident:
    """Resident memory of a process in bytes: proc(5), RssAnon, RssFile and RssShmem."""

    anon: int
    file: int
    shmem: int

    @property
    def total(self):
        """VmRSS: the sum of the three."""
        return self.anon + self.file + self.shmem

    def since(self, earlier):
        """The difference to an earlier reading."""
        return Resident(
            self.anon - earlier.anon, self.file - earlier.file, self.shmem - earlier.shmem
        )


def free_port():
    """A TCP port on loopback on which nothing listened a moment ago."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _memory_folder():
    """The folder for files that should be in memory, as /run is on Debian; else the usual temporary
    folder."""
    folder = "/dev/shm"
    if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > RUN_DIR_FREE:
        return folder
    return None


class Daemon:
    """One server; use as a context manager. Subclasses give `name` and `command`.

    `on_disk` is a folder on a disk for its files. Without it, they are in the system's temporary
    folder.
    """

    name = ""
    load_options = {}  # the options that stayd-load needs for it

    def __init__(self, on_disk=None):
        self.port = free_port()
        if on_disk is not None:
            on_disk.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="stayd-bench-", dir=on_disk))
        self.process = None

    def command(self):
        """The command line, as a list."""
        raise NotImplementedError

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def address(self):
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        """The address for a client library."""
        return f"memcached://{self.address}/"

    @property
    def socket_path(self):
        """Its Unix socket, if it has one."""
        return self.folder / "socket"

    @property
    def socket_url(self):
        """The Unix socket for a client library."""
        return f"unix://{self.socket_path}"

    def connect(self, timeout_s=5):
        """A new connection to it, a socket."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def log(self):
        """What the daemon has printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    def spawn(self, before=()):
        """Starts the process and returns at once. `before`: words before the command."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*before, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self):
        """Starts the process and waits until it answers. It ends if the benchmark is killed."""
        self.spawn(before=("setpriv", "--pdeathsig", "TERM"))
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self.check_answer()
                return
            except OSError as error:
                self.fail_unless_starting(deadline, error)
            time.sleep(0.01)

    def fail_unless_starting(self, deadline, why):
        """Raises DaemonError if the process has ended or the deadline (monotonic) has passed."""
        if self.process.poll() is not None or time.monotonic() > deadline:
            raise DaemonError(f"{' '.join(self.command())} did not start: {why}\n{self.log()}")

    def check_answer(self):
        """Raises OSError while the server is not ready."""
        self.ask("version")

    def kill(self):
        """Ends the process at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def terminate(self):
        """Ends the process cleanly. Accepts one that has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def stop(self):
        """Stops the process, by its own id, and removes its files."""
        self.terminate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, request, end="\r\n"):
        """Sends one line on a new connection; returns the reply up to `end`."""
        with self.connect() as connection:
            connection.sendall(request.encode() + b"\r\n")
            reply = b""
            while not reply.endswith(end.encode()):
                received = connection.recv(65536)
                if not received:
                    raise ConnectionError(f"{self.name} closed the connection after {request!r}")
                reply += received
        return reply.decode()

    def stats(self):
        """The general statistics: a dict of strings."""
        lines = self.ask("stats", "END\r\n").splitlines()
        return {line.split()[1]: line.split(maxsplit=2)[2] for line in lines[:-1]}

    def item_count(self):
        """How many items the server says it holds."""
        return int(self.stats()["curr_items"])

    def cpu(self):
        """The CPU time used so far, from proc(5): schedstat of all tasks for the sum, which counts
        nanoseconds, and utime and stime, which count clock ticks, for its parts."""
        folder = Path("/proc") / str(self.process.pid)
        total_ns = 0
        for task in (folder / "task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                total_ns += int((task / "schedstat").read_text().split()[0])
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return Cpu(total_ns, int(fields[11]) * tick_ns, int(fields[12]) * tick_ns)

    def bytes_to_disk(self):
        """Bytes that the process has written to a disk so far, including the pages of its mappings:
        proc(5), write_bytes in io. A page counts each time that it is written."""
        text = (Path("/proc") / str(self.process.pid) / "io").read_text()
        return int(text.partition("\nwrite_bytes:")[2].split()[0])

    def resident(self):
        """The resident memory now."""
        kilobytes = {}
        for line in (Path("/proc") / str(self.process.pid) / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.startswith("Rss"):
                kilobytes[name] = int(value.split()[0]) * 1024
        return Resident(kilobytes["RssAnon"], kilobytes["RssFile"], kilobytes["RssShmem"])

    def settled_resident(self, still_s=1):
        """The resident memory when it has not changed for this long. Then tables that grow in the
        background have grown."""
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        last, since = self.resident(), time.monotonic()
        while time.monotonic() - since < still_s and time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.resident()
            if now != last:
                last, since = now, time.monotonic()
        return last


class Memcached(Daemon):
    """Debian's memcached, with its own defaults except for threads and memory. It listens on TCP,
    or with `over_unix` on a Unix socket, because it cannot do both."""

    name = "memcached"

    def __init__(self, binary, memory_mb, threads, max_connections=4096, over_unix=False):
        super().__init__()
        self._over_unix = over_unix
        self._command = [
            str(binary), "-m", str(memory_mb), "-t", str(threads), "-c", str(max_connections),
        ]
        if over_unix:
            self._command += ["-s", str(self.socket_path)]
        else:
            self._command += ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
        if os.geteuid() == 0:
            self._command += ["-u", "root"]

    def command(self):
        return self._command

    def connect(self, timeout_s=5):
        if not self._over_unix:
            return super().connect(timeout_s)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(str(self.socket_path))
        return connection


class Stayd(Daemon):
    """stayd with one pool, on TCP and on a Unix socket: with `persist` a sessions pool, which does
    not evict, otherwise a cache pool. `fsync` is a policy's name, or None for the default. `settings` are
    more settings of the pool."""

    name = "stayd"

    def __init__(
        self, binary, memory_mb, threads, persist, fsync=None, on_disk=None, max_connections=4096,
        item_max="1M", settings=None,
    ):
        super().__init__(on_disk)
        self._command = [str(binary), "-c", str(self.folder / "stayd.conf")]
        self._run_folder = tempfile.mkdtemp(prefix="stayd-bench-", dir=_memory_folder())
        words = {True: "yes", False: "no"}
        (self.folder / "data").mkdir()
        (self.folder / "stayd.conf").write_text(
            f"[server]\n"
            f"threads = {threads}\n"
            f"io = {os.environ.get('STAYD_IO', 'auto')}\n"
            f"data_dir = {self.folder}/data\n"
            f"run_dir = {self._run_folder}\n"
            f"admin = 127.0.0.1:{free_port()}\n"
            f"max_connections = {max_connections}\n"
            f"[pool {'sessions' if persist else 'cache'}]\n"
            f"listen = {self.address}, unix:pool.sock\n"
            f"memory = {memory_mb}M\n"
            f"item_max = {item_max}\n"
            f"evict = {words[not persist]}\n"
            f"persist = {words[persist]}\n"
            + (f"fsync = {fsync}\n" if fsync else "")
            + "".join(f"{name} = {value}\n" for name, value in (settings or {}).items())
        )

    def command(self):
        return self._command

    @property
    def socket_path(self):
        return Path(self._run_folder) / "pool.sock"

    def stop(self):
        super().stop()
        shutil.rmtree(self._run_folder, ignore_errors=True)


class Redis(Daemon):
    """Debian's Redis with Debian's redis.conf, except for `settings`, a dict of its directives.
    `appendonly` is always on, and Redis takes no snapshots."""

    name = "redis"
    load_options = {"resp": True}

    def __init__(self, peers, on_disk, **settings):
        super().__init__(on_disk)
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "protected-mode": "no",
            "dir": self.folder,
            "daemonize": "no",
            "pidfile": "",
            "logfile": "",
            "save": "",
            "appendonly": "yes",
            **settings,
        }
        config = self.folder / "redis.conf"
        config.write_text(self._debian_config(peers))
        self._command = [str(peers / "usr/bin/redis-server"), str(config)]
        for name, value in settings.items():
            self._command += ["--" + name.replace("_", "-"), str(value)]

    @staticmethod
    def _debian_config(peers):
        """redis.conf without its `dir`, because that folder exists only if the package is
        installed, and a second `dir` would not replace the first."""
        lines = (peers / "etc/redis/redis.conf").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("dir "))

    def command(self):
        return self._command

    def check_answer(self):
        reply = self.ask("PING")
        if reply != "+PONG\r\n":
            raise ConnectionError(reply)

    def item_count(self):
        return int(self.ask("DBSIZE").lstrip(":"))

    def append_only_file(self):
        """What INFO says about the append-only file: a dict of strings."""
        reply = self.ask("INFO persistence", "\r\n\r\n")
        return dict(line.split(":", 1) for line in reply.splitlines() if line.startswith("aof_"))

    def rewrite(self):
        """Rewrites the append-only file, and waits until that is done."""
        self.ask("BGREWRITEAOF")
        self.wait_for_rewrite()

    def wait_for_rewrite(self):
        """Waits until no rewrite of the append-only file is running or due."""
        deadline = time.monotonic() + REWRITE_DEADLINE_S
        while True:
            found = self.append_only_file()
            if found["aof_rewrite_in_progress"] == found["aof_rewrite_scheduled"] == "0":
                return
            if time.monotonic() > deadline:
                raise DaemonError(f"redis did not end rewriting its file:\n{self.log()}")
            time.sleep(0.1)
