"""The container image's entry point, and the configurations for containers and Kubernetes."""

import os
import re
import subprocess
import textwrap

import pytest

from support.servers import ROOT, free_port, stayd_binary, wait_until
from support.stayctl import STAYCTL

CONTAINER = ROOT / "packaging" / "container"
ENTRYPOINT = CONTAINER / "entrypoint"


@pytest.fixture
def image(tmp_path):
    """The environment of a container whose programs print what they are called with."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("stayd", "stayctl"):
        (programs / name).write_text('#!/bin/sh\necho "${0##*/} $*"\n')
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "RUNTIME_DIRECTORY": str(tmp_path)}


def enter(image, *arguments):
    """What the entry point runs."""
    return subprocess.run([ENTRYPOINT, *arguments], env=image, check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


@pytest.mark.parametrize("arguments, runs, asks", [
    (["stayd"], "stayd -c /etc/stayd/stayd.conf", "-c /etc/stayd/stayd.conf status"),
    (["-c", "/x.conf", "-v"], "stayd -c /x.conf -v", "-c /x.conf status"),
    (["-m", "64"], "stayd -m 64 -l 0.0.0.0 --insecure", "-s 127.0.0.1:11211 ping"),
    (["stayd", "-m", "64"], "stayd -m 64 -l 0.0.0.0 --insecure", "-s 127.0.0.1:11211 ping"),
    (["-p", "1", "-c", "10"], "stayd -p 1 -c 10 -l 0.0.0.0 --insecure", "-s 127.0.0.1:1 ping"),
    (["--port=2"], "stayd --port=2 -l 0.0.0.0 --insecure", "-s 127.0.0.1:2 ping"),
    (["-p3", "-l", "127.0.0.1"], "stayd -p3 -l 127.0.0.1", "-s 127.0.0.1:3 ping"),
    (["-s", "/run/x"], "stayd -s /run/x", "-s unix:///run/x ping"),
])
def test_arguments_are_memcacheds_own_and_the_health_check_follows(image, arguments, runs, asks):
    assert enter(image, *arguments) == runs
    assert enter(image, "healthcheck") == f"stayctl {asks}"


def test_other_words_are_another_program(image):
    assert enter(image, "echo", "-c", "hello") == "-c hello"


def test_a_daemon_with_memcacheds_options_is_found_healthy(tmp_path):
    (tmp_path / "stayd").symlink_to(stayd_binary())
    (tmp_path / "stayctl").symlink_to(STAYCTL)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}",
                   "RUNTIME_DIRECTORY": str(tmp_path)}
    with open(tmp_path / "log", "wb") as log, subprocess.Popen(
            [ENTRYPOINT, "-p", str(free_port()), "-l", "127.0.0.1"], env=environment,
            stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: b"ready" in (tmp_path / "log").read_bytes(), what="the start")
            subprocess.run([ENTRYPOINT, "healthcheck"], env=environment, check=True,
                           stdout=subprocess.DEVNULL)
        finally:
            process.terminate()
    assert subprocess.run([ENTRYPOINT, "healthcheck"], env=environment,
                          stderr=subprocess.DEVNULL).returncode == 1


def configurations():
    """The configuration in the image, and the configuration in the manifest for Kubernetes."""
    yield (CONTAINER / "stayd.conf").read_text()
    manifest = (ROOT / "packaging" / "kubernetes" / "stayd.yaml").read_text()
    yield textwrap.dedent(re.findall(r"stayd\.conf: \|\n((?: {4}.*\n|\n)+)", manifest)[0])


@pytest.mark.parametrize("text", configurations(), ids=["image", "kubernetes"])
def test_the_configurations_are_valid(tmp_path, text):
    users = tmp_path / "users"
    users.touch(mode=0o600)
    users.write_text("web:a long random password\n")
    file = tmp_path / "stayd.conf"
    file.write_text(text.replace("/run/stayd/users", str(users)))
    assert file.read_text().count("[pool ") == 2
    subprocess.run([stayd_binary(), "--check", "-c", file], check=True, stdout=subprocess.DEVNULL)


def test_the_manifest_and_the_image_name_this_version():
    version = re.search(r"version: '(.*?)'", (ROOT / "meson.build").read_text())[1]
    manifest = (ROOT / "packaging" / "kubernetes" / "stayd.yaml").read_text()
    assert set(re.findall(r"image: stayd:(\S+)", manifest)) == {version}
    assert f"Version:        {version}\n" in (ROOT / "packaging" / "rpm" / "stayd.spec").read_text()
