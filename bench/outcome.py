"""The files that a run leaves in build/bench/:

    NAME.json the figures of an entry, round by round, and the machine
    NAME.svg     the same as bars (bench/plots.py)
    results.md   the rows that have a target in one table, then the tables of all entries of the run

If a run fails, it leaves no results.md. If an entry fails, it leaves none of its files.
"""

import json
import os

from report import Result, summary

TABLES = "results.md"


def clear(folder, names):
    """Removes the files of earlier runs of these entries, so that nobody takes them for the files
    of this run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLES).unlink(missing_ok=True)
    for name in names:
        for ending in ("json", "svg"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)


def write_whole(path, text):
    """Writes a file in one step: a reader sees the old file or the new file."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def save(folder, name, measured, result):
    """Writes NAME.json. `measured`: a dict of the circumstances."""
    data = {"entry": name, "measured": measured, "result": result.to_data()}
    write_whole(folder / f"{name}.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def load(folder, name):
    """Reads NAME.json; returns (circumstances, Result), or None if there is no such file."""
    try:
        data = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return data["measured"], Result.from_data(data["result"])


def save_tables(folder, heading, results):
    """Writes results.md. `results`: {name: Result}."""
    targets = summary(results)
    text = f"# Measured by `make bench`\n\n{heading}\n{targets.title}:\n\n{targets.markdown()}"
    for name, result in results.items():
        text += f"\n## {name}\n\n{result.markdown()}"
    write_whole(folder / TABLES, text)
