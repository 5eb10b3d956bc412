"""Claims about `fit.stream`: a trained editor learns from another stream's pool where its own has none, or is to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published_records import TRAIN, write_benchmark, write_records, zsre

from lifelong.log.files import content_digest
from lifelong.running.config import hash8, load_config
from lifelong.running.prepare import prepare, resolve
from lifelong.running.words import ConfigError, parse_words, to_toml
from streams.stream import StreamError, load_stream


@pytest.fixture
def words(tmp_path: Path) -> dict[str, Any]:
    """The words of a run on a benchmark that has no training split beside it."""
    write_benchmark(tmp_path / "data", "zsre", 8)
    return {
        "editor": "lemoe", "model": "tiny", "stream": "zsre", "stream.root": str(tmp_path / "data"), "edits": 3,
        "fit.edits": 4, "cache": str(tmp_path / "cache"), "threads": 1,
    }  # fmt: skip


def test_an_editor_without_a_pool_is_told_which_option_to_set(words: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Say stream\.held_out=200 .* Say fit\.stream=NAME") as error:
        prepare(resolve(None, words))
    assert "\n" not in str(error.value)


def test_another_streams_pool_serves(words: dict[str, Any], tmp_path: Path) -> None:
    toy = prepare(resolve(None, {**words, "fit.stream": "toy"}))
    assert toy.fit is not None and toy.fit.pool == load_stream("toy", edits=1).pool(len(toy.fit.pool.items), 0)
    other = tmp_path / "other"
    write_benchmark(other, "zsre", 1)
    write_records(other / TRAIN["zsre"], [zsre(i) for i in range(20, 30)])
    learnt = prepare(resolve(None, {**words, "fit.stream": "zsre", "fit.stream.root": str(other)}))
    assert learnt.fit is not None and {item.edit.subject for item in learnt.fit.pool.items} <= {
        f"s{i}" for i in range(20, 30)
    }
    assert len({toy.folder, learnt.folder}) == 2 and content_digest(other)


def test_the_streams_own_end_serves(words: dict[str, Any]) -> None:
    ready = prepare(resolve(None, {**words, "stream.held_out": 4}))
    assert ready.fit is not None and {item.edit.subject for item in ready.fit.pool.items} == {"s4", "s5", "s6", "s7"}


def test_a_pool_that_is_asked_for_and_not_there_is_no_matter_for_a_fit_that_ships(words: dict[str, Any]) -> None:
    del words["model"]
    with pytest.raises(StreamError, match="no training split|is not below"):
        prepare(
            resolve(None, {**words, "editor": "rag", "fit.stream": "zsre", "fit.stream.root": words["stream.root"]})
        )


def test_its_words_are_read_written_and_read_again(tmp_path: Path) -> None:
    config = load_config(None, parse_words(["fit.stream=evqa", "fit.stream.root=data", "fit.seed=3"]))
    (tmp_path / "c.toml").write_text(to_toml(config.table()))
    assert load_config(str(tmp_path / "c.toml")) == config
    assert load_config(None, {"fit": {"stream": {"name": "evqa", "root": "data"}, "seed": 3}}) == config
    changed = load_config(str(tmp_path / "c.toml"), {"fit.stream.template": "plain"})
    assert changed.fit.stream is not None and changed.fit.stream.options["template"] == "plain"
    assert changed.fit.stream.options["root"].endswith("data")
    moved = load_config(str(tmp_path / "c.toml"), {"fit.stream.root": "elsewhere"})
    assert hash8(moved, {"fit": "x"}) == hash8(config, {"fit": "x"}), "not where it lies names a run"
    assert "stream" not in load_config(None).table()["fit"], "a run without it is named as before"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["fit.stream.root=x"], "fit.stream.root: of which stream"),
        (["fit.stream=evq"], "Did you mean 'evqa'"),
        (["fit.stream=evqa", "fit.stream.rot=1"], "fit.stream.rot: there is no such key. Did you mean 'root'"),
        (["fit.stream=evqa", "fit.stream.edits=1"], "is said by fit.edits"),
        (["fit.strem=evqa"], "Did you mean 'stream'"),
        (["fit.seed.x=1"], "at most one dot"),
    ],
)
def test_a_wrong_word_says_what_is_near(given: list[str], told: str) -> None:
    with pytest.raises((ConfigError, StreamError), match=told) as error:
        load_config(None, parse_words(given))
    assert "\n" not in str(error.value)
