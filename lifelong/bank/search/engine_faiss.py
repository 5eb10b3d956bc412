"""The only import of FAISS, after torch's: plain searches of arrays, and the indexes that FAISS builds.

Knows arrays and specs; nothing of entries, ids or banks. Positions are places in the order of adding. Everything
runs with the threads of the spec (one by default), whatever the process is set to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

# isort: split
import faiss  # after torch: with two OpenMP runtimes the first one loaded serves both

# isort: split
from lifelong.bank.search.spec import IndexSpec

BLAS_FROM = 4  # queries from which a matrix product is faster than one scan after another
TRAINED_PER_LIST = 64  # keys per list that k-means sees: more take longer and find no better lists
LEAST_PER_LIST = 39  # FAISS's own minimum


@contextmanager
def one_faiss_thread(width: int, threads: int = 1, blas_from: int = BLAS_FROM) -> Iterator[None]:
    """Search with so many threads and with a matrix product from so many queries on.

    A second thread makes one query many times slower on a busy machine; the thread count may be torch's own as well,
    so it is put back. FAISS compares its threshold with queries x width. It stays set: it is the whole process's, and
    with FAISS's own, which is far higher, an index that a thread builds meanwhile would come out otherwise.
    """
    before = faiss.omp_get_max_threads()
    torch_threads = torch.get_num_threads()
    if before != threads:
        faiss.omp_set_num_threads(threads)
    faiss.cvar.distance_compute_blas_threshold = blas_from * width
    try:
        yield
    finally:
        if before != threads:
            faiss.omp_set_num_threads(before)
            torch.set_num_threads(torch_threads)


def use_threads(threads: int) -> None:
    """Let FAISS use so many threads for what the calling thread asks of it, from now on."""
    faiss.omp_set_num_threads(threads)


def search_settings(spec: IndexSpec) -> dict[str, Any]:
    """Return what decides the speed of a search: its threads, its BLAS threshold, and what the process is set to."""
    return {
        "index": {name: getattr(spec, name) for name in IndexSpec.__dataclass_fields__},
        "query_threads": spec.threads if spec.engine == "faiss" else torch.get_num_threads(),
        "blas_from_queries": spec.blas_from if spec.engine == "faiss" else 1,
        "faiss": faiss.__version__,
        "faiss_compiled_for": faiss.get_compile_options().strip(),
        "process_torch_threads": torch.get_num_threads(),
        "process_openmp_threads": faiss.omp_get_max_threads(),
        "environment": {k: os.environ[k] for k in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if k in os.environ},
    }


def faiss_knn(
    queries: np.ndarray, keys: np.ndarray, k: int, metric: str, alive: np.ndarray | None, spec: IndexSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Return FAISS's k best rows of `keys` (m, width) per query and its scores (squared distances for l2), (n, k).

    `alive` (m,) bool leaves rows out; k is at most the number of those left.
    """
    n, width = queries.shape
    scores, slots = np.empty((n, k), dtype=np.float32), np.empty((n, k), dtype=np.int64)
    chosen, packed = _selector(alive)
    x, y, s, i = (faiss.swig_ptr(a) for a in (queries, keys, scores, slots))
    with one_faiss_thread(width, spec.threads, spec.blas_from):
        if metric == "ip":
            faiss.knn_inner_product(x, y, width, n, len(keys), k, s, i, chosen)
        else:
            faiss.knn_L2sqr(x, y, width, n, len(keys), k, s, i, None, chosen)
    del packed  # the selector points into it
    return scores, slots


def knn_one(
    query: np.ndarray, keys: np.ndarray, k: int, metric: str, alive: np.ndarray | None, spec: IndexSpec
) -> tuple[list[float], list[int]]:
    """Return `faiss_knn` of one query (1, width) as plain numbers; what a single query does not need is left out."""
    if alive is not None or faiss.omp_get_max_threads() != spec.threads:
        scores, slots = faiss_knn(query, keys, k, metric, alive, spec)
        return scores[0].tolist(), slots[0].tolist()
    best, places, point = np.empty(k, dtype=np.float32), np.empty(k, dtype=np.int64), faiss.swig_ptr
    search = faiss.knn_inner_product if metric == "ip" else faiss.knn_L2sqr
    search(point(query), point(keys), query.shape[1], 1, len(keys), k, point(best), point(places))
    return best.tolist(), places.tolist()


def raw_flat(keys: np.ndarray) -> Callable[[np.ndarray], Any]:
    """Return FAISS's own nearest neighbour by inner product among `keys`, to be compared with.

    As its own Python function has it; threads and BLAS threshold are the caller's (`one_faiss_thread`).
    """
    return lambda queries: faiss.knn(queries, keys, 1, faiss.METRIC_INNER_PRODUCT)


