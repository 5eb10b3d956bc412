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
import os
from typing import TYPE_CHECKING, Any

# OpenMP reads it once, when torch is first imported. Threads that wait for work by spinning take the cores from those
# that have some: beside other processes a batch took fifteen times as long with two threads as with one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from lifelong.bank import Bank as Bank
    from lifelong.editing.checks.check import check_editor as check_editor
    from lifelong.editing.contract import Editor as Editor
    from lifelong.editing.contract import EditorOptions as EditorOptions
    from lifelong.editing.contract import Keys as Keys
    from lifelong.editing.contract import Route as Route
    from lifelong.editing.find import editor_class as editor_class
    from lifelong.editing.find import editor_names as editor_names
    from lifelong.log import Edited as Edited
    from lifelong.log import Gauged as Gauged
    from lifelong.log import LogError as LogError
    from lifelong.log import Probed as Probed
    from lifelong.log import RunLog as RunLog
    from lifelong.log import Timed as Timed
    from lifelong.log.checkpoint import State as State
    from lifelong.models.atlas.exam import evaluate as evaluate_model  # noqa: F401
    from lifelong.models.atlas.train.main import main as train_atlas  # noqa: F401
    from lifelong.models.vlm import VLM as VLM
    from lifelong.running.ask import ask as ask
    from lifelong.running.catalog import listing as listing
    from lifelong.running.config import RunConfig as RunConfig
    from lifelong.running.config import load_config as load_config
    from lifelong.running.run import dry_run as dry_run
    from lifelong.running.run import run as run
    from lifelong.running.words import ConfigError as ConfigError
    from lifelong.studies.bench.payloads import fill_and_read as fill_and_read
    from lifelong.studies.bench.probing import compare_run as compare_probing  # noqa: F401
    from lifelong.studies.bench.routing_page import measure as measure_routing  # noqa: F401
    from lifelong.studies.report import report as report
    from lifelong.studies.single import single as single
    from lifelong.studies.spaces import spaces_of as spaces_of
    from lifelong.studies.sweep import sweep as sweep
    from lifelong.studies.tune import tune as tune
    from streams.stream import load_stream as load_stream
    from streams.stream import stream_names as stream_names

_HOME = {
    "Bank": "lifelong.bank",
    "ConfigError": "lifelong.running.words",
    "Edited": "lifelong.log",
    "Editor": "lifelong.editing.contract",
    "EditorOptions": "lifelong.editing.contract",
    "Gauged": "lifelong.log",
    "Keys": "lifelong.editing.contract",
    "LogError": "lifelong.log",
    "Probed": "lifelong.log",
    "Route": "lifelong.editing.contract",
    "RunConfig": "lifelong.running.config",
    "RunLog": "lifelong.log",
    "State": "lifelong.log.checkpoint",
    "Timed": "lifelong.log",
    "VLM": "lifelong.models.vlm",
    "ask": "lifelong.running.ask",
    "check_editor": "lifelong.editing.checks.check",
    "compare_probing": "lifelong.studies.bench.probing:compare_run",
    "fill_and_read": "lifelong.studies.bench.payloads",
    "measure_routing": "lifelong.studies.bench.routing_page:measure",
    "dry_run": "lifelong.running.run",
    "editor_class": "lifelong.editing.find",
    "editor_names": "lifelong.editing.find",
    "evaluate_model": "lifelong.models.atlas.exam:evaluate",
    "listing": "lifelong.running.catalog",
    "load_config": "lifelong.running.config",
    "load_stream": "streams.stream",
    "report": "lifelong.studies.report",
    "run": "lifelong.running.run",
    "single": "lifelong.studies.single",
    "spaces_of": "lifelong.studies.spaces",
    "stream_names": "streams.stream",
    "sweep": "lifelong.studies.sweep",
    "tune": "lifelong.studies.tune",
    "train_atlas": "lifelong.models.atlas.train.main:main",
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
