"""libmemcached's command-line tools, over the text and the binary protocol."""

import subprocess

import pytest


@pytest.fixture(params=["text", "binary"])
def run(request, server, tmp_path):
    """Runs a tool; returns its exit status and what it printed."""
    server, pool = server

    def call(tool, *words):
        binary = request.param == "binary" and tool not in ("memcping", "memcdump")  # text alone
        protocol = ["--binary"] if binary else []
        done = subprocess.run([tool, f"--servers={server.address(pool)}", *protocol, *words],
                              capture_output=True, text=True, timeout=60, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    return call


def test_a_file_is_copied_shown_asked_for_touched_and_removed(run, server, tmp_path):
    (tmp_path / "file").write_text("what is in it")
    assert run("memccp", "--flags=7", "--expire=300", "file") == (0, "")
    assert run("memccat", "file") == (0, "what is in it\n")
    status, said = run("memccat", "--flags", "--verbose", "file")
    assert status == 0 and "7" in said
    assert run("memcexist", "file")[0] == 0
    assert run("memcexist", "none")[0] != 0
    assert run("memctouch", "--expire=100", "file")[0] == 0
    line = server[0].connect(server[1]).ask(b"mg file t\r\n")
    assert line in (b"HD t100", b"HD t99")
    assert run("memctouch", "--expire=100", "none")[0] != 0
    assert run("memcrm", "file")[0] == 0
    assert run("memcrm", "file")[0] != 0
    assert run("memccat", "file")[0] != 0


def test_the_server_is_pinged_asked_for_statistics_and_flushed(run, server, tmp_path):
    (tmp_path / "file").write_text("v")
    assert run("memcping")[0] == 0
    assert run("memccp", "file")[0] == 0
    status, said = run("memcstat")
    assert status == 0 and "curr_items: 1" in said
    assert run("memcflush")[0] == 0
    assert run("memcexist", "file")[0] != 0


def test_load_is_answered(run):
    for test in ("set", "get", "mget"):
        status, said = run("memcslap", f"--test={test}", "--concurrency=3", "--execute-number=300")
        assert status == 0 and "seconds" in said, said


def test_keys_are_dumped(run, server):
    keys = {f"key-{i}" for i in range(300)}
    requests = b"".join(f"set {key} 0 {100 * (i % 2)} 1 noreply\r\nv\r\n".encode()
                        for i, key in enumerate(sorted(keys)))
    server[0].connect(server[1]).ask(requests + b"mn\r\n", b"MN\r\n")
    status, said = run("memcdump")
    assert status == 0
    assert set(said.split()) >= keys  # memcached also lists flushed items
