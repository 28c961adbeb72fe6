"""The files of a run: tables, data, plots, the figures in the documents. Most tests here make up
the figures; some run bench/run.py with real servers, for a second or two.

    build/venv/bin/python -m pytest -c tests/pytest.ini bench/test_results.py

`make test` does not install matplotlib, which brings 54 packages, 460 MB, on Debian 12. So plots are
tested where `scripts/setup bench` has been run.
"""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path[:0] = [str(BENCH), str(ROOT / "examples" / "demo")]

import outcome  # noqa: E402
import page  # noqa: E402
import picture  # noqa: E402
import plots  # noqa: E402
from entries import ENTRIES, UnknownRows, check_rows  # noqa: E402
from report import Contest, Result, Row  # noqa: E402

STAYD = Path(os.environ.get("STAYD_BINARY", ROOT / "build/stayd"))
PEERS = ROOT / "build/peers"
MEASURED = {
    "machine": "2 cores of a test", "versions": {"stayd": "1", "memcached": "2"}, "threads": 2,
    "date": "2026-01-02", "load_before": 0.1, "size": "full", "seconds": 1.5,
}


def made_up_contest():
    """Figures of four stores, in which SQLite is far slower than the others."""
    times = {"database (SQLite)": 600.0, "cached_db, pylibmc": 60.0, "memcached, pylibmc": 50.0,
             "stayd, Unix socket": 5.0}
    return Contest(
        "One session", "µs",
        {operation: {name: [[time, 2 * time], [3 * time, 4 * time], [time, 2 * time]]
                     for name, time in times.items()}
         for operation in picture.OPERATIONS},
        {"pylibmc": "memcached, pylibmc", "SQLite": "database (SQLite)"},
    )


def made_up_result(name, contest=None):
    """A result with all rows that the entry may write."""
    rows = [Row(work, [3.0, 1.0, 2.0], [4.0], 0.6) for work in ENTRIES[name].rows]
    return Result(f"The title of {name}", "ns", rows, ["a note"], contest=contest)


def save_all(folder, **changed):
    """Results of all entries, as a full run leaves them."""
    for name in ENTRIES:
        contest = made_up_contest() if name == page.PICTURED else None
        outcome.save(folder, name, {**MEASURED, **changed}, made_up_result(name, contest))


