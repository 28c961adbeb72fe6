"""The configuration: each fault is named with file and line; nothing is ignored or lost."""

import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess

import pytest

from support.servers import Raw, ServerError, Stayd, free_port, stayd_binary, wait_until

VERSION_OFFSET = 8
"""Of the format version in a data file: behind the 8 bytes of the magic number (store/layout.h)."""


def run(*arguments, timeout=20, **options):
    """Runs stayd to its end; returns the CompletedProcess with text output."""
    return subprocess.run(
        [stayd_binary(), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
        **options,
    )


def check(tmp_path, text):
    """`stayd --check` on a file with this text: the process, and (line, message) of each fault."""
    path = tmp_path / "test.conf"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    done = run("--check", "-c", path)
    fault = re.compile(rf"^{re.escape(str(path))}:(\d+): (.+)$", re.MULTILINE)
    return done, [(int(match[1]), match[2]) for match in fault.finditer(done.stderr)]


GOOD = """\
[server]
threads = 2
data_dir = /tmp/nowhere/data
run_dir = /tmp/nowhere/run
admin = 127.0.0.1:11280
max_connections = 100
send_timeout = 30s

[pool cache]
listen = 127.0.0.1:11211, unix:cache.sock
memory = 64M
evict = yes
persist = no

[pool sessions]
listen = 127.0.0.1:11200, unix:sessions.sock
memory = 64M
evict = no
persist = yes
fsync = everysec
item_max = 1M
"""


def with_line(line, *, after):
    """GOOD with another line behind the line that starts with `after`, and the number of the new line."""
    lines = GOOD.splitlines()
    index = next(n for n, text in enumerate(lines) if text.startswith(after)) + 1
    return "\n".join(lines[:index] + [line] + lines[index:]) + "\n", index + 1


def with_changed(key, value, section="[pool sessions]"):
    """GOOD with another value for a key of a section, and the number of that line."""
    lines = GOOD.splitlines()
    start = lines.index(section)
    index = next(n for n in range(start, len(lines)) if lines[n].split(" ")[0] == key)
    lines[index] = f"{key} = {value}" if value else f"{key} ="
    return "\n".join(lines) + "\n", index + 1


def test_a_valid_configuration_passes_the_check(tmp_path):
    done, faults = check(tmp_path, GOOD)
    assert (done.returncode, faults, done.stderr) == (0, [], "")


def test_the_check_starts_nothing_and_makes_no_file(tmp_path):
    text = GOOD.replace("/tmp/nowhere", str(tmp_path / "nowhere"))
    assert check(tmp_path, text)[0].returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["test.conf"]


def test_the_built_in_configuration_passes_the_check():
    assert run("--check").returncode == 0


@pytest.mark.parametrize("text", [
    "# a comment\n\n" + GOOD, GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD,
    GOOD.replace(" = ", "="), GOOD.replace(" = ", "   =   "),
    GOOD.replace("threads = 2", "threads = 2   ; two"), GOOD.rstrip("\n"),
], ids=["comments", "crlf", "byte-order-mark", "no-spaces", "many-spaces", "comment-behind",
        "no-newline-at-end"])
def test_layout_does_not_matter(tmp_path, text):
    done, faults = check(tmp_path, text)
    assert (done.returncode, faults) == (0, []), done.stderr


@pytest.mark.parametrize("memory", ["16777216", "32768K", "100M", "1G"])
def test_sizes_are_bytes_or_take_a_unit(tmp_path, memory):
    text, _ = with_changed("memory", memory)
    assert check(tmp_path, text)[0].returncode == 0


@pytest.mark.parametrize("mode", ["", "8", "rw", "0x1FF", "-1", "1777", "0660x"])
def test_a_mode_is_octal(tmp_path, mode):
    text, line = with_line(f"socket_mode = {mode}", after="persist = yes")
    _, faults = check(tmp_path, text)
    assert [number for number, _ in faults] == [line]


@pytest.mark.parametrize("mode", ["0600", "666"])
def test_a_socket_has_the_mode_that_is_asked_for(mode):
    with Stayd(cache={"socket_mode": mode}) as stayd:
        assert os.stat(stayd.socket("cache")).st_mode & 0o777 == int(mode, 8)
        assert os.stat(stayd.socket("sessions")).st_mode & 0o777 == 0o660


@pytest.mark.parametrize("time", ["1s", "2m", "1h", "1d"])
def test_times_take_a_unit(tmp_path, time):
    text, _ = with_changed("send_timeout", time, "[server]")
    assert check(tmp_path, text)[0].returncode == 0


@pytest.mark.parametrize("section, key, value, said", [
    ("[server]", "threads", "many", "threads"),
    ("[server]", "threads", "0", "threads"),
    ("[server]", "threads", "-1", "threads"),
    ("[server]", "threads", "2.5", "threads"),
    ("[server]", "threads", "100000", "threads"),
    ("[server]", "threads", "", "threads"),
    ("[server]", "max_connections", "0", "max_connections"),
    ("[server]", "max_connections", "x", "max_connections"),
    ("[server]", "send_timeout", "10", "send_timeout"),
    ("[server]", "send_timeout", "10x", "send_timeout"),
    ("[server]", "send_timeout", "10y", "send_timeout"),
    ("[server]", "send_timeout", "0s", "send_timeout"),
    ("[server]", "send_timeout", "-1s", "send_timeout"),
    ("[server]", "data_dir", "", "data_dir"),
    ("[server]", "data_dir", "relative/path", "absolute"),
    ("[server]", "run_dir", "relative", "absolute"),
    ("[server]", "admin", "nonsense", "admin"),
    ("[server]", "admin", "0.0.0.0:11280", "insecure"),
    ("[pool sessions]", "memory", "64X", "memory"),
    ("[pool sessions]", "memory", "64MB", "memory"),
    ("[pool sessions]", "memory", "M", "memory"),
    ("[pool sessions]", "memory", "-64M", "memory"),
    ("[pool sessions]", "memory", "6.4M", "memory"),
    ("[pool sessions]", "memory", "0", "memory"),
    ("[pool sessions]", "memory", "99999999999999999999G", "memory"),
    ("[pool sessions]", "memory", "", "memory"),
    ("[pool sessions]", "item_max", "1X", "item_max"),
    ("[pool sessions]", "item_max", "0", "item_max"),
    ("[pool sessions]", "item_max", "4G", "item_max"),
    ("[pool sessions]", "evict", "maybe", "yes or no"),
    ("[pool sessions]", "evict", "1", "yes or no"),
    ("[pool sessions]", "persist", "true", "yes or no"),
    ("[pool sessions]", "persist", "", "persist"),
    ("[pool sessions]", "fsync", "sometimes", "everysec"),
    ("[pool sessions]", "listen", "127.0.0.1", "PORT"),
    ("[pool sessions]", "listen", "127.0.0.1:", "PORT"),
    ("[pool sessions]", "listen", "127.0.0.1:0", "port"),
    ("[pool sessions]", "listen", "127.0.0.1:65536", "port"),
    ("[pool sessions]", "listen", "127.0.0.1:x", "PORT"),
    ("[pool sessions]", "listen", "localhost.example:11200", "listen"),
    ("[pool sessions]", "listen", "unix:", "listen"),
    ("[pool sessions]", "listen", "unix:" + "x" * 200, "long"),
    ("[pool sessions]", "listen", "127.0.0.1:11200,, unix:s.sock", "comma"),
    ("[pool sessions]", "listen", "127.0.0.1:11211", "in use"),
    ("[pool sessions]", "listen", "unix:cache.sock", "in use"),
    ("[pool sessions]", "listen", "unix:/tmp/nowhere/run/cache.sock", "in use"),
    ("[pool sessions]", "listen", "127.0.0.1:11200, 127.0.0.1:11200", "in use"),
    ("[pool sessions]", "listen", "127.0.0.1:11280", "in use"),
    ("[pool sessions]", "listen", "0.0.0.0:11200", "insecure"),
    ("[pool sessions]", "listen", "[::]:11200", "insecure"),
    ("[pool sessions]", "listen", "192.0.2.1:11200", "insecure"),
])
def test_a_wrong_value_is_named_with_file_and_line(tmp_path, section, key, value, said):
    text, line = with_changed(key, value, section)
    done, faults = check(tmp_path, text)
    assert done.returncode == 2
    assert [number for number, _ in faults] == [line], done.stderr
    assert said in faults[0][1]


@pytest.mark.parametrize("line, after, said", [
    ("thread = 2", "[server]", "thread"),
    ("memory = 64M", "[server]", "memory"),
    ("Threads = 2", "[server]", "Threads"),
    ("evicts = no", "[pool cache]", "evicts"),
    ("threads = 2", "[pool cache]", "threads"),
    ("threads = 3", "threads", "threads"),
    ("memory = 32M", "memory", "memory"),
    ("just words", "threads", "just words"),
    ("memory", "[pool cache]", "memory"),
    ("[pool cache]", "fsync", "cache"),
    ("[server]", "fsync", "server"),
    ("[pool]", "fsync", "pool"),
    ("[pool a/b]", "fsync", "a/b"),
    ("[pool ..]", "fsync", ".."),
    ("[pool " + "x" * 33 + "]", "fsync", "x" * 33),
    ("[pools cache]", "fsync", "pools"),
    ("[Server]", "fsync", "Server"),
    ("[logging]", "fsync", "logging"),
    ("[logging", "fsync", "]"),
])
def test_a_wrong_line_is_named_with_file_and_line(tmp_path, line, after, said):
    text, number = with_line(line, after=after)
    done, faults = check(tmp_path, text)
    assert done.returncode == 2
    assert number in [fault[0] for fault in faults], done.stderr
    assert any(said in message for at, message in faults if at == number)


def test_keys_above_the_first_section_are_a_fault(tmp_path):
    done, faults = check(tmp_path, "threads = 2\n" + GOOD)
    assert done.returncode == 2 and [line for line, _ in faults] == [1]


def test_a_pool_that_listens_nowhere_is_a_fault(tmp_path):
    text = GOOD + "[pool third]\nmemory = 64M\n"
    done, faults = check(tmp_path, text)
    assert done.returncode == 2
    assert [line for line, _ in faults] == [GOOD.count("\n") + 1]


@pytest.mark.parametrize("memory, item_max", [("16M", "16M"), ("8M", "128M"), ("1M", "1M")])
def test_an_item_max_that_the_memory_cannot_hold_is_a_fault(tmp_path, memory, item_max):
    text, _ = with_changed("memory", memory)
    text = text.replace("item_max = 1M", f"item_max = {item_max}")
    done, faults = check(tmp_path, text)
    assert done.returncode == 2 and len(faults) == 1
    assert "memory" in faults[0][1] and "item_max" in faults[0][1]


def test_every_fault_is_named_not_only_the_first(tmp_path):
    text = GOOD.replace("threads = 2", "threads = x").replace("evict = yes", "evict = maybe")
    text = text.replace("fsync = everysec", "fsync = never\nfoo = bar") + "[what]\nis = this\n"
    done, faults = check(tmp_path, text)
    assert done.returncode == 2
    assert [line for line, _ in faults] == [2, 12, 20, 21, 23]


def test_insecure_is_the_word_for_listening_to_everybody(tmp_path):
    text, _ = with_changed("listen", "0.0.0.0:11200")
    done, _ = check(tmp_path, text + "insecure = yes\n")
    assert done.returncode == 0, done.stderr
    done, _ = check(tmp_path, text + "insecure = no\n")
    assert done.returncode == 2


@pytest.mark.parametrize("listen", ["127.0.0.1:11200", "127.1.2.3:11200", "[::1]:11200",
                                    "localhost:11200", "unix:/tmp/x.sock"])
def test_loopback_and_unix_sockets_need_no_word(tmp_path, listen):
    text, _ = with_changed("listen", listen)
    assert check(tmp_path, text)[0].returncode == 0


@pytest.mark.parametrize("content", [b"", b"\x00" * 5000, bytes(range(256)) * 40, b"[" * 100_000,
                                     b"x" * 100_000, b"[server]\n" * 5000, b"=\n=\n"])
def test_a_file_of_anything_is_answered_and_never_crashes(tmp_path, content):
    done, _ = check(tmp_path, content)
    assert done.returncode in (0, 2)
    assert content == b"" or done.returncode == 2


def test_a_missing_file_is_an_error(tmp_path):
    for path in (tmp_path / "none.conf", tmp_path):
        done = run("--check", "-c", path)
        assert done.returncode == 2 and str(path) in done.stderr
        done = run("-c", path)
        assert done.returncode == 2 and str(path) in done.stderr


def test_a_faulty_configuration_does_not_start(tmp_path):
    path = tmp_path / "test.conf"
    path.write_text(GOOD.replace("/tmp/nowhere", str(tmp_path)) + "foo = bar\n")
    done = run("-c", path)
    assert done.returncode == 2 and f"{path}:{GOOD.count(chr(10)) + 1}: " in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["test.conf"]


@pytest.mark.parametrize("arguments", [["--foo"], ["-c"], ["-p", "x"], ["-m", "0"], ["-p", "70000"],
                                       ["extra"], ["-c", "x", "--check", "extra"]])
def test_a_wrong_command_line_says_so_and_exits_with_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stderr.startswith("stayd: ") and not done.stdout


def test_help_and_version_go_to_the_standard_output():
    done = run("--help")
    assert done.returncode == 0 and "--check" in done.stdout and not done.stderr
    done = run("--version")
    assert done.returncode == 0 and not done.stderr
    assert re.fullmatch(r"stayd [0-9]\S* .*\nio_uring: built with.*\n", done.stdout)


def test_memcacheds_own_options_make_one_volatile_pool(tmp_path):
    """`stayd -p PORT -m MB -l ADDRESS -U 0 -c N -t N` can replace memcached in a unit file."""
    port = free_port()
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path),
                   "XDG_STATE_HOME": str(tmp_path)}
    command = [stayd_binary(), "-l", "127.0.0.1", "-p", str(port), "-m", "32", "-U", "0",
               "-c", "100", "-t", "2"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(port), what="the start")
            with Raw(("127.0.0.1", port)) as connection:
                assert connection.set(b"k", b"v") == b"STORED"
                stats = connection.stats()
                assert int(stats["limit_maxbytes"]) == 32 << 20
                assert int(stats["max_connections"]) == 100
                assert int(stats["threads"]) == 2
        finally:
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=20)
        assert process.returncode == 0, log
    assert not list(tmp_path.glob("**/*.pool")), "a volatile pool has no file"


