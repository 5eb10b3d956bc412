"""MiniGPT-4 (arXiv 2304.10592): BLIP-2's vision tower and Q-Former, one linear layer, and Vicuna.

All parts but the linear layer are transformers' own. This file knows the architecture; it does not know how the
published files name their tensors (`convert`), nor how a prompt is written (`processor`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    Blip2QFormerConfig,
    Blip2QFormerModel,
    Blip2VisionConfig,
    Blip2VisionModel,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
    initialization,
)
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lifelong.models.minigpt4.processor import MiniGPT4Processor, MiniGPT4Tokenizer


class MiniGPT4Config(PreTrainedConfig):
    """Shapes of the parts; `image_token_id` stands for one of a picture's `num_query_tokens` features.

    `vision_norm_eps` is that of the norm after the vision tower. BLIP-2's own code has 1e-5 there and 1e-6 inside
    the tower, where transformers' tower has one number for both.
    """

    model_type = "minigpt4"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=Blip2VisionConfig),
        "qformer_config": SubConfigSpec(config_class=Blip2QFormerConfig),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    vision_config: Any = None
    qformer_config: Any = None
    text_config: Any = None
    num_query_tokens: int = 32
    image_token_id: int = 32000
    vision_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False


class MiniGPT4ForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """The whole model: token ids with marks for pictures, and their pixels or features, to logits."""

    config_class = MiniGPT4Config
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]
    _supports_sdpa = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]
    _no_split_modules = ["Blip2EncoderLayer", "Blip2QFormerLayer", "LlamaDecoderLayer"]

    def __init__(self, config: MiniGPT4Config) -> None:
        super().__init__(config)
        self.vision_model = Blip2VisionModel(config.vision_config)
        self.vision_model.post_layernorm.eps = config.vision_norm_eps
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, config.qformer_config.hidden_size))
        self.qformer = Blip2QFormerModel(config.qformer_config)
        self.projection = nn.Linear(config.qformer_config.hidden_size, config.text_config.hidden_size)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            initialization.normal_(self.query_tokens, std=self.config.qformer_config.initializer_range)

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings; marks of pictures have no row there."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """Return the language model's head."""
        return self.language_model.get_output_embeddings()

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Return the features (query tokens, width) of each picture as a list under `pooler_output`.

        `pixel_values` are (pictures, 3, height, width).
        """
        seen = self.vision_model(pixel_values=pixel_values).last_hidden_state  # (pictures, 1 + patches, width)
        query = self.query_tokens.expand(len(seen), -1, -1).to(seen.dtype)
        found = self.qformer(query_embeds=query, encoder_hidden_states=seen).last_hidden_state
        return BaseModelOutputWithPooling(pooler_output=list(self.projection(found)))  # type: ignore[arg-type]

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return what the language model returns for ids (batch, tokens).

        Pictures come as pixels or as what `get_image_features` gave. Raises `ValueError` where the marks in the ids
        are not as many as the features.
        """
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("MiniGPT-4 takes token ids or their embeddings; neither was given.")
            inputs_embeds = self._embedded(input_ids, pixel_values, mm_encoder_outputs or {})
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **kwargs,
        )

    def _embedded(self, ids: Tensor, pixels: Tensor | None, outputs: dict[str, BaseModelOutputWithPooling]) -> Tensor:
        """Return the embeddings (batch, tokens, width) of ids, with features in the place of marks."""
        marks = ids == self.config.image_token_id  # (batch, tokens)
        embedded = self.get_input_embeddings()(ids.masked_fill(marks, 0))
        seen = outputs.get("image")
        if seen is None and pixels is not None:
            seen = self.get_image_features(pixels)
        if seen is None:  # a pass that goes on from a layer has its pictures in its states
            return embedded
        features: Any = seen.pooler_output
        if int(marks.sum()) != sum(map(len, features)):
            raise ValueError(
                f"The prompt has {int(marks.sum())} marks for {len(features)} pictures; expected"
                f" {self.config.num_query_tokens} for each."
            )
        return embedded.masked_scatter(
            marks[..., None], torch.cat(list(features)).to(embedded.device, embedded.dtype)
        )


def register_minigpt4() -> None:
    """Make the family known to transformers' auto classes; calling it again changes nothing."""
    AutoConfig.register(MiniGPT4Config.model_type, MiniGPT4Config, exist_ok=True)
    AutoModelForImageTextToText.register(MiniGPT4Config, MiniGPT4ForConditionalGeneration, exist_ok=True)
    AutoTokenizer.register(MiniGPT4Config, tokenizer_class=MiniGPT4Tokenizer, exist_ok=True)
    AutoProcessor.register(MiniGPT4Config, MiniGPT4Processor, exist_ok=True)
