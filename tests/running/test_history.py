"""A run folder says in plain words what the model was told, what it is asked and what it answers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from runs_alike import SMALL
from typer.testing import CliRunner

from lifelong.cli.main import app
from lifelong.log import LogError, Probed, RunLog
from lifelong.log.stream_tables import PROBES_SCHEMA, stream_table, table_writer
from lifelong.running.ask import ask
from lifelong.running.history import edits_told, probes_asked
from lifelong.running.run import run
from lifelong.running.words import ConfigError
from streams.stream import load_stream
from streams.text import printable


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four edits."""
    return run(quiet=True, **{**SMALL, "edits": 4, "panels": [2], "out": str(tmp_path_factory.mktemp("runs"))})


def test_every_id_in_the_facts_is_spelt_out_beside_them(folder: Path) -> None:
    """`edits.parquet` has the stream's edits in order, `probes.parquet` every probe that was asked."""
    stream = load_stream("toy", edits=4)
    edits, probes = (pl.read_parquet(folder / f"{name}.parquet") for name in ("edits", "probes"))
    assert edits.select("step", "edit_id", "prompt", "target").rows() == [
        (step, e.id, e.query.prompt, e.target) for step, e in enumerate(stream.edits, 1)
    ]
    asked = set(RunLog.open(folder).table(Probed)["probe_id"].to_pylist())
    assert asked <= set(probes["probe_id"]) and len(probes) == len(stream.every_probe())
    first = stream.probes(stream.edits[0].id)[0]
    assert probes.row(0, named=True)["target"] == first.target and probes.row(0, named=True)["axis"] == first.axis


def test_what_the_model_said_of_an_edit_is_what_the_facts_say(folder: Path) -> None:
    facts = pl.DataFrame(RunLog.open(folder).table(Probed).to_pylist())
    own = facts.filter((pl.col("axis") == "reliability") & (pl.col("scorer") == "generated"))
    rows = edits_told(folder)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        mine = own.filter(pl.col("edit_id") == row["edit_id"]).sort("step")
        assert row["now"] == mine["answer"][-1] and row["asked_step"] == mine["step"][-1] == 4
        assert row["at_once"] == mine.filter(pl.col("age") == 0)["answer"][0]
    assert {p["edit_id"] for p in probes_asked(folder, rows[0]["edit_id"])} == {rows[0]["edit_id"]}


def test_an_edit_is_asked_by_its_id_or_its_number(folder: Path) -> None:
    second = edits_told(folder)[1]
    by_id, by_number = ask(folder, edit=second["edit_id"]), ask(folder, edit="2")
    assert by_id.answer == by_number.answer and by_id.told is not None and by_id.told.target == second["target"]
    assert by_id.route[0].edit_id == second["edit_id"], "the edit serves its own question"
    with pytest.raises(ConfigError, match=f"edit={second['edit_id'][:-1]}.*Did you mean {second['edit_id']}"):
        ask(folder, edit=second["edit_id"][:-1])
    with pytest.raises(ConfigError, match="numbered 1 to 4"):
        ask(folder, edit="5")
    with pytest.raises(ConfigError, match="nothing is asked"):
        ask(folder)


def test_list_shows_edits_probes_and_pictures(folder: Path) -> None:
    def said(*words: str) -> list[str]:
        shown = CliRunner().invoke(app, ["list", *words])
        assert shown.exit_code == 0, shown.output
        return shown.stdout.splitlines()

    lines = said("edits", str(folder))
    assert lines[0].split()[:2] == ["step", "edit"] and len(lines) == 5
    assert len(said("probes", str(folder), edits_told(folder)[0]["edit_id"])) > 5
    assert any(line.startswith("atlas:") for line in said("pictures", "atlas", "flamingo"))
    with pytest.raises(ConfigError, match="which run"):
        CliRunner().invoke(app, ["list", "edits"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="xyzzy"):
        CliRunner().invoke(app, ["list", "pictures", "atlas", "xyzzy"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="only edits, probes, pictures"):
        CliRunner().invoke(app, ["list", "editors", "extra"], catch_exceptions=False)


def test_a_table_is_written_in_batches_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    rows = [dict.fromkeys(PROBES_SCHEMA.names, "x") | {"accepted": ["y"], "hops": i} for i in range(25_000)]
    log = RunLog.create(tmp_path / "run", "", {}, {"probes.parquet": table_writer("probes", iter(rows))})
    assert stream_table(log, "probes")["hops"].to_pylist() == list(range(25_000))
    path = log.folder / "probes.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogError, match=r"probes\.parquet: edited, damaged"):
        stream_table(log, "probes")
    with pytest.raises(LogError, match=r"edits\.parquet: this run keeps no such file"):
        stream_table(log, "edits")


def test_a_form_answers_question_after_question_and_names_mistakes(folder: Path) -> None:
    """One model serves them all: an edit by its number, a question with another edit's picture, and other steps."""
    seen = next(row for row in edits_told(folder) if row["picture"])
    shown = f"picture {seen['picture']}"
    lines = [str(seen["step"]), "What is this?", "99", "step 77", shown, seen["prompt"], "picture nowhere.png", ""]
    said = CliRunner().invoke(app, ["ask", str(folder)], input="\n".join(lines) + "\n")
    assert said.exit_code == 0, said.exception
    told = ask(folder, edit=str(seen["step"]))
    assert said.output.count(f"after {told.step} edits: ") == 3 and "numbered 1 to" in said.output
    assert f"({seen['edit_id']})" in said.output and "pixels)" in said.output and "picture: none" in said.output
    assert "step 77: states are kept after" in said.output and "nowhere.png" in said.output
    assert f"unedited: {printable(told.unedited)}" in said.output
