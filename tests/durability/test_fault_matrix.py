"""The rows of the fault matrix about the machine: disk, disk space, clock, limits.

support/fault_matrix.py runs them, and support/fault_matrix.toml has the expected results. The test of
the first cell runs all rows in parallel.
"""

import errno
import os
import pathlib
import random
import resource
import subprocess

import pytest

from support import preload
from support.clock import Clock, let_the_janitor_pass
from support.fault_matrix import (COLUMNS, ITEMS, NO_PRELOAD, Fault, Impossible, expect_agreement,
                                  mount, own_mounts, preloaded, table, try_rows)
from support.gate import Gate
from support.servers import wait_until

FULL = b"SERVER_ERROR out of memory storing object"


class GatedDisk(Fault):
    """A disk on which syncs go through gate.c."""

    def environment(self):
        return {"LD_PRELOAD": preloaded("durability/gate.c"), "STAYD_GATE": str(self.folder)}

    @property
    def gate(self):
        return Gate(self.folder)

    def lift(self):
        self.gate.mend()


class HungDisk(GatedDisk):
    name = "hung disk"

    def inject(self):
        self.gate.shut()
        with self.stayd.connect("sessions") as writer:
            writer.send(b"set turn 0 0 1\r\nv\r\n")
            with self.stayd.connect("sessions") as watcher:
                wait_until(lambda: int(watcher.stats()["sync_lag_ms"]) > 2100, timeout=30,
                           what="two seconds of writes that the disk lacks")

    def inject_for_start(self):
        self.gate.shut()


class HungDiskAlways(HungDisk):
    name = "hung disk, fsync = always"
    sessions = {"fsync": "always"}

    def prepare(self):
        """Makes more syncs, so that the daemon knows that the items that will be read are durable."""
        with self.stayd.connect("sessions") as writer:
            for _ in range(20):
                assert writer.set(b"turn", b"v") == b"STORED"


class SlowDisk(GatedDisk):
    name = "slow disk"
    grace_s = 1.0  # the daemon may be two seconds late on a machine that runs other work

    def inject(self):
        self.gate.slow(300)


class SlowDiskAlways(SlowDisk):
    name = "slow disk, fsync = always"
    sessions = {"fsync": "always"}
    grace_s = 2 * 0.3


class FailingDisk(GatedDisk):
    name = "failing disk"

    def inject(self):
        self.gate.fail()
        become_read_only(self.stayd)

    def inject_for_start(self):
        self.gate.fail()


def become_read_only(stayd):
    """Writes until the pool has noticed that writes fail."""
    with stayd.connect("sessions") as connection:
        connection.set(b"turn", b"v")
        wait_until(lambda: connection.stats()["read_only"] == "yes",
                   what="the pool to be read-only")


class Mounted(Fault):
    """Mounts the row's own file system at `place`. The daemon's folder is `folder_name` in it."""

    directory = None
    size = "32M"

    def make(self, place):
        mount("-t", "tmpfs", "-o", f"size={self.size}", "none", place)

    def before_start(self):
        own_mounts()
        place = getattr(self.stayd, self.directory)
        self.make(place)
        place.chmod(0o700)
        self.stack.callback(subprocess.run, ["umount", "-l", place])

    def fill(self):
        """Takes all room that is left."""
        with open(getattr(self.stayd, self.directory) / "fill", "ab") as file:
            piece = 1 << 20
            while piece >= 512:
                try:
                    os.write(file.fileno(), b"x" * piece)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    piece //= 2

    def lift(self):
        (getattr(self.stayd, self.directory) / "fill").unlink(missing_ok=True)


class LoopMounted(Mounted):
    """The same, with ext4 in an image file."""

    directory = "data_dir"

    def make(self, place):
        image = self.folder / "image"
        with open(image, "wb") as file:
            file.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image], check=True)
        mount("-o", "loop,errors=remount-ro", image, place)


class FullDataDir(LoopMounted):
    name = "full data_dir"

    @property
    def backup_folder(self):
        return self.stayd.data_dir

    def inject(self):
        self.fill()


class SmallDataDir(Mounted):
    name = "data_dir without room for the pool"
    directory = "data_dir"
    size = "8M"

    def lift(self):
        subprocess.run(["mount", "-o", "remount,size=32M", self.stayd.data_dir], check=False)


