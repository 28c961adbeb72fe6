"""Finds the browser and the system in a User-Agent header.

Every browser's header also names several other browsers, so the order matters: the first name that
occurs counts.
"""

import re

_BROWSERS = (
    ("Edg", "Edge"), ("OPR", "Opera"), ("Vivaldi", "Vivaldi"), ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("Chromium", "Chromium"), ("CriOS", "Chrome"),
    ("Chrome", "Chrome"), ("HeadlessChrome", "Chrome"), ("Safari", "Safari"), ("curl", "curl"),
    ("python-requests", "Python"),
)
_SYSTEMS = (
    ("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iPadOS"),
    ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Macintosh", "macOS"), ("Linux", "Linux"),
    ("FreeBSD", "FreeBSD"),
)


def browser_of(user_agent: str) -> str:
    """The browser's name, or ""."""
    return next((name for word, name in _BROWSERS if re.search(rf"\b{word}\w*/", user_agent)), "")


def system_of(user_agent: str) -> str:
    """The operating system's name, or ""."""
    return next((name for word, name in _SYSTEMS if word in user_agent), "")
