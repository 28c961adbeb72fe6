"""docs/operations.md is true: its fault matrix is the one that the tests run."""

import re

from support import print_fault_matrix
from support.fault_matrix import COLUMNS, table
from support.servers import ROOT


def test_the_page_prints_the_matrix_that_the_tests_try():
    page = print_fault_matrix.PAGE.read_text()
    assert page == print_fault_matrix.page_with(print_fault_matrix.printed()), \
        "run build/venv/bin/python tests/support/print_fault_matrix.py"


def test_each_row_of_the_matrix_has_an_answer_in_each_column():
    for name, row in table().items():
        assert set(row) - {"log"} == {"name", "how", "do", *COLUMNS}, name


def test_each_warning_and_error_that_the_daemon_logs_stands_in_the_page():
    """The page must quote the first longer piece of text between two fields of the message. `...` may
    stand for the end of that piece."""
    page = " ".join(print_fault_matrix.PAGE.read_text().split())
    missing = []
    for source in sorted((ROOT / "src").rglob("*.c")):
        for text in re.findall(r'log_(?:warning|error)\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)',
                               source.read_text()):
            message = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))
            pieces = [piece.strip(" :;,.()'") for piece in
                      re.split(r"%[-.*0-9]*(?:ll|l|z)?[a-zA-Z]", message)]
            pieces = [piece for piece in pieces if len(piece) >= 9]
            if pieces and not any(piece[:18].strip() in page for piece in pieces):
                missing.append(f"{source.relative_to(ROOT)}: {message}")
    assert not missing, "tell in docs/operations.md what to do about:\n" + "\n".join(missing)


def test_each_warning_and_its_remedy_stand_in_the_page():
    page = " ".join(print_fault_matrix.PAGE.read_text().split())
    source = (ROOT / "src" / "admin" / "advice.c").read_text()
    texts = ["".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)) for text in
             re.findall(r'((?:"(?:[^"\\]|\\.)*"(?:\s*\\?\s*| PRIu64 ))+)', source)]
    sentences = [text for text in texts if " " in text.strip() and not text.startswith(" ")]
    assert len(sentences) > 15
    missing = [text for text in sentences
               if re.split(r" %|[:;]", text)[0].strip(" %") not in page]
    assert not missing
