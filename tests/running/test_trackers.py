"""Trackers have every panel's numbers once, by their libraries' own readers, and can cost a run nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from panels_expected import numbers_by_panel
from runs_alike import SMALL, facts_of, out_of

import lifelong
from lifelong.log import RunLog
from lifelong.log.hive import runs_below
from lifelong.running import trackers
from lifelong.running.config import TRACKERS, from_table
from lifelong.running.progress import Progress
from lifelong.running.wandb_file import wandb_rows
from lifelong.running.words import ConfigError
from lifelong.studies.grid import cells

INSTALLED = [name for name in TRACKERS if find_spec(name)]
RUN = {**SMALL, "editor.steps": 1, "panels.latency_routes": 0, "panels.latency_answers": 0}
Series = dict[str, list[tuple[int, float]]]
each = pytest.mark.parametrize("name", TRACKERS)


@pytest.fixture(scope="module", autouse=True)
def no_network() -> Iterator[None]:
    """Only what stays in the machine may be connected to: W&B's helper process is, by a Unix socket."""
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX, f"a tracker connects to {address}"
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local)
        patch.setattr(socket, "getaddrinfo", lambda *given, **_: pytest.fail(f"a tracker asks for {given[0]}"))
        yield


def read_tensorboard(run: Path) -> Series:
    read = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = read.EventAccumulator(str(out_of(run) / "trackers" / "tensorboard" / run.name), {"scalars": 0})
    events.Reload()
    assert events.Tags()["tensors"] == ["_hparams_/session_start_info"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def mlflow_runs(run: Path) -> tuple[Any, list[Any]]:
    """The client, and the runs that it shows of this name."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # as one must to look at a file store
    try:
        client = pytest.importorskip("mlflow").MlflowClient(
            tracking_uri=(out_of(run) / "trackers" / "mlflow").as_uri()
        )
        experiment = client.get_experiment_by_name(out_of(run).name)
        return client, [r for r in client.search_runs([experiment.experiment_id]) if r.info.run_name == run.name]
    finally:
        del os.environ["MLFLOW_ALLOW_FILE_STORE"]


def read_mlflow(run: Path) -> Series:
    client, (one,) = mlflow_runs(run)
    histories = {name: client.get_metric_history(one.info.run_id, name) for name in one.data.metrics}
    return {name: sorted((metric.step, metric.value) for metric in found) for name, found in histories.items()}


def wandb_files(run: Path) -> list[Path]:
    return sorted((out_of(run) / "trackers" / "wandb" / run.name / "wandb").glob("offline-run-*/run-*.wandb"))


def read_wandb(run: Path) -> Series:
    found: Series = {}
    for row in (row for path in wandb_files(run) for row in wandb_rows(path)):
        for name, value in row.items():
            if not name.startswith("_"):
                found.setdefault(name, []).append((int(row["_step"]), value))
    return found


READ: dict[str, Callable[[Path], Series]] = {
    "tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb,
}  # fmt: skip


def check_all_panels_once(run: Path, name: str) -> None:
    """Whether a tracker has what the facts of a run say, panel by panel, and nothing else."""
    pytest.importorskip(name, reason="comes with the extra `trackers`")
    expected: Series = {}
    for step, numbers in sorted(numbers_by_panel(RunLog.open(run)).items()):
        for number, value in numbers.items():
            expected.setdefault(number, []).append((step, value))
    found = READ[name](run)
    assert {number: [step for step, _ in some] for number, some in found.items()} == {
        number: [step for step, _ in some] for number, some in expected.items()
    }
    for number, some in expected.items():  # TensorBoard keeps single precision
        assert [v for _, v in found[number]] == pytest.approx([v for _, v in some], rel=1e-6), number


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lifelong.run(quiet=True, out=str(tmp_path_factory.mktemp("untracked")), **RUN)


@pytest.fixture(scope="module")
def cache(untracked: Path) -> str:
    return str(out_of(untracked) / ".cache")


class Stops:
    """Stands for Ctrl-C when the second panel is committed, and before anybody is told of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] = KeyboardInterrupt) -> None:
        panel, panels = Progress.panel, []

        def stopping(*given: Any) -> None:
            panels.append(given)
            if len(panels) == 2:
                raise error
            panel(*given)

        monkeypatch.setattr(Progress, "panel", stopping)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cache: str) -> tuple[Path, Path]:
    """A run that was stopped after its second panel, with all trackers, and the same run gone on with to its end."""
    out = tmp_path_factory.mktemp("tracked")
    run = {**RUN, "out": str(out), "cache": cache, "trackers": INSTALLED}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Stops(patch)
        lifelong.run(quiet=True, **run)
    then = shutil.copytree(out, tmp_path_factory.mktemp("stopped") / out.name)
    whole = lifelong.run(quiet=True, resume=True, **run)
    return then / whole.relative_to(out), whole


