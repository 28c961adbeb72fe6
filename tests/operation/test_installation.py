"""What `make install` lays out, below another root: units, configuration, manual pages, users."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.servers import ROOT, stayd_binary

BUILD = pathlib.Path(stayd_binary()).resolve().parent


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder that stands for /."""
    folder = tmp_path_factory.mktemp("root")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet"], check=True,
                   env={**os.environ, "DESTDIR": str(folder)}, stdout=subprocess.DEVNULL)
    return folder


def configuration(root):
    """The installed configuration: other files of this name are for systemd."""
    (file,) = (path for path in root.rglob("stayd.conf") if path.parent.parent.name == "etc")
    return file


def test_the_unit_names_files_that_are_there(root):
    unit = next(root.rglob("stayd.service")).read_text()
    named = set(re.findall(r"^Exec\w+=(\S+)|-c (\S+)", unit, re.MULTILINE))
    paths = {path for pair in named for path in pair if path and path != "/bin/kill"}
    assert len(paths) == 2
    for path in paths:
        assert (root / path.lstrip("/")).exists(), path


def test_the_installed_configuration_is_valid_and_names_its_own_place(root):
    file = configuration(root)
    assert f"/{file.relative_to(root)}" in file.read_text()
    subprocess.run([stayd_binary(), "--check", "-c", file], check=True, stdout=subprocess.DEVNULL)


def test_an_edited_configuration_is_left_as_it_is(tmp_path):
    shipped = ROOT / "packaging" / "stayd.conf"
    file = tmp_path / "etc" / "stayd" / "stayd.conf"

    def install_configuration():
        done = subprocess.run([ROOT / "packaging" / "install-configuration", shipped, "/etc/stayd"],
                              env={**os.environ, "DESTDIR": str(tmp_path)}, check=True,
                              stderr=subprocess.PIPE, text=True)
        return done.stderr

    assert install_configuration() == "" and file.read_text() == shipped.read_text()
    assert install_configuration() == ""
    file.write_text("[pool mine]\nlisten = unix:mine.sock\n")
    assert f"{file} stays as it is" in install_configuration()
    assert file.read_text().startswith("[pool mine]")
    assert file.with_name("stayd.conf.new").read_text() == shipped.read_text()


def test_systemd_finds_no_fault_in_the_units(tmp_path):
    """Runs on units whose paths exist here, because systemd looks for the programs."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    for unit in (ROOT / "packaging").glob("stayd*.s*"):
        if unit.suffix in (".service", ".socket"):
            text = unit.read_text().replace("/usr/bin/stayd", stayd_binary())
            (tmp_path / unit.name).write_text(re.sub(r"^Documentation=.*\n", "", text,
                                                     flags=re.MULTILINE))
    units = sorted(tmp_path.iterdir())
    assert len(units) == 3
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "stayd" in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_the_unit_is_as_closed_as_the_docs_say():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    page = (ROOT / "docs" / "security.md").read_text()
    figure = re.search(r"exposure of (\d)\.(\d)", page)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={figure[1]}{figure[2]}",
         ROOT / "packaging" / "stayd.service"], capture_output=True, text=True)
    if "nrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at a file")
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_the_user_and_the_folders_can_be_made(root, tmp_path):
    if shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None:
        pytest.skip("there is no systemd")
    shutil.copy(next(root.rglob("sysusers.d")) / "stayd.conf", tmp_path / "users.conf")
    shutil.copy(next(root.rglob("tmpfiles.d")) / "stayd.conf", tmp_path / "folders.conf")
    machine = tmp_path / "machine"
    (machine / "etc").mkdir(parents=True)
    subprocess.run(["systemd-sysusers", f"--root={machine}", tmp_path / "users.conf"], check=True,
                   stderr=subprocess.DEVNULL)
    assert re.search(r"^stayd:.*:/var/lib/stayd:", (machine / "etc/passwd").read_text(), re.MULTILINE)
    if os.geteuid() == 0:
        subprocess.run(["systemd-tmpfiles", "--create", f"--root={machine}",
                        tmp_path / "folders.conf"], check=True)
        assert (machine / "var/lib/stayd").stat().st_mode & 0o777 == 0o700
        assert (machine / "run/stayd").stat().st_mode & 0o777 == 0o755
