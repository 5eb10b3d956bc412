"""A chat template tried out before it is let near a prompt: in a process of its own, with bounded time and memory.

A template is a program of the model's folder. It runs in jinja's sandbox, which keeps it from files and code, but not
from looping for ever or from writing gigabytes. Knows templates; nothing of prompts' wording or models.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from lifelong.models.folders.check import ModelError
from streams.text import printable

MOST_TEMPLATE_BYTES = 256 << 10  # of a template; those of large models have 20 thousand
CPU_S, MEMORY, WRITTEN = 1, 256 << 20, 1 << 20  # seconds, bytes beyond the start, characters of one short prompt
_WAIT_S = 90  # for a process that starts on a busy machine

_CHILD = """
import json, sys
from transformers.utils.chat_template_utils import render_jinja_template
given = json.load(sys.stdin)
try:
    import resource
    spent = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(spent.ru_utime + spent.ru_stime) + given["cpu_s"] + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + given["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
except (ImportError, OSError, ValueError):
    pass
out = {"error": ""}
for chat in given["chats"]:
    asks = len(chat) == 1
    try:
        written = render_jinja_template(
            [chat], chat_template=given["template"], add_generation_prompt=asks, **given["special"]
        )[0][0]
        if len(written) > given["written"]:
            out["error"] = f"it writes {len(written):,} characters for a short prompt"
    except BaseException as error:
        ordinary = isinstance(error, Exception) and not isinstance(error, MemoryError)
        if asks or not ordinary:  # many templates know no answers
            out["error"] = f"{type(error).__name__}: {error}"[:400]
    if out["error"]:
        break
json.dump(out, sys.stdout)
"""


def check_template(template: Any, special: Mapping[str, Any], where: str) -> None:
    """Raise `ModelError` for a chat template that fails on a text or a picture, loops, or writes without end.

    `template` is a text or texts by name, `special` the tokenizer's special tokens that it is given, `where` what the
    error names: the model's folder.
    """
    for one in template.values() if isinstance(template, dict) else (template,):
        _check(str(one), special, printable(where))


def _check(template: str, special: Mapping[str, Any], where: str) -> None:
    if len(template.encode("utf-8", "replace")) > MOST_TEMPLATE_BYTES:
        raise ModelError(f"{where}: its chat template has more than {MOST_TEMPLATE_BYTES >> 10} KiB.")
    text = {"type": "text", "text": "What is this, and where does it come from? " * 20}
    asked = [{"role": "user", "content": [text]}]
    told = [*asked, {"role": "assistant", "content": [text]}]
    given = {
        "template": template, "special": {k: str(v) for k, v in special.items() if isinstance(v, str)},
        "chats": [asked, [{"role": "user", "content": [{"type": "image"}, text]}], told, [*told, *asked]],
        "cpu_s": CPU_S, "memory": MEMORY, "written": WRITTEN,
    }  # fmt: skip
    tried = subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"USE_TORCH": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        out, _ = tried.communicate(json.dumps(given).encode(), timeout=_WAIT_S)
    except subprocess.TimeoutExpired:
        out = b""
    finally:
        tried.kill()
        tried.wait()
    error = json.loads(out)["error"] if out else f"it does not end within {CPU_S} s or {MEMORY >> 20} MiB"
    if error:
        raise ModelError(f"{where}: its chat template cannot be used: {printable(' '.join(error.split()))}.")
