"""memcached's command line, with the real daemon: each option does what it says."""

import contextlib
import errno
import os
import pathlib
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess

import pytest

from support import binary, certificates
from support.ports import is_listened_to
from support.raw import answers
from support.servers import (
    ROOT,
    Memcached,
    Raw,
    free_port,
    freeze,
    privileged_port,
    memcached_binary,
    stayd_binary,
    wait_until,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

USER = "nobody"


def is_reachable_by_all(path):
    """Whether everybody may use the file and every folder on the way to it."""
    path = pathlib.Path(path).resolve()
    return all(part.stat().st_mode & 0o001 for part in [path, *path.parents])


def run(*arguments):
    """Runs the daemon until it ends. It must end by itself."""
    return subprocess.run(
        [stayd_binary(), *map(str, arguments)], capture_output=True, text=True, timeout=30,
        check=False
    )


def like_memcached(*options, unix=False):
    """The daemon under test, started with the command line that a memcached gets."""
    return Memcached([str(option) for option in options], binary=stayd_binary(), unix=unix)


def status_of(process, key):
    """The words of a line in /proc/PID/status."""
    text = pathlib.Path(f"/proc/{process}/status").read_text()
    return re.search(rf"^{key}:\s*(.*)$", text, re.M).group(1).split()


def has_ended(process):
    """Whether there is no such process any more."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return status_of(process, "State")[0] == "Z"


@contextlib.contextmanager
def daemonized(pid_file, *options):
    """A daemon in the background, no child of this process. It is stopped at the end all the same."""
    done = run("-d", "-P", pid_file, *options)
    assert done.returncode == 0, done.stderr
    process = int(pid_file.read_text())
    try:
        yield process
    finally:
        if not has_ended(process):
            os.kill(process, signal.SIGTERM)
        wait_until(lambda: has_ended(process), what="the end of the daemon")


@pytest.fixture
def open_folder():
    """A folder that every user may write to."""
    folder = pathlib.Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


# All of them, from memcached's own help.


def memcacheds_help():
    return subprocess.check_output([memcached_binary(), "--help"], text=True)


def test_every_option_of_memcached_is_known():
    values = {"-c": "5", "-a": "770", "-U": "0", "-B": "auto", "-l": "127.0.0.1", "-I": "2m",
              "-o": "modern", "-D": ":", "-R": "20", "-Y": "/f"}
    options = re.findall(r"^(-\w)(?:,?  ?(--[\w-]+)(=?)| <)?", memcacheds_help(), re.M)
    assert len(options) > 30
    for letter, name, _ in options:
        name = name.replace("napi_ids", "napi-ids")  # memcached accepts this; its help differs
        if letter in ("-h", "-V", "-i"):
            assert run(letter).returncode == 0
            continue
        for option in filter(None, [letter, name]):
            done = run("--check", option)
            if "needs a value" in done.stderr:
                done = run("--check", option, values.get(letter, "10"))
            assert done.returncode in (0, 2)
            assert "no such option" not in done.stderr, option


def test_every_extended_setting_of_memcached_is_known():
    names = re.findall(r"^   - (\w+):", memcacheds_help(), re.M)
    assert len(names) > 45
    for name in names:
        done = run("--check", "-o", name)
        if "needs a value" in done.stderr:
            done = run("--check", "-o", f"{name}=1")
        assert "no such setting" not in done.stderr, name
        assert done.returncode == 0 or f"-o {name}" in done.stderr, name


def test_what_changes_nothing_is_in_the_log():
    with like_memcached("-f", "1.05", "-C", "-o", "hashpower=20,no_lru_maintainer") as stayd:
        for option in ("-f 1.05", "-C", "-o hashpower", "-o no_lru_maintainer"):
            assert f"info: {option} changes nothing: " in stayd.log


def test_settings_are_memcacheds():
    """An option that both programs have appears in `stats settings` of both."""
    options = ["-A", "-F", "-X", "-R", "30", "-m", "100", "-c", "77", "-t", "3", "-I", "2m", "-M",
               "-b", "50", "-D", "/",
               "-B", "ascii"]
    with like_memcached(*options) as stayd, Memcached(options) as memcached:
        settings = [server.connect().stats(b"settings") for server in (stayd, memcached)]
        for name in ("maxbytes", "maxconns", "num_threads", "item_size_max", "evictions",
                         "reqs_per_event", "shutdown_command", "flush_enabled", "dump_enabled",
                         "detail_enabled", "stat_key_prefix", "binding_protocol"):
            assert settings[0][name] == settings[1][name], name


# One by one.


def test_a_pool_without_evictions_refuses_what_does_not_fit():
    with like_memcached("-M", "-m", "8", "-I", "100k") as stayd:
        connection = stayd.connect()
        replies = {connection.set(b"k%d" % number, b"v" * 50_000) for number in range(400)}
        assert replies == {b"STORED", b"SERVER_ERROR out of memory storing object"}
        assert connection.get(b"k0") == b"v" * 50_000
        assert connection.stats()["evictions"] == "0"


def test_a_socket_has_the_mode_of_the_mask():
    for options, mode in [((), 0o700), (("-a", "0766"), 0o766)]:
        with like_memcached(*options, unix=True) as stayd:
            assert os.stat(stayd.socket()).st_mode & 0o777 == mode
            stayd.connect_socket().expect_in_step()


def test_the_backlog_is_what_the_system_queues():
    with like_memcached("-b", "3", unix=True) as stayd:
        freeze(stayd.pid)
        clients = []
        try:
            while len(clients) < 100:
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                clients.append(client)
                if client.connect_ex(stayd.socket()) == errno.EAGAIN:
                    break
        finally:
            os.kill(stayd.pid, signal.SIGCONT)
            for client in clients:
                client.close()
        assert len(clients) == 5  # Linux queues one connection more than the backlog, and refuses the next


@root_only
def test_memory_is_locked_and_core_files_are_allowed():
    with like_memcached("-k", "-r", "-m", "16") as stayd:
        wait_until(lambda: int(status_of(stayd.pid, "VmLck")[0]) > 8 << 10, what="the lock")
        assert resource.prlimit(stayd.pid, resource.RLIMIT_CORE)[0] != 0


BINARY_NOOP = bytes([0x80, 0x0A]) + bytes(22)


@pytest.mark.parametrize("protocol, text, binary", [
    ("ascii", True, False), ("binary", False, True), ("auto", True, True),
])
def test_a_protocol_that_is_not_allowed_ends_the_connection(protocol, text, binary):
    port = free_port()
    process = subprocess.Popen([stayd_binary(), "-p", str(port), "-B", protocol])
    try:
        wait_until(lambda: is_listened_to(port), what="the start")
        for allowed, request, reply in [(text, b"mn\r\n", b"MN\r\n"),
                                        (binary, BINARY_NOOP, b"\x81\x0A" + bytes(22))]:
            with Raw(("127.0.0.1", port)) as connection:
                connection.send(request)
                if allowed:
                    connection.expect(reply)
                else:
                    assert connection.read_to_end() == b""
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_idle_clients_are_closed_and_turns_are_as_long_as_told():
    with like_memcached("-R", "20", "-o", "idle_timeout=1") as stayd:
        connection = stayd.connect()
        assert connection.stats(b"settings")["reqs_per_event"] == "20"
        assert connection.read_to_end() == b""


@pytest.mark.parametrize("options, name, value", [
    (["-b", "77"], "tcp_backlog", "77"),
    (["-a", "770"], "umask", "770"),
    ([], "umask", "700"),
    (["-v"], "verbosity", "1"),
    (["-vvv"], "verbosity", "3"),
    ([], "verbosity", "0"),
    (["-o", "read_buf_mem_limit=64"], "read_buf_mem_limit", str(64 << 20)),
    ([], "client_flags_size", "4"),
    (["-o", "no_lru_crawler"], "lru_crawler", "no"),
    (["-o", "no_modern"], "lru_crawler", "no"),
    (["-o", "no_lru_crawler,lru_crawler"], "lru_crawler", "yes"),
    (["-o", "track_sizes"], "track_sizes", "yes"),
    ([], "track_sizes", "no"),
])
def test_the_settings_are_shown_as_memcached_shows_them(options, name, value):
    with like_memcached(*options) as stayd:
        assert stayd.connect().stats(b"settings")[name] == value


def test_sizes_are_counted_from_the_start_where_they_are_tracked():
    for options, reply in [(["-o", "track_sizes"], b"STAT 32 1\r\nSTAT 96 2\r\nEND\r\n"),
                           ([], b"STAT sizes_status disabled\r\nEND\r\n")]:
        with like_memcached(*options) as stayd, stayd.connect() as connection:
            connection.set(b"a", b"v")
            connection.set(b"b", b"v" * 60)
            connection.set(b"c", b"v" * 60)
            connection.ask(b"stats sizes\r\n", reply)


def test_a_crawler_that_is_off_can_be_turned_on():
    with like_memcached("-o", "no_lru_crawler") as stayd, stayd.connect() as connection:
        connection.ask(b"lru_crawler metadump all\r\n", b"CLIENT_ERROR lru crawler disabled\r\n")
        connection.ask(b"lru_crawler enable\r\n", b"OK\r\n")
        connection.ask(b"lru_crawler metadump all\r\n", b"OK\r\nEND\r\n")
        assert connection.stats(b"settings")["lru_crawler"] == "yes"


def test_what_clients_may_not_do_is_refused_in_memcacheds_words():
    options = ["-F", "-X", "-W"]
    with like_memcached(*options) as stayd, Memcached(options) as memcached:
        for request in (b"flush_all", b"lru_crawler metadump all", b"watch", b"watch mutations",
                        b"shutdown", b"shutdown graceful", b"shutdown foo"):
            replies = [server.connect().ask(request + b"\r\n") for server in (stayd, memcached)]
            # 1.6.45 calls this a SERVER_ERROR.
            replies[1] = replies[1].replace(b"ERROR: shutdown not", b"SERVER_ERROR: shutdown not")
            assert replies[0] == replies[1] and b"ERROR" in replies[0]
            stayd.connect().expect_in_step()


def test_dumps_that_are_disabled_hide_the_prefixes_of_keys_too():
    """memcached 1.6.45 does the same; 1.6.18 shows the prefixes."""
    with like_memcached("-X") as stayd:
        connection = stayd.connect()
        for what in (b"on", b"off", b"dump"):
            connection.ask(b"stats detail " + what + b"\r\n",
                           b"CLIENT_ERROR stats detail not allowed\r\n")


@pytest.mark.parametrize("mode", [b"", b" graceful"])
@pytest.mark.parametrize("unix", [False, True])
def test_a_client_may_end_the_daemon_where_it_is_allowed(tmp_path, mode, unix):
    port, path, pid_file = free_port(), str(tmp_path / "socket"), tmp_path / "pid"
    where = ["-p", "0", "-s", path] if unix else ["-p", str(port)]
    process = subprocess.Popen([stayd_binary(), "-A", "-P", pid_file, *where],
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: pid_file.exists() and pid_file.read_text(), what="the start")
        with Raw(path if unix else ("127.0.0.1", port)) as connection:
            connection.ask(b"shutdown now\r\n", b"CLIENT_ERROR invalid shutdown mode\r\n")
            connection.ask(b"mn\r\n", b"MN\r\n")
            connection.send(b"shutdown" + mode + b"\r\n")
            assert connection.read_to_end() == b""  # memcached's way
        assert process.wait(20) == 0
        assert not pid_file.exists() and not os.path.exists(path)
    finally:
        process.kill()
        _, log = process.communicate()
    assert "a client has sent shutdown" in log


def test_prefixes_end_at_the_delimiter_and_are_counted_from_the_start():
    requests = (b"set a/b:c 0 0 1\r\nx\r\nget a/b:c a/none a:b\r\ndelete a/none\r\n"
                b"stats detail dump\r\n")
    expected = b"PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n"
    with like_memcached("-D", "/") as stayd, Memcached(["-D", "/"]) as memcached:
        for server in (stayd, memcached):
            connection = server.connect()
            connection.send(requests + b"mn\r\n")
            assert connection.read_until(b"MN\r\n").endswith(expected + b"MN\r\n")


@pytest.mark.parametrize("value", ["", " ", "\t"])
def test_a_delimiter_that_no_key_can_hold_is_refused(value):
    done = run("--check", "-D", value)
    assert done.returncode == 2 and "-D" in done.stderr


def test_a_small_memory_has_room_for_the_largest_item():
    """memcached takes -m from 1 up, and -I 8m with its default -m."""
    for options, size in (["-m", "1"], (1 << 20) - 300), (["-I", "8m"], (8 << 20) - 300):
        with like_memcached(*options) as stayd:
            connection = stayd.connect()
            connection.send(b"set k 0 0 %d\r\n" % size + bytes(size) + b"\r\n")
            connection.expect(b"STORED\r\n")
            assert "instead of the" in stayd.log


# Logins and TLS.


@pytest.fixture
def users(tmp_path):
    """A file in the format of -Y."""
    path = tmp_path / "users"
    path.write_text("bob:secret\n")
    path.chmod(0o600)
    return path


@root_only
def test_an_auth_file_that_others_read_is_a_warning(tmp_path):
    """memcached takes it; the auth_file of a configuration must be private."""
    path = tmp_path / "users"
    path.write_text("web:secret\n")
    path.chmod(0o644)
    with like_memcached("-Y", path) as stayd:
        assert "other than its owner can read it" in stayd.log
        assert stayd.connect().ask(b"set a 0 0 10\r\nweb secret\r\n") == b"STORED"
    path.chmod(0o666)
    done = run("--check", "-Y", path)
    assert done.returncode == 2
    assert "its mode is 0666" in done.stderr


RIGHT_SASL = b"\0bob\0secret"


def test_a_login_is_demanded_of_text_clients(users):
    with like_memcached("-Y", users) as stayd, Memcached(["-Y", str(users)]) as memcached:
        for server in (stayd, memcached):
            connection = server.connect()
            connection.ask(b"get k\r\n", b"CLIENT_ERROR unauthenticated\r\n")
            connection.send(b"set login 0 0 9\r\nbob wrong\r\n")
            connection.expect(b"CLIENT_ERROR authentication failure\r\n")
            connection.send(b"set login 0 0 10\r\nbob secret\r\nget login\r\n")
            connection.expect(b"STORED\r\nEND\r\n")


def test_a_login_is_demanded_of_binary_clients(users):
    with like_memcached("-S", "-Y", users) as stayd:
        with stayd.connect() as connection:
            refused = binary.ask(connection, binary.GET, b"k")
            assert refused.status == binary.AUTH_ERROR and connection.read_to_end() == b""
        with stayd.connect() as connection:
            wrong = binary.ask(connection, binary.SASL_AUTH, b"PLAIN", b"", b"\0bob\0wrong")
            assert wrong.status == binary.AUTH_ERROR
            assert binary.ask(connection, binary.SASL_AUTH, b"PLAIN", b"",
                              RIGHT_SASL).status == binary.OK
            assert binary.ask(connection, binary.GET, b"k").status == binary.NOT_FOUND


def test_sasl_without_users_says_where_they_come_from():
    done = run("--check", "-S")
    assert done.returncode == 2 and "-Y FILE" in done.stderr


def test_tls_is_spoken_with_the_certificate_that_is_named(tmp_path, users):
    made = certificates.make(tmp_path)
    port = free_port()
    options = ["-Z", "-p", port, "-Y", users, "-o",
               f"ssl_chain_cert={made['server.pem']},ssl_key={made['server.key']}"]
    with daemonized(tmp_path / "pid", *options):
        with pytest.raises((OSError, EOFError)):
            Raw(("127.0.0.1", port)).ask(b"mn\r\n")  # in the clear
        with certificates.TlsRaw(("127.0.0.1", port), certificates.context(made)) as connection:
            connection.ask(b"get k\r\n", b"CLIENT_ERROR unauthenticated\r\n")
            connection.send(b"set login 0 0 10\r\nbob secret\r\n")
            connection.expect(b"STORED\r\n")
            assert connection.stats(b"settings")["ssl_enabled"] == "yes"
    for setting, fault in [(f"ssl_chain_cert={made['server.pem']}", "server.pem"),
                           (f"ssl_key={made['server.key']}", "ssl_chain_cert")]:
        done = run("-Z", "-p", port, "-o", setting)  # half of what it needs
        assert done.returncode != 0 and fault in done.stderr


# -d, -P and -u.


def test_a_daemon_serves_when_its_starter_goes_on(tmp_path):
    port = free_port()
    pid_file = tmp_path / "pid"
    with daemonized(pid_file, "-p", port) as process:
        with Raw(("127.0.0.1", port)) as connection:  # connects at once, without a wait
            assert connection.stats()["pid"] == str(process)
        assert os.getsid(process) == process
        assert os.readlink(f"/proc/{process}/cwd") == "/"
        streams = {os.readlink(f"/proc/{process}/fd/{number}") for number in range(3)}
        assert streams == {"/dev/null"}
        os.kill(process, signal.SIGTERM)
        wait_until(lambda: has_ended(process), what="the end of the daemon")
        assert not pid_file.exists()


def test_no_file_of_the_daemons_takes_the_place_of_a_standard_stream(tmp_path):
    """The parent has closed the standard streams. If the daemon did not open them again, the log would go
    to the file that gets descriptor 2."""
    pid_file = tmp_path / "pid"
    subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", stayd_binary(), "-d", "-v",
                    "-p", str(free_port()), "-P", pid_file], timeout=30, check=True)
    process = int(pid_file.read_text())
    try:
        for number in range(3):
            assert os.readlink(f"/proc/{process}/fd/{number}") == "/dev/null"
    finally:
        os.kill(process, signal.SIGTERM)
        wait_until(lambda: has_ended(process), what="the end of the daemon")


def test_a_verbose_daemon_keeps_its_streams(tmp_path):
    port = free_port()
    log = tmp_path / "log"
    with open(log, "wb") as stream:
        subprocess.run([stayd_binary(), "-d", "-v", "-p", str(port), "-P", tmp_path / "pid"],
                       stderr=stream, timeout=30, check=True)
    process = int((tmp_path / "pid").read_text())
    os.kill(process, signal.SIGTERM)
    wait_until(lambda: "stopped" in log.read_text(), what="the last line")


def test_a_daemon_that_cannot_start_says_why_to_its_starter(tmp_path):
    with like_memcached() as stayd:
        done = run("-d", "-p", stayd.port(), "-P", tmp_path / "pid")
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1:{stayd.port()}" in done.stderr
        assert not (tmp_path / "pid").exists()


def test_the_pid_file_of_a_living_daemon_is_left_alone(tmp_path):
    pid_file = tmp_path / "pid"
    with daemonized(pid_file, "-p", free_port()) as process:
        done = run("-p", free_port(), "-P", pid_file)
        assert done.returncode == 1 and f"another stayd, process {process}" in done.stderr
        assert int(pid_file.read_text()) == process


def test_the_pid_file_of_a_living_memcached_is_left_alone(tmp_path):
    pid_file = tmp_path / "pid"
    with Memcached() as memcached:
        pid_file.write_text(f"{memcached.pid}\n")
        done = run("-p", free_port(), "-P", pid_file)
    assert done.returncode == 1 and f"a memcached, process {memcached.pid}" in done.stderr


def test_a_stale_pid_file_is_replaced(tmp_path):
    pid_file = tmp_path / "pid"
    for stale in (b"", f"{os.getpid()}\n".encode(), b"1", b"4194303\n"):
        pid_file.write_bytes(stale)
        with daemonized(pid_file, "-p", free_port()) as process:
            assert process not in (1, os.getpid())


@pytest.mark.parametrize("content", [b"root:x:0:0\n", b"12 34\n", b"1" * 100])
def test_a_file_that_holds_something_else_is_left_alone(tmp_path, content):
    pid_file = tmp_path / "pid"
    pid_file.write_bytes(content)
    done = run("-d", "-p", free_port(), "-P", pid_file)
    assert done.returncode == 1 and "something other than a process id" in done.stderr
    assert pid_file.read_bytes() == content


def test_a_pid_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in (tmp_path / "none" / "pid", tmp_path, tmp_path / "link"):
        done = run("-d", "-p", free_port(), "-P", path)
        assert done.returncode == 1 and f"cannot use the pid file {path}: " in done.stderr


@root_only
def test_rights_are_given_up_for_good_after_the_ports(open_folder):
    """The daemon listens on a port that only root may open, owns its files as the user, and cannot
    become root again."""
    if not is_reachable_by_all(stayd_binary()):
        pytest.skip("another user cannot run the daemon where it is built")
    user = pwd.getpwnam(USER)
    port = privileged_port()
    pid_file = open_folder / "pid"
    with daemonized(pid_file, "-u", USER, "-p", port) as process:
        assert answers(("127.0.0.1", port))
        assert set(status_of(process, "Uid")) == {str(user.pw_uid)}
        assert set(status_of(process, "Gid")) == {str(user.pw_gid)}
        assert set(status_of(process, "Groups")) <= {str(user.pw_gid)}
        for kind in ("CapEff", "CapPrm"):
            assert int(status_of(process, kind)[0], 16) == 0
        assert pid_file.stat().st_uid == user.pw_uid
        os.kill(process, signal.SIGTERM)
        wait_until(lambda: has_ended(process), what="the end of the daemon")
        assert not pid_file.exists()
    path = open_folder / "socket"
    with daemonized(pid_file, "-u", USER, "-s", path):
        assert path.stat().st_uid == user.pw_uid


@root_only
def test_a_file_of_passwords_that_only_root_can_read_is_refused_and_the_way_out_is_said(open_folder):
    users = open_folder / "users"
    users.write_text("bob:secret\n")
    users.chmod(0o600)
    done = run("-u", USER, "-p", free_port(), "-Y", users)
    assert done.returncode == 1
    assert f"auth_file {users}: cannot read it: Permission denied; the user" in done.stderr


@root_only
def test_a_user_that_does_not_exist_is_an_error():
    done = run("-u", "no-such-user", "-p", free_port())
    assert done.returncode == 1 and "there is no such user" in done.stderr


# Debian's own unit.


@root_only
def test_debians_unit_runs_stayd_with_one_word_changed(open_folder):
    """ExecStart of memcached.service is a wrapper that reads memcached.conf. All three files are Debian's
    own; only the path of the binary is stayd's. The port, the folder of the pid file and the user are
    this machine's."""
    peers = ROOT / "build" / "peers"
    units = list(peers.glob("**/systemd/system/memcached.service"))  # of /lib, or of /usr/lib
    if not units:
        pytest.skip("Debian's memcached package is not unpacked in build/peers")
    unit = units[0].read_text()
    command = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()
    wrapper = (peers / command[0].lstrip("/")).read_text()
    assert wrapper.count('"/usr/bin/memcached"') == 1
    port = free_port()
    script = open_folder / "wrapper"
    script.write_text(wrapper.replace('"/usr/bin/memcached"', f'"{stayd_binary()}"'))
    config = (peers / "usr/share/memcached/memcached.conf.default").read_text()
    pid_file = open_folder / "memcached.pid"
    for theirs, ours in [("-p 11211", f"-p {port}"), ("-u memcache", f"-u {USER}"),
                         ("/var/run/memcached/memcached.pid", str(pid_file))]:
        assert theirs in config
        config = config.replace(theirs, ours)
    (open_folder / "memcached.conf").write_text(config)
    process = subprocess.Popen(["perl", str(script), str(open_folder / "memcached.conf")],
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or answers(("127.0.0.1", port)),
                   what="an answer")
        with Raw(("127.0.0.1", port)) as connection:
            assert connection.set(b"k", b"v") == b"STORED"
            assert connection.stats()["limit_maxbytes"] == str(64 << 20)
        assert int(pid_file.read_text()) == process.pid
        assert status_of(process.pid, "Uid")[0] == str(pwd.getpwnam(USER).pw_uid)
    finally:
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
