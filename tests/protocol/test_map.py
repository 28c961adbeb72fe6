"""`stayd_map`: a client on a Unix socket receives the pool's two mappings, and can only read them.

The kernel tells the daemon who the client is (SO_PEERCRED), so the clients of other users are real
processes of other users. These tests need root; without root they are skipped with that reason.
"""

import array
import fcntl
import mmap
import os
import socket
import struct

import pytest

from support.servers import Raw, Stayd

REFUSED = b"CLIENT_ERROR not allowed: see readers of the pool"
NOBODY, NOGROUP = 65534, 65534
INDEX_ID = 152  # its offset in the data's header: src/store/layout.h

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


def ask(path):
    """Sends the request on a Unix socket; returns the line of the reply, and the descriptors that came
    with it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        return ask_on(client)


def ask_on(client):
    client.sendall(b"stayd_map\r\n")
    line, files = b"", []
    while not line.endswith(b"\r\n"):
        piece, control, _, _ = client.recvmsg(4096, socket.CMSG_SPACE(8 * 4))
        assert piece
        line += piece
        for level, kind, data in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            files += array.array("i", data).tolist()
    return line[:-2], files


def as_user(work, user=NOBODY, group=NOGROUP, groups=()):
    """Runs `work` in a child process of another user; returns what it returned (bytes)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(group)
            os.setuid(user)
            os.write(writer, work())
        except BaseException as failure:
            os.write(writer, repr(failure).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return result


def everybody_may_connect(stayd):
    """Lets other users connect to the sockets. Whether they may map the pool is decided separately."""
    os.chmod(stayd.directory, 0o755)
    os.chmod(stayd.run_dir, 0o755)


def open_to_all(**more):
    return {"socket_mode": "0666", **more}


@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_the_daemons_own_user_is_handed_both_mappings(pool):
    with Stayd() as stayd:
        stayd.connect(pool).set(b"a-key-to-look-for", b"v")
        line, files = ask(stayd.socket(pool))
        assert (line, len(files)) == (b"MAP", 2)
        magics = []
        for file in files:
            with mmap.mmap(file, 0, prot=mmap.PROT_READ) as mapping:
                magics.append(mapping[:8])
                if len(magics) == 1:
                    assert mapping.find(b"a-key-to-look-for") > 0
            os.close(file)
        assert magics == [b"statad1\n", b"statex1\n"]


def test_the_second_time_on_one_connection_is_refused():
    with Stayd() as stayd, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(stayd.socket("sessions"))
        line, files = ask_on(client)
        assert (line, len(files)) == (b"MAP", 2)
        assert ask_on(client) == (b"CLIENT_ERROR no mapping: this connection has had one", [])
        for file in files:
            os.close(file)


def test_the_daemon_keeps_no_descriptor_of_what_it_hands_over():
    with Stayd() as stayd:
        folder = f"/proc/{stayd.pid}/fd"
        before = len(os.listdir(folder))
        for _ in range(20):
            for file in ask(stayd.socket("sessions"))[1]:
                os.close(file)
        with socket.socket(socket.AF_UNIX) as client:  # asks, and leaves without reading the reply
            client.connect(stayd.socket("sessions"))
            client.sendall(b"stayd_map\r\n")
        stayd.connect("sessions").expect_in_step()
        assert len(os.listdir(folder)) <= before + 2


def test_requests_before_and_behind_are_answered_in_order():
    with Stayd() as stayd, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(stayd.socket("sessions"))
        client.sendall(b"set k 0 0 1\r\nv\r\nstayd_map\r\nget k\r\n")
        got = b""
        while not got.endswith(b"END\r\n"):
            piece, _, _, _ = client.recvmsg(4096, socket.CMSG_SPACE(8 * 4))
            got += piece
        assert got == b"STORED\r\nMAP\r\nVALUE k 0 1\r\nv\r\nEND\r\n"


def test_a_client_on_loopback_is_told_the_path_of_the_socket_and_the_index_id():
    with Stayd() as stayd:
        path = stayd.socket("sessions")
        _, files = ask(path)
        with mmap.mmap(files[0], 0, prot=mmap.PROT_READ) as data:
            (index_id,) = struct.unpack_from("<Q", data, INDEX_ID)
        assert stayd.connect("sessions").ask(b"stayd_map\r\n") == (
            b"PATH %d %b" % (index_id, path.encode()))
        for file in files:
            os.close(file)


def test_without_a_socket_a_client_on_loopback_is_told_so():
    with Stayd() as stayd:
        stayd.terminate()
        stayd.configure(stayd.config.replace(", unix:cache.sock", ""))
        stayd.start()
        assert stayd.connect("cache").ask(b"stayd_map\r\n") == (
            b"CLIENT_ERROR no mapping: it needs a Unix socket, and the pool has none")


def test_words_behind_the_command_are_refused():
    with Stayd() as stayd:
        assert stayd.connect("cache").ask(b"stayd_map now\r\n") == b"ERROR"


def test_none_means_nobody():
    with Stayd(sessions={"readers": "none"}) as stayd:
        assert ask(stayd.socket("sessions")) == (REFUSED, [])


def test_where_the_pool_asks_for_a_login_it_comes_first(tmp_path):
    users = tmp_path / "users"
    users.write_text("jo:secret\n")
    users.chmod(0o600)
    with Stayd(sessions={"auth_file": users}) as stayd:
        assert ask(stayd.socket("sessions")) == (b"CLIENT_ERROR unauthenticated", [])
        with Raw(stayd.socket("sessions")) as client:
            client.ask(b"set x 0 0 9\r\njo secret\r\n", b"STORED\r\n")
            line, files = ask_on(client.socket)
            assert (line, len(files)) == (b"MAP", 2)
            for file in files:
                os.close(file)


@needs_root
def test_another_user_gets_nothing():
    with Stayd(sessions=open_to_all(), cache=open_to_all()) as stayd:
        everybody_may_connect(stayd)
        for pool in ("sessions", "cache"):
            path = stayd.socket(pool)
            assert as_user(lambda path=path: ask(path)[0]) == REFUSED


@needs_root
@pytest.mark.parametrize("readers", [str(NOBODY), f"17, @19 , {NOBODY}", f"@{NOGROUP}", "@29"])
def test_a_user_or_a_group_that_is_named_is_handed_the_mappings(readers):
    with Stayd(sessions=open_to_all(readers=readers)) as stayd:
        everybody_may_connect(stayd)
        path = stayd.socket("sessions")
        assert as_user(lambda: ask(path)[0], groups=[28, 29, 30]) == b"MAP"
        assert as_user(lambda: ask(path)[0], user=4000, group=4000) == REFUSED


@needs_root
@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_another_user_cannot_write_through_the_descriptors(pool):
    with Stayd(sessions=open_to_all(readers=NOBODY), cache=open_to_all(readers=NOBODY)) as stayd:
        everybody_may_connect(stayd)
        path = stayd.socket(pool)

        def attack():
            line, files = ask(path)
            assert (line, len(files)) == (b"MAP", 2)
            attempts = []
            for file in files:
                size = os.fstat(file).st_size
                attempts += [
                    lambda file=file: os.write(file, b"x"),
                    lambda file=file: os.pwrite(file, b"x", 0),
                    lambda file=file: os.truncate(file, 0),
                    lambda file=file: os.fchmod(file, 0o666),
                    lambda file=file: mmap.mmap(file, size, prot=mmap.PROT_READ | mmap.PROT_WRITE),
                    lambda file=file: os.open(f"/proc/self/fd/{file}", os.O_RDWR),
                    lambda file=file: os.open(f"/proc/self/fd/{file}", os.O_RDONLY),
                    lambda file=file: os.posix_fallocate(file, 0, 2 * size),
                    lambda file=file: fcntl.fcntl(file, 1033, 0x10),  # F_ADD_SEALS
                ]
            done = []
            for number, attempt in enumerate(attempts):
                try:
                    attempt()
                    done.append(number)
                except OSError:
                    pass
            return repr(done).encode()

        assert as_user(attack) == b"[]"
        stayd.connect(pool).set(b"k", b"v")  # the daemon is well
        assert stayd.connect(pool).get(b"k") == b"v"


@pytest.mark.parametrize("readers, words", [
    ("nobody-has-this-name", "there is no user 'nobody-has-this-name'"),
    ("@no-such-group", "there is no group 'no-such-group'"),
    ("root,", "must be users and @groups separated by commas"),
    ("root daemon", "a comma is missing before 'daemon'"),
])
def test_a_wrong_list_is_refused_with_its_line(readers, words):
    stayd = Stayd(sessions={"readers": readers})
    with pytest.raises(Exception, match="readers = .*" + words):
        stayd.start()
    stayd.close()
