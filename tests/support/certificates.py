"""Certificates for tests, made by Debian's `openssl` when they are first asked for, and a TLS client.

    made = certificates.make(folder)
    Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]})
"""

import datetime
import pathlib
import ssl
import subprocess

from support.servers import Raw

FILES = ("ca.pem", "server.pem", "server.key", "renewed.pem", "renewed.key", "client.pem",
         "client.key", "other-ca.pem", "stranger.pem", "stranger.key", "expired.pem", "expired.key")


AUTHORITY = """[ca]
default_ca = tests
[tests]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
x509_extensions = addresses
[any]
commonName = supplied
[addresses]
subjectAltName = IP:127.0.0.1,DNS:localhost
"""


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def _authority(folder, name):
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-days", 2,
             "-subj", f"/CN=stayd test {name}", "-addext", "keyUsage=critical,keyCertSign")


def _certificate(folder, name, authority, days=2):
    """A certificate that began a month ago and ends in `days` days. OpenSSL 3.5 makes no certificate that
    ends before it begins, so the begin is set, which only `openssl ca` can do in every version."""
    now = datetime.datetime.now(datetime.timezone.utc)
    configuration = folder / "authority.conf"
    configuration.write_text(AUTHORITY.format(folder=folder))
    (folder / "index").write_text("")
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr",
             "-subj", f"/CN={name}")
    _openssl("ca", "-batch", "-notext", "-config", configuration,
             "-in", folder / f"{name}.csr", "-cert", folder / f"{authority}.pem",
             "-keyfile", folder / f"{authority}.key", "-out", folder / f"{name}.pem",
             "-startdate", _asn1(now - datetime.timedelta(days=30)),
             "-enddate", _asn1(now + datetime.timedelta(days=days)))


def _asn1(moment):
    return moment.strftime("%Y%m%d%H%M%SZ")


def make(folder):
    """Makes all of FILES in `folder`, which exists; returns their paths by name."""
    folder = pathlib.Path(folder)
    _authority(folder, "ca")
    _authority(folder, "other-ca")
    for name in ("server", "renewed", "client"):
        _certificate(folder, name, "ca")
    _certificate(folder, "stranger", "other-ca")
    _certificate(folder, "expired", "ca", days=-1)
    return {name: folder / name for name in FILES}


def make_short(made, folder, seconds, name="short"):
    """Makes a certificate of the CA in `made` that ends in so many seconds, and its key, in `folder`."""
    folder = pathlib.Path(folder)
    configuration = folder / "ca.conf"
    configuration.write_text(
        "[ca]\ndefault_ca = short\n[short]\nunique_subject = no\nrand_serial = yes\n"
        f"database = {folder}/database\nnew_certs_dir = {folder}\n"
        "default_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n"
    )
    (folder / "database").touch()
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr",
             "-subj", f"/CN={name}")
    now = datetime.datetime.now(datetime.timezone.utc)
    times = [f"{now + datetime.timedelta(seconds=offset):%y%m%d%H%M%SZ}" for offset in (-60, seconds)]
    _openssl("ca", "-config", configuration, "-batch", "-notext", "-in", folder / f"{name}.csr",
             "-cert", made["ca.pem"], "-keyfile", made["ca.pem"].with_suffix(".key"),
             "-startdate", times[0], "-enddate", times[1], "-out", folder / f"{name}.pem")


def context(made, client=None, version=None):
    """The TLS context of a client that trusts ca.pem. `client` is the name of its own certificate,
    `version` the only version of TLS that it speaks."""
    result = ssl.create_default_context(cafile=made["ca.pem"])
    if client is not None:
        result.load_cert_chain(made[f"{client}.pem"], made[f"{client}.key"])
    if version is not None:
        result.minimum_version = result.maximum_version = version
    return result


class TlsRaw(Raw):
    """A connection that speaks TLS; otherwise like Raw."""

    def __init__(self, address, tls_context, session=None, timeout=10.0):
        super().__init__(address, timeout)
        try:
            self.socket = tls_context.wrap_socket(
                self.socket, server_hostname=address[0], session=session
            )
        except BaseException:
            self.socket.close()
            raise

    def _fill(self, deadline):
        try:
            super()._fill(deadline)
        except ssl.SSLError as error:
            raise EOFError(f"TLS failed: {error}") from error
