"""Writes the figures of build/bench/*.json into docs/performance.md, between markers, and into the
picture of README.md.

    <!-- bench NAME -->
    ... written here ...
    <!-- end of bench NAME -->
"""

import re
from pathlib import Path

import machine
import outcome
import picture
from entries import ENTRIES
from report import summary

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "sessions.svg"
PICTURED = "django-sessions"
CIRCUMSTANCES = "circumstances"
SUMMARY = "summary"
MARKED = re.compile(r"(<!-- bench ([\w-]+) -->\n).*?(<!-- end of bench \2 -->)", re.DOTALL)
BUSY_SHARE = 0.5  # of the cores: a server and its client need the rest


class CannotWrite(Exception):
    """The figures do not make a page. The text says why, and what to do."""


def parts_of(text):
    """A page's marked parts: {name: text}."""
    return {found.group(2): found.group(0) for found in MARKED.finditer(text)}


def circumstances(measured):
    """The text about the machine and the versions. `measured`: {entry: circumstances}. Raises
    CannotWrite if the figures are from different machines."""
    every = list(measured.values())
    for name in ("machine", "threads"):
        if any(each[name] != every[0][name] for each in every):
            raise CannotWrite(
                f"the entries were not measured with the same {name}; measure all again:\n"
                + "\n".join(f"  {entry}: {each[name]}" for entry, each in measured.items())
            )
    dates = sorted({each["date"] for each in every})
    loads = [each["load_before"] for each in every]
    versions = {}
    for each in every:
        for name, version in each["versions"].items():
            versions.setdefault(name, []).append(version)
    versions = {name: " and ".join(dict.fromkeys(found)) for name, found in versions.items()}
    text = (
        f"Measured on {' and '.join(dates)} on {every[0]['machine']}, {every[0]['threads']} threads "
        f"of each server. {machine.sentence(versions)}.\n"
    )
    if max(loads) > BUSY_SHARE * machine.cores(every[0]["machine"]):
        text += (
            f"\nThe machine was busy with other work when the measuring began (load average "
            f"{max(loads)}): these figures are uncertain.\n"
        )
    short = sorted(entry for entry, each in measured.items() if each["size"] != "full")
    if short:
        text += f"\nMeasured with `--quick`, in fewer and shorter rounds: {', '.join(short)}.\n"
    return text


def fill(text, contents):
    """The page with `contents`, {name: text}, in its marked parts."""
    marked = parts_of(text)
    for name in contents:
        if name not in marked:
            raise CannotWrite(f"{PAGE} has no place for {name}: <!-- bench {name} -->")
    for name in marked:
        if name not in contents:
            raise CannotWrite(f"{PAGE} has a place for {name}, but there is no such entry")
    return MARKED.sub(
        lambda found: f"{found.group(1)}{contents[found.group(2)]}{found.group(3)}", text
    )


def write(folder):
    """Writes the page and the picture from the figures in `folder`; returns lines to print."""
    found = {name: outcome.load(folder, name) for name in ENTRIES}
    missing = [name for name in ENTRIES if found[name] is None]
    if missing:
        raise CannotWrite(
            f"not measured yet: {', '.join(missing)}. `bench/run.py {' '.join(missing)}` does"
        )
    measured = {name: circumstance for name, (circumstance, _) in found.items()}
    tiny = [name for name in ENTRIES if measured[name]["size"] == "tiny"]
    if tiny:
        raise CannotWrite(f"measured with --tiny, which means nothing: {', '.join(tiny)}")
    contents = {name: result.markdown() for name, (_, result) in found.items()}
    contents[CIRCUMSTANCES] = circumstances(measured)
    targets = summary({name: result for name, (_, result) in found.items()})
    contents[SUMMARY] = f"{targets.title}:\n\n{targets.markdown()}"
    outcome.write_whole(PAGE, fill(PAGE.read_text(encoding="utf-8"), contents))
    outcome.write_whole(PICTURE, picture.draw(found[PICTURED][1].contest))
    return [f"wrote {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}"]
