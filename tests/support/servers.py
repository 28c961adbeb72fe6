"""Real servers for tests.

`Stayd` runs the daemon under test, `Memcached` runs Debian's memcached, and `Raw` (raw.py) is one
connection to either. Every server has a temporary directory of its own, listens on free loopback ports
and on Unix sockets in that directory, is ended by its process id, and leaves nothing behind.

    with Stayd(sessions={"memory": "16M"}, server={"threads": 2}) as stayd:
        connection = stayd.connect("sessions")
        connection.send(b"version\\r\\n")

Times are in seconds everywhere. STAYD_BINARY and MEMCACHED_BINARY in the environment set which programs
run; without them, those that `make build` left in build/ run. STAYD_IO is the setting `io` of every
daemon with a generated configuration: `STAYD_IO=uring` runs a test over io_uring.
"""

import configparser
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from support.ports import free_port, privileged_port  # noqa: F401  (tests import them from here)
from support.raw import REPLY_TIMEOUT, Raw, together, wait_until  # noqa: F401  (and these)

ROOT = pathlib.Path(__file__).resolve().parents[2]

START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0

SANITIZER_MARKS = (
    "ERROR: AddressSanitizer",
    "ERROR: LeakSanitizer",
    "WARNING: ThreadSanitizer",
    "WARNING: MemorySanitizer",
    "runtime error:",
)

CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP)

running = []
"""Servers that were started and are not closed yet. conftest.py shows their logs when a test fails."""


