"""stayctl backup: a consistent copy of a pool while clients write."""

import mmap
import os
import resource
import shutil
import stat
import time

from support.journal import Churn, Journal, Relay, at_work
from support.pool_file import PAGE
from support.servers import Stayd, wait_until
from support.stayctl import SMALL, SOUND, UNUSABLE, backup, check, dump, restore, run, values


def backup_at_last(stayd, to):
    """Repeats a backup until it succeeds, because clients may write faster than the backup copies."""
    def succeeds():
        done = run("-c", stayd.config_path, "backup", "sessions", to)
        assert done.returncode == 0 or b"writes would have to wait" in done.stderr, done.stderr
        assert to.exists() == (done.returncode == 0)
        return done.returncode == 0

    wait_until(succeeds, 60, "a backup")


BACKUPS = int(os.environ.get("STAYD_BACKUP_ROUNDS", "4"))


def test_a_backup_while_clients_write_is_one_state_between_its_begin_and_its_end(tmp_path):
    """The copy has every write that was acknowledged before the backup began, and no item that was deleted
    before. It also has the later writes up to some moment, and none after that moment."""
    with Stayd(sessions={"memory": "32M", "item_max": "64K"}, server={"threads": 4}) as stayd:
        connection = stayd.connect("sessions")
        kept = {b"kept-%d" % number: b"%d " % number * 200 for number in range(6000)}
        for key, value in kept.items():
            connection.send(b"set %b 0 0 %d noreply\r\n%b\r\n" % (key, len(value), value))
        connection.expect_in_step()
        gone = [key for number, key in enumerate(kept) if number % 3 == 0]
        for key in gone:
            connection.send(b"delete %b noreply\r\n" % key)
            del kept[key]
        connection.expect_in_step()
        journals = [Journal(stayd.connect("sessions"), f"journal{n}", n) for n in range(2)]
        relay = Relay(stayd)
        churn = Churn(stayd.connect("sessions"), kept)
        compacted = int(connection.stats()["segments_compacted"])
        with at_work([*journals, relay, churn]):
            wait_until(lambda: int(connection.stats()["segments_compacted"]) > compacted + 20, 60)
            for number in range(BACKUPS):
                begins = [journal.acknowledged for journal in journals]
                count_before = relay.count
                path = tmp_path / f"{number}.pool"
                backup_at_last(stayd, path)
                ends = [len(journal.commands) for journal in journals]
                count_after = relay.count + 1
                code, output = check(path)
                assert code == SOUND, output
                items = dump(path)
                found = values(items)
                assert all(found.get(key) == value for key, value in kept.items())
                assert not any(key in items for key in gone)
                first, second = (int(items[name]["value"]) for name in (b"first", b"second"))
                assert second in (first, first - 1)
                assert count_before <= second <= first <= count_after
                for journal, begin, end in zip(journals, begins, ends):
                    journal.assert_is_one_state(items, begin, end)
                compacted_then = int(connection.stats()["segments_compacted"])
                wait_until(lambda: int(connection.stats()["segments_compacted"]) > compacted_then,
                           60, "compaction after a backup")
        stayd.terminate()
        assert check(stayd.data_file("sessions"))[0] == SOUND


def test_a_backup_is_restored_and_started_with_all_that_was_in_it(tmp_path):
    path = tmp_path / "backup.pool"
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"deleted", b"v")
        for number in range(500):
            connection.set(b"k%d" % number, b"old", flags=number)
        connection.ask(b"delete deleted\r\n", b"DELETED\r\n")
        backup(stayd, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for number in range(500):
            connection.set(b"k%d" % number, b"new")
        connection.set(b"later", b"v")
        assert stayd.terminate() == 0
        index = stayd.run_dir / "sessions.index"
        with open(index, "rb") as stream:
            mapped = mmap.mmap(stream.fileno(), PAGE, prot=mmap.PROT_READ)
        before = path.read_bytes()
        refused = restore(stayd, path)
        assert refused.returncode == UNUSABLE and b"--yes" in refused.stderr
        assert index.exists()
        done = restore(stayd, path, "--yes")
        assert (done.returncode, done.stderr) == (0, b"")
        assert not index.exists()
        assert b"\x03\0\0\0" == mapped[176:180], "whoever maps the old index is to stop believing it"
        mapped.close()
        assert path.read_bytes() == before
        assert sorted(os.listdir(stayd.data_dir)) == ["sessions.pool"]
        assert check(stayd.data_file("sessions"))[0] == SOUND
        stayd.start()
        connection = stayd.connect("sessions")
        connection.send(b"".join(b"get k%d\r\n" % number for number in range(500)))
        for number in range(500):
            connection.expect(b"VALUE k%d %d 3\r\nold\r\nEND\r\n" % (number, number))
        assert connection.get(b"deleted") is None
        assert connection.get(b"later") is None
        assert connection.set(b"more", b"v") == b"STORED"
        assert stayd.restart() == 0
        assert stayd.connect("sessions").get(b"more") == b"v"


def test_a_backup_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path):
    path = tmp_path / "backup.pool"
    foreign = tmp_path / "letter.txt"
    foreign.write_text("Dear Ada")
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        for value in (b"one", b"two"):
            connection.set(b"k", value)
            backup(stayd, path)
            assert values(dump(path)) == {b"k": value}
        for place in (foreign, tmp_path, stayd.data_file("sessions")):
            done = run("-c", stayd.config_path, "backup", "sessions", place)
            assert done.returncode == UNUSABLE
            assert b"cannot replace this file by a backup" in done.stderr
        assert foreign.read_text() == "Dear Ada"
        assert connection.get(b"k") == b"two"
        assert sorted(os.listdir(tmp_path)) == ["backup.pool", "letter.txt"]
        assert os.listdir(stayd.data_dir) == ["sessions.pool"]


