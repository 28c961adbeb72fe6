"""Keys and tokens of NATS's operator mode, made with Debian's `openssl`: what `cluster_credentials` needs.

    authority = Authority(folder)
    node = nats.single(folder, authority.configuration())
    path = authority.credentials("host", publish=["stayd.>"])
"""

import base64
import json
import subprocess
import time
from pathlib import Path

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3


def checksum(data: bytes) -> bytes:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc.to_bytes(2, "little")


def base32(data: bytes) -> str:
    return base64.b32encode(data + checksum(data)).decode().rstrip("=")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """An Ed25519 key. `public` and `seed` are in NATS's form."""

    def __init__(self, folder: Path, name: str, kind: int):
        self.path = folder / f"{name}.nkey"
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", self.path)
        private = self._openssl("pkey", "-in", self.path, "-outform", "DER")[-32:]
        public = self._openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")[-32:]
        self.public = base32(bytes([kind]) + public)
        self.seed = base32(bytes([SEED | kind >> 5, (kind & 31) << 3]) + private)

    @staticmethod
    def _openssl(*arguments: object) -> bytes:
        return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout

    def token(self, about: "Key", name: str, claims: dict, **more: object) -> str:
        """A signed token about another key."""
        body = {"jti": about.public, "iat": int(time.time()) - 60, "iss": self.public, "name": name,
                "sub": about.public, "nats": {**claims, "version": 2}, **more}
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (head, body))
        message = self.path.with_suffix(".message")
        message.write_text(text)
        signature = self._openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", message)
        return f"{text}.{base64url(signature)}"


class Authority:
    """An operator with one account that may use JetStream, and its users."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.operator = Key(folder, "operator", OPERATOR)
        self.system = Key(folder, "system", ACCOUNT)
        self.accounts = {name: Key(folder, name, ACCOUNT) for name in ("sessions", "plain")}

    def configuration(self) -> str:
        """What a node's configuration needs."""
        limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True,
                  "conn": -1, "leaf": -1}
        jetstream = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
        sign = self.operator.token
        tokens = {
            self.system: sign(self.system, "system", {"type": "account", "limits": limits}),
            self.accounts["sessions"]: sign(self.accounts["sessions"], "sessions",
                                            {"type": "account", "limits": {**limits, **jetstream}}),
            self.accounts["plain"]: sign(self.accounts["plain"], "plain",
                                         {"type": "account", "limits": limits}),
        }
        preload = "\n".join(f"  {key.public}: {token}" for key, token in tokens.items())
        operator = sign(self.operator, "operator", {"type": "operator"})
        return (f"operator: {operator}\nsystem_account: {self.system.public}\nresolver: MEMORY\n"
                f"resolver_preload: {{\n{preload}\n}}\n")

    def credentials(self, name: str, account: str = "sessions", publish: list | None = None,
                    subscribe: list | None = None, deny: list | None = None, **more: object) -> Path:
        """The path of a file for a new user. None: the user may do all."""
        key = Key(self.folder, name, USER)
        claims = {"type": "user", "subs": -1, "data": -1, "payload": -1,
                  "pub": {k: v for k, v in (("allow", publish), ("deny", deny)) if v},
                  "sub": {"allow": subscribe} if subscribe else {}}
        token = self.accounts[account].token(key, name, claims, **more)
        path = self.folder / f"{name}.creds"
        path.write_text(f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
                        f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n")
        return path
