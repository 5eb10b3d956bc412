"""The fuzzer's own process: damages and reads for some seconds, and says what came of it as JSON on the last line.

    python tests/fuzz/child.py records --seconds 60
    python tests/fuzz/child.py records --example 1234        # one again, with its traceback

Example N of a reader is the same on every machine: it is drawn from the reader's name and N. A refusal is right when it
is one of the project's own errors and names what was damaged; anything else that is raised is a failure.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
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

sys.path.insert(0, str(Path(__file__).parents[1]))
SLOW_S = 60  # an example that takes longer hangs


class HangError(BaseException):
    """An example took too long; no reader may catch it."""


OURS = tuple(str(Path(__file__).parents[2] / package) for package in ("lifelong", "streams", "reports"))


def theirs(error: BaseException) -> bool:
    """Return whether the project raised an error on purpose: a class of its own, or a `raise` in its code."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    raised = place.filename.startswith(OURS) and (place.line or "").startswith("raise ")
    return raised or type(error).__module__.partition(".")[0] in ("lifelong", "streams", "reports")


def tried(reader: Any, good: Path, where: Path, name: str, number: int) -> tuple[str, str]:
    """Return what came of one example (read, refused, failed) and what was said; the folder `where` is made anew."""
    rng = random.Random(f"{name}/{number}")
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(good, where)
    spoilt = reader.spoil(where, rng)
    signal.alarm(SLOW_S)
    try:
        reader.read(where)
    except HangError:
        return "failed", f"{spoilt}: still reading after {SLOW_S} s"
    except Exception as error:
        said = f"{spoilt}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if not theirs(error):
            place = traceback.extract_tb(error.__traceback__)[-1]
            return "failed", f"{said}  [{Path(place.filename).name}:{place.lineno}]"
        return "refused", said
    finally:
        signal.alarm(0)
    return "read", spoilt


def main() -> None:
    """Try examples one after another, until time is over."""
    from fuzz.readers import READERS

    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("reader", choices=sorted(READERS))
    words.add_argument("--seconds", type=float, default=10)
    words.add_argument("--first", type=int, default=0)
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
        if given.example is not None:
            rng = random.Random(f"{given.reader}/{given.example}")
            shutil.copytree(good, where)
            print("damaged:", reader.spoil(where, rng))
            reader.read(where)
            return
        ends, came = time.monotonic() + given.seconds, Counter[str]()
        failed: dict[str, int] = {}
        for number in count(given.first):
            if time.monotonic() > ends:
                break
            if given.note:
                given.note.write_text(str(number))
            outcome, said = tried(reader, good, where, given.reader, number)
            came[outcome] += 1
            if outcome == "failed":
                failed.setdefault(said, number)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"came": came, "failed": failed, "peak_bytes": peak, "next": number}))


if __name__ == "__main__":
    main()
