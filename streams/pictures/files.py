"""Many picture files read at once, each once: their references, or what is wrong with them. Knows no record.

Files are read by several threads, since reading and decoding leave Python's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from streams.pictures.images import file_ref
from streams.types import ImageError, ImageRef

Watch = Callable[[int, int], None]
"""Is told how many pictures are read, of how many."""
_MOST_THREADS = 16
_AT_ONCE = 64  # pictures between two calls of the watch


def read_pictures(
    pictures: Iterable[tuple[str, str]], *, decoded: bool, watch: Watch | None = None
) -> dict[tuple[str, str], ImageRef | ImageError]:
    """Return the reference of each (root, relative path), or the error that says why there is none.

    With `decoded` every picture is decoded to its end, else only the bytes are read for their digest.
    """
    wanted = list(dict.fromkeys(pictures))
    found: dict[tuple[str, str], ImageRef | ImageError] = {}
    if not wanted:
        return found

    def read(picture: tuple[str, str]) -> ImageRef | ImageError:
        try:
            return file_ref(*picture, check=decoded)
        except ImageError as error:
            return error

    threads = min(_MOST_THREADS, len(wanted), 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) as pool:
        for done, (picture, result) in enumerate(zip(wanted, pool.map(read, wanted), strict=True), 1):
            found[picture] = result
            if watch is not None and (done % _AT_ONCE == 0 or done == len(wanted)):
                watch(done, len(wanted))
    return found
