"""What is said for a setting is meant by its type: texts stay texts, lists lists, paths begin where they are said."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from lifelong.running.words import parse_value
from streams.problems import IsPath
from streams.settings import PathText, SettingError, checked_settings, path_options, said_in
from streams.times.process_options import PROCESS_OPTIONS
from streams.times.processes import AS_RECORDED, PROCESSES


class Everything(BaseModel):
    """One field of every type that options have."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    text: str = ""
    number: float = Field(default=1.0, gt=0, le=5, description="seconds of a thing")
    whole: int = Field(default=1, ge=0)
    flag: bool = False
    one_of: Literal["a", "1"] = "a"
    texts: tuple[str, ...] = ()
    wholes: tuple[int, ...] = ()
    path: PathText = ""
    place: Path | None = None
    either: float | Literal["auto"] | None = None
    known: Annotated[str, IsPath(words=("all",))] = ""
    encoder: Annotated[str, IsPath("path:")] = "base"
    store: Annotated[str, IsPath("disk:", read=False)] = ""


def meant_by(key: str, word: str) -> Any:
    return getattr(checked_settings(Everything, {key: parse_value(word)}, "part"), key)


@pytest.mark.parametrize(
    "word", ["birds", "a,b", "7", "007", "1.10", "1e5", "true", "2024-05-01", "2024-05-01 10:00", "inf", "[x", "{a}",
             "5 # five", "a=b", "[1, 2]", "{a = 1}", "0x1F", "-", "1,", "$HOME", "a\tb"],
)  # fmt: skip
def test_a_text_stays_as_it_was_written(word: str) -> None:
    assert meant_by("text", word) == word
    assert meant_by("path", word) == os.path.abspath(word)


def test_quotes_are_those_of_toml() -> None:
    assert meant_by("text", '"7"') == "7" and meant_by("text", "'a,b'") == "a,b"
    assert meant_by("texts", '"a,b",c') == ("a,b", "c") and meant_by("texts", "it's,it") == ("it's", "it")


def test_lists_are_lists_where_lists_are_wanted_also_of_one() -> None:
    assert meant_by("texts", "1.10,true,x") == ("1.10", "true", "x") and meant_by("texts", "7") == ("7",)
    assert meant_by("wholes", "1,2,5") == (1, 2, 5) and meant_by("wholes", "5") == (5,)
    assert meant_by("one_of", "1") == "1" and meant_by("either", "auto") == "auto" and meant_by("either", "2") == 2


@pytest.mark.parametrize(
    ("key", "word", "said"),
    [
        ("number", "abc", "part.number=abc: expected a number above 0 and of at most 5 (default 1.0): seconds"),
        ("number", "true", "part.number=true: expected a number"),
        ("number", "inf", "part.number=inf: expected a number"),
        ("number", "nan", "part.number=nan: expected a number"),
        ("number", "1e999", "part.number=1e999: expected a number"),
        ("whole", "2.5", "part.whole=2.5: expected a whole number of at least 0"),
        ("whole", "99999999999999999999", "part.whole=99999999999999999999: a number of at most"),
        ("whole", "1,2", "part.whole=1,2: expected a whole number of at least 0 (default 1); a list of"),
        ("whole", "2024-05-01", "part.whole=2024-05-01: expected a whole number"),
        ("flag", "maybe", "part.flag=maybe: expected true or false"),
        ("one_of", "b", "part.one_of=b: expected one of a, 1"),
        ("wholes", "1,x", "part.wholes=x: expected a list of whole numbers"),
        ("txt", "x", "part.txt: there is no such key. Did you mean 'text'"),
        ("path", "~nobody-here/x", "part.path=~nobody-here/x: there is no user 'nobody-here'"),
        ("text", "a\x1b[31m" , None),
        ("number", "\x1b[31m", "part.number=\\x1b[31m: expected"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_said_in_plain_words(key: str, word: str, said: str | None) -> None:
    if said is None:
        assert meant_by(key, word) == word
        return
    with pytest.raises(SettingError) as caught:
        meant_by(key, word)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value) and "nput" not in str(caught.value)


def test_every_wrong_key_is_said_once() -> None:
    with pytest.raises(SettingError) as caught:
        checked_settings(Everything, {"whole": "x", "flag": "maybe", "either": "z"}, "part")
    assert [str(caught.value).count(f"part.{key}=") for key in ("whole", "flag", "either")] == [1, 1, 1]


def test_a_path_begins_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    table = said_in({"path": "a=b.txt", "place": "x", "encoder": "path:enc", "store": "disk:s"}, Path("/elsewhere"))
    there = checked_settings(Everything, table, "part")
    assert (there.path, there.place) == ("/elsewhere/a=b.txt", Path("/elsewhere/x"))
    assert (there.encoder, there.store) == ("path:/elsewhere/enc", "disk:/elsewhere/s")
    here = checked_settings(Everything, {"path": "../x", "place": "~/y", "known": "all", "encoder": "base"}, "part")
    assert here.path == str(tmp_path.parent / "x") and here.place == Path("/home/me/y") and here.known == "all"
    assert path_options(Everything, there.model_dump(mode="json")) == {
        "path": "/elsewhere/a=b.txt", "place": "/elsewhere/x", "encoder": "/elsewhere/enc",
    }  # fmt: skip
    assert path_options(Everything, here.model_dump(mode="json")).keys() == {"path", "place"}


def test_what_is_absolute_stays_so() -> None:
    once = checked_settings(Everything, {"path": "x", "encoder": "path:y"}, "part")
    assert checked_settings(Everything, once.model_dump(), "part") == once


@pytest.mark.parametrize("name", PROCESSES)
def test_the_options_of_a_process_are_its_parameters(name: str) -> None:
    parameters = list(inspect.signature(PROCESSES[name]).parameters.values())[3:]
    fields = {k: f for k, f in PROCESS_OPTIONS[name].model_fields.items() if k != "rate"}
    assert [p.name for p in parameters] == list(fields)
    for parameter in parameters:
        field = fields[parameter.name]
        assert field.is_required() if parameter.default is parameter.empty else field.default == parameter.default
        assert field.description
    assert name in AS_RECORDED or PROCESS_OPTIONS[name].model_fields["rate"].default == 1.0
