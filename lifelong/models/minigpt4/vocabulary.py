"""The vocabulary of a Llama model's folder, as the `model` part of a tokenizer.json.

Read from tokenizer.json, or from the SentencePiece file tokenizer.model, which old folders have alone. Knows these
two files; nothing of pictures or prompts.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong.models.folders.check import ModelError
from streams.text import printable

LLAMA_BOS, LLAMA_EOS, LLAMA_UNK = "<s>", "</s>", "<unk>"


def vocabulary_of(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the BPE table of a folder's tokenizer, and the texts of tokens that were added to it, in order.

    Raises `ModelError` where there is no such tokenizer or it is of another kind.
    """
    where = printable(str(folder))
    if (folder / "tokenizer.json").is_file():
        try:
            table = json.loads((folder / "tokenizer.json").read_bytes())
            model, listed = table["model"], sorted(table["added_tokens"], key=lambda token: token["id"])
            added = [str(token["content"]) for token in listed if token["content"] not in model["vocab"]]
            fits = model["type"] == "BPE" and isinstance(model["vocab"], dict)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{where}/tokenizer.json: cannot be read as a tokenizer ({error}).") from error
    elif (folder / "tokenizer.model").is_file():
        model, added, fits = merge_table(sentencepieces((folder / "tokenizer.model").read_bytes(), where)), [], True
    else:
        raise ModelError(f"{where}: no tokenizer.json or tokenizer.model; expected the folder of a Llama model.")
    lacking = [token for token in (LLAMA_BOS, LLAMA_EOS, LLAMA_UNK) if not fits or token not in model["vocab"]]
    if lacking:
        raise ModelError(f"{where}: its tokenizer is not Llama's: no {', '.join(lacking)} in a BPE vocabulary.")
    return model | {"byte_fallback": True, "unk_token": LLAMA_UNK, "fuse_unk": True}, added


@dataclass(frozen=True)
class Piece:
    """One piece of a SentencePiece model; control tokens and bytes are not `plain` and never come of merging."""

    text: str
    score: float
    plain: bool


def merge_table(pieces: list[Piece]) -> dict[str, Any]:
    """Return the pieces of a SentencePiece model, in the order of their ids, as a BPE table.

    Two plain pieces that make a third are merged; those of the highest score come first.
    """
    ids = {piece.text: i for i, piece in enumerate(pieces)}
    plain = {piece.text for piece in pieces if piece.plain}
    merges: list[tuple[float, str, str]] = []
    for piece in pieces:
        halves = ((piece.text[:at], piece.text[at:]) for at in range(1, len(piece.text) if piece.plain else 0))
        made = sorted((ids[a], ids[b]) for a, b in halves if a in plain and b in plain)
        merges += [(piece.score, pieces[a].text, pieces[b].text) for a, b in made]
    merges.sort(key=lambda merge: -merge[0])  # stable: those of one score keep their order
    return {"type": "BPE", "vocab": ids, "merges": [[a, b] for _, a, b in merges]}


def sentencepieces(data: bytes, where: str) -> list[Piece]:
    """Return the pieces of a SentencePiece model file; raises `ModelError` for any other file."""
    pieces: list[Piece] = []
    try:
        for field, value in _fields(data):
            if field == 1 and isinstance(value, bytes):  # ModelProto.pieces
                piece = dict(_fields(value))  # 1: the text, 2: the score, 3: the kind, 1 for plain ones
                (score,) = struct.unpack("<f", piece.get(2, bytes(4)))
                pieces.append(Piece(piece[1].decode("utf-8"), score, piece.get(3, 1) == 1))
    except (IndexError, KeyError, AttributeError, UnicodeDecodeError, struct.error, ValueError) as error:
        raise ModelError(f"{where}/tokenizer.model: this is no SentencePiece file ({error}).") from error
    if not pieces:
        raise ModelError(f"{where}/tokenizer.model: a SentencePiece file without pieces.")
    return pieces


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of a protocol buffer's fields: numbers as they are, all else as bytes."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _number(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _number(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"a field that ends beyond byte {len(data)}")
        yield key >> 3, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError(f"a number without an end at byte {at}")
