"""A password hasher that costs next to nothing, for a demo whose users are made up."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class CheapHasher(PBKDF2PasswordHasher):
    """PBKDF2 as Django has it, with a thousand rounds where Django takes hundreds of thousands."""

    algorithm = "pbkdf2_sha256_cheap"
    iterations = 1000
