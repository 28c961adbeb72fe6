"""Hashes of passwords, as crypt(3) makes them."""

import ctypes
import os


def crypt(password, setting):
    """crypt(3): Python 3.13 has no module for it any more."""
    function = ctypes.CDLL("libcrypt.so.1").crypt
    function.restype = ctypes.c_char_p
    return function(password.encode(), setting.encode()).decode()


def hashed(password, rounds=5000):
    return crypt(password, f"$6$rounds={rounds}${os.urandom(8).hex()}$")
