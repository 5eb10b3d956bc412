"""What the fuzzer feeds: for every reader a small good folder, the files to damage, and the call that reads."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.mutation import NASTY, damaged, spoilt
from published_records import EVAL, write_benchmark

RUN = {
    "editor": "grace", "model": "tiny", "stream": "toy", "edits": 3, "panels": [1, 2], "threads": 1,
    "panels.latency_routes": 2, "panels.latency_answers": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """One way in: `make(folder)` writes good files, `spoil(folder, rng)` damages them, `read(folder)` reads them."""

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    spoil: Callable[[Path, random.Random], str]
    examples: int  # of `make test`: some seconds' worth


def any_file(*patterns: str) -> Callable[[Path, random.Random], str]:
    """Return a way to damage one of the files that match; the name of the damaged file comes back."""

    def spoil(folder: Path, rng: random.Random) -> str:
        files = sorted(p for pattern in patterns for p in folder.rglob(pattern) if p.is_file())
        path, other = rng.choice(files), rng.choice(files)
        good = path.read_bytes()
        for _ in range(20):  # some damages change nothing
            bad = damaged(good, rng, other.read_bytes())
            if bad != good:
                break
        path.write_bytes(bad)
        return path.relative_to(folder).as_posix()

    return spoil


RECORDS: list[dict[str, Any]] = [
    {
        "id": "one", "prompt": "What is this?", "target": "a heron", "image": "a.png", "subject": "heron",
        "relation": "name",
        "probes": [
            {"axis": "generality", "prompt": "Which bird is it?", "target": "a heron", "image": "b.jpg"},
            {"axis": "locality", "prompt": "What colour is the sky?", "target": "blue", "reference": "baseline"},
            {"axis": "portability", "prompt": "What does it eat?", "target": "fish", "accepted": ["a fish"]},
        ],
    },
    {"id": "two", "prompt": "Who paints?", "target": "Ada", "supersedes": "one"},
    {"id": "three", "prompt": "Which one?", "target": "this", "split": "fit"},
]  # fmt: skip


def _pictures(folder: Path) -> None:
    from PIL import Image

    grey = Image.linear_gradient("L").resize((24, 16))
    colour = Image.merge("RGB", (grey, grey.rotate(180), grey))
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(folder / "a.png")
    colour.save(folder / "b.jpg", exif=exif)
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.save(folder / "c.webp")
    colour.quantize(7).save(folder / "d.gif", save_all=True, append_images=[grey.convert("P")])
    colour.save(folder / "e.bmp")
    grey.convert("I;16").save(folder / "f.tiff")
    grey.convert("I;16").save(folder / "g.png")
    grey.convert("F").save(folder / "h.tif")
    grey.convert("1").save(folder / "i.png")
    colour.convert("RGBA").save(folder / "j.png")


def _records(folder: Path) -> None:
    _pictures(folder)
    (folder / "mine.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS), encoding="utf-8")


def _read_records(folder: Path) -> None:
    from streams.stream import load_stream

    stream = load_stream("jsonl", edits=9, path=str(folder / "mine.jsonl"))
    assert stream.every_probe()
    stream.pool(1)


def _published(folder: Path) -> None:
    for name in EVAL:
        write_benchmark(folder / name, name, 2)


def _read_published(folder: Path) -> None:
    """As `stream check` reads them, with `stream.skip_bad` and without: what the first names, the last refuses."""
    from lifelong.studies.stream_check import examine_stream
    from streams.stream import StreamError, load_stream

    for root in sorted(folder.iterdir()):
        told = examine_stream(root.name, root=str(root))
        assert all(told.lines()) and len(told.reading.problems) >= told.reading.bad
        try:
            few = load_stream(root.name, edits=9, root=str(root), skip_bad=True)
            assert few.edits and few.every_probe()
        except StreamError:
            assert not told.ok
        assert load_stream(root.name, edits=9, root=str(root)).edits and told.ok


def _read_pictures(folder: Path) -> None:
    from streams.pictures.images import file_ref, open_image

    for path in sorted(folder.iterdir()):
        picture = open_image(file_ref(folder, path.name, check=True))
        assert picture.mode == "RGB" and picture.size[0] > 0


def _trace(folder: Path) -> None:
    (folder / "moments.txt").write_text("# seconds\n0\n0.5\n\n1.25 # the third\n7e0\n")


def _read_trace(folder: Path) -> None:
    import numpy as np

    from streams.times.processes import trace

    found = trace(None, None, np.random.default_rng(0), file=str(folder / "moments.txt"))
    assert np.isfinite(found).all() and (np.diff(found) >= 0).all()


def _known(folder: Path) -> None:
    import pyarrow.parquet as pq

    import streams.atlas

    shipped = Path(streams.atlas.__path__[0]) / "known.parquet"
    pq.write_table(pq.read_table(shipped).slice(0, 400), folder / "known.parquet")


def _read_known(folder: Path) -> None:
    from streams.stream import load_stream

    load_stream("atlas", edits=1, known=str(folder / "known.parquet"))


def _run(folder: Path) -> None:
    from lifelong.running.run import run

    made = run(quiet=True, out=str(folder), cache=str(folder / "cache"), **RUN)
    os.rename(made, folder / "run")


def _read_run(folder: Path) -> None:
    from lifelong.log import FACTS, RunLog
    from lifelong.running.history import edits_told, probes_asked

    log = RunLog.open(folder / "run")
    log.config()
    for fact in FACTS:
        log.table(fact)
    log.checkpoint()
    edits_told(folder / "run")
    probes_asked(folder / "run")


def _read_run_whole(folder: Path) -> None:
    from lifelong.studies.report import report

    report([folder / "run"], folder / "report")


def _cache(folder: Path) -> None:
    from lifelong.running.run import run

    trained = {"editor": "serac", "editor.steps": 2, "editor.pool": 8, "edits": 1, "panels": [1]}
    run(quiet=True, out=str(folder), cache=str(folder / "cache"), **{**RUN, **trained})


def _read_cache(folder: Path) -> None:
    """A damaged cache is made again: the run ends as it did before."""
    from lifelong.running.run import run

    trained = {"editor": "serac", "editor.steps": 2, "editor.pool": 8, "edits": 1, "panels": [1]}
    run(quiet=True, fresh=True, out=str(folder), cache=str(folder / "cache"), **{**RUN, **trained})


def _model(folder: Path) -> None:
    from lifelong.models.tiny import tiny_vlm

    vlm = tiny_vlm()
    vlm.model.save_pretrained(folder / "model")
    vlm.processor.save_pretrained(folder / "model")


def _read_model(folder: Path) -> None:
    from lifelong.running.config import RunConfig
    from lifelong.running.parts import load_model
    from streams.types import Query

    vlm = load_model(RunConfig.model_validate({"model": str(folder / "model")}))
    vlm.generate([Query("Who?")])


def _toml(folder: Path) -> None:
    from lifelong.running.config import RECIPES

    for name in ("first-look", "curves", "hard-drift"):
        text = (RECIPES / f"{name}.toml").read_text()
        (folder / f"{name}.toml").write_text(text)


def _read_toml(folder: Path) -> None:
    from lifelong.running.prepare import resolve
    from lifelong.studies.sweep import cells, is_sweep

    for path in sorted(folder.glob("*.toml")):
        if is_sweep(str(path)):
            for cell in cells(str(path), {}):
                resolve(cell.config)
        else:
            resolve(str(path))


def _words(folder: Path) -> None:
    (folder / "words.json").write_text("[]")


_KEYS = (
    "name", "editor", "editor.radius", "editor.steps", "editor.index", "stream", "stream.order",
    "stream.path", "model", "model.seed", "clock", "clock.edit_s", "arrivals", "arrivals.rate",
    "arrivals.file", "edits", "panels", "panels.at", "panels.every", "panels.sample", "panels.gaps",
    "panels.instant_axes", "panels.latency_routes", "fit.edits", "seed", "workers", "policy", "batch",
    "window_s", "queries", "queries.rate", "queries.share", "withdrawals.rate", "cache", "cache_bytes",
    "threads", "dtype", "device", "out", "grid", "",
)  # fmt: skip
_GOOD = (
    "grace",
    "none",
    "ft",
    "toy",
    "tiny",
    "atlas",
    "fifo",
    "1",
    "3",
    "0.5",
    "1e9",
    "1e-300",
    "trace",
    "daily",
    "1,2",
)


def _spoil_words(folder: Path, rng: random.Random) -> str:
    words = [f"{rng.choice(_KEYS)}={rng.choice((*_GOOD, *NASTY))}" for _ in range(rng.choice((1, 1, 2, 4)))]
    (folder / "words.json").write_text(json.dumps(words))
    return "words.json"


def _read_words(folder: Path) -> None:
    from lifelong.cli.words import split_words
    from lifelong.running.prepare import resolve

    source, changes = split_words(json.loads((folder / "words.json").read_text()))
    given = {"model": "tiny", "stream": "toy", "edits": 2, **changes}
    resolve(source, given)


def _evidence(folder: Path) -> None:
    from lifelong.running.catalog import EVIDENCE

    (folder / "evidence.json").write_bytes(EVIDENCE.read_bytes())


def _spoil_evidence(folder: Path, rng: random.Random) -> str:
    path = folder / "evidence.json"
    if rng.random() < 0.3:
        return any_file("*.json")(folder, rng)
    path.write_text(json.dumps(spoilt(json.loads(path.read_text()), rng)), encoding="utf-8", errors="surrogatepass")
    return path.name


def _read_evidence(folder: Path) -> None:
    from reports.numbers.joined import joined_evidence, read_evidence, table_lines

    table_lines(joined_evidence([read_evidence(folder / "evidence.json")]))


READERS: dict[str, Reader] = {
    "evidence": Reader(_evidence, _read_evidence, _spoil_evidence, 300),
    "words": Reader(_words, _read_words, _spoil_words, 2000),
    "toml": Reader(_toml, _read_toml, any_file("*.toml"), 150),
    "records": Reader(_records, _read_records, any_file("mine.jsonl", "mine.jsonl", "a.png", "b.jpg"), 600),
    "published": Reader(_published, _read_published, any_file("*.json", "*.jsonl"), 60),
    "pictures": Reader(_pictures, _read_pictures, any_file("*.*"), 400),
    "trace": Reader(_trace, _read_trace, any_file("*.txt"), 2500),
    "known": Reader(_known, _read_known, any_file("*.parquet"), 400),
    "run": Reader(_run, _read_run, any_file("run/**/*"), 150),
    "report": Reader(_run, _read_run_whole, any_file("run/**/*"), 4),
    "cache": Reader(_cache, _read_cache, any_file("cache/**/*"), 5),
    "model": Reader(_model, _read_model, any_file("model/*"), 12),
}
