"""The benchmark on a large shape runs, here on a small one, and its page keeps what was measured before."""

from __future__ import annotations

from pathlib import Path

from lifelong.studies.bench.large import LARGE_OPTIONS, large_rows, write_large


def test_each_editor_is_measured_and_the_page_keeps_what_was_measured_before(tmp_path: Path) -> None:
    said: list[str] = []
    rows = large_rows("small", edits=2, say=said.append)
    assert [row.editor for row in rows] == list(LARGE_OPTIONS) and len(said) == 1 + len(rows)
    assert all(min(spent.wall_s, spent.cpu_s) > 0 for r in rows for spent in (r.first_probe, r.next_probe, r.answer))
    assert min(rows, key=lambda row: row.edit.cpu_s).editor == "none"
    for label in ("before", "after"):
        page = write_large(rows, label, tmp_path).read_text()
    assert page.count("| grace | 5 |") == 2 and "| before | none |" in page and "| after | none |" in page
