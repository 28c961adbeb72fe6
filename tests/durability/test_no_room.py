"""A file system without room, a real one: an error that says what to do, and never a SIGBUS.

What is in short supply is a small tmpfs, mounted in a mount namespace of the daemon's own, which any
user may have on most systems.
"""

import subprocess

import pytest

from support.servers import Stayd, free_port, wait_until


class Confined(Stayd):
    """The daemon with a tmpfs of `room` on its run_dir or its data_dir; a new one at each start."""

    def __init__(self, room, where, **sessions):
        listens = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        super().__init__(sessions={"listen": listens[0], "item_max": "64K", **sessions},
                         cache={"listen": listens[1]})
        self._mount = f"mount -t tmpfs -o size={room} none {getattr(self, where)}"
        self.before = "true"

    def command(self):
        script = f'{self._mount} && cd {self.run_dir} && {self.before} && exec "$0" "$@"'
        return ["unshare", "-rm", "sh", "-c", script, *super().command()]

    def start_refused(self):
        """Starts the daemon, which must end with an error; returns what it said."""
        process = subprocess.run(self.command(), env=self.environment(), cwd=self.directory,
                                 capture_output=True, text=True, timeout=60)
        assert process.returncode == 1, (process.returncode, process.stderr)
        return process.stderr

    def fill(self):
        """Takes all the room that is left in run_dir."""
        path = f"/proc/{self.pid}/root{self.run_dir}/fill"
        subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=4k"], stderr=subprocess.DEVNULL)


@pytest.fixture(autouse=True)
def namespaces():
    if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("this system lets nobody have a mount namespace of his own")


def test_a_run_dir_that_is_full_is_an_error_at_the_start():
    stayd = Confined("64k", "run_dir", memory="16M")
    stayd.before = "dd if=/dev/zero of=fill bs=4k 2>/dev/null || true"
    message = stayd.start_refused()
    assert "sessions.index" in message and "run_dir" in message


def test_a_data_dir_without_room_is_an_error_at_the_start():
    message = Confined("8M", "data_dir", memory="16M").start_refused()
    assert "cannot reserve" in message and "sessions.pool" in message and "Free space" in message


def test_a_run_dir_that_fills_up_stops_the_growth_of_the_index_and_nothing_else():
    with Confined("1M", "run_dir", memory="32M") as stayd:
        connection = stayd.connect("sessions")
        assert connection.set(b"first", b"v") == b"STORED"
        stayd.fill()
        stored = []
        for begin in range(0, 60_000, 1000):
            numbers = range(begin, begin + 1000)
            connection.send(b"".join(b"set k%d 0 0 1\r\nv\r\n" % number for number in numbers))
            for number in numbers:
                reply = connection.read_line()
                assert reply in (b"STORED", b"SERVER_ERROR out of memory storing object"), reply
                if reply == b"STORED":
                    stored.append(number)
        assert len(stored) >= 5000
        for number in stored[::50]:
            assert connection.get(b"k%d" % number) == b"v"
        assert "let the index grow" in stayd.log and "run_dir" in stayd.log
        wait_until(lambda: connection.ask(b"delete k%d\r\n" % stored[0]) == b"DELETED")
        assert connection.set(b"first", b"again") == b"STORED", "updates need no room in the index"
