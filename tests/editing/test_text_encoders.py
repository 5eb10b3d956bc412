"""The encoder of texts is one option of all editors that route by words, and another model may be it."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoder_folders import sentence_folder

from lifelong.editing.checks import sentences
from lifelong.editing.checks.bench import Workbench
from lifelong.editing.contract import EncoderOptions
from lifelong.editing.find import editor_class, editor_names
from lifelong.editing.fits import fit_digest
from streams.types import Pool

ABOUT = EncoderOptions.model_fields["encoder"].description
BY_WORDS = ("ike", "lte", "mscke", "rag", "recipe", "serac")
CHECKS = (
    sentences.encode_gives_one_row_per_query,
    sentences.state_goes_on_exactly,
    sentences.an_edit_changes_something,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{sentence_folder(tmp_path_factory.mktemp('encoder'))}"


def test_the_option_is_the_same_in_every_editor_that_routes_by_words() -> None:
    options = {name: editor_class(name).Options for name in editor_names()}
    assert sorted(n for n, kind in options.items() if issubclass(kind, EncoderOptions)) == sorted(BY_WORDS)
    for name, kind in options.items():
        field = kind.model_fields.get("encoder")
        assert (field is None) == (name not in BY_WORDS)
        assert field is None or (field.default, field.description) == ("base", ABOUT)


@pytest.mark.parametrize("name", BY_WORDS)
def test_an_editor_works_with_an_encoder_of_its_own(name: str, encoder: str, tiny_vlm) -> None:
    bench = Workbench(editor_class(name), tiny_vlm, {"encoder": encoder})
    for check in CHECKS:
        check(bench)


@pytest.mark.parametrize("name", BY_WORDS)
def test_a_fit_belongs_to_its_encoder_and_to_what_lies_in_its_folder(name: str, tiny_vlm, tmp_path: Path) -> None:
    kind, folder = editor_class(name), sentence_folder(tmp_path / "enc")

    def digest(encoder: str) -> str:
        return fit_digest(kind, name, kind.Options.model_validate({"encoder": encoder}), tiny_vlm, Pool((), "", 0))

    first, base = digest(f"path:{folder}"), digest("base")
    assert first == digest(f"path:{folder}") != base != digest("minilm")
    sentence_folder(folder, seed=1)
    assert digest(f"path:{folder}") not in (first, base)
