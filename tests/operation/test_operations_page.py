"""docs/operations.md says what is so: its matrix is the one that the tests try."""

from support import print_fault_matrix
from support.fault_matrix import COLUMNS, table


def test_the_page_prints_the_matrix_that_the_tests_try():
    page = print_fault_matrix.PAGE.read_text()
    assert page == print_fault_matrix.page_with(print_fault_matrix.printed()), \
        "run build/venv/bin/python tests/support/print_fault_matrix.py"


def test_each_row_of_the_matrix_has_an_answer_in_each_column():
    for name, row in table().items():
        assert set(row) - {"log"} == {"name", "how", "do", *COLUMNS}, name