def answers(port):
    """Whether a process listens on the loopback port."""
    try:
        Raw(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


# The configuration is valid but does not fit the machine. The start fails, and changes no file.


def start_fails(server, *said):
    """Starts `server`. It must end by itself, with an error that contains each text in `said`."""
    with pytest.raises(ServerError):
        server.start()
    assert server.process.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT), server.log
    assert server.process.returncode > 0, server.log
    for words in said:
        assert str(words) in server.log
    server.check_sanitizers()


@pytest.fixture
def stopped():
    """A Stayd that has run, holds an item in each pool, and was stopped cleanly."""
    with Stayd(sessions={"memory": "16M"}, cache={"memory": "16M"}) as stayd:
        connection = stayd.connect("sessions")
        for number in range(100):
            connection.set(b"k%d" % number, b"value-%d" % number, flags=number)
        stayd.terminate()
        yield stayd


def starts_with_all(stayd):
    """Starts the daemon. Every item that `stopped` stored must be there."""
    stayd.start()
    connection = stayd.connect("sessions")
    for number in range(100):
        value = b"value-%d" % number
        connection.ask(b"get k%d\r\n" % number,
                       b"VALUE k%d %d %d\r\n%b\r\nEND\r\n" % (number, number, len(value), value))


def test_a_port_in_use_is_an_error_and_the_data_is_untouched(stopped):
    before = stopped.data_file("sessions").read_bytes()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", stopped.port("cache")))
        other.listen()
        start_fails(stopped, f"127.0.0.1:{stopped.port('cache')}", "in use")
    assert stopped.data_file("sessions").read_bytes() == before
    starts_with_all(stopped)