def logged_steps(run: Path, name: str) -> list[int]:
    pytest.importorskip(name, reason="comes with the extra `trackers`")
    return [step for step, _ in READ[name](run).get("edits/made", [])]


@each
def test_a_stopped_run_has_readable_files_and_one_that_is_gone_on_with_has_each_panel_once(
    name: str, runs: tuple[Path, Path]
) -> None:
    stopped, whole = runs
    assert logged_steps(stopped, name) == [1]
    check_all_panels_once(whole, name)


def test_trackers_change_no_fact_and_no_name_of_a_run(untracked: Path, runs: tuple[Path, Path]) -> None:
    assert runs[1].name == untracked.name
    assert facts_of(runs[1]) == facts_of(untracked)
    assert not (out_of(untracked) / "trackers").exists()


def test_trackers_leave_nothing_in_a_run_folder_and_none_of_theirs_is_taken_for_a_run(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    from lifelong.log.folder import strangers
    from lifelong.studies.report import run_folders

    assert strangers(runs[1]) == []
    assert run_folders(out_of(runs[1])) == [runs[1]]


def test_mlflow_and_wandb_say_how_a_run_ended_and_what_it_was(runs: tuple[Path, Path]) -> None:
    pytest.importorskip("mlflow", reason="comes with the extra `trackers`")
    stopped, whole = ([r.info.status for r in mlflow_runs(run)[1]] for run in runs)
    assert (stopped, whole) == (["KILLED"], ["FINISHED"])
    (one,) = mlflow_runs(runs[1])[1]
    manifest = RunLog.open(runs[1]).manifest
    assert one.data.params["editor"] == "grace" and one.data.params["editor.steps"] == "1"
    assert one.data.tags["digest.stream"] == manifest["digests"]["stream"]
    assert one.data.tags["version.torch"] == manifest["versions"]["torch"]
    assert one.data.tags["label"] == manifest["label"]


def test_wandb_has_one_run_in_the_folders_of_both_times(runs: tuple[Path, Path]) -> None:
    pytest.importorskip("wandb", reason="comes with the extra `trackers`")
    files = wandb_files(runs[1])
    assert len(files) == 2 and len({path.name for path in files}) == 1


@each
def test_a_fresh_run_begins_anew(name: str, runs: tuple[Path, Path], cache: str) -> None:
    pytest.importorskip(name, reason="comes with the extra `trackers`")
    stopped, _ = runs
    run = {**RUN, "out": str(out_of(stopped)), "cache": cache, "trackers": [name]}
    before = wandb_files(stopped)
    assert lifelong.run(quiet=True, fresh=True, **run) == stopped
    check_all_panels_once(stopped, name)
    if name == "wandb":
        assert {path.name for path in wandb_files(stopped)}.isdisjoint(path.name for path in before)


@each
def test_what_a_kill_has_torn_is_told_again(name: str, untracked: Path, tmp_path: Path) -> None:
    pytest.importorskip(name, reason="comes with the extra `trackers`")
    run = shutil.copytree(untracked, tmp_path / "runs" / untracked.relative_to(out_of(untracked)))
    log, said = RunLog.open(run), list[str]()
    config = from_table(log.config(), {"out": str(out_of(run)), "trackers": [name]})
    with trackers.tracking(config, log, said.append):
        pass
    whole = logged_steps(run, name)
    for path in list((out_of(run) / "trackers").rglob("*")):
        if "tfevents" in path.name or path.suffix == ".wandb":
            os.truncate(path, path.stat().st_size * 2 // 3)
        if path.parts[-2:] == ("edits", "made"):  # of MLflow's last panel the last number was not written yet
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert logged_steps(run, name) == whole[: len(logged_steps(run, name))] != whole
    with trackers.tracking(config, log, said.append):
        pass
    check_all_panels_once(run, name)
    assert said == []


class Broken:
    """A tracker that raises where it is told to."""

    where = ""

    def __init__(self, run: trackers.Tracked) -> None:
        self.panels = 0

    def kept(self, *, anew: bool) -> tuple[()]:
        self._fail("kept")
        return ()

    def panel(self, step: int, numbers: Any) -> None:
        self.panels += 1
        self._fail(f"panel {self.panels}")

    def end(self, how: str) -> None:
        self._fail("end")

    def _fail(self, where: str) -> None:
        if where == self.where:
            raise OSError(28, "No space\nleft on device")


@pytest.mark.parametrize("where", ["kept", "panel 2", "end"])
def test_a_tracker_that_fails_is_said_once_and_the_run_and_the_others_go_on(
    where: str, untracked: Path, cache: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    pytest.importorskip("tensorboard", reason="comes with the extra `trackers`")
    monkeypatch.setitem(trackers._KINDS, "mlflow", Broken)
    monkeypatch.setattr(Broken, "where", where)
    monkeypatch.setattr(trackers, "check_trackers", lambda config: None)
    run = lifelong.run(out=str(tmp_path), cache=cache, trackers=["mlflow", "tensorboard"], **RUN)
    lines = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines() if "mlflow" in line]
    assert lines == ["trackers=mlflow: OSError: [Errno 28] No space left on device. The run goes on without it."]
    assert facts_of(run) == facts_of(untracked)
    check_all_panels_once(run, "tensorboard")


def test_a_long_file_of_wandb_is_read_to_its_end(tmp_path: Path) -> None:
    """Its records are cut at the ends of blocks of 32 KiB."""
    wandb = pytest.importorskip("wandb", reason="comes with the extra `trackers`")
    own = wandb.Settings(
        root_dir=str(tmp_path), console="off", silent=True, x_disable_stats=True, x_disable_meta=True
    )
    run = wandb.init(mode="offline", reinit="create_new", settings=own)
    sent = [{f"{'long' * (step % 40)}/{n}": step / 7 + n for n in range(9)} for step in range(1, 150)]
    sent.append({"x" * 70_000: 0.5})
    for step, numbers in enumerate(sent):
        run.log(numbers, step=step)
    run.finish()
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    for _ in range(500):  # another process writes it
        if len(list(wandb_rows(path))) == len(sent):
            break
        threading.Event().wait(0.02)
    assert path.stat().st_size > 8 * 32768
    rows = [{name: value for name, value in row.items() if not name.startswith("_")} for row in wandb_rows(path)]
    assert rows == sent


def test_a_signal_that_a_tracker_makes_an_error_of_is_a_stop_and_no_failure(
    monkeypatch, tmp_path: Path, cache: str, capsys
) -> None:
    from lifelong.running.signals import Stopped, stoppable

    class Swallows(Broken):
        def panel(self, step: int, numbers: Any) -> None:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except BaseException as error:
                raise RuntimeError("something else") from error

    monkeypatch.setitem(trackers._KINDS, "mlflow", Swallows)
    monkeypatch.setattr("lifelong.running.ready.check_trackers", lambda config: None)
    with pytest.raises(Stopped), stoppable():
        lifelong.run(out=str(tmp_path), cache=cache, trackers="mlflow", **RUN)
    assert "trackers=" not in capsys.readouterr().err


def test_switches_of_libraries_are_set_while_they_begin_and_put_back(monkeypatch, untracked: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="comes with the extra `trackers`")
    set_to = []

    def refused(**given: Any) -> None:
        set_to.append((os.environ.get("WANDB_ERROR_REPORTING"), given["mode"]))
        raise RuntimeError

    monkeypatch.setattr(wandb, "init", refused)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "as it was")
    log, said = RunLog.open(untracked), list[str]()
    config = from_table(log.config(), {"out": str(out_of(untracked) / "refused"), "trackers": ["wandb"]})
    with trackers.tracking(config, log, said.append):
        pass
    assert set_to == [("false", "offline")] and os.environ["WANDB_ERROR_REPORTING"] == "as it was"
    assert said == ["trackers=wandb: RuntimeError. The run goes on without it."]


def test_a_run_that_failed_is_marked_as_failed(monkeypatch, tmp_path: Path, cache: str) -> None:
    pytest.importorskip("mlflow", reason="comes with the extra `trackers`")
    Stops(monkeypatch, ArithmeticError)
    with pytest.raises(ArithmeticError):
        lifelong.run(quiet=True, out=str(tmp_path), cache=cache, trackers=["mlflow"], **RUN)
    (run,) = runs_below(tmp_path)
    assert [r.info.status for r in mlflow_runs(run)[1]] == ["FAILED"]


def test_a_run_that_is_finished_gets_a_tracker_later_and_is_marked_as_what_it_is(
    untracked: Path, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow", reason="comes with the extra `trackers`")
    run = shutil.copytree(untracked, tmp_path / "runs" / untracked.relative_to(out_of(untracked)))
    log = RunLog.open(run)
    config = from_table(log.config(), {"out": str(out_of(run)), "trackers": ["mlflow"]})
    with pytest.raises(KeyboardInterrupt), trackers.tracking(config, log, print):
        raise KeyboardInterrupt  # when all was told
    assert [r.info.status for r in mlflow_runs(run)[1]] == ["KILLED"]
    for _ in range(2):
        with trackers.tracking(config, log, print):
            pass
    assert [r.info.status for r in mlflow_runs(run)[1]] == ["FINISHED"]
    check_all_panels_once(run, "mlflow")


@pytest.mark.parametrize("spec", [None, ModuleSpec("wandb", None, is_package=True)], ids=["nothing", "a mere folder"])
def test_a_tracker_that_is_not_installed_is_an_error_before_the_run(
    spec: ModuleSpec | None, monkeypatch, tmp_path: Path, cache: str
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match=r'trackers=wandb: not installed. pip install "lifelong-edit\[trackers\]"'):
        lifelong.run(quiet=True, out=str(tmp_path), cache=cache, trackers="wandb", **RUN)
    with pytest.raises(ConfigError, match="not installed"):
        lifelong.dry_run(out=str(tmp_path), cache=cache, trackers="wandb", **RUN)
    assert not list(tmp_path.iterdir())


def test_a_wrong_name_is_said_with_the_near_one_and_a_list_is_one_value_of_a_sweep() -> None:
    with pytest.raises(ConfigError, match="there is no tracker 'tensorbord'. Did you mean 'tensorboard'"):
        lifelong.run(**{**RUN, "trackers": "tensorbord"})
    found = cells(None, {"trackers": ["tensorboard", "mlflow"], "seed": [0, 1], "editor": "none"})
    assert [cell.config.trackers for cell in found] == [("tensorboard", "mlflow")] * 2
    assert set(TRACKERS) == set(trackers._KINDS)


APART = """
import socket, sys
asked = []
def refused(*given, **_):
    asked.append(given)
    raise OSError("no network")
socket.getaddrinfo, connect = refused, socket.socket.connect
socket.socket.connect = lambda s, to: connect(s, to) if s.family == socket.AF_UNIX else refused(to)
import lifelong
for run in eval(sys.argv[1]):
    lifelong.run(quiet=True, **run)
    print(sorted({"tensorboard", "mlflow", "wandb"} & set(sys.modules)), asked)
"""


def test_without_trackers_nothing_of_theirs_is_imported_and_with_them_nothing_leaves_the_machine(
    tmp_path: Path, cache: str
) -> None:
    """In a process that does not know that it is a test; a proxy that nobody may ask stands for the network."""
    for name in TRACKERS:
        pytest.importorskip(name, reason="comes with the extra `trackers`")
    plain = {**RUN, "out": str(tmp_path), "cache": cache, "edits": 1}
    given = [plain, {**plain, "name": "tracked", "trackers": TRACKERS}]
    calls: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def listen() -> None:
            with suppress(OSError):
                while True:
                    calls.append(proxy.accept()[0].recv(200))

        threading.Thread(target=listen, daemon=True).start()
        where = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        known = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CI", "WANDB", "MLFLOW"))}
        asked_for = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "HTTPS_PROXY": where, "HTTP_PROXY": where}
        words = [sys.executable, "-c", APART, repr(given)]
        done = subprocess.run(words, env=known | asked_for, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["[] []", f"{sorted(TRACKERS)} []"], done.stderr
    assert calls == []
    (folder,) = (run for run in runs_below(tmp_path) if run.name.startswith("tracked-"))
    for name in TRACKERS:
        check_all_panels_once(folder, name)


def test_sigterm_ends_trackers(tmp_path: Path, cache: str) -> None:
    pytest.importorskip("mlflow", reason="comes with the extra `trackers`")
    words = [f"{key}={value}" for key, value in {**RUN, "edits": 12, "panels": 1, "panels.every": 1}.items()]
    words += [f"out={tmp_path}", f"cache={cache}", f"trackers={','.join(INSTALLED)}"]
    process = subprocess.Popen([sys.executable, "-m", "lifelong.cli", "run", *words], stderr=subprocess.PIPE)
    while process.poll() is None and not list(tmp_path.rglob("checkpoint/panel-000002.json")):
        threading.Event().wait(0.01)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1].decode()
    assert process.returncode == 143 and "Go on with --resume." in said and "trackers=" not in said
    (run,) = runs_below(tmp_path)
    assert [r.info.status for r in mlflow_runs(run)[1]] == ["KILLED"]
    committed = list(numbers_by_panel(RunLog.open(run)))
    for name in INSTALLED:  # what was committed when the signal came is told when the run goes on
        steps = logged_steps(run, name)
        assert len(steps) >= 2 and steps in (sorted(committed), sorted(committed)[:-1])
