"""The embedded model: a small LLaVA with a convolutional tower, in Hugging Face form.

This file knows the architecture, the tokenizer, the processor and where the shipped weights lie.
It does not know how the weights came about, nor any fact of the atlas.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    initialization,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

IMAGE_SIZE = 64
PATCH_SIZE = 16
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
PAD, EOS, IMAGE, ANSWER = "<pad>", "</s>", "<image>", "<answer>"

# Images come first, in order, whatever the order of the parts; then the words; then the mark after which
# the answer stands. One mark and no role names: a prompt of a 256-wide model should be short.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<answer>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '</s>' }}"
    "{% elif message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<answer>' }}{% endif %}"
)


class AtlasVisionConfig(PreTrainedConfig):
    """Shape of the convolutional tower: channels per stage and residual blocks per stage after the stem."""

    model_type = "atlas_vision"

    hidden_size: int = 256
    channels: list[int] | tuple[int, ...] = (32, 80, 160, 256)
    blocks: list[int] | tuple[int, ...] = (0, 1, 2, 2)
    image_size: int = IMAGE_SIZE
    patch_size: int = PATCH_SIZE


class _ConvNorm(nn.Module):
    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(wide_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(self.norm(self.conv(x)))


class _Residual(nn.Module):
    def __init__(self, wide: int) -> None:
        super().__init__()
        self.body = _ConvNorm(wide, wide, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class AtlasVisionModel(PreTrainedModel):
    """Convolutional tower: pixels (N, 3, 64, 64) in [-1, 1] to N x 16 standardised tokens of width 256."""

    config_class = AtlasVisionConfig
    main_input_name = "pixel_values"
    _no_split_modules: list[str] = []

    def __init__(self, config: AtlasVisionConfig) -> None:
        super().__init__(config)
        stages: list[nn.Module] = []
        before = 3
        for wide, blocks in zip(config.channels, config.blocks, strict=True):
            stages.append(nn.Sequential(_ConvNorm(before, wide, 2), *(_Residual(wide) for _ in range(blocks))))
            before = wide
        self.stages = nn.ModuleList(stages)
        # Its statistics are measured once after training: every channel then has mean 0 and variance 1.
        self.standard = nn.BatchNorm2d(before, affine=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Kaiming-normal convolutions; norms as in every other model.

        Only transformers' own initialisers are used: they leave alone what was loaded, running statistics too.
        """
        if isinstance(module, nn.Conv2d):
            initialization.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        else:
            super()._init_weights(module)

    def trunk(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Maps before standardisation, (N, width, 4, 4)."""
        x = pixel_values
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, pixel_values: torch.Tensor, **kwargs: object) -> BaseModelOutput:
        """Tokens (N, 16, width), row by row of the 4 x 4 grid, as the only hidden state."""
        tokens = self.standard(self.trunk(pixel_values)).flatten(2).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))


def register() -> None:
    """Make the tower known to transformers' auto classes; calling it again changes nothing."""
    AutoConfig.register(AtlasVisionConfig.model_type, AtlasVisionConfig, exist_ok=True)
    AutoModel.register(AtlasVisionConfig, AtlasVisionModel, exist_ok=True)


register()


def atlas_folder() -> Path:
    """Folder of the shipped weights, tokenizer, processor and model card."""
    return Path(__file__).with_name("weights")


def token_id(tokenizer: Any, token: str) -> int:
    """Number of a special token; KeyError if the tokenizer is not one of this model's."""
    number = tokenizer.get_vocab().get(token)
    if number is None:
        raise KeyError(f"tokenizer without {token!r}; it is not the atlas model's")
    return number


def build_config(tokenizer: PreTrainedTokenizerFast, width: int = 256, layers: int = 6) -> LlavaConfig:
    """LLaVA configuration for `tokenizer`: conv tower, 2-layer MLP projector, Llama decoder with tied words."""
    pad, eos, image = (token_id(tokenizer, t) for t in (PAD, EOS, IMAGE))
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=eos,
    )
    config = LlavaConfig(
        vision_config=AtlasVisionConfig(),
        text_config=text,
        image_token_index=image,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    config.pad_token_id, config.eos_token_id = pad, eos
    return config


def build_model(config: LlavaConfig) -> LlavaForConditionalGeneration:
    """A randomly initialised model of that configuration, float32, on the CPU."""
    model = LlavaForConditionalGeneration(config)
    text: Any = config.text_config
    model.generation_config = GenerationConfig(
        pad_token_id=text.pad_token_id, eos_token_id=text.eos_token_id, do_sample=False
    )
    return model


def build_tokenizer(lines: Iterable[str], size: int = 8192) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `lines`; every stretch after a special token begins with a space.

    So an answer has the same tokens after the answer mark as in the middle of a sentence, and a model can
    copy it from its context.
    """
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    digits = pre_tokenizers.Split(Regex(r"\d"), "isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True), digits]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, EOS, IMAGE, ANSWER],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        extra_special_tokens={"image_token": IMAGE, "answer_token": ANSWER},
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Processor for texts with any number of `<image>` marks and as many images, resized to 64 x 64."""
    images = CLIPImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
    )