def test_a_backup_and_a_restore_write_to_no_file_that_was_there_and_are_their_owners_alone(tmp_path):
    path = tmp_path / "backup.pool"
    letter = tmp_path / "letter.txt"
    letter.write_bytes(b"dear reader")
    letter.chmod(0o666)
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        assert connection.set(b"k", b"v") == b"STORED"
        beside = stayd.data_file("sessions").with_name("sessions.pool.new")
        os.link(letter, tmp_path / "backup.pool.new")
        os.link(letter, beside)
        backup(stayd, path)
        assert stayd.terminate() == 0
        assert restore(stayd, path, "--yes").returncode == 0
        assert letter.read_bytes() == b"dear reader"
        for made in (path, stayd.data_file("sessions")):
            assert stat.S_IMODE(made.stat().st_mode) == 0o600
            assert made.stat().st_nlink == 1
        assert sorted(os.listdir(tmp_path)) == ["backup.pool", "backup.pool.new", "letter.txt"]


def test_a_backup_without_room_on_the_disk_fails_and_leaves_nothing(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    with Stayd(sessions=SMALL) as stayd:
        done = run("-c", stayd.config_path, "backup", "sessions", tmp_path / "b.pool",
                   preexec_fn=limit)
        assert done.returncode == 1
        assert b"cannot reserve disk space" in done.stderr
        assert os.listdir(tmp_path) == []
        backup(stayd, tmp_path / "b.pool")


def test_a_backup_says_what_to_do_where_there_is_nothing_to_back_up(tmp_path):
    path = tmp_path / "b.pool"
    with Stayd(sessions=SMALL) as stayd:
        for words, code, message in (
            (["cache", path], 2, "keeps no file"),
            (["nobody", path], 2, "there is no pool 'nobody'"),
            (["sessions"], 2, "a pool and a file"),
            (["sessions", tmp_path / "missing" / "b.pool"], 1, "No such file"),
        ):
            done = run("-c", stayd.config_path, "backup", *words)
            assert done.returncode == code
            assert message in done.stderr.decode()
        other = tmp_path / "other.conf"
        other.write_text(stayd.config.replace(str(stayd.data_dir), str(tmp_path)))
        done = run("-c", other, "backup", "sessions", path)
        assert (done.returncode, b"cannot open" in done.stderr) == (1, True)
        shutil.copy(stayd.data_file("sessions"), tmp_path / "sessions.pool")
        done = run("-c", other, "backup", "sessions", path)
        assert (done.returncode, b"not the file of the running" in done.stderr) == (1, True)
        stayd.terminate()
        done = run("-c", stayd.config_path, "backup", "sessions", path)
        assert done.returncode == 1
        assert b"can simply be copied" in done.stderr
        assert not path.exists()


def test_a_backup_before_a_flush_that_falls_due_meanwhile_keeps_the_flush(tmp_path):
    """A delayed flush is part of the state that the backup copies."""
    with Stayd(sessions=SMALL) as stayd, Stayd(sessions=SMALL) as other:
        other.terminate()
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        due = int(time.time()) + 2
        connection.ask(b"flush_all %d\r\n" % due, b"OK\r\n")
        backup(stayd, tmp_path / "b.pool")
        wait_until(lambda: time.time() >= due + 0.1)
        assert restore(other, tmp_path / "b.pool", "--yes").returncode == 0
        other.start()
        assert other.connect("sessions").get(b"k") is None
