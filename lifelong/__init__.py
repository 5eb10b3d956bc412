"""Lifelong streaming edits of multimodal language models: the whole Python API, loaded name by name.

`import lifelong` loads nothing heavy; a name is imported from its module when it is first used:

    import lifelong
    folder = lifelong.run(editor="grace", edits=200)
    lifelong.report(folder, "report")
    lifelong.sweep(editor=[MyEditor, "grace"], seed=[0, 1])  # a class, also of a notebook; lists vary

Commands that have another name here: list `listing`, check `check_editor`, stream check `examine_stream`,
protocol `protocol_view`,
run --dry-run `plan_run` (its folder alone: `dry_run`), model eval `evaluate_model`, train-atlas `train_atlas`, bench
probing `compare_probing`, bench routing `measure_routing`, bench payloads `fill_and_read`, bench gpu `gpu_check`,
replay --validate `validate_replay`, stress `stress_edits`, `stress_bank` and `stress_load`, spaces `spaces_of` and
route `route_settings` (without the picture). The other names are types that these take and give, and what an editor
is written with.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# OpenMP reads it once, when torch is first imported. Threads that wait for work by spinning take the cores from those
# that have some: beside other processes a batch took fifteen times as long with two threads as with one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__: str  # read from the installed package when it is asked for

if TYPE_CHECKING:  # what type checkers and editors of code see; a test holds it equal to `_NAMES`
    from lifelong.bank import Bank as Bank
    from lifelong.editing.checks.check import check_editor as check_editor
    from lifelong.editing.contract import Answerer as Answerer
    from lifelong.editing.contract import CollapseError as CollapseError
    from lifelong.editing.contract import Editor as Editor
    from lifelong.editing.contract import EditorOptions as EditorOptions
    from lifelong.editing.contract import IndexOptions as IndexOptions
    from lifelong.editing.contract import Keys as Keys
    from lifelong.editing.contract import Route as Route
    from lifelong.editing.contract import State as State
    from lifelong.editing.contract import UnsupportedError as UnsupportedError
    from lifelong.editing.find import editor_class as editor_class
    from lifelong.editing.find import editor_names as editor_names
    from lifelong.editing.spaces import HasSpaces as HasSpaces
    from lifelong.log import Edited as Edited
    from lifelong.log import Gauged as Gauged
    from lifelong.log import LogError as LogError
    from lifelong.log import Probed as Probed
    from lifelong.log import RunLog as RunLog
    from lifelong.log import Served as Served
    from lifelong.log import Timed as Timed
    from lifelong.models.atlas.exam import evaluate as _evaluate
    from lifelong.models.atlas.train.main import main as _train
    from lifelong.models.vlm import VLM as VLM
    from lifelong.running.ask import ask as ask
    from lifelong.running.catalog import listing as listing
    from lifelong.running.config import RunConfig as RunConfig
    from lifelong.running.config import load_config as load_config
    from lifelong.running.plan import plan_run as plan_run
    from lifelong.running.run import dry_run as dry_run
    from lifelong.running.run import run as run
    from lifelong.running.story import story as story
    from lifelong.running.words import ConfigError as ConfigError
    from lifelong.studies.bench.gpu import gpu_check as gpu_check
    from lifelong.studies.bench.payloads import fill_and_read as fill_and_read
    from lifelong.studies.bench.probing import compare_run as _compare
    from lifelong.studies.bench.routing_page import routing_rows as _measure
    from lifelong.studies.export import export as export
    from lifelong.studies.fit import fit as fit
    from lifelong.studies.protocol import protocol_view as protocol_view
    from lifelong.studies.replay import replay as replay
    from lifelong.studies.report import report as report
    from lifelong.studies.route import route_settings as route_settings
    from lifelong.studies.single import single as single
    from lifelong.studies.spaces import spaces_of as spaces_of
    from lifelong.studies.status import status as status
    from lifelong.studies.stream_check import examine_stream as examine_stream
    from lifelong.studies.stress.bank import stress_bank as stress_bank
    from lifelong.studies.stress.edits import stress_edits as stress_edits
    from lifelong.studies.stress.load import stress_load as stress_load
    from lifelong.studies.sweep import sweep as sweep
    from lifelong.studies.tune import tune as tune
    from lifelong.studies.validation import validate_replay as validate_replay
    from streams.stream import load_stream as load_stream
    from streams.stream import stream_names as stream_names
    from streams.types import Edit as Edit
    from streams.types import Query as Query

    # By another name than in its module: only so do they count as public where the package is installed.
    compare_probing, evaluate_model, measure_routing, train_atlas = _compare, _evaluate, _measure, _train

_NAMES = {
    "lifelong.bank": "Bank",
    "lifelong.editing.checks.check": "check_editor",
    "lifelong.editing.contract": (
        "Answerer CollapseError Editor EditorOptions IndexOptions Keys Route State UnsupportedError"
    ),
    "lifelong.editing.find": "editor_class editor_names",
    "lifelong.editing.spaces": "HasSpaces",
    "lifelong.log": "Edited Gauged LogError Probed RunLog Served Timed",
    "lifelong.models.atlas.exam": "evaluate_model=evaluate",
    "lifelong.models.atlas.train.main": "train_atlas=main",
    "lifelong.models.vlm": "VLM",
    "lifelong.running.ask": "ask",
    "lifelong.running.catalog": "listing",
    "lifelong.running.config": "RunConfig load_config",
    "lifelong.running.plan": "plan_run",
    "lifelong.running.run": "dry_run run",
    "lifelong.running.story": "story",
    "lifelong.running.words": "ConfigError",
    "lifelong.studies.bench.gpu": "gpu_check",
    "lifelong.studies.bench.payloads": "fill_and_read",
    "lifelong.studies.bench.probing": "compare_probing=compare_run",
    "lifelong.studies.bench.routing_page": "measure_routing=routing_rows",
    "lifelong.studies.export": "export",
    "lifelong.studies.fit": "fit",
    "lifelong.studies.protocol": "protocol_view",
    "lifelong.studies.replay": "replay",
    "lifelong.studies.report": "report",
    "lifelong.studies.route": "route_settings",
    "lifelong.studies.single": "single",
    "lifelong.studies.spaces": "spaces_of",
    "lifelong.studies.status": "status",
    "lifelong.studies.stream_check": "examine_stream",
    "lifelong.studies.stress.bank": "stress_bank",
    "lifelong.studies.stress.edits": "stress_edits",
    "lifelong.studies.stress.load": "stress_load",
    "lifelong.studies.sweep": "sweep",
    "lifelong.studies.tune": "tune",
    "lifelong.studies.validation": "validate_replay",
    "streams.stream": "load_stream stream_names",
    "streams.types": "Edit Query",
}
"""Module -> the names it gives, each as it is called here, with `=NAME` where it is called otherwise there."""
_HOME = {
    word.split("=")[0]: (module, word.split("=")[-1]) for module, words in _NAMES.items() for word in words.split()
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


if not TYPE_CHECKING:  # to a type checker, which would then believe any name, the block above is all there is

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return importlib.import_module("lifelong.log.machine").package_version()
        if name not in _HOME:
            raise AttributeError(f"lifelong has no {name!r}; it has {', '.join(__all__)}.")
        module, own = _HOME[name]
        value = getattr(importlib.import_module(module), own)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
