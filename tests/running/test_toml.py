"""config.toml reads back as what was written, for every value that a configuration can hold."""

from __future__ import annotations

import datetime
import math
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.editing.contract import EditorOptions
from lifelong.running.config import NamedPart, RunConfig, load_config
from lifelong.running.prepare import check_options_written
from lifelong.running.words import ConfigError, to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        '"',
        "'''",
        '"""',
        "\\",
        "\\u0041",
        "a\nb",
        "\r\n",
        "\x00",
        "\x7f",
        "\x1b[31m",
        "\u2028",
        "\ufeff",
        "é",
        "鳥",
        "😀",
        "",
    ]
)
NUMBERS = st.integers(-(10**40), 10**40) | st.floats() | st.sampled_from([-0.0, 1e300, 5e-324, 1e16, 1e-7])
DATES = st.dates() | st.times() | st.datetimes()
SCALARS = TEXTS | NUMBERS | st.booleans() | DATES
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=8
)


def same(a: Any, b: Any) -> bool:
    """Equal in type and value, with nan equal to itself and zero told from minus zero."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return isinstance(b, float) and (a == b and math.copysign(1, a) == math.copysign(1, b) or a != a and b != b)
    return type(a) is type(b) and a == b


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_every_table_reads_back_as_it_was(table: dict[str, Any]) -> None:
    assert same(tomllib.loads(to_toml(table)), table)


@pytest.mark.parametrize("value", ["\ud800", [None], object(), {"a": b"x"}])
def test_what_a_file_cannot_hold_is_refused_by_its_key(value: Any) -> None:
    with pytest.raises(ConfigError, match="editor.mine"):
        to_toml({"editor": {"mine": value}})


def test_a_configuration_reads_back_with_options_of_every_kind() -> None:
    deep = {"a": [{"b": 1}]}
    options = {"since": datetime.date(2024, 5, 1), "most": math.inf, "words": ['a"b', "c\n"], "deep": deep}
    table = RunConfig(stream=NamedPart(name="toy", options=options)).table()
    assert same(tomllib.loads(to_toml(table)), table)


class Bounded(EditorOptions):
    limit: int | None = 5
    other: int | None = None


def test_a_none_that_a_file_would_turn_into_a_default_is_refused() -> None:
    check_options_written(Bounded())
    with pytest.raises(ConfigError, match="editor.limit: None"):
        check_options_written(Bounded(limit=None))


NAMES = [
    "../x",
    "a/b",
    "/x",
    "..",
    ".",
    ".x",
    "-x",
    "a=b",
    "a\\b",
    "a\nb",
    "\x1b]0;x\x07",
    "\u202etxt",
    "x" * 161,
    " ",
    "x ",
    "鳥" * 60,
    "\ud800",
    "\0",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_leave_out_or_move_the_cursor_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name.*folder inside `out`") as caught:
        load_config(None, {"name": name})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("label", ["../../etc", "\x1b[31mred", "..", "", "a=b c", "x" * 300, "鳥" * 200, ".hidden"])
def test_a_title_made_of_an_editor_and_a_stream_is_the_name_of_a_folder(label: str) -> None:
    title = RunConfig(stream=NamedPart(name="../y")).title(label)
    assert title.isprintable() and not set(title) & set("/\\= ") and title[0] not in ".-"
    assert len(title.encode()) <= 160
