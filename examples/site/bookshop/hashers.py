"""A password hasher that costs next to nothing, for a demo whose users are made up."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class CheapHasher(PBKDF2PasswordHasher):
    """Django's PBKDF2, with a thousand rounds instead of Django's hundreds of thousands."""

    algorithm = "pbkdf2_sha256_cheap"
    iterations = 1000
