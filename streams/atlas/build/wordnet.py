"""WordNet 3.0 nouns: senses, their lexicographer class and their hypernyms; knows no emoji."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ANIMAL, ARTIFACT, BODY, FOOD, PERSON, PLANT = 5, 6, 8, 13, 18, 20
"""Numbers of the lexicographer files used here (lexnames(5WN))."""


@dataclass(frozen=True)
class Sense:
    """One noun synset: its words, lexicographer file number and hypernym offsets."""

    words: tuple[str, ...]
    lexname: int
    parents: tuple[int, ...]


class Nouns:
    """Noun senses by lemma, in WordNet's order of frequency; files are read once."""

    def __init__(self, folder: Path) -> None:
        index = folder / "index.noun"
        if not index.is_file():
            raise FileNotFoundError(f"no index.noun in {folder}; rerun with --fetch to get wordnet-base")
        self._data = (folder / "data.noun").read_bytes()
        self._offsets: dict[str, tuple[int, ...]] = {}
        for line in index.read_text(encoding="latin-1").splitlines():
            if line and line[0] != " ":
                fields = line.split()
                self._offsets[fields[0]] = tuple(int(x) for x in fields if re.fullmatch(r"\d{8}", x))

    def senses(self, lemma: str) -> tuple[Sense, ...]:
        """All noun senses of a lemma (spaces allowed), most frequent first; empty when unknown."""
        return tuple(self._sense(o) for o in self._offsets.get(lemma.lower().replace(" ", "_"), ()))

    def parent(self, sense: Sense) -> Sense | None:
        """The first hypernym of a sense, or None at the top."""
        return self._sense(sense.parents[0]) if sense.parents else None

    def _sense(self, offset: int) -> Sense:
        line = self._data[offset : self._data.index(b"\n", offset)].decode("latin-1")
        fields = line.split(" | ", 1)[0].split()
        count = int(fields[3], 16)
        words = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(count))
        at = 4 + 2 * count
        links = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(fields[at]))]
        parents = tuple(int(link[1]) for link in links if link[0] in ("@", "@i"))
        return Sense(words, int(fields[1]), parents)
