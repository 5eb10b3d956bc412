"""From prompts to model inputs: chat template, processor, token ids, and image features computed once per image.

Works with any Hugging Face processor that has a chat template. Knows nothing about decoder layers, hooks or editors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from lifelong.models.cache import ByteCache
from lifelong.models.passes.batching import Encoded, join_extras
from lifelong.models.passes.structure import context_of, image_token_of
from lifelong.models.prompts.chat import Chat
from lifelong.models.prompts.marks import Marks, UnreadableTextError
from lifelong.models.prompts.pixels import PIXEL_BYTES, VISION_CHUNK, decoded_bytes, groups, tensor_bytes
from lifelong.models.prompts.quirk import Quirk
from streams.text import printable
from streams.types import Control, ImageError, ImageRef, Prompt

OpenImage = Callable[[ImageRef], Image]
_NO_INPUTS = ("input_ids", "attention_mask", "labels")
_COUNTS = "num_images"
_SIZES = ("grid_thw", "sizes", _COUNTS)  # ends of names: what is told of each picture by itself


class PromptReader:
    """Encodes prompts (cached by digest) and keeps the features of every image within a byte budget.

    `pixel_bytes` bounds the pictures and pixel values that are held at once.
    """

    def __init__(self, model: Any, processor: Any, quirk: Quirk, open_image: OpenImage, cache: ByteCache) -> None:
        self.model, self.processor, self.quirk = model, processor, quirk
        self.open_image, self.cache = open_image, cache
        self.chat, self.marks = Chat(processor, quirk.template), Marks(processor)
        self.prefix = ""  # what stands before an answer's words
        base = getattr(model, "base_model", model)
        self._feature_fn = getattr(base, "get_image_features", None)
        takes = "mm_encoder_outputs" in inspect.signature(model.forward).parameters
        self.keeps_features = takes and self._feature_fn is not None
        self._stacked = False  # whether the model gives features of several pictures as one tensor
        self._counted = False  # whether the model is told how many pictures a prompt has
        self._joins = True  # whether inputs of several prompts' pictures may stand one after another
        self.alone: bool | None = None  # whether the image processor by itself gives what the processor gives
        self.pixel_bytes = PIXEL_BYTES
        self.steady = True  # whether a picture's features are the same to the last digit whatever it is seen beside
        self._bytes_each = 0  # of one picture's pixel values, where they are as large for every picture
        self._image_id = image_token_of(model, processor)
        self._context = context_of(model.config)

    def target_ids(self, target: str, end_id: int) -> list[int]:
        """Return a target's token ids with the end token; raises `UnreadableTextError` for one without any token."""
        words = self.quirk.target(target)
        ids = self.marks.plain_ids(words)
        if ids and self.prefix and not words[0].isspace():
            ids = self.marks.plain_ids(self.prefix + words)
        if not ids:
            raise UnreadableTextError(
                f"The target {target!r} has no token; give a target with at least one visible character."
            )
        return [*ids, end_id]

    def read(self, prompts: Sequence[Prompt], *, see: bool = True) -> list[Encoded]:
        """Return the encoded prompts, from the cache where they are there; images that are new pass the vision side.

        Called with whatever is to be scored, decoded or captured. With `see` false no image is seen here: the vision
        side is not the base's now, and its features must not be kept. Raises `ImageError` that names a picture which
        cannot be opened or has more tokens than the model's context.
        """
        found: dict[str, Encoded] = {}
        pixels: dict[str, dict[str, Tensor]] = {}  # by prompt, of images that are to be seen in one go
        waiting = {p.digest: p for p in prompts}

        # 1. Where the image processor alone gives what the whole processor gives, see all new images at once. Their
        #    prompts then need the tokenizer only.
        if self.alone and self.keeps_features and see:
            new = [p for p in waiting.values() if p.images and ("prompt", p.digest) not in self.cache]
            self._see({image.digest: image for p in new for image in p.images})

        # 2. Read each prompt by the cheapest way that is open: the cache, the tokenizer alone, the processor. In the
        #    first round a prompt waits for images that an earlier one brings, in the second none waits any more.
        for patient in (True, False):
            again: dict[str, Prompt] = {}
            seen: set[str] = set()  # images on their way: with their features the tokenizer alone may be enough
            for prompt in waiting.values():
                kept = self.cache.get(("prompt", prompt.digest)) or self._quick(prompt)
                if kept is None and patient and any(image.digest in seen for image in prompt.images):
                    again[prompt.digest] = prompt
                    continue
                if kept is None:
                    kept, values = self.process(prompt)
                    self._check_fits(prompt, kept.ids)
                    # 3. See what has gathered, a chunk at a time, so that pixel values do not pile up.
                    if sum(map(tensor_bytes, pixels.values())) + tensor_bytes(values) > self.pixel_bytes:
                        self._fill_features(found, pixels)
                        pixels = {}
                    if values and self.keeps_features and see:
                        pixels[prompt.digest] = values
                        seen |= {image.digest for image in prompt.images}
                size = 8 * kept.ids.numel() * (1 + len(kept.aligned)) + 256  # bytes: 64-bit numbers and the object
                self.cache.put(("prompt", prompt.digest), kept, size)
                found[prompt.digest] = kept
                if len(pixels) >= VISION_CHUNK:
                    self._fill_features(found, pixels)
                    pixels = {}
            self._fill_features(found, pixels)
            pixels, waiting = {}, again
        return [found[p.digest] for p in prompts]

    def pixel_limit(self, *, fresh: bool) -> int | None:
        """Return how many bytes of pixel values a batch may hold, None where it is given features instead."""
        if not fresh and self.keeps_features:
            return None
        return self.pixel_bytes if self._joins else 1  # one prompt with pictures at a time

    def check(self, prompt: Prompt) -> None:
        """Raise `UnreadableTextError` where a prompt's text has something that cannot be read as text."""
        most = self.quirk.most_pictures
        if most is not None and len(prompt.images) > most:
            raise ImageError(f"{len(prompt.images)} pictures in one prompt, this model takes {most}")
        marked = self._marked(prompt)
        if marked:
            self.marks.apart(marked)

    def vision(self, prompts: Sequence[Prompt], encoded: Sequence[Encoded], *, fresh: bool) -> dict[str, Any]:
        """Return the model inputs that carry the images of a batch, {} for a batch without any.

        Features where they can be kept; pixel values where they cannot or where the vision side is changed (`fresh`).
        """
        pictures = [p for e in encoded for p in e.pictures]
        if not pictures:
            return {}
        if self.keeps_features and not fresh:
            return self.quirk.handed(self.features(prompts, encoded), stacked=self._stacked)
        values = join_extras([self.process(p)[1] for p in prompts if p.images])
        return {name: v.to(self.model.device) for name, v in values.items()}

    def features(self, prompts: Sequence[Prompt], encoded: Sequence[Encoded]) -> list[Tensor]:
        """Return the projected features (tokens, width) of every image of some prompts, one after another."""
        kept: dict[str, Any] = {p: self.cache.get(("features", p)) for e in encoded for p in e.pictures}
        if any(v is None for v in kept.values()):
            by_digest = {p.digest: e for p, e in zip(prompts, encoded, strict=True)}
            read = ((p.digest, self.process(p)[1]) for p in {p.digest: p for p in prompts if p.images}.values())
            for group in groups(read, lambda item: tensor_bytes(item[1]), self.pixel_bytes, len(prompts)):
                kept |= self._compute(dict(group), by_digest)
        return [kept[p] for e in encoded for p in e.pictures]

    def _fill_features(self, encoded: dict[str, Encoded], pixels: dict[str, dict[str, Tensor]]) -> None:
        seen: set[str] = set()
        missing = {}
        for digest, values in pixels.items():
            new = {p for p in encoded[digest].pictures if ("features", p) not in self.cache} - seen
            if new:
                missing[digest] = values
                seen |= new
        if missing:
            self._compute(missing, encoded)

    def _see(self, images: Mapping[str, ImageRef]) -> None:
        """Take images that are new through the image processor and the vision side."""
        unseen = [image for image in images.values() if not self._seen(image)]
        opened = (self._cut(image) for image in unseen)

        def held(cut: Mapping[str, Image]) -> int:
            return decoded_bytes(cut.values()) + len(cut) * self._bytes_each

        for group in groups(opened, held, self.pixel_bytes):
            cut = {key: tile for one in group for key, tile in one.items()}
            values = self.processor.image_processor(images=list(cut.values()), return_tensors="pt")
            if any(len(value) != len(cut) for value in values.values()):
                self.alone = False
                return
            parts = {key: {n: v[i : i + 1] for n, v in values.items()} for i, key in enumerate(cut)}
            none = torch.empty(0, dtype=torch.long)
            self._compute(parts, {key: Encoded(none, {}, {}, (key,)) for key in cut})

    def _seen(self, image: ImageRef) -> bool:
        tiles = self.cache.get(("tiles", image.digest))
        return tiles is not None and all(("features", key) in self.cache for key in tiles)

    def _cut(self, image: ImageRef) -> dict[str, Image]:
        """Return the pictures that the processor is given for an image, by content key."""
        picture = self.open_image(image)
        try:
            cut = self.quirk.tiles(picture)
        except ImageError as error:
            raise ImageError(f"Image {printable(image.uri)}: {error}") from error
        keys = (image.digest,) if len(cut) == 1 else tuple(f"{image.digest}#{k}" for k in range(len(cut)))
        self.cache.put(("tiles", image.digest), keys, 64 * len(keys) + 128)
        return dict(zip(keys, cut, strict=True))

    def _compute(self, pixels: dict[str, dict[str, Tensor]], encoded: dict[str, Encoded]) -> dict[str, Any]:
        """Take pixel inputs, by prompt, through the vision side; keep and return features (tokens, width) by picture.

        {} for a family whose features cannot be handed over again.
        """
        names = [p for d in pixels for p in encoded[d].pictures]
        shapes = {(n, tuple(v.shape[1:])) for part in pixels.values() for n, v in part.items()}
        unlike = len(shapes) > len({n for n, _ in shapes})
        if len(pixels) > 1 and (unlike or not self._joins):
            out: dict[str, Any] = {}
            for digest, part in pixels.items():
                out |= self._compute({digest: part}, encoded)
            return out
        assert self._feature_fn is not None
        inputs = join_extras(list(pixels.values())) | join_extras([encoded[d].extras for d in pixels])
        takes = inspect.signature(self._feature_fn).parameters
        given = {n: v.to(self.model.device) for n, v in inputs.items() if n in takes}
        given = {n: v.to(self.model.dtype) if v.is_floating_point() else v for n, v in given.items()}
        # A lone picture is seen twice: products of few rows are summed otherwise, and features must not depend on
        # company. Not where it is timed, and not where two would be more pixels than a batch may hold.
        lone = self.steady and len(names) == 1 and 2 * tensor_bytes(given) <= self.pixel_bytes
        if lone:
            given = {n: torch.cat([v, v]) for n, v in given.items()}
        with torch.no_grad():
            output: Any = self._feature_fn(**given, return_dict=True)
        plain = self.quirk.plain(output)
        pooled: Any = getattr(output, "pooler_output", None) if plain else None  # an attribute, at times no field
        if isinstance(pooled, Tensor) and pooled.ndim == 3:
            pooled, self._stacked = list(pooled), True
        if lone and isinstance(pooled, (list, tuple)):
            pooled = pooled[: len(pooled) // 2]
        if not isinstance(pooled, (list, tuple)) or len(pooled) != len(names):
            # This family hands its images over in another way: from now on it gets its pixel values each time.
            self.keeps_features = False
            return {}
        for name, value in zip(names, pooled, strict=True):
            own = value.clone() if value._base is not None else value
            self.cache.put(("features", name), own, own.numel() * own.element_size())
        return dict(zip(names, pooled, strict=True))

    def _quick(self, prompt: Prompt) -> Encoded | None:
        """Return the prompt by the tokenizer alone, or None where an image is new or the processor is needed."""
        if self._marked(prompt):
            return None
        tiles: list[tuple[str, ...]] = []
        parts: list[str | int] = []
        for part in prompt.parts:
            if not isinstance(part, ImageRef):
                parts.append(self._said(part))
                continue
            kept = self.cache.get(("tiles", part.digest))
            if kept is None:
                return None
            parts.append(len(tiles))
            tiles.append(kept)
        text, cut = self._written(parts, tiles)
        pictures = self._seen_as(cut, prompt)
        counts = self._token_counts(pictures)
        ids = None if counts is None else self.chat.quick_ids(text, counts)
        held = len(pictures) * self._bytes_each
        return None if ids is None else Encoded(ids, {}, {}, pictures, held, prompt=prompt)

    def _said(self, part: str | Control) -> str:
        """Return the words of a part: data without anything that looks like control, control as it is."""
        return part.text if isinstance(part, Control) else self.marks.hidden(part)

    def _marked(self, prompt: Prompt) -> list[str]:
        """Return the texts of a prompt that have something that looks like control."""
        return [part for part in prompt.parts if isinstance(part, str) and self.marks.found(part)]

    def _written(self, parts: Sequence[str | int], tiles: Sequence[tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
        ordered = self.quirk.arrange(parts)
        text = self.chat.text([p if isinstance(p, str) else len(tiles[p]) for p in ordered])
        return text, tuple(key for p in ordered if isinstance(p, int) for key in tiles[p])

    def _seen_as(self, pictures: tuple[str, ...], prompt: Prompt) -> tuple[str, ...]:
        """Return the keys under which a prompt's pictures have features: those of a family may depend on company.

        Where the Q-Former reads the question they are the prompt's own, and where a model is told how many pictures
        there are, they are those of so many.
        """
        if self.quirk.words_seen:
            return tuple(f"{key} {prompt.digest}" for key in pictures)
        if not self._counted or len(pictures) < 2:
            return pictures
        return tuple(f"{key} 1/{len(pictures)}" for key in pictures)

    def _token_counts(self, pictures: Sequence[str]) -> list[int] | None:
        features: list[Any] = [self.cache.get(("features", p)) for p in pictures]
        return None if any(f is None or f.ndim != 2 for f in features) else [len(f) for f in features]

    def process(self, prompt: Prompt) -> tuple[Encoded, dict[str, Tensor]]:
        """Run chat template and processor; returns the prompt and its pixel inputs (not cached)."""
        images: dict[str, Image] = {}
        tiles: list[tuple[str, ...]] = []
        parts: list[str | int] = []
        for part in prompt.parts:
            if not isinstance(part, ImageRef):
                parts.append(self._said(part))
                continue
            cut = self._cut(part)
            images |= cut
            parts.append(len(tiles))
            tiles.append(tuple(cut))
        text, pictures = self._written(parts, tiles)
        special = self.chat.adds_special(text)
        given = [images[key] for key in pictures] or None
        marked = self._marked(prompt)
        read = self.marks.apart(marked) if marked else self.processor
        if given:
            nested = [given] if len(given) > 1 else given  # several are of one prompt: some families see that
            inputs = read(text=[text], images=nested, return_tensors="pt", add_special_tokens=special)
        else:
            inputs = self.quirk.words(read, text, special=special)
        ids = inputs["input_ids"][0]
        aligned, extras, pixels = {}, {}, {}
        for name, value in inputs.items():
            if name in _NO_INPUTS or not isinstance(value, Tensor):
                continue
            if name.startswith("pixel") or name == "image_patches" or (given and name in self.quirk.beside_pixels):
                pixels[name] = value
            elif value.shape == (1, len(ids)):
                aligned[name] = value[0]
            elif name not in self.quirk.beside_pixels:
                extras[name] = value
        if given and self.alone is None:
            own = {} if aligned or extras else self.processor.image_processor(images=given, return_tensors="pt")
            self.alone = own.keys() == pixels.keys() and all(torch.equal(own[n], v) for n, v in pixels.items())
        self._counted = self._counted or any(name.endswith(_COUNTS) for name in extras)
        pictures = self._seen_as(pictures, prompt)
        told = (*extras, *(n for n in pixels if n in self.quirk.beside_pixels))
        self._joins = self._joins and all(name.endswith(_SIZES) for name in told)
        counts = self._token_counts(pictures)
        if counts is not None and not marked:
            self.chat.confirm(text, counts, ids, plain=not aligned and not extras)
        held = tensor_bytes(pixels)
        self._bytes_each = held // max(len(pictures), 1) or self._bytes_each
        return Encoded(ids, aligned, extras, pictures, held, self.quirk.of_answers, prompt), pixels

    def _check_fits(self, prompt: Prompt, ids: Tensor) -> None:
        """Raise `ImageError` where the pictures of a prompt alone have more tokens than the model's context."""
        tokens = int((ids == self._image_id).sum())
        if self._context is not None and tokens >= self._context:
            names = " and ".join(printable(image.uri) for image in prompt.images)
            raise ImageError(
                f"Image {names}: {tokens:,} tokens of this model, whose context has {self._context:,}. Crop it, scale"
                " it down, or let the model's processor take fewer pixels."
            )