class FullRunDir(Mounted):
    name = "full run_dir"
    directory = "run_dir"
    size = "4M"

    def inject(self):
        self.fill()


class FullIndex(FullRunDir):
    name = "full run_dir, many new keys"
    sessions = {"memory": "32M"}
    size = "1M"

    def requests(self):
        many = b"".join(b"set new%d 0 0 1 noreply\r\nn\r\n" % n for n in range(60_000))
        return {"new_key": (many + b"set new 0 0 1\r\nn\r\n", (b"STORED", b""))}


class ReadOnlyRemount(LoopMounted):
    name = "read-only remount"

    def _device(self):
        found = subprocess.run(["findmnt", "-n", "-o", "SOURCE", self.stayd.data_dir],
                               capture_output=True, text=True, check=True).stdout.strip()
        return pathlib.Path("/sys/fs/ext4") / pathlib.Path(found).name

    def prepare(self):
        with self.stayd.connect("sessions") as connection:
            wait_until(lambda: connection.stats()["sync_lag_ms"] == "0", what="the disk to have all")

    def inject(self):
        try:
            (self._device() / "trigger_fs_error").write_text("a test's")
        except OSError as error:
            raise Impossible(f"cannot make ext4 fail: {error}") from None
        become_read_only(self.stayd)

    def inject_for_start(self):
        pass

    def lift(self):
        place = self.stayd.data_dir
        if self.stayd.process is not None and self.stayd.process.poll() is None:
            self.stayd.kill9()
        subprocess.run(["umount", place], check=False)
        subprocess.run(["mount", "-o", "loop", self.folder / "image", place], check=False)


class FullPool(Fault):
    name = "full pool"
    sessions = {"item_max": "1M"}
    grace_s = 5.0  # an update may have to wait until compaction has been to the disk
    size = 400

    def _set(self, connection, names):
        """Sets each of the items; returns the replies."""
        connection.send(b"".join(b"set %b 0 0 %d\r\n%b\r\n" % (name, self.size, b"f" * self.size)
                                 for name in names))
        return [connection.read_line() for _ in names]

    def inject(self):
        """Sends new keys and updates in turn, until no new key is accepted any more."""
        refused = 0
        self.names = [b"k%d" % number for number in range(2, ITEMS)]
        with self.stayd.connect("sessions") as connection:
            for start in range(0, 200_000, 50):
                names = [b"f%d" % number for number in range(start, start + 50)]
                taken = [name for name, reply in zip(names, self._set(connection, names))
                         if reply == b"STORED"]
                refused = 0 if taken else refused + 1
                if refused == 4:
                    return
                self.names += taken
                if taken:
                    self._set(connection, random.Random(start).sample(self.names, 40))
        raise AssertionError("the pool takes everything")

    def inject_for_start(self):
        pass

    def requests(self):
        """The new key is the last of many, because a pool that has room for a few keys is not full yet."""
        many = b"".join(b"set new%d 0 0 1000 noreply\r\n%b\r\n" % (n, b"n" * 1000)
                        for n in range(1000))
        return {"new_key": (many + b"set new 0 0 1000\r\n%b\r\n" % self.value, (b"STORED", b""))}

    def also(self):
        """Every user who is logged in stays logged in, and can go on."""
        with self.stayd.connect("sessions") as connection:
            for start in range(0, 3000, 100):
                names = (self.names * 100)[start:start + 100]
                replies = self._set(connection, names)
                assert set(replies) == {b"STORED"}, f"{replies.count(FULL)} of {len(names)} refused"


class FullTinyPool(FullPool):
    name = "full tiny pool"
    sessions = {"memory": "600K", "item_max": "16K"}


class FullPoolHungDisk(FullTinyPool, HungDisk):
    """Compaction cannot free the segments that it has emptied, so the pool soon has no room."""

    name = "full pool on a hung disk"

    def inject(self):
        FullPool.inject(self)
        self.gate.shut()
        with self.stayd.connect("sessions") as writer:
            writer.send(b"".join(b"set %b 0 0 400 noreply\r\n%b\r\n" % (name, b"f" * 400)
                                 for name in (self.names * 100)[:3000]))
            wait_until(self._is_refused, what="a refused update", timeout=60)

    def _is_refused(self):
        with self.stayd.connect("sessions") as connection:
            try:
                connection.send(b"set k0 0 0 400\r\n%b\r\n" % (b"f" * 400))
                return connection.read_line(timeout=4) == FULL
            except TimeoutError:  # there was room, and the reply waits for the disk
                return False

    def inject_for_start(self):
        self.gate.shut()

    def also(self):
        pass


