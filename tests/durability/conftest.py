"""A pool file that is written once. Each test damages a copy of it."""

import pytest

from support.pool_file import COUNT, key_of, value_of
from support.servers import Stayd
from support.stayctl import SMALL


@pytest.fixture(scope="session")
def written():
    """A pool file with COUNT items of several segments, from a clean stop."""
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        for number in range(COUNT):
            assert connection.set(key_of(number), value_of(number)) == b"STORED"
        assert stayd.terminate() == 0
        yield stayd.data_file("sessions").read_bytes()


@pytest.fixture
def file(written, tmp_path):
    """A copy of that file, to be damaged: its path."""
    path = tmp_path / "copy.pool"
    path.write_bytes(written)
    return path