def _selector(alive: np.ndarray | None) -> tuple[Any, Any]:
    """Return a selector of the living positions, and what it points into and must outlive the search."""
    if alive is None:
        return None, None
    packed = np.packbits(alive, bitorder="little")
    return faiss.IDSelectorBitmap(len(alive), faiss.swig_ptr(packed)), packed


def _how(family: str, **settings: Any) -> Any:
    """Return FAISS's search parameters of a family of indexes (type checkers cannot see what it takes)."""
    return getattr(faiss, f"SearchParameters{family}")(**settings)


class FaissIndex:
    """`flat16`, `ivf` or `hnsw` as FAISS builds it on the CPU."""

    def __init__(self, spec: IndexSpec, width: int, metric: str) -> None:
        self.spec, self.width = spec, width
        self.metric = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
        self.index: Any = None

    def build(self, keys: np.ndarray) -> None:
        """Forget everything and index keys (n, width), with the threads that the calling thread uses."""
        faiss.cvar.distance_compute_blas_threshold = self.spec.blas_from * self.width  # as every search sets it
        self.index = self._empty(keys)
        self.index.add(keys)

    def _empty(self, keys: np.ndarray) -> Any:
        if self.spec.family == "flat16":
            return faiss.IndexScalarQuantizer(self.width, faiss.ScalarQuantizer.QT_fp16, self.metric)
        if self.spec.family == "hnsw":
            return faiss.IndexHNSWFlat(self.width, self.spec.links, self.metric)
        lists = lists_of(len(keys))
        index = self._ivf(lists)
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, TRAINED_PER_LIST
        index.train(keys)
        return index

    def _ivf(self, lists: int) -> Any:
        flat = faiss.IndexFlat(self.width, self.metric)
        return faiss.IndexIVFFlat(flat, self.width, lists, self.metric)

    def propose(self, queries: np.ndarray, k: int, alive: np.ndarray | None) -> np.ndarray:
        """Return the positions (n, k) of candidates, best first by the index's own scores; -1 where it has none."""
        chosen, packed = _selector(alive)
        if self.spec.family == "ivf":
            how = _how("IVF", nprobe=min(self.spec.probes, self.index.nlist), sel=chosen)
        elif self.spec.family == "hnsw":
            how = _how("HNSW", efSearch=max(self.spec.effort, k), sel=chosen)
        else:
            how = _how("", sel=chosen)
        with self._threads():
            found = self.index.search(queries, k, params=how)[1]
        del packed
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return what `restore` needs besides the keys: the lists' centres, or a whole graph."""
        if self.spec.family == "ivf":
            quantizer: Any = faiss.downcast_index(self.index.quantizer)
            centres = faiss.vector_to_array(quantizer.codes)
            return {"centres": torch.from_numpy(centres.view(np.float32).reshape(-1, self.width).copy())}
        if self.spec.family == "hnsw":
            return {"graph": torch.from_numpy(faiss.serialize_index(self.index))}
        return {}

    def restore(self, tensors: Mapping[str, Tensor], keys: np.ndarray) -> None:
        """Be what `tensors` was taken of; `keys` (n, width) are all that it held, dead ones too."""
        if self.spec.family == "hnsw":
            self.index = faiss.deserialize_index(tensors["graph"].numpy())
            return
        if self.spec.family == "ivf":
            centres = np.ascontiguousarray(tensors["centres"].numpy())
            self.index = self._ivf(len(centres))
            self.index.quantizer.add(centres)
            self.index.is_trained = True
        else:
            self.index = self._empty(keys)
        with self._threads():
            self.index.add(keys)

    def nbytes(self) -> int:
        """Return roughly the bytes that the index keeps beside the bank's own keys."""
        n = 0 if self.index is None else self.index.ntotal
        key = {"flat16": 2 * self.width, "ivf": 4 * self.width + 8, "hnsw": 4 * self.width + 8 * self.spec.links}
        return n * key[self.spec.family]

    def _threads(self) -> Any:
        return one_faiss_thread(self.width, self.spec.threads, self.spec.blas_from)


def lists_of(n: int) -> int:
    """Return how many lists n keys are put in: 4 sqrt(n), fewer where a list would be learnt from too few.

    >>> lists_of(1024), lists_of(10**6)
    (26, 4000)
    """
    return max(1, min(int(4 * n**0.5), n // LEAST_PER_LIST))
