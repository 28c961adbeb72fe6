"""For every test: certificates, and the logs of the servers of a test that failed. And the order of
the modules."""

import gc

import pytest

from support import certificates, servers


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The paths of certificates and keys (support/certificates.py), made once; not to be changed."""
    return certificates.make(tmp_path_factory.mktemp("certificates"))


LONGEST_FIRST = (
    "durability/test_full", "durability/test_readers", "django/test_forks",
    "durability/test_crash", "durability/test_check", "django/test_repetition",
    "django/test_python_client", "django/test_native_client", "operation/test_dashboard",
    "durability/test_resize", "operation/test_daemon", "django/test_system_checks",
    "operation/test_admin", "libstayd/test_live", "operation/test_memcached_options",
    "django/test_outages", "durability/test_clock", "operation/test_hostile_matrix",
    "protocol/test_auth", "protocol/test_bad_input", "durability/test_fault_matrix",
    "libstayd/test_threads", "django/test_session_moves", "durability/test_backup",
    "django/test_login", "protocol/test_tls_strangers", "protocol/test_differential",
)
"""Each of these modules takes ten seconds or more. One worker runs a whole module: one that began
last would leave the other workers without work."""


def pytest_configure():
    """No garbage is collected while the tests are: thousands of objects come, and all stay."""
    gc.disable()


def pytest_collection_finish():
    """From now on the garbage collector looks at what came after."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Puts the modules that take longest in front; otherwise the order stays."""
    place = {f"{module}.py": number for number, module in enumerate(LONGEST_FIRST)}

    def key(item):
        return place.get("/".join(item.path.parts[-2:]), len(place))

    items.sort(key=key)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the servers' logs to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in servers.running:
            log = server.log[-3000:] + server.crash()
            if log:
                report.sections.append((f"log of {server.command()[0]}", log))
