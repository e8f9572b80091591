"""What the blocks of a model of one's own are told of a caption: its words, and nothing that all captions share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.learning.caption_diffusion import vocabulary
from generator.learning.caption_diffusion.recipe import Networks, architecture_of
from generator.params.train import TrainParams

CAPTIONS = ["red heart", "cat face", "slice of pizza", "automobile", "a very tall green tree", "sun behind cloud"]


def whole(networks: Networks, captions: list[str]) -> Tensor:
    """What each block is told of each, (N, time_width), of unit length where it is anything."""
    states = networks.text.states(networks.text.rows(captions))[0]
    told: Tensor = networks.unet.add_embedding(states).detach()
    return F.normalize(told, dim=1) if told.norm() > 1 else told


def made() -> Networks:
    params = TrainParams(data="x", name="x", seed=1, size=16, channels=(8, 16))
    merges = vocabulary.learn_merges(vocabulary.words_in(CAPTIONS), params.vocabulary, params.min_frequency)
    torch.manual_seed(0)
    return Networks(architecture_of(params, merges))


def check(networks: Networks) -> None:
    told = whole(networks, CAPTIONS)
    alike = told @ told.T - torch.eye(len(told))
    assert alike.abs().max() < 0.5, "0.97, were padding and places in it"
    assert whole(networks, [""]).abs().max() < 0.05, "no caption is nothing"


def test_captions_without_a_word_in_common_stand_apart_from_the_first_step_and_stay_so_while_it_learns() -> None:
    networks = made()
    check(networks)
    optimiser = torch.optim.AdamW(networks.parameters(), lr=1e-3, weight_decay=0.1)
    rows = networks.text.rows(CAPTIONS)
    for step in range(8):
        x = torch.randn(len(rows), 3, 16, 16, generator=torch.Generator().manual_seed(step))
        (networks(x, torch.full((len(rows),), 999), rows) - 1).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    check(networks)


def test_captions_that_share_words_are_alike() -> None:
    networks = made()
    heart, face, other = whole(networks, ["red heart", "red cat", "automobile"])
    assert heart @ face > 0.3 > abs(heart @ other)