def freeze(pid):
    """Sends SIGSTOP, and waits until every thread of the process has stopped. Right after the signal, the
    process may still answer a few requests."""
    os.kill(pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{pid}/task")
    wait_until(
        lambda: all(
            (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
            for task in tasks.iterdir()
        ),
        what="the stop of every thread",
    )


class ServerError(Exception):
    """A server did not start, or did not stop. The message has its log."""


def stayd_binary():
    """Path of the daemon under test."""
    return os.environ.get("STAYD_BINARY") or str(ROOT / "build" / "stayd")


def memcached_binary():
    """Path of Debian's memcached, under build/peers as scripts/setup unpacks it, or on PATH."""
    unpacked = ROOT / "build" / "peers" / "usr" / "bin" / "memcached"
    return (
        os.environ.get("MEMCACHED_BINARY")
        or (str(unpacked) if unpacked.exists() else None)
        or shutil.which("memcached")
        or str(unpacked)
    )


class Server:
    """What both servers have: a directory, a process, a log, and a way to end it."""

    def __init__(self, parent=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="stayd-test-", dir=parent))
        self.process = None
        self._log_path = self.directory / "stderr.log"
        self._connections = []

    def command(self):
        """The command line, as a list."""
        raise NotImplementedError

    def address(self, pool=None):
        """Where the pool listens on TCP, as HOST:PORT."""
        raise NotImplementedError

    def environment(self):
        """The server's environment."""
        return dict(os.environ)

    def _addresses(self):
        """The addresses that must answer before the server counts as started, in the form that Raw takes."""
        raise NotImplementedError

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if self.process is not None and self.process.poll() is None:
                self.terminate(check=kind is None)
            elif kind is None:
                self.check_sanitizers()
        finally:
            self._discard()

    def close(self):
        """Ends the server and removes its directory. For a server that is used without `with`."""
        self.__exit__(None)

    def start(self):
        """Starts the process and waits until it answers `version` on each address.

        When this returns, stayd no longer counts the connections that asked. memcached may still count
        them, because it closes a connection before it decrements the count.
        """
        assert self.process is None or self.process.poll() is not None, "it still runs"
        with open(self._log_path, "ab") as log:
            self.process = self._spawn(log)
        if self not in running:
            running.append(self)
        deadline = time.monotonic() + START_TIMEOUT
        for address in self._addresses():
            while not self._answers(address):
                if self.process.poll() is not None:
                    code = self.process.returncode
                    raise ServerError(
                        f"{self.command()} ended with {code} at start:\n{self.log}\n{self.crash()}")
                if time.monotonic() > deadline:
                    self.kill9()
                    raise ServerError(f"no answer on {address} in {START_TIMEOUT} s:\n{self.log}")
                time.sleep(0.005)

    def _spawn(self, log):
        """The process, which writes to `log`."""
        return subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                cwd=self.directory, env=self.environment())

    def _answers(self, address):
        try:
            with Raw(address, timeout=1.0) as connection:
                answer = connection.ask(b"version\r\n")
                if not answer.startswith((b"VERSION ", b"CLIENT_ERROR unauthenticated")):
                    return False
                connection.finish(START_TIMEOUT)
                return True
        except (OSError, EOFError):
            return False

    @property
    def pid(self):
        """The process id."""
        return self.process.pid

    @property
    def log(self):
        """All that the process has written so far, restarts included."""
        try:
            return self._log_path.read_text(errors="backslashreplace")
        except FileNotFoundError:
            return ""

    def resident_bytes(self):
        """VmRSS of the process."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ServerError(f"no VmRSS for {self.pid}")

    def connect(self, pool=None, timeout=REPLY_TIMEOUT):
        """A new Raw connection over TCP; it is closed with the server at the latest."""
        host, port = self.address(pool).rsplit(":", 1)
        return self._keep(Raw((host, int(port)), timeout))

    def connect_socket(self, pool=None, timeout=REPLY_TIMEOUT):
        """A new Raw connection over the Unix socket."""
        return self._keep(Raw(self.socket(pool), timeout))

    def socket(self, pool=None):
        """Path of the pool's Unix socket."""
        raise NotImplementedError

    def _keep(self, connection):
        self._connections = [one for one in self._connections if one.socket.fileno() >= 0]
        self._connections.append(connection)
        return connection

    def kill9(self):
        """Sends SIGKILL, which for the data is a crash. Waits until the process is gone."""
        self.process.kill()
        self.process.wait(STOP_TIMEOUT)

    def terminate(self, signal_number=signal.SIGTERM, check=True):
        """Ends the process with a signal; returns its exit status. Fails on a report of a sanitizer."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            code = self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise ServerError(
                f"it ran on {STOP_TIMEOUT} s after {signal_number!r}:\n{self.log}") from None
        if check:
            self.check_sanitizers()
        return code

    def check_sanitizers(self):
        """Fails if a sanitizer has written a report in any run of this server so far."""
        log = self.log
        for mark in SANITIZER_MARKS:
            if mark in log:
                report = log[max(0, log.index(mark) - 200):]
                raise AssertionError(f"a sanitizer reports {mark!r}:\n{report}")

    def crash(self):
        """How the process crashed, in words that scripts/test looks for (may_be_load); otherwise empty."""
        code = self.process.poll() if self.process is not None else None
        log = self.log
        told = [f"a sanitizer reports {mark!r}" for mark in SANITIZER_MARKS if mark in log]
        if code is not None and -code in CRASHES:
            told.append(f"it ended with {signal.Signals(-code).name}")
        return "".join(f"{self.command()[0]}: {what}\n" for what in told)

    def restart(self, signal_number=signal.SIGTERM):
        """Stops the server cleanly, and starts it on the same files, sockets and ports. Returns the exit
        status."""
        code = self.terminate(signal_number)
        self.start()
        return code

    def _discard(self):
        for connection in self._connections:
            connection.close()
        if self.process is not None and self.process.poll() is None:
            self.kill9()
        if self in running:
            running.remove(self)
        crash = self.crash()
        if crash:  # pytest shows this if the test fails
            print(crash + self.log[-3000:])
        shutil.rmtree(self.directory, ignore_errors=True)


class Stayd(Server):
    """The real daemon with a generated configuration.

    Without arguments, it has the two pools of the built-in configuration, at free ports. `cache`,
    `sessions` and `server` change or add single keys; None removes a key. `pools` adds pools by name.
    `config` replaces the whole text; in it, `{dir}` stands for the server's directory.
    """

    def __init__(self, sessions=None, cache=None, server=None, pools=None, config=None, binary=None,
                 environment=None, parent=None):
        """`parent`: the folder in which the server's own folder is made. None: the system's temporary
        folder."""
        super().__init__(parent)
        self.binary = binary or stayd_binary()
        self.data_dir = self.directory / "data"
        self.run_dir = self.directory / "run"
        self.data_dir.mkdir()
        self.run_dir.mkdir(mode=0o700)
        self.config_path = self.directory / "stayd.conf"
        self._environment = environment or {}
        if config is None:
            config = self._generate(server or {}, cache or {}, sessions or {}, pools or {})
        self.configure(config.replace("{dir}", str(self.directory)))

    def _generate(self, server, cache, sessions, pools):
        sections = {
            "server": {
                "threads": 2,
                "data_dir": self.data_dir,
                "run_dir": self.run_dir,
                "admin": f"127.0.0.1:{free_port()}",
                "io": os.environ.get("STAYD_IO"),
                **server,
            },
            "pool cache": {
                "listen": f"127.0.0.1:{free_port()}, unix:cache.sock",
                "memory": "64M",
                "evict": "yes",
                "persist": "no",
                **cache,
            },
            "pool sessions": {
                "listen": f"127.0.0.1:{free_port()}, unix:sessions.sock",
                "memory": "64M",
                "evict": "no",
                "persist": "yes",
                **sessions,
            },
        }
        for name, keys in pools.items():
            listen = f"127.0.0.1:{free_port()}, unix:{name}.sock"
            sections[f"pool {name}"] = {"listen": listen, **keys}
        lines = []
        for section, keys in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {value}" for key, value in keys.items() if value is not None]
            lines.append("")
        return "\n".join(lines)

    def configure(self, text):
        """Writes the configuration that the next start reads."""
        self.config_path.write_text(text)
        parser = configparser.ConfigParser(
            interpolation=None, inline_comment_prefixes=(";",), strict=False
        )
        parser.read_string(text)
        self._parser = parser

    @property
    def config(self):
        """The configuration's text."""
        return self.config_path.read_text()

    def command(self):
        return [self.binary, "-c", str(self.config_path)]

    def environment(self):
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        environment.update(self._environment)
        return environment

    def pool_names(self):
        """The names of all pools in the configuration, in the order of the configuration."""
        return [name[5:] for name in self._parser.sections() if name.startswith("pool ")]

    def _listens(self, pool):
        name = f"pool {pool}"
        return [part.strip() for part in self._parser.get(name, "listen", fallback="").split(",")]

    def _addresses(self):
        for pool in self.pool_names():
            for listen in self._listens(pool):
                if listen.startswith("unix:"):
                    yield str(self.run_dir / listen[5:])
                elif listen and not self._parser.has_option(f"pool {pool}", "tls_cert"):
                    host, port = listen.rsplit(":", 1)
                    yield (host.strip("[]"), int(port))

    def address(self, pool=None):
        """Where `pool` (else: cache) listens on TCP, as HOST:PORT."""
        for listen in self._listens(pool or "cache"):
            if listen and not listen.startswith("unix:"):
                return listen
        raise KeyError(f"pool {pool} listens on no TCP port")

    def port(self, pool=None):
        """The TCP port of `pool` (else: cache)."""
        return int(self.address(pool).rsplit(":", 1)[1])

    def socket(self, pool=None):
        """Path (str) of the Unix socket of `pool` (else: cache)."""
        for listen in self._listens(pool or "cache"):
            if listen.startswith("unix:"):
                return str(self.run_dir / listen[5:])
        raise KeyError(f"pool {pool} listens on no Unix socket")

    def url(self, pool=None):
        """`memcached://HOST:PORT/`, as SESSION_CACHE takes it."""
        return f"memcached://{self.address(pool)}/"

    def unix_url(self, pool=None):
        """`unix://PATH`, as SESSION_CACHE takes it."""
        return f"unix://{self.socket(pool)}"

    def admin_url(self):
        """`http://HOST:PORT`, without a slash at the end."""
        return "http://" + self._parser.get("server", "admin")

    def page(self, path):
        """The status and the text of a page of the admin server."""
        try:
            with urllib.request.urlopen(self.admin_url() + path, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self):
        """The health check's status and its text."""
        return self.page("/healthz")

    def data_file(self, pool):
        """Path of a persistent pool's data file."""
        return self.data_dir / f"{pool}.pool"


