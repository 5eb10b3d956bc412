"""The fuzzer's own process: damages and reads for some seconds, and says what came of it as JSON on the last line.

    python tests/fuzz/child.py records --seconds 60
    python tests/fuzz/child.py records --example 1234        # one again, with its traceback

Example N of a reader is the same on every machine: it is drawn from the reader's name and N. A refusal is right when
the project raised it on purpose; anything else that is raised is a failure.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# The checkout itself comes along: `tests/streams` is a folder of the same name as a package.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
SLOW_S = 60  # an example that takes longer hangs


class HangError(BaseException):
    """An example took too long; no reader may catch it."""


OURS = tuple(str(ROOT / package) for package in ("lifelong", "streams", "reports"))


def theirs(error: BaseException) -> bool:
    """Return whether the project raised an error on purpose: a class of its own, or a `raise` in its code."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    raised = place.filename.startswith(OURS) and (place.line or "").startswith("raise ")
    return raised or type(error).__module__.partition(".")[0] in ("lifelong", "streams", "reports")


def tried(reader: Any, good: Path, where: Path, name: str, number: int) -> tuple[str, str, str]:
    """Return what came of one example (read, refused, failed), what was said and what kind of failure it is.

    The folder `where` is made anew.
    """
    rng = random.Random(f"{name}/{number}")
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(good, where)
    spoilt = reader.spoil(where, rng)
    signal.alarm(SLOW_S)
    try:
        reader.read(where)
    except HangError:
        return "failed", f"{spoilt}: still reading after {SLOW_S} s", "hang"
    except Exception as error:
        said = f"{spoilt}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if not theirs(error):
            at = traceback.extract_tb(error.__traceback__)
            ours = [f"{Path(place.filename).name}:{place.lineno}" for place in at if place.filename.startswith(OURS)]
            return "failed", f"{said}  [{' '.join(ours)}]", f"{type(error).__name__} {ours[-1:]}"
        return "refused", said, ""
    finally:
        signal.alarm(0)
    return "read", spoilt, ""


def main() -> None:
    """Try examples one after another, until time is over."""
    from fuzz.readers import READERS

    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("reader", choices=sorted(READERS))
    words.add_argument("--seconds", type=float, default=10)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--last", type=int, default=10**9)
    words.add_argument("--example", type=int)
    words.add_argument("--note", type=Path, help="the number of the example being tried is written here")
    given = words.parse_args()

    def ring(*_: object) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, ring)
    reader = READERS[given.reader]
    with tempfile.TemporaryDirectory() as folder:
        good, where = Path(folder, "good"), Path(folder, "tried")
        good.mkdir()
        reader.make(good)
        shutil.copytree(good, where)
        reader.read(where)  # what is not damaged must be read
        if given.example is not None:
            rng = random.Random(f"{given.reader}/{given.example}")
            print("damaged:", reader.spoil(where, rng))
            reader.read(where)
            return
        ends, came = time.monotonic() + given.seconds, Counter[str]()
        failed: dict[str, str] = {}  # the first example of each kind of failure
        for number in count(given.first):
            if time.monotonic() > ends or number > given.last:
                break
            if given.note:
                given.note.write_text(str(number))
            outcome, said, kind = tried(reader, good, where, given.reader, number)
            came[outcome] += 1
            if outcome == "failed":
                failed.setdefault(kind, f"example {number}: {said}")
    print(json.dumps({"came": came, "failed": failed, "peak_bytes": peak_bytes(), "next": number}))


def peak_bytes() -> int:
    """Return the most memory that this process has held; `getrusage` counts what its parent held when it started."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
