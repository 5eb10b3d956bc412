"""Fixtures that many tests share: the tiny random model and a few questions. Nothing heavy is loaded here."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from streams.types import ImageRef, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


def pytest_configure() -> None:
    """Take Ctrl-C where the shell that began the tests in the background had it ignored: some tests send it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_vlm() -> VLM:
    """A tiny random VLM of real Hugging Face classes; tests must leave it as they found it."""
    from lifelong.models.tiny import tiny_vlm

    return tiny_vlm(0)


@pytest.fixture(scope="session")
def tiny_queries() -> list[Query]:
    """Seven questions of different lengths, with pictures (one shared by two of them) and without."""
    return [
        Query("What is it?", ImageRef("noise:a", "a")),
        Query("Which animal is shown in this picture?", ImageRef("noise:b", "b")),
        Query("What is the capital of Kenya?"),
        Query("Who?", ImageRef("noise:a", "a")),
        Query("Name the colour.", ImageRef("noise:c", "c")),
        Query("How is the word for a red fox in French?"),
        Query("Where?"),
    ]