class Memcached(Server):
    """Debian's memcached. `options` is a list of its command line options."""

    # Without the threads that move items between its LRU lists. While such a thread looks at an item,
    # memcached does arithmetic on the item differently: it makes a new item, without the padding.
    STEADY = ("-o", "no_lru_maintainer,no_lru_crawler")

    def __init__(self, options=STEADY, binary=None, unix=False):
        super().__init__()
        self.binary = binary or memcached_binary()
        self.options = list(options)
        self._port = free_port()
        self._unix = unix

    def command(self):
        if self._unix:
            where = ["-s", self.socket()]
        else:
            where = ["-l", "127.0.0.1", "-p", str(self._port), "-U", "0"]
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return [self.binary, *where, *user, *self.options]

    def _addresses(self):
        yield self.socket() if self._unix else ("127.0.0.1", self._port)

    def address(self, pool=None):
        """HOST:PORT; `pool` is taken so that tests can treat both servers alike."""
        return f"127.0.0.1:{self._port}"

    def port(self, pool=None):
        """The TCP port."""
        return self._port

    def socket(self, pool=None):
        """Path (str) of the Unix socket; memcached listens on it only if made with unix=True."""
        return str(self.directory / "memcached.sock")

    def url(self, pool=None):
        """`memcached://HOST:PORT/`."""
        return f"memcached://{self.address()}/"
