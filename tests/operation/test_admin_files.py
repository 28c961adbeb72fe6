"""The files of the admin server's logins and TLS: what is wrong with them is said, and stops the start. And
the addresses that need them."""

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess

import pytest

from support import certificates
from support.guarded import Guarded, basic, check
from support.servers import ServerError, stayd_binary


FILES = [
    ({"admin_tls_key": None}, "there is an admin_tls_cert without an admin_tls_key"),
    ({"admin_tls_cert": None}, "there is an admin_tls_key without an admin_tls_cert"),
    ({"admin_tls_cert": "missing.pem"}, "admin: cannot read admin_tls_cert {dir}/missing.pem: No such file"),
    ({"admin_tls_cert": "junk"}, "admin: cannot use admin_tls_cert {dir}/junk: "),
    ({"admin_tls_key": "junk"}, "admin: cannot use admin_tls_key {dir}/junk: "),
    ({"admin_tls_key": "renewed.key"}, "it is not the key of the certificate in admin_tls_cert"),
    ({"admin_tls_key": "folder"}, "admin: cannot use admin_tls_key {dir}/folder: "),
    ({"admin_tls_cert": "relative.pem"}, "must be an absolute path"),
    ({"admin": "no"}, "admin_tls_cert has no effect with admin = no"),
    ({"admin": "unix:a.sock"}, "admin is a Unix socket, which does not use TLS"),
    ({"admin_auth_file": "missing"}, "admin: admin_auth_file {dir}/missing: cannot read it: No such file"),
    ({"admin_auth_file": "junk"}, "admin: admin_auth_file {dir}/junk:1: "),
    ({"admin_auth_file": "open"}, "admin: admin_auth_file {dir}/open: its mode is 0644"),
    ({"admin_auth_file": "empty"}, "admin: admin_auth_file {dir}/empty: there is no user in it"),
    ({"admin_auth_file": "users", "admin_tls_cert": None, "admin_tls_key": None, "admin": "no"},
     "admin_auth_file has no effect with admin = no"),
]


@pytest.mark.parametrize("keys, reason", FILES, ids=[reason[-40:] for _, reason in FILES])
def test_what_is_wrong_with_the_files_is_said_with_file_and_line(made, tmp_path, keys, reason):
    for name, text, mode in (("junk", "junk\0\n", 0o600), ("open", "a:b\n", 0o644), ("empty", "# a\n", 0o600),
                             ("users", "a:b\n", 0o600)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    (tmp_path / "folder").mkdir()
    for name in ("server.pem", "server.key", "renewed.key"):
        shutil.copy(made[name], tmp_path)
    values = {"admin": "127.0.0.1:11280", "admin_tls_cert": "server.pem",
              "admin_tls_key": "server.key", **keys}
    lines = [f"{key} = {value if key == 'admin' or value == 'relative.pem' else tmp_path / value}"
             for key, value in values.items() if value is not None]
    config = tmp_path / "stayd.conf"
    config.write_text("\n".join(["[server]", *lines, "[pool a]", f"listen = unix:{tmp_path}/a", ""]))
    checked = check(config)
    assert checked.returncode == 2
    wanted = next((key for key in keys if key != "admin" and keys[key]), "admin_")
    number = 2 + next(i for i, line in enumerate(lines) if line.startswith(wanted))
    if wanted.startswith("admin_tls"):  # of TLS, the line of the first of its settings
        number = 2 + next(i for i, line in enumerate(lines) if line.startswith("admin_tls"))
    said = re.escape(reason.replace("{dir}", str(tmp_path)))
    found = re.search(rf"^{config}:{number}: .*{said}", checked.stderr, re.MULTILINE)
    assert found, checked.stderr


@pytest.mark.parametrize("name, reason", [("key.pem", "cannot use admin_tls_key"),
                                          ("cert.pem", "cannot use admin_tls_cert"),
                                          ("admin.users", "admin_auth_file .*admin.users:1: no colon")])
def test_a_faulty_file_stops_the_start_with_its_name(made, name, reason):
    with Guarded(made=made) as server:
        server.terminate()
        (server.directory / name).write_text("junk\n")
        with pytest.raises(ServerError, match=f"error: admin: {reason}"):
            server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be another user")
def test_a_key_that_the_user_of_the_daemon_cannot_read_is_said(made):
    """A certificate and a key that root can read, and a daemon that gives up root's rights."""
    with Guarded(made=made) as server:
        server.terminate()
        server.directory.chmod(0o755)
        (server.directory / "key.pem").chmod(0o600)
        done = subprocess.run([stayd_binary(), "-c", server.config_path, "-u", "nobody"], capture_output=True,
                              text=True, timeout=30)
        assert done.returncode != 0
        said = "error: admin: cannot read admin_tls_key .*key.pem: Permission denied; the daemon's user"
        assert re.search(said, done.stderr), done.stderr


@pytest.mark.parametrize("keys, said", [
    ("", "where everybody who reaches this machine could read it; use 127.0.0.1"),
    ("admin_tls_cert = /c\nadmin_tls_key = /k\n", "TLS encrypts, but does not authenticate clients"),
    ("admin_auth_file = /u\n", "without TLS, and each request would carry the password in plain text"),
])
def test_other_machines_need_login_and_tls_or_the_word(tmp_path, keys, said):
    config = tmp_path / "stayd.conf"
    pool = "[pool a]\nlisten = unix:a\n"
    for address in ("0.0.0.0:11280", "[::]:11280", "192.0.2.1:11280"):
        config.write_text(f"[server]\nadmin = {address}\n{keys}{pool}")
        refused = check(config)
        assert refused.returncode == 2 and f"{config}:2: " in refused.stderr and said in refused.stderr
        config.write_text(f"[server]\nadmin = {address}\n{keys}insecure = yes\n{pool}")
        assert "would listen" not in check(config).stderr


def test_with_login_and_tls_no_word_is_needed(made):
    with Guarded(made=made) as server:
        port = server.where()[1]
        server.terminate()
        server.configure(server.config.replace("admin = 127.0.0.1", "admin = 0.0.0.0"))
        server.start()
        assert f"https://0.0.0.0:{port}/, with a login" in server.log
        assert f":{port}/, with" in server.log
        with contextlib.closing(http.client.HTTPSConnection(
                "127.0.0.1", port, context=certificates.context(made), timeout=30)) as connection:
            connection.request("GET", "/api/v1/stats", headers={"Authorization": basic("web", "secret")})
            assert json.load(connection.getresponse())["pools"]