def test_a_unix_socket_in_use_is_an_error_and_stays_in_use(stopped):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(stopped.socket("sessions"))
        other.listen()
        start_fails(stopped, stopped.socket("sessions"), "in use")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(stopped.socket("sessions"))
    pathlib.Path(stopped.socket("sessions")).unlink()
    starts_with_all(stopped)


def test_a_socket_file_that_a_killed_daemon_left_is_replaced(stopped):
    stopped.start()
    stopped.kill9()
    assert pathlib.Path(stopped.socket("sessions")).is_socket()
    starts_with_all(stopped)


def test_a_file_that_is_no_socket_is_not_replaced(stopped):
    path = pathlib.Path(stopped.socket("sessions"))
    path.write_text("precious")
    start_fails(stopped, path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("where", ["/proc/stayd-test", "{dir}/file/below", "{dir}/file"])
def test_an_unwritable_data_dir_is_an_error(where):
    with Stayd() as stayd:
        stayd.terminate()
        (stayd.directory / "file").write_text("in the way")
        path = where.format(dir=stayd.directory)
        stayd.configure(re.sub(r"data_dir = .*", f"data_dir = {path}", stayd.config))
        start_fails(stayd, path)
        assert (stayd.directory / "file").read_text() == "in the way"


def test_a_limit_of_file_sizes_is_an_error_that_says_so():
    """If stayd did not check the limit, the system would end the daemon with a signal, without a message."""
    with Stayd() as stayd:
        stayd.terminate()
        stayd.data_file("sessions").unlink()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            start_fails(stayd, "LimitFSIZE")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_data_dir_without_permission_is_an_error():
    with Stayd() as stayd:
        stayd.terminate()
        stayd.data_dir.chmod(0o500)
        try:
            start_fails(stayd, stayd.data_dir)
        finally:
            stayd.data_dir.chmod(0o700)


def flip(path, offset):
    """Changes one byte of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x5A]))


def other_version(path):
    """Writes the version 999 into the file's header."""
    with open(path, "r+b") as file:
        file.seek(VERSION_OFFSET)
        file.write(struct.pack("<I", 999))


@pytest.mark.parametrize("damage, said", [
    (lambda path: path.write_bytes(b"Dear diary, I am no pool.\n" * 1000), "not a stayd"),
    (lambda path: path.write_bytes(os.urandom(1 << 20)), "not a stayd"),
    (lambda path: path.write_bytes(bytes(4096)), "not a stayd"),
    (lambda path: path.write_bytes(b"x"), "not a stayd"),
    (lambda path: flip(path, 0), "not a stayd"),
    (other_version, "999"),
    (lambda path: flip(path, 20), "damaged"),
    (lambda path: flip(path, 40), "damaged"),
    (lambda path: os.truncate(path, path.stat().st_size // 2), "damaged"),
    (lambda path: os.truncate(path, path.stat().st_size - 1), "damaged"),
    (lambda path: os.truncate(path, 4096), "damaged"),
    (lambda path: os.truncate(path, 100), "not a stayd"),
], ids=["text", "random", "zeroes", "one-byte", "magic", "version", "header-20", "header-40",
        "half", "one-byte-less", "header-alone", "100-bytes"])
def test_a_data_file_that_is_not_right_is_an_error_and_left_as_it_is(stopped, damage, said):
    path = stopped.data_file("sessions")
    whole = path.read_bytes()
    damage(path)
    damaged = path.read_bytes()
    start_fails(stopped, path, said)
    assert path.read_bytes() == damaged
    assert sorted(entry.name for entry in stopped.data_dir.iterdir()) == ["sessions.pool"]
    path.write_bytes(whole)
    starts_with_all(stopped)


def test_an_empty_data_file_is_an_error_or_a_new_pool_but_no_crash(stopped):
    path = stopped.data_file("sessions")
    path.write_bytes(b"")
    start_fails(stopped, path)
    assert path.read_bytes() == b""


def test_a_data_file_that_is_a_folder_or_a_device_is_an_error(stopped):
    path = stopped.data_file("sessions")
    path.unlink()
    path.mkdir()
    start_fails(stopped, path)
    path.rmdir()
    path.symlink_to("/dev/null")
    start_fails(stopped, path)
    assert os.readlink(path) == "/dev/null"


def test_a_data_file_that_is_longer_than_it_says_is_sound(stopped):
    """A crash while the pool grows leaves such a file."""
    path = stopped.data_file("sessions")
    os.truncate(path, path.stat().st_size + 4096)
    starts_with_all(stopped)


def with_sessions(config, key, value):
    """The configuration with another value for a key of [pool sessions]."""
    head, tail = config.split("[pool sessions]\n")
    tail = re.sub(rf"^{key} = .*\n", "", tail, flags=re.MULTILINE)
    return f"{head}[pool sessions]\n{key} = {value}\n{tail}"


def blocks_bytes(stayd):
    """How many bytes of the disk the pool's file takes. Its length stays the same when the pool shrinks."""
    return stayd.data_file("sessions").stat().st_blocks * 512


@pytest.mark.parametrize("memory", ["32M", "100M", "12M"])
def test_a_pool_grows_and_shrinks_to_the_memory_that_the_configuration_gives_it(stopped, memory):
    config = stopped.config
    before = blocks_bytes(stopped)
    stopped.configure(with_sessions(config, "memory", memory))
    starts_with_all(stopped)
    size = blocks_bytes(stopped)
    wanted = int(memory[:-1]) << 20
    assert wanted * 3 // 4 < size <= wanted + (1 << 20)
    stopped.terminate()
    stopped.configure(config)
    starts_with_all(stopped)
    assert abs(blocks_bytes(stopped) - before) <= 1 << 20


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_pool_that_holds_more_than_its_memory_is_to_be_is_an_error_and_drops_nothing(how):
    with Stayd(sessions={"memory": "32M"}) as stayd:
        connection = stayd.connect("sessions")
        for number in range(400):
            assert connection.set(b"k%d" % number, b"%d " % number * 10_000) == b"STORED"
        config = stayd.config
        stayd.terminate(how)
        stayd.configure(with_sessions(config, "memory", "10M"))
        start_fails(stayd, "sessions", "memory")
        stayd.configure(config)
        stayd.start()
        connection = stayd.connect("sessions")
        for number in range(400):
            assert connection.get(b"k%d" % number) == b"%d " % number * 10_000


def test_an_item_max_that_the_data_file_cannot_hold_is_an_error_and_the_file_is_as_it_was(stopped):
    path, config = stopped.data_file("sessions"), stopped.config
    before = path.read_bytes()
    stopped.configure(with_sessions(with_sessions(config, "memory", "64M"), "item_max", "4M"))
    start_fails(stopped, "sessions", "item_max")
    assert path.read_bytes() == before
    stopped.configure(config)
    starts_with_all(stopped)


def test_a_data_file_in_use_by_another_daemon_is_an_error_and_the_other_is_unharmed(stopped):
    stopped.start()
    with Stayd() as second:
        second.terminate()
        second.configure(re.sub(r"data_dir = .*", f"data_dir = {stopped.data_dir}", second.config))
        start_fails(second, stopped.data_file("sessions"), "in use")
    connection = stopped.connect("sessions")
    for number in range(100):
        assert connection.get(b"k%d" % number) == b"value-%d" % number
    stopped.restart()
    assert stopped.connect("sessions").get(b"k7") == b"value-7"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a small file system of its own")
def test_a_full_disk_is_an_error_at_start_and_leaves_no_half_file():
    with Stayd() as stayd:
        stayd.terminate()
        small = stayd.directory / "small"
        small.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)])
        if mounted.returncode != 0:
            pytest.skip("this machine lets nobody mount")
        try:
            stayd.configure(re.sub(r"data_dir = .*", f"data_dir = {small}", stayd.config))
            start_fails(stayd, small / "sessions.pool")
            assert list(small.iterdir()) == []
        finally:
            subprocess.run(["umount", str(small)], check=True)
