"""Reading a prompt once: telling a module's inputs and, later, scoring what was read so far.

Between the two come an editor's routes, which decide how the layers above answer. Knows the VLM; nothing of editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lifelong.models.kept.answers import KEPT_BYTES, Begun, begun_rows, kept_bytes
from lifelong.models.kept.states import keep
from lifelong.models.passes.batching import Batch, Row
from lifelong.models.passes.forward import LOGIT_BUDGET
from lifelong.models.passes.layout import Scored
from lifelong.models.passes.scoring import scored_rows

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


def captured_once(vlm: VLM, rows: Sequence[Row], module: nn.Module) -> list[Tensor]:
    """Return what `VLM.capture` does, and keep what was read of rows for which a target is expected."""
    layer, lengths = vlm.structure.depth(module), [len(row) for row in rows]
    pausing = vlm.pauses.active and 0 < layer <= vlm.changes.lowest and layer < vlm.layers
    if pausing and not vlm.passes.same_length_decoding:
        rows = [replace(row, target_ids=row.target_ids or vlm.pauses.target_ids(row)) for row in rows]

    def keeping(batch: Batch) -> AbstractContextManager[Any]:
        room = pausing and vlm.pauses.room_for(batch, layer, vlm.width, vlm.embeddings().element_size())
        return vlm.pauses.keeping(vlm.decoder_layer(layer), layer, batch) if room else nullcontext()

    found = vlm.passes.captured(rows, module, keeping)
    return [found[i][:length] for i, length in enumerate(lengths)]


def scored_once(vlm: VLM, rows: Sequence[Row], top: int, begun: dict[int, Begun]) -> dict[int, Scored]:
    """Return what `VLM.score` does, by position, of those rows that were read so far; fills `begun` as it does."""
    from transformers import DynamicCache

    out: dict[int, Scored] = {}
    vocab = vlm.model.config.get_text_config().vocab_size
    for paused, every_at, every_place in vlm.pauses.found(rows, vlm.changes.lowest):
        most = max(LOGIT_BUDGET // (vocab * paused.batch.ids.shape[1]), 1) if top else len(every_at)
        for start in range(0, len(every_at), most):
            at, places = every_at[start : start + most], every_place[start : start + most]
            batch, hidden = paused.part(at, [rows[p].row for p in places], vlm.passes.pad_id)
            above = DynamicCache() if kept_bytes(begun.values()) < KEPT_BYTES else None
            with torch.no_grad():
                logits = vlm.passes.resumed(batch, hidden, None if top else batch.predicting(), past=above)
            scored = scored_rows(batch, logits, top)
            if above is not None:
                past = paused.joined(at, above, batch.ids.shape[1])
                begun.update((places[k], one) for k, one in begun_rows(vlm.passes, batch, past, scored))
            for row, states, place in zip(batch.rows, hidden.states, places, strict=True):
                keep(vlm.cache, row, paused.layer, states.clone())
                out[place] = scored[row.place]
    return out
