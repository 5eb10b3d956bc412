"""EfficientNet-Lite0 and a reader as a vision tower in Hugging Face form: a picture is eight tokens, in order.

The reader turns the mean of the maps into as many tokens as the longest name of the atlas has.

Knows the architecture (EfficientNet, arXiv 1905.11946, table 1; the Lite variant has no squeeze-and-excitation and
ReLU6 throughout) and how the published weights name its parts. Knows no pictures and no language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

EPS = 1e-3  # of the published batch norms
# Of each stage: blocks, kernel, stride of its first block, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLiteConfig(PreTrainedConfig):
    """Shape of the convolutions: `hidden_size` channels of their maps, pixels on a side."""

    model_type = "efficientnet_lite0"

    hidden_size: int = 1280
    image_size: int = 128


class SmolVisionConfig(PreTrainedConfig):
    """Shape of the tower: `tokens` of a picture, `hidden_size` numbers each, read through `reader_size` numbers."""

    model_type = "smol_vision"

    hidden_size: int = 192
    reader_size: int = 896
    tokens: int = 8
    image_size: int = 128


class _Conv(nn.Module):
    """A convolution with the padding of TensorFlow (what is odd goes to the right and below), its norm, and ReLU6."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int, stride: int, groups: int, active: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide_in, wide_out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(wide_out, EPS)
        self.kernel, self.stride, self.active = kernel, stride, active

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel > 1:
            x = F.pad(
                x, (*_around(x.shape[-1], self.kernel, self.stride), *_around(x.shape[-2], self.kernel, self.stride))
            )
        out = self.norm(self.conv(x))
        return F.relu6(out) if self.active else out


def _around(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after, so that `size` becomes size / stride, rounded up."""
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


class _Block(nn.Module):
    """An inverted bottleneck: widened, filtered channel by channel, narrowed; its input is added where it fits."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = wide_in * expansion
        self.expand = _Conv(wide_in, wide, 1, 1, 1, True) if expansion > 1 else nn.Identity()
        self.filter = _Conv(wide, wide, kernel, stride, wide, True)
        self.narrow = _Conv(wide, wide_out, 1, 1, 1, False)
        self.adds = stride == 1 and wide_in == wide_out

    def forward(self, x: Tensor) -> Tensor:
        out = self.narrow(self.filter(self.expand(x)))
        return x + out if self.adds else out


class EfficientNetLite(PreTrainedModel):
    """The published network without its classifier: pixels (N, 3, 128, 128) in [-1, 1] to maps (N, 1280, 4, 4)."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"
    _no_split_modules: list[str] = []

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.stem = _Conv(3, 32, 3, 2, 1, True)
        blocks, before = [], 32
        for count, kernel, first, expansion, wide in _STAGES:
            for number in range(count):
                blocks.append(_Block(before, wide, kernel, first if number == 0 else 1, expansion))
                before = wide
        self.blocks = nn.ModuleList(blocks)
        self.last = _Conv(before, config.hidden_size, 1, 1, 1, True)
        self.post_init()

    def trunk(self, pixel_values: Tensor) -> Tensor:
        """Return maps (N, 1280, 4, 4); pictures of another size are brought to the tower's own first."""
        size = (self.config.image_size, self.config.image_size)
        if pixel_values.shape[-2:] != size:
            pixel_values = F.interpolate(pixel_values, size, mode="bicubic", antialias=True, align_corners=False)
        x = self.stem(pixel_values)
        for block in self.blocks:
            x = block(x)
        return self.last(x)

    def forward(self, pixel_values: Tensor, **kwargs: object) -> BaseModelOutput:
        """Return the maps as 16 tokens (N, 16, 1280), row by row, as the only hidden state."""
        tokens = self.trunk(pixel_values).flatten(2).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))


class WordReader(nn.Module):
    """The mean of the maps (N, channels) to tokens (N, tokens, width), of which each has weights of its own."""

    def __init__(self, channels: int, config: SmolVisionConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(channels, config.reader_size)
        self.outer = nn.Linear(config.reader_size, config.tokens * config.hidden_size)
        self.tokens, self.length = config.tokens, channels**0.5

    def forward(self, pooled: Tensor) -> Tensor:
        inner = F.gelu(self.inner(F.normalize(pooled, dim=-1) * self.length))
        return self.outer(inner).unflatten(-1, (self.tokens, -1))


class SmolVisionModel(PreTrainedModel):
    """Pixels (N, 3, 128, 128) in [-1, 1] to the reader's tokens."""

    config_class = SmolVisionConfig
    main_input_name = "pixel_values"
    _no_split_modules: list[str] = []

    def __init__(self, config: SmolVisionConfig) -> None:
        super().__init__(config)
        self.network = EfficientNetLite(EfficientNetLiteConfig(image_size=config.image_size))
        self.reader = WordReader(self.network.config.hidden_size, config)
        self.post_init()

    def forward(self, pixel_values: Tensor, **kwargs: object) -> BaseModelOutput:
        """Return the tokens (N, tokens, hidden_size) as the only hidden state."""
        tokens = self.reader(self.network.trunk(pixel_values).mean((2, 3)))
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))


_PUBLISHED = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "last.conv",
    "_bn1": "last.norm",
    "_expand_conv": "expand.conv",
    "_depthwise_conv": "filter.conv",
    "_project_conv": "narrow.conv",
}


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights of EfficientNet-Lite0 under this network's names; its classifier is left out.

    Raises `KeyError` for a tensor that has no place here.
    """
    return {_own_name(name): tensor for name, tensor in tensors.items() if not name.startswith("_fc.")}


def _own_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] != "_blocks":
        return ".".join([_PUBLISHED[parts[0]], *parts[1:]])
    # A block's norms are numbered in the order of its convolutions.
    norms = {"_bn0": "expand.norm", "_bn1": "filter.norm", "_bn2": "narrow.norm"}
    return ".".join(["blocks", parts[1], {**_PUBLISHED, **norms}[parts[2]], *parts[3:]])


def register_tower() -> None:
    """Make the tower known to transformers' auto classes; calling it again changes nothing."""
    auto: Any = AutoModel
    AutoConfig.register(SmolVisionConfig.model_type, SmolVisionConfig, exist_ok=True)
    auto.register(SmolVisionConfig, SmolVisionModel, exist_ok=True)


register_tower()
