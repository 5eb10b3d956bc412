"""The page of a GPU: made by a measured run, and honest where there is none."""

from __future__ import annotations

from pathlib import Path

from lifelong.studies.bench import gpu


def test_without_a_gpu_one_line_says_so_and_the_page_that_nothing_was_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "accelerator", lambda device: "")
    said: list[str] = []
    assert gpu.gpu_check(tmp_path, say=said.append) is None
    assert len(said) == 1 and "no cuda device" in said[0]
    page = tmp_path / "gpu.md"
    assert page.read_text().rstrip().endswith("not run yet")
    page.write_text("measured")
    assert gpu.gpu_check(tmp_path) is None and page.read_text() == "measured"


def test_a_measured_run_is_a_row_with_date_machine_seconds_and_bytes(tmp_path) -> None:
    said: list[str] = []
    found = gpu.gpu_check(tmp_path, device="cpu", shape="small", edits=2, editors=["ft"], say=said.append)
    assert found is not None
    text = found.read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| ft")]
    assert said == [row] and "8.19 kB" in row and "not run yet" not in text
    assert "shape small in bfloat16" in text and text.count("20") and "torch" in text


def test_the_page_in_the_repository_is_of_this_kind() -> None:
    text = (Path(__file__).parents[2] / "reports/bench/gpu.md").read_text()
    assert text.startswith("# On a GPU") and ("not run yet" in text or "| editor |" in text)
