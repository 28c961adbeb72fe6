"""SASL PLAIN on the real daemon: the same bytes as memcached -S, and pylibmc with a password."""

import pylibmc
import pytest

from support import binary
from support.binary import AUTH_ERROR, OK, ask, expect_in_step, read_response, request, store
from support.servers import Stayd

RIGHT = b"\0bob\0secret"


@pytest.fixture(scope="module")
def guarded():
    """A daemon whose pool `sessions` needs a login and whose pool `cache` does not."""
    with_login = Stayd(sessions={"auth_file": "{dir}/users"})
    users = with_login.directory / "users"
    users.write_text("bob:secret\n")
    users.chmod(0o600)
    with with_login as server:
        yield server


@pytest.fixture
def stranger(guarded):
    """A connection that is not logged in."""
    with guarded.connect("sessions") as connection:
        yield connection


def test_a_right_login_opens_the_pool(stranger):
    assert ask(stranger, binary.SASL_LIST).value == b"PLAIN"
    admitted = ask(stranger, binary.SASL_AUTH, b"PLAIN", b"", RIGHT, opaque=77)
    assert (admitted.status, admitted.value, admitted.opaque) == (OK, b"Authenticated", 77)
    assert ask(stranger, binary.SET, b"k", store(), b"v").status == OK
    expect_in_step(stranger)


def test_requests_behind_a_login_wait_for_it(stranger):
    stranger.send(request(binary.SASL_AUTH, b"PLAIN", b"", RIGHT)
                  + request(binary.SET, b"k", store(), b"w") + request(binary.GETK, b"k"))
    assert [read_response(stranger).status for _ in range(2)] == [OK, OK]
    assert read_response(stranger).value == b"w"


@pytest.mark.parametrize("value", [b"\0bob\0wrong", b"\0ann\0secret", b"bob\0secret", b"",
                                   b"ann\0bob\0secret", b"\0bob\0secret\0"])
def test_a_wrong_login_is_refused_and_may_be_tried_again(stranger, value):
    refused = ask(stranger, binary.SASL_STEP if not value else binary.SASL_AUTH, b"PLAIN", b"",
                  value)
    assert (refused.status, refused.value) == (AUTH_ERROR, b"Auth failure.")
    assert ask(stranger, binary.VERSION).status == OK
    assert ask(stranger, binary.SASL_AUTH, b"PLAIN", b"", RIGHT).status == OK


@pytest.mark.parametrize("opcode", [binary.NOOP, binary.QUIT, binary.STAT, binary.FLUSHQ, 0x99])
def test_before_the_login_every_other_opcode_closes(stranger, opcode):
    refused = ask(stranger, opcode)
    assert (refused.opcode, refused.status) == (opcode, AUTH_ERROR)
    stranger.expect_closed()


def test_a_login_that_comes_byte_by_byte_is_the_same(stranger):
    for byte in request(binary.SASL_AUTH, b"PLAIN", b"", RIGHT):
        stranger.send(bytes([byte]))
    assert read_response(stranger).value == b"Authenticated"
    expect_in_step(stranger)


def test_a_pool_without_a_login_knows_no_sasl(guarded):
    with guarded.connect("cache") as connection:
        assert ask(connection, binary.SASL_LIST).status == binary.UNKNOWN_COMMAND
        assert ask(connection, binary.SASL_AUTH, b"PLAIN", b"", RIGHT).status == (
            binary.UNKNOWN_COMMAND)
        expect_in_step(connection)


def test_pylibmc_logs_in(guarded):
    address = guarded.address("sessions")
    client = pylibmc.Client([address], binary=True, username="bob", password="secret")
    assert client.set("k", "v")
    assert client.get("k") == "v"
    for more in ({"username": "bob", "password": "wrong"}, {}):
        with pytest.raises(pylibmc.Error):
            pylibmc.Client([address], binary=True, **more).set("k", "w")
    assert client.get("k") == "v"
