"""`python -m lifelong.cli.cell`: one process of a study. A line of JSON on standard input says what to do.

It ends when standard input closes, so that it does not outlive the process that started it. Results and errors are
printed as by `lifelong run`, and a last line when all is done. `lifelong.studies.engines.processes` starts it; nobody
calls it by hand.
"""

from __future__ import annotations

import json
import sys

from lifelong.cli.main import main
from lifelong.cli.words import say


def work_as_told() -> None:
    """Read what to do: `run` one configuration (`how`: words of `lifelong.run`), `tune` one editor, `check` several.

    The last two print a line of JSON for each.
    """
    from lifelong.running import run as compose
    from lifelong.running.config import from_table
    from lifelong.running.signals import end_with_starter
    from lifelong.studies.engines.engine import ALL_DONE
    from lifelong.studies.planned import checked
    from lifelong.studies.tune_all import tuned_as_told

    request = json.loads(sys.stdin.readline())
    end_with_starter(sys.stdin.fileno())
    if "run" in request:
        print(compose.run(from_table(request["run"], {}), **request.get("how", {})), flush=True)
    if "tune" in request:
        for told in tuned_as_told(request["tune"], say):
            print(json.dumps(told), flush=True)
    how = {key: bool(request.get(key)) for key in ("needs", "trial")}
    for told in checked([from_table(table, {}) for table in request.get("check", ())], **how):
        print(json.dumps(told), flush=True)
    print(ALL_DONE, flush=True)


if __name__ == "__main__":
    main(work_as_told)
