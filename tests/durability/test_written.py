"""How many bytes the daemon writes to the disk for each byte stored, as the system counts them.

The system counts nothing for a file system in memory. Only a file system with large folios (ext4 since
Linux 6.16, XFS) also writes neighbouring pages.
"""

from pathlib import Path

from support.servers import Stayd

PAGE = 4096
FILL = 200
SETS = 50


def bytes_to_disk(stayd):
    text = Path(f"/proc/{stayd.process.pid}/io").read_text()
    return int(text.partition("\nwrite_bytes:")[2].split()[0])


def test_a_sync_writes_what_was_stored_and_not_what_lies_beside_it():
    with Stayd(sessions={"memory": "64M", "item_max": "64K", "fsync": "always"}) as stayd:
        connection = stayd.connect("sessions")
        for number in range(FILL):
            connection.set(b"large-%d" % number, bytes(60000))
        before = bytes_to_disk(stayd)
        for number in range(SETS):
            connection.set(b"small-%d" % number, bytes(300))
        # Each write goes to the page that the record is in, sometimes to a second page, and to the
        # file's header.
        assert bytes_to_disk(stayd) - before <= 3 * SETS * PAGE
