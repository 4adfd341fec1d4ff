"""Each exhibit of the museum shows its fault, and the page shows each exhibit."""

import importlib.util
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[2] / "book"
spec = importlib.util.spec_from_file_location("museum", BOOK / "museum.py")
museum = importlib.util.module_from_spec(spec)
spec.loader.exec_module(museum)


@pytest.mark.parametrize("kind", museum.EXHIBITS, ids=lambda kind: kind.__name__)
def test_an_exhibits_test_fails_on_the_fault_and_passes_on_the_mend(kind):
    assert not kind.test(kind.fault)
    assert kind.test(kind.mend)


def test_the_page_shows_each_exhibit_once():
    shown = re.findall(r":pyobject: (\w+)", (BOOK / "museum.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(kind.__name__ for kind in museum.EXHIBITS) and len(shown) >= 19
