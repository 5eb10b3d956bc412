"""Lifelong streaming edits of multimodal language models: the whole Python API, loaded name by name.

`import lifelong` loads nothing heavy; a name is imported from its module when it is first used:

    import lifelong
    folder = lifelong.run(editor="grace", edits=200)
    lifelong.report([folder], "report")

Commands that have another name here: list `listing`, check `check_editor`, run --dry-run `dry_run`, model eval
`evaluate_model`, train-atlas `train_atlas`, bench probing `compare_probing`, bench routing `measure_routing`,
bench payloads `fill_and_read`, spaces `spaces_of` (without the picture). The other names are the types that these
take and give, and what an editor is written with.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifelong.bank import Bank as Bank
    from lifelong.bench_payloads import fill_and_read as fill_and_read
    from lifelong.bench_probing import compare_run as compare_probing  # noqa: F401
    from lifelong.bench_routing_page import measure as measure_routing  # noqa: F401
    from lifelong.catalog import listing as listing
    from lifelong.checks import check_editor as check_editor
    from lifelong.cli_report import report as report
    from lifelong.compose import dry_run as dry_run
    from lifelong.compose import run as run
    from lifelong.config import ConfigError as ConfigError
    from lifelong.config import RunConfig as RunConfig
    from lifelong.config import load_config as load_config
    from lifelong.editor import Editor as Editor
    from lifelong.editor import EditorOptions as EditorOptions
    from lifelong.editor import Keys as Keys
    from lifelong.editor import Route as Route
    from lifelong.editor import State as State
    from lifelong.editor import editor_class as editor_class
    from lifelong.editor import editor_names as editor_names
    from lifelong.log import Edited as Edited
    from lifelong.log import Gauged as Gauged
    from lifelong.log import LogError as LogError
    from lifelong.log import Probed as Probed
    from lifelong.log import RunLog as RunLog
    from lifelong.log import Timed as Timed
    from lifelong.models.atlas_eval import evaluate as evaluate_model  # noqa: F401
    from lifelong.models.atlas_train.main import main as train_atlas  # noqa: F401
    from lifelong.models.vlm import VLM as VLM
    from lifelong.questions import ask as ask
    from lifelong.single import single as single
    from lifelong.spaces import spaces_of as spaces_of
    from lifelong.sweeps import sweep as sweep
    from lifelong.tuning import tune as tune
    from streams.stream import load_stream as load_stream
    from streams.stream import stream_names as stream_names

_HOME = {
    "Bank": "lifelong.bank",
    "ConfigError": "lifelong.config",
    "Edited": "lifelong.log",
    "Editor": "lifelong.editor",
    "EditorOptions": "lifelong.editor",
    "Gauged": "lifelong.log",
    "Keys": "lifelong.editor",
    "LogError": "lifelong.log",
    "Probed": "lifelong.log",
    "Route": "lifelong.editor",
    "RunConfig": "lifelong.config",
    "RunLog": "lifelong.log",
    "State": "lifelong.editor",
    "Timed": "lifelong.log",
    "VLM": "lifelong.models.vlm",
    "ask": "lifelong.questions",
    "check_editor": "lifelong.checks",
    "compare_probing": "lifelong.bench_probing:compare_run",
    "fill_and_read": "lifelong.bench_payloads",
    "measure_routing": "lifelong.bench_routing_page:measure",
    "dry_run": "lifelong.compose",
    "editor_class": "lifelong.editor",
    "editor_names": "lifelong.editor",
    "evaluate_model": "lifelong.models.atlas_eval:evaluate",
    "listing": "lifelong.catalog",
    "load_config": "lifelong.config",
    "load_stream": "streams.stream",
    "report": "lifelong.cli_report",
    "run": "lifelong.compose",
    "single": "lifelong.single",
    "spaces_of": "lifelong.spaces",
    "stream_names": "streams.stream",
    "sweep": "lifelong.sweeps",
    "tune": "lifelong.tuning",
    "train_atlas": "lifelong.models.atlas_train.main:main",
}
"""Name -> the module it is in, with `:NAME` where it is called otherwise there."""

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"lifelong has no {name!r}; it has {', '.join(_HOME)}.")
    module, _, own = _HOME[name].partition(":")
    value = getattr(importlib.import_module(module), own or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
