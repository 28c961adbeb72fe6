"""scripts/setup on systems of several kinds, whose package tools are stubs here."""

import os
import shutil
import subprocess

import pytest

from support.servers import ROOT

TOOLS = ["bash", "cat", "dirname", "echo", "fold", "grep", "mkdir", "sed", "tail", "touch", "xargs"]

STUBS = {
    # No package is installed. The file `candidates` lists the packages that can be installed.
    "dpkg-query": "exit 1",
    "apt-cache": """
case $1 in
policy) grep -qxF -- "$2" "$STUBS/candidates" && echo "  Candidate: 1.0" || echo "  Candidate: (none)" ;;
depends) grep -E '^clang-[0-9]+$' "$STUBS/candidates" | sed 's/^/  Depends: /' ;;
esac""",
    "apt-get": 'echo "$@" >>"$STUBS/calls"',
    "env": 'shift; exec "$@"',
    "id": "echo 0",
}

BOTH = """build-essential meson ninja-build pkg-config libinih-dev libxxhash-dev libisal-dev libcmocka-dev
libmicrohttpd-dev libjansson-dev libnats-dev liburing-dev libjs-dygraphs libncurses-dev libssl-dev
libcrypt-dev libzstd-dev python3-dev python3-django python3-pymemcache python3-zstandard""".split()


class System:
    """A system as scripts/setup sees it."""

    def __init__(self, folder):
        self.stubs = folder / "stubs"
        self.stubs.mkdir()
        self.tree = folder / "tree"
        (self.tree / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "setup", self.tree / "scripts")
        for made in ("build/venv/bin/python", "build/peers/usr/share/doc/memcached",
                     "build/peers/usr/share/doc/prometheus", "build/peers/usr/share/doc/redis-tools",
                     "build/peers/usr/share/doc/redis-server"):
            (self.tree / made).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / made).touch(0o755)
        (self.tree / "build/venv/lib/python3.11/site-packages").mkdir(parents=True)
        for tool in TOOLS:
            (self.stubs / tool).symlink_to(shutil.which(tool))
        for name, text in STUBS.items():
            self.stub(name, text)
        self.release("debian", "12", "Debian GNU/Linux 12 (bookworm)")
        self.has([])

    def stub(self, name, text):
        path = self.stubs / name
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        path.chmod(0o755)

    def release(self, name, version, title):
        (self.stubs / "os-release").write_text(
            f'ID={name}\nVERSION_ID="{version}"\nPRETTY_NAME="{title}"\n'
        )

    def has(self, packages):
        (self.stubs / "candidates").write_text("".join(f"{name}\n" for name in packages))

    def setup(self, target):
        environment = {"PATH": str(self.stubs), "STUBS": str(self.stubs),
                       "STAYD_OS_RELEASE": str(self.stubs / "os-release")}
        return subprocess.run([self.stubs / "bash", self.tree / "scripts" / "setup", target],
                              env=environment, capture_output=True, text=True, timeout=60)

    def installed(self):
        """The packages in the only call of apt-get install."""
        calls = (self.stubs / "calls").read_text().splitlines()
        [call] = [call for call in calls if call.startswith("install")]
        return {word for word in call.split()[1:] if not word.startswith("-")}


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def wanted(system, target):
    """All names that the script may ask for, whatever the system."""
    system.stub("apt-get", "exit 0")
    os.remove(system.stubs / "apt-get")
    said = system.setup(target).stderr
    system.stub("apt-get", STUBS["apt-get"])
    return set(said.split())


def test_a_system_without_apt_is_told_what_it_needs(system):
    system.release("fedora", "40", "Fedora Linux 40")
    os.remove(system.stubs / "apt-get")
    done = system.setup("build")
    assert done.returncode == 1
    assert "this is Fedora Linux 40" in done.stderr and "Debian 12 and 13" in done.stderr
    assert set(BOTH) <= set(done.stderr.split())
    assert "meson setup build && ninja -C build" in done.stderr


@pytest.mark.parametrize("version, has, chosen, not_chosen", [
    ("12", ["libevent-2.1-7", "clang-14", "libclang-rt-14-dev", "clang-format-14"],
     {"libevent-2.1-7", "libclang-rt-14-dev", "clang-format-14"}, {"libclang-rt-19-dev"}),
    ("13", ["libevent-2.1-7t64", "clang-19", "libclang-rt-14-dev", "libclang-rt-19-dev"],
     {"libevent-2.1-7t64", "libclang-rt-19-dev"},
     {"libevent-2.1-7", "libclang-rt-14-dev", "clang-format-14", "clang-format-14?"}),
])
def test_packages_are_those_that_the_system_has(system, version, has, chosen, not_chosen):
    others = {name for name in wanted(system, "test") if not name.startswith(("libevent", "libclang",
                                                                             "clang-format"))}
    system.release("debian", version, f"Debian {version}")
    system.has([*others, *has])
    done = system.setup("test")
    assert done.returncode == 0, done.stderr
    assert "stayd is tried on" not in done.stdout
    assert chosen <= system.installed() and not not_chosen & system.installed()


def test_a_derivative_that_has_the_packages_goes_on_and_says_so(system):
    system.release("ubuntu", "24.04", "Ubuntu 24.04 LTS")
    system.has(BOTH)
    done = system.setup("build")
    assert done.returncode == 0
    assert "this is Ubuntu 24.04 LTS; stayd is tried on Debian 12 and 13" in done.stdout
    assert system.installed() == set(BOTH)


def test_a_system_that_lacks_a_package_is_told_which(system):
    system.release("debian", "11", "Debian GNU/Linux 11 (bullseye)")
    system.has([name for name in BOTH if name not in ("meson", "libisal-dev")])
    done = system.setup("build")
    assert done.returncode == 1
    assert "Debian GNU/Linux 11 (bullseye) has no package for: meson libisal-dev" in done.stderr
    calls = (system.stubs / "calls").read_text()
    assert "install" not in calls