def run_bench(tmp_path, *arguments):
    """Runs bench/run.py as a person does, with all of its files under tmp_path."""
    command = [sys.executable, "-B", BENCH / "run.py", "--stayd", STAYD, "--out", tmp_path / "out",
               "--data", tmp_path / "data", *arguments]
    path = os.pathsep.join([str(ROOT / "build/python"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                          text=True, timeout=600, check=False)


def test_the_ratio_is_that_of_the_medians_and_is_held_against_the_target():
    row = Row("work", [10, 30, 20], [40, 100, 40], 0.5)
    assert row.ratio == 0.5 and row.met
    assert row.cells() == ["work", "20 (10..30)", "40 (40..100)", "0.50", "≤ 0.50", "met"]
    assert not Row("work", [10, 30, 20], [40], 0.49).met
    assert Row("work", [10, 30, 20], [40], 0.49, at_least=True).met
    assert Row("work", [12.34], None, 12, digits=1).cells() == ["work", "12.3", "", "", "≤ 12.0", "missed"]
    assert Row("work", [1], None, 2, earlier="3 s").cells() == ["work", "1", "3 s", "", "≤ 2", "met"]


def test_a_contests_table_has_each_contender_and_its_ratios():
    table = made_up_contest().table()
    assert table.headings == ["operation", "", "p50", "p99", "p50 against pylibmc", "p50 against SQLite"]
    assert ["save a session", "stayd, Unix socket", "5.0", "10.0", "0.10", "0.008"] in table.lines
    assert len(table.lines) == 8


def test_data_that_was_saved_is_read_back(tmp_path):
    result = made_up_result("django-sessions", made_up_contest())
    outcome.save(tmp_path, "django-sessions", MEASURED, result)
    assert outcome.load(tmp_path, "django-sessions") == (MEASURED, result)
    row = json.loads((tmp_path / "django-sessions.json").read_text())["result"]["rows"][0]
    assert (row["stayd"], row["peer"], row["ratio"], row["met"]) == ([3.0, 1.0, 2.0], [4.0], 0.5, True)


def test_a_row_that_an_entry_does_not_announce_is_refused():
    result = made_up_result("cpu")
    check_rows("cpu", result)
    del result.rows[1]  # the machine had no means for it
    check_rows("cpu", result)
    result.rows.reverse()
    with pytest.raises(UnknownRows):
        check_rows("cpu", result)


def test_the_tables_have_units_ratios_and_notes(tmp_path):
    outcome.save_tables(tmp_path, "On a machine.\n", {"fsync": made_up_result("fsync")})
    text = (tmp_path / "results.md").read_text()
    assert "On a machine.\n\n2 of 2 targets met:\n\n| entry | work |" in text
    assert "| fsync | everysec, against no | 0.50 | ≤ 0.60 | met |\n" in text
    assert "\n## fsync\n\n**The title of fsync (ns)**\n\n" in text
    assert "| everysec, against no | 2 (1..3) | 4 | 0.50 | ≤ 0.60 | met |" in text
    assert text.endswith("\n- a note\n")


@pytest.mark.skipif(plots.draw_all(None, {}) is not None, reason="needs matplotlib")
def test_each_entry_is_drawn_with_its_rows(tmp_path):
    results = {"fsync": made_up_result("fsync"),
               "django-sessions": made_up_result("django-sessions", made_up_contest())}
    results["fsync"].rows[1] = Row("always, against Redis always", [5.0], None)
    assert plots.draw_all(tmp_path, results) is None
    for name in results:
        ElementTree.parse(tmp_path / f"{name}.svg")
    drawn = (tmp_path / "django-sessions.svg").read_text()  # has its texts as comments
    assert "<!-- The title of django-sessions -->" in drawn and "<!-- stayd, Unix socket -->" in drawn


def test_the_picture_has_a_bar_for_each_store_and_cuts_those_that_are_far_longer():
    drawn = picture.draw(made_up_contest())
    root = ElementTree.fromstring(drawn)
    bars = [element for element in root if element.tag.endswith("rect")]
    lengths = [float(bar.get("width")) for bar in bars]
    whole = picture.BAR_WIDTH  # stands for 200 µs, four times pylibmc's
    expected = [whole, whole * 60 / 200, whole * 50 / 200, whole * 5 / 200]
    assert lengths == pytest.approx(2 * expected, abs=0.1)
    assert [bar.get("class") for bar in bars] == 2 * ["bar", "bar", "bar", "ours"]
    assert drawn.count('class="gap"') == 2  # SQLite's
    assert "prefers-color-scheme: dark" in drawn and len(drawn) < 10_000


def test_the_page_has_the_rows_that_the_entries_write():
    parts = page.parts_of(page.PAGE.read_text())
    assert parts.keys() == {*ENTRIES, page.CIRCUMSTANCES, page.SUMMARY}
    for name, entry in ENTRIES.items():
        first_table = re.search(r"^\| work \|.*?(?:\n\n|\Z)", parts[name], re.M | re.S).group(0)
        written = re.findall(r"^\| (.*?) \|", first_table, re.M)[2:]
        assert set(written) <= set(entry.rows), f"{name}: run bench/run.py --write-docs"
        assert len(written) >= len(entry.rows) - 2  # rows for which a machine may lack the means


def test_the_page_is_filled_from_the_data(tmp_path, monkeypatch):
    copy, drawn = tmp_path / "performance.md", tmp_path / "sessions.svg"
    copy.write_text(page.PAGE.read_text())
    monkeypatch.setattr(page, "ROOT", tmp_path)
    monkeypatch.setattr(page, "PAGE", copy)
    monkeypatch.setattr(page, "PICTURE", drawn)
    save_all(tmp_path)
    assert page.write(tmp_path) == ["wrote performance.md and sessions.svg"]
    text = copy.read_text()
    assert "Measured on 2026-01-02 on 2 cores of a test" in text and "stayd 1, memcached 2" in text
    assert text.count("**The title of ") == len(ENTRIES)
    assert "uncertain" not in text and "--quick`, in" not in text
    assert "<svg" in drawn.read_text()
    for load, is_busy in (1.0, False), (1.1, True):  # of two cores
        save_all(tmp_path, load_before=load)
        page.write(tmp_path)
        assert ("uncertain" in copy.read_text()) == is_busy
    save_all(tmp_path, load_before=8.5, size="quick")
    newer = {**MEASURED, "versions": {"stayd": "2", "memcached": "2"}}
    outcome.save(tmp_path, "fsync", {**newer, "size": "quick"}, made_up_result("fsync"))
    page.write(tmp_path)
    assert "load average 8.5" in copy.read_text()
    assert "stayd 1 and 2, memcached 2" in copy.read_text()
    assert f"fewer and shorter rounds: {', '.join(sorted(ENTRIES))}." in copy.read_text()


@pytest.mark.parametrize("change, complaint", [
    (lambda folder: (folder / "fsync.json").unlink(), "not measured yet: fsync"),
    (lambda folder: save_all(folder, size="tiny"), "--tiny"),
    (lambda folder: outcome.save(folder, "fsync", {**MEASURED, "machine": "another"},
                                 made_up_result("fsync")), "not measured with the same machine"),
], ids=["missing", "tiny", "two machines"])
def test_figures_that_do_not_belong_together_are_not_written(tmp_path, change, complaint):
    save_all(tmp_path)
    change(tmp_path)
    before = page.PAGE.read_text()
    with pytest.raises(page.CannotWrite, match=complaint):
        page.write(tmp_path)
    assert page.PAGE.read_text() == before


def test_a_tiny_run_leaves_tables_data_and_plots(tmp_path):
    names = ["cpu", "connections"]
    done = run_bench(tmp_path, "--tiny", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "out/results.md").read_text()
    for name in names:
        measured, result = outcome.load(tmp_path / "out", name)
        assert measured["size"] == "tiny" and {"stayd", "memcached"} <= measured["versions"].keys()
        assert [row.work for row in result.rows] == list(ENTRIES[name].rows)
        assert all(row.ratio > 0 for row in result.rows if row.target and row.peer)
        assert all(f"| {row.work} | {row.cells()[1]} |" in text for row in result.rows)
        assert (tmp_path / "out" / f"{name}.svg").exists() == (plots.draw_all(None, {}) is None)


def test_a_server_that_fails_leaves_a_message_and_no_tables(tmp_path):
    broken = tmp_path / "peers/usr/bin/memcached"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\necho no memory for it; exit 3\n")
    broken.chmod(0o755)
    (tmp_path / "out").mkdir()
    outcome.save(tmp_path / "out", "cpu", MEASURED, made_up_result("cpu"))  # of an earlier run
    done = run_bench(tmp_path, "--tiny", "--peers", tmp_path / "peers", "cpu")
    assert done.returncode == 1
    assert "cpu could not be measured" in done.stdout and "no memory for it" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_a_program_that_is_missing_is_named(tmp_path):
    done = run_bench(tmp_path, "--peers", tmp_path, "fsync")
    assert done.returncode == 2
    assert "fsync needs" in done.stderr and "redis-server" in done.stderr
