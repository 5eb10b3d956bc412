"""Stage 2 in several processes: the same rows, the same gradients, the same weights up to rounding."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from lifelong.models.atlas import model as atlas
from lifelong.models.atlas.train.features import Features
from lifelong.models.atlas.train.language_stage import LanguagePlan, LanguageTrainer
from lifelong.models.atlas.train.mixture import Mix, Mixture
from lifelong.models.atlas.train.team import Team, run_team
from streams.atlas.world import load_world


def train(team: Team, folder: Path) -> None:
    torch.set_num_threads(1)
    world, tokenizer = load_world(), AutoTokenizer.from_pretrained(atlas.atlas_folder())
    rows = [[i] for i in range(len(world.entities))]
    features = Features(torch.randn(1, len(rows), 16, 256, generator=torch.Generator().manual_seed(0)).half())
    torch.manual_seed(1)
    model = atlas.build_model(atlas.build_config(tokenizer, width=32, layers=1))
    mixture = Mixture(world, tokenizer, rows, Mix(pictures=2, places=1, names=1, contexts=1, length=96), seed=4)
    mixture.questions.practice.period = 2
    plan = LanguagePlan(steps=3, compile=False, noise=0.0)
    LanguageTrainer(model, features, mixture, plan, folder, torch.device("cpu"), team).run()


def mapped(team: Team, folder: Path) -> None:
    stack = torch.arange(15.0).view(5, 3)
    result = team.map_stack(lambda part: part * 2, stack)
    assert torch.equal(result, stack * 2)
    assert team.total(team.rank + 1.0) == 3.0
    assert team.largest(torch.tensor([team.rank, 1])).tolist() == [1, 1]
    (folder / f"member-{team.rank}").touch()


def fail(team: Team, folder: Path) -> None:
    raise RuntimeError(f"member {team.rank} has a reason")


def test_parts_of_a_step_are_the_whole_step():
    world, tokenizer = load_world(), AutoTokenizer.from_pretrained(atlas.atlas_folder())
    rows = [[i] for i in range(len(world.entities))]
    mixture = Mixture(world, tokenizer, rows, Mix(pictures=3, places=1, names=1, contexts=2), seed=4)
    whole = mixture.step(7)
    shared = [mixture.step(7, part, 2) for part in (0, 1)]
    assert whole[0::2] == shared[0] and whole[1::2] == shared[1]


def test_two_members_do_their_parts_of_a_stack_and_agree(tmp_path):
    run_team(2, mapped, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["member-0", "member-1"]


def test_two_members_train_the_weights_of_one(tmp_path):
    """Sums of bfloat16 gradients in another order differ a little; a missing half would differ a lot."""
    run_team(1, train, tmp_path / "one")
    run_team(2, train, tmp_path / "two")
    from lifelong.models.atlas.train import checkpoint

    one, two = (checkpoint.load_checkpoint(tmp_path / name / "language.checkpoint")[0] for name in ("one", "two"))
    assert torch.equal(one["practice/running"], two["practice/running"]) or (
        (one["practice/running"] != two["practice/running"]).float().mean() < 0.001
    )
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(atlas.atlas_folder())
    start = atlas.build_model(atlas.build_config(tokenizer, width=32, layers=1)).model.language_model.state_dict()
    for name, before in start.items():
        moved, apart = (
            (one[f"decoder/{name}"] - before).norm(),
            (one[f"decoder/{name}"] - two[f"decoder/{name}"]).norm(),
        )
        assert apart <= 0.2 * moved, name


def test_a_members_error_ends_the_training_with_its_reason(tmp_path):
    with pytest.raises(Exception, match="has a reason"):
        run_team(2, fail, tmp_path)
    with pytest.raises(ValueError, match="processes=0"):
        run_team(0, fail, tmp_path)


MEMBERS = """
from lifelong.models.atlas.train.team import run_team

def wait(team):
    (folder / str(team.rank)).write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    run_team(2, wait)
"""
DRAWERS = """
from transformers import AutoTokenizer
from lifelong.models.atlas import model as atlas
from lifelong.models.atlas.train.drawing import drawing
from lifelong.models.atlas.train.mixture import Mix, Mixture
from streams.atlas.world import load_world

if __name__ == "__main__":
    world, tokenizer = load_world(), AutoTokenizer.from_pretrained(atlas.atlas_folder())
    rows = [[i] for i in range(len(world.entities))]
    mixture = Mixture(world, tokenizer, rows, Mix(pictures=2, places=1, names=1, contexts=1, length=96), seed=4)
    with drawing(mixture, 0, 1, 2) as ahead:
        ahead.take(0, 4, mixture.questions.practice.noted)
        for number, child in enumerate(multiprocessing.active_children()):
            (folder / str(number)).write_text(str(child.pid))
        time.sleep(60)
"""


@pytest.mark.parametrize("work", [MEMBERS, DRAWERS], ids=["members", "drawers"])
def test_processes_leave_when_their_starter_is_killed(work, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import multiprocessing, os, pathlib, time\nfolder = pathlib.Path({str(tmp_path)!r})\n{work}")
    starter = subprocess.Popen([sys.executable, str(script)])
    noted = [tmp_path / "0", tmp_path / "1"]
    end_s = time.monotonic() + 60
    while not all(p.exists() and p.read_text() for p in noted) and time.monotonic() < end_s:
        time.sleep(0.1)
    started = [int(p.read_text()) for p in noted]
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    while any(_runs(pid) for pid in started) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert not any(_runs(pid) for pid in started)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
