"""The caption as a whole, so that pictures are told apart from the first steps on: its words beside each other.

What a block of the UNet is told of a caption is pooled from the states of all its tokens. As such networks begin, most
of that is the same for every caption (padding, places, biases: cosines of 0.97 between any two), and it stays so for
thousands of steps. Here three quarters of each token's state are its word alone: nothing is written into them, start,
end and padding are nothing there, and the pooling is their mean. The first quarter is the transformer's, with places
and context, for cross-attention. Captions then stand at right angles to each other, and a picture is learnt in less
than half the steps. All of it is in the weights: the networks stay what diffusers and transformers build.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CONTEXT_SHARE = 4  # one part in so many of a state is the transformer's


@torch.no_grad()
def keep_words(pooling: Any, text: Any) -> None:
    """Sets up new networks so, and keeps them so while they learn. pooling: diffusers' TextTimeEmbedding of states of
    width W; text: the caption encoder of width W (generator.models.clip_text.OwnText)."""
    words = slice(text.config["hidden_size"] // CONTEXT_SHARE, None)
    ends = [text.bpe.encoder[f"<|{what}oftext|>"] for what in ("start", "end")]  # a row is filled with the end
    _keep_zero(text.embeddings["token_embedding"].weight, (ends, words))
    _keep_zero(text.embeddings["position_embedding"].weight, (slice(None), words))
    for layer in text.encoder.layers:
        for writing in (layer.self_attn.out_proj, layer.mlp["fc2"]):
            _keep_zero(writing.weight, words)
            _keep_zero(writing.bias, words)
    _keep(text.final_layer_norm.weight, words)
    _keep_zero(text.final_layer_norm.bias, words)
    for weight in (*pooling.norm1.parameters(), *pooling.pool.parameters()):
        weight.requires_grad_(False)
    pool = pooling.pool
    for weight in (pool.positional_embedding, *pool.q_proj.parameters(), *pool.k_proj.parameters()):
        weight.zero_()  # every token weighs the same
    pool.v_proj.bias.zero_(), pool.v_proj.weight.zero_()
    of_words = pool.v_proj.weight[words, words]
    of_words += torch.eye(len(of_words)) - 1 / len(of_words)  # less their mean, which the norms have moved
    _keep_zero(pooling.proj.bias, slice(None))
    _keep_zero(pooling.norm2.bias, slice(None))


def _keep_zero(weight: nn.Parameter, where: Any) -> None:
    """What an index picks of a weight is 0 and learns nothing."""
    weight[where] = 0
    _keep(weight, where)


def _keep(weight: nn.Parameter, where: Any) -> None:
    """What an index picks of a weight learns nothing."""

    def without(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[where] = 0
        return gradient

    weight.register_hook(without)