class HugeItem(Fault):
    name = "huge item"
    sessions = {"item_max": "64K"}

    def requests(self):
        huge = b"h" * (100 << 10)
        stored = (b"STORED", b"")
        return {"update": (b"set kept 0 0 %d\r\n%b\r\n" % (len(huge), huge), stored),
                "new_key": (b"set new 0 0 %d\r\n%b\r\n" % (len(huge), huge), stored)}


class WrongClock(Fault):
    """A wall clock that is set while the daemon runs, and that is wrong when the daemon starts."""

    jump_s = 0

    def environment(self):
        self.clock = Clock(self.folder / "clock")
        environment = self.clock.environment()
        if environment is None:
            raise Impossible(NO_PRELOAD)
        return environment

    def prepare(self):
        with self.stayd.connect("sessions") as connection:
            for key in [b"kept"] + [b"k%d" % number for number in range(1, 40)]:
                assert connection.set(key, self.value, expiry=20 * 86400) == b"STORED"

    def inject(self):
        self.clock.step(self.jump_s)
        let_the_janitor_pass(self.stayd, self.clock.step)

    def inject_for_start(self):
        self.clock.step(self.jump_s)

    def lift(self):
        self.clock.step(-self.clock.wall)


class ClockForward(WrongClock):
    name = "clock forward"
    jump_s = 40 * 86400


class ClockBack(WrongClock):
    name = "clock back"
    jump_s = -40 * 86400


class Limited(Fault):
    """A limit of the process: it is lowered while the daemon runs, and is in force when the daemon
    starts."""

    new_connections = False
    limit = None
    option = None
    start_value = None

    def daemon(self):
        stayd = super().daemon()
        command = stayd.command()
        stayd.command = lambda: [*self.prefix, *command]
        self.prefix = []
        return stayd

    def _set(self, number):
        if self.stayd.process is not None and self.stayd.process.poll() is None:
            hard = resource.prlimit(self.stayd.pid, self.limit)[1]
            resource.prlimit(self.stayd.pid, self.limit, (number or hard, hard))

    def inject_for_start(self):
        self.prefix = ["prlimit", f"--{self.option}={self.start_value}"]

    def lift(self):
        self.prefix = []
        self._set(None)


class DescriptorsGone(Limited):
    name = "descriptors gone"
    limit = resource.RLIMIT_NOFILE
    option = "nofile"
    start_value = 32

    def inject(self):
        self._set(len(os.listdir(f"/proc/{self.stayd.pid}/fd")))
        newcomers = []  # the first request may find a descriptor that was closed meanwhile
        wait_until(lambda: newcomers.append(self.stayd.connect("sessions"))
                   or "raise the limit of open files" in self.stayd.log)
        self.newcomer = newcomers[-1]

    def also(self):
        self.newcomer.send(b"mn\r\n")
        with pytest.raises(TimeoutError):
            self.newcomer.read_line(timeout=0.2)


class MemoryLimit(Limited):
    name = "memory limit"
    limit = resource.RLIMIT_AS
    option = "as"
    start_value = 40 << 20

    def before_start(self):
        if preload.has_sanitizer():
            raise Impossible("a sanitizer needs addresses without end")

    def inject(self):
        self._set(1 << 20)


FAULTS = {fault.name: fault for fault in (
    HungDisk, HungDiskAlways, SlowDisk, SlowDiskAlways, FailingDisk, FullDataDir, SmallDataDir,
    FullRunDir, FullIndex, ReadOnlyRemount, FullPool, FullTinyPool, FullPoolHungDisk, HugeItem,
    ClockForward, ClockBack, DescriptorsGone, MemoryLimit) if fault.name in table()}


@pytest.fixture(scope="module")
def rows(request):
    """The results of all rows that the tests of this module need."""
    return try_rows(request, FAULTS, at_once=8)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", FAULTS)
def test_under_a_fault_a_client_sees_what_the_table_says(rows, name, column):
    expect_agreement(rows, name, column)
