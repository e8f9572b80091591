"""The embedded models load, do what their cards say, and draw the same codes from the same seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generator import tokens
from generator.checkpoints.embedded import embedded
from generator.engines import rank
from generator.images.encode import to_image
from generator.models import clip, contracts, prior, vqgan
from generator.models.drafts import Drafter, Drafts, load_drafter
from generator.params import RankParams
from generator.training import dataset, emoji_sets, robust

WEIGHTS = Path(vqgan.__file__).parent.parent / "weights"
HEART = '<path d="M16 29 C4 19 2 14 2 10 A7 7 0 0 1 16 8 A7 7 0 0 1 30 10 C30 14 28 19 16 29 Z" fill="#d22"/>'
CARDS = (
    "vqgan",
    "clip",
    "robust",
    "judge",
    "layout",
    "restyle",
    "finish",
    "prior",
    "latent-diffusion",
    "diffusion",
    "biggan",
    "upscaler",
)
FACE = (
    '<circle cx="16" cy="16" r="14" fill="#fc3"/><circle cx="11" cy="13" r="2" fill="#530"/>'
    '<circle cx="21" cy="13" r="2" fill="#530"/><path d="M9 19 Q16 28 23 19" fill="none" stroke="#530" '
    'stroke-width="2"/>'
)


@pytest.fixture(scope="module")
def mini_vqgan() -> vqgan.VQModel:
    return vqgan.load_mini()


@pytest.fixture(scope="module")
def mini_clip() -> clip.ClipModel:
    return clip.load_mini()


@pytest.fixture(scope="module")
def mini_drafter() -> Drafter:
    return load_drafter()


@pytest.fixture(scope="module")
def mini_prior(mini_drafter: Drafter) -> prior.Prior:
    return prior.load_prior(mini_drafter.layout)


def drawn(*bodies: str) -> torch.Tensor:
    """SVG bodies as pictures (N, 3, 64, 64) on white."""
    frame = '<svg viewBox="0 0 32 32" xmlns="http://www.w3.org/2000/svg">'
    rgba = [emoji_sets.render(f"{frame}{body}</svg>", 64) for body in bodies]
    assert all(picture is not None for picture in rgba)
    stacked = torch.stack([torch.from_numpy(picture.copy()) for picture in rgba if picture is not None])
    return dataset.composite(stacked, torch.ones(len(bodies), 3))


@pytest.mark.parametrize("load", [vqgan.load_mini, clip.load_mini, clip.load_robust, load_drafter])
def test_no_weight_of_an_embedded_model_is_left_as_it_was_made(load: Callable[[], torch.nn.Module]) -> None:
    whole, quickly = load().state_dict(), embedded(load).state_dict()
    assert whole.keys() == quickly.keys()
    assert all(torch.equal(value, quickly[name]) for name, value in whole.items())


def test_the_weights_are_small_enough_to_live_in_the_repository() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 80e6


def test_each_model_has_a_card_naming_its_data_and_licences() -> None:
    for name in CARDS:
        card = (WEIGHTS / f"mini-{name}.md").read_text()
        for needed in ("Noto Emoji", "Apache-2.0", "Twemoji", "CC-BY 4.0", "Fluent Emoji", "MIT", "python -m gen"):
            assert needed in card, f"mini-{name}.md does not name {needed}"


def test_vqgan_keeps_the_shapes_it_declares(mini_vqgan: vqgan.VQModel) -> None:
    z = mini_vqgan.encode(drawn(HEART, FACE))
    assert z.shape == (2, mini_vqgan.e_dim, 64 // mini_vqgan.factor, 64 // mini_vqgan.factor)
    z_q, codes = mini_vqgan.quantise(z)
    assert mini_vqgan.codebook.shape == (mini_vqgan.n_embed, mini_vqgan.e_dim)
    assert codes.dtype == torch.int64 and torch.allclose(mini_vqgan.codes_to_z(codes), z_q, atol=1e-5)
    again = mini_vqgan.quantise(z_q)[1]
    assert torch.equal(again, codes), "a codebook row is its own nearest code"


def test_vqgan_reconstructs_an_emoji_like_picture(mini_vqgan: vqgan.VQModel) -> None:
    wanted = drawn(HEART, FACE)
    with torch.no_grad():
        made = mini_vqgan.decode(mini_vqgan.quantise(mini_vqgan.encode(wanted))[0])
    assert made.min() >= 0 and made.max() <= 1
    psnr = -10 * torch.log10((made - wanted).square().mean(dim=(1, 2, 3)))
    assert (psnr > 22).all(), f"PSNR {psnr.tolist()} dB"


def test_vqgan_passes_a_gradient_to_z_through_codes_and_clamp(mini_vqgan: vqgan.VQModel) -> None:
    z = mini_vqgan.encode(drawn(HEART)).detach().requires_grad_()
    mini_vqgan.decode(mini_vqgan.quantise(z)[0]).square().mean().backward()
    assert z.grad is not None and z.grad.abs().max() > 0


def test_a_gumbel_vqgan_has_tamings_keys_and_encodes_to_codebook_rows() -> None:
    details = {
        "double_z": False,
        "z_channels": 32,
        "resolution": 32,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    torch.manual_seed(0)
    model = vqgan.VQModel({"embed_dim": 32, "n_embed": 20, "ddconfig": details, "gumbel": True})
    assert {"quantize.proj.weight", "quantize.proj.bias", "quantize.embed.weight"} <= set(model.state_dict())
    with torch.no_grad():
        z = model.encode(torch.rand(1, 3, 32, 32))
        assert torch.allclose(model.quantise(z)[0], z, atol=1e-5)


def test_the_robust_clip_reads_as_the_first_does_and_patterns_mislead_it_less(mini_clip: clip.ClipModel) -> None:
    second = clip.load_robust()
    texts = ["a red heart", "a smiling face"]
    words = mini_clip.encode_text(texts)
    assert torch.equal(second.encode_text(texts), words) and second.name != mini_clip.name

    def likeness(model: clip.ClipModel, images: torch.Tensor) -> torch.Tensor:
        images = torch.nn.functional.interpolate(images, (model.resolution,) * 2, mode="bilinear")
        return (model.encode_image(images) * words).sum(dim=1)

    def lost(model: clip.ClipModel) -> torch.Tensor:
        images, reach = drawn(HEART, FACE), torch.full((2,), 2.0)
        worse = robust.misleading(
            images, lambda near: -likeness(model, near).sum(), reach, torch.Generator().manual_seed(1)
        )
        assert (likeness(model, images) > 0.2).all()
        return likeness(model, images) - likeness(model, worse)

    assert (lost(second) < 0.6 * lost(mini_clip)).all()


@pytest.mark.parametrize("patch", [8, None])
def test_clip_from_a_state_dict_equals_openai_clips_own_model(patch: int | None) -> None:
    torch.manual_seed(0)
    original = (
        tokens.openai_clip("model")
        .CLIP(
            embed_dim=64,
            image_resolution=32,
            vision_layers=2 if patch else (1, 1, 1, 1),
            vision_width=64,
            vision_patch_size=patch,
            context_length=77,
            vocab_size=49408,
            transformer_width=64,
            transformer_heads=1,
            transformer_layers=2,
        )
        .eval()
    )
    model = clip.from_state_dict(original.state_dict(), "tiny")
    assert (model.name, model.resolution, model.embed_dim) == ("tiny", 32, 64)
    images, texts = torch.rand(2, 3, 32, 32), ["a red heart", "a dog"]
    normal = (images - torch.tensor(clip.MEAN).view(1, 3, 1, 1)) / torch.tensor(clip.STD).view(1, 3, 1, 1)
    with torch.no_grad():
        for made, wanted in (
            (model.encode_image(images), original.encode_image(normal)),
            (model.encode_text(texts), original.encode_text(clip.tokenize(texts))),
        ):
            assert torch.allclose(made, torch.nn.functional.normalize(wanted, dim=1), atol=1e-5)


def test_a_prompt_that_is_too_long_names_the_words_that_fall_off() -> None:
    with pytest.raises(tokens.PromptTooLong, match="“pear plum”"):
        clip.tokenize(["apple " * 75 + "pear plum"])
    assert clip.tokenize(["apple " * 75]).shape == (1, 77)


def test_clip_gives_unit_vectors_and_a_gradient_to_pictures(mini_clip: clip.ClipModel) -> None:
    images = drawn(HEART, FACE).requires_grad_()
    vectors = mini_clip.encode_image(images)
    assert vectors.shape == (2, mini_clip.embed_dim) and torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
    vectors.sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0


def test_clip_reads_a_text_alike_alone_and_beside_others(mini_clip: clip.ClipModel) -> None:
    both = mini_clip.encode_text(["a red heart", "a smiling face with sunglasses on a white background"])
    assert torch.allclose(both[0], mini_clip.encode_text(["a red heart"])[0], atol=1e-5)
    hidden, mask = mini_clip.token_features(["a red heart"])
    assert hidden.shape[:2] == mask.shape == (1, 77) and int(mask.sum()) == 5


def drafted(mini_prior: prior.Prior, texts: torch.Tensor, styles: list[int]) -> Drafts:
    style = torch.tensor(styles)
    return Drafts(
        torch.cat([mini_prior.layout(t[None], s[None]) for t, s in zip(texts, style, strict=True)]), texts, style
    )


def test_clip_knows_a_heart_that_the_prior_drew(
    mini_clip: clip.ClipModel, mini_prior: prior.Prior, mini_vqgan: vqgan.VQModel
) -> None:
    texts = ["a red heart", "a green tree", "a blue car", "a penguin", "a slice of pizza"]
    codes = mini_prior.sample(drafted(mini_prior, mini_clip.text_features(texts[:1]), [0]), [1])
    with torch.no_grad():
        picture = mini_vqgan.decode(mini_vqgan.codes_to_z(codes))
        scores = (mini_clip.encode_image(picture) @ mini_clip.encode_text(texts).T)[0]
    assert texts[int(scores.argmax())] == "a red heart", dict(zip(texts, scores.tolist(), strict=True))


def test_a_seed_draws_the_same_codes_again_and_another_seed_others(
    mini_clip: clip.ClipModel, mini_prior: prior.Prior
) -> None:
    features = mini_clip.text_features(["a dog", "a blue car"])
    drafts = drafted(mini_prior, features, [0, 0])
    one, again, other = (mini_prior.sample(drafts, seeds, steps=4) for seeds in ([1, 2], [1, 2], [3, 4]))
    assert one.shape == (2, mini_prior.grid, mini_prior.grid) and one.max() < mini_prior.n_embed
    assert torch.equal(one, again)
    assert (one != other).flatten(1).any(dim=1).all()


def test_what_a_row_becomes_does_not_depend_on_its_batch(mini_clip: clip.ClipModel, mini_prior: prior.Prior) -> None:
    features = mini_clip.text_features(["a dog", "a rocket", "a house"])
    together = mini_prior.sample(drafted(mini_prior, features, [0, 1, 3]), [1, 2, 3], steps=4)
    for row, style in enumerate([0, 1, 3]):
        alone = mini_prior.sample(drafted(mini_prior, features[row : row + 1], [style]), [row + 1], steps=4)[0]
        assert torch.equal(alone, together[row])


def test_a_draft_does_not_depend_on_how_many_are_drawn(mini_clip: clip.ClipModel, mini_drafter: Drafter) -> None:
    (text,) = mini_clip.text_features(["a dog"])

    def first(seeds: list[int]) -> torch.Tensor:
        return mini_drafter(text, seeds, "noto", 0.35, lambda z: z.square().mean(dim=(1, 2, 3))).z[0]

    assert torch.equal(first([1]), first([1, 2])) and torch.equal(first([1]), first(list(range(1, 65))))


def test_a_thing_never_shown_as_a_silhouette_is_drawn_as_one(
    mini_clip: clip.ClipModel, mini_drafter: Drafter, mini_vqgan: vqgan.VQModel
) -> None:
    """These were held out of training in that style."""
    things = ["a leg", "a sheaf of rice", "a wheel", "a cat face", "a honeybee", "a no entry"]
    texts = mini_clip.encode_text(things)
    scores = []
    for text in mini_clip.text_features(things):

        def seen(z: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            pictures = mini_vqgan.decode(mini_vqgan.quantise(z)[0])
            return pictures, (mini_clip.encode_image(pictures) - wanted).norm(dim=1).div(2).arcsin().square() * 2

        wanted = torch.nn.functional.normalize(text, dim=0)
        drawn = mini_drafter(text, [1], "silhouette", 0.35, lambda z, wanted=wanted: seen(z, wanted)[1])
        with torch.no_grad():
            (picture,) = seen(drawn.z, wanted)[0].clamp(0, 1)
            scores.append(mini_clip.encode_image(picture[None])[0] @ texts.T)
        colour = picture.amax(dim=0) - picture.amin(dim=0)
        assert colour.mean() < 0.06 and (picture.mean(dim=0) < 0.3).float().mean() > 0.03
    assert torch.stack(scores).argmax(dim=1).tolist() == list(range(len(things)))


def test_an_unknown_style_is_answered_with_those_there_are(mini_prior: prior.Prior) -> None:
    assert mini_prior.layout.style_index("any") == mini_prior.layout.style_index(None) == len(mini_prior.layout.styles)
    with pytest.raises(contracts.UnknownStyle, match=r"crayon.*noto"):
        mini_prior.layout.style_index("crayon")


def mottled(images: torch.Tensor) -> torch.Tensor:
    coarse = torch.randn(len(images), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return (images + 0.25 * torch.nn.functional.interpolate(coarse, 64, mode="bicubic")).clamp(0, 1)


def test_what_is_mottled_and_specked_is_seen_to_be_made_worse() -> None:
    robust, clean = clip.load_robust(), drawn(HEART, FACE)
    assert (robust.aesthetic_scores(clean) > robust.aesthetic_scores(mottled(clean)) + 0.3).all()
    with pytest.raises(ValueError, match="was not taught"):
        clip.load_mini().aesthetic_scores(clean)


def test_a_ranking_weighs_how_well_a_picture_is_made_where_a_clip_was_taught_it() -> None:
    clean = drawn(HEART)
    pictures = {"clean": to_image(clean[0]), "mottled": to_image(mottled(clean)[0])}

    def scores(names: tuple[str, ...], weight: float) -> dict[str, float]:
        clips = {"mini": clip.load_mini, "mini-robust": clip.load_robust}
        engine = rank.Rank([clips[name]() for name in names], read_image=pictures.__getitem__)
        params = RankParams(prompt="a red heart", pictures=tuple(pictures), clip=names, aesthetic_weight=weight)
        slot = engine.open(params)
        steps = [engine.advance([slot])[0] for _ in pictures]
        assert steps[-1].result is not None
        return {entry["picture"]: entry["score"] for entry in steps[-1].result["ranking"]}

    without, with_it = scores(("mini", "mini-robust"), 0.0), scores(("mini", "mini-robust"), 0.5)
    assert without["clean"] - with_it["clean"] < 0.1 < without["mottled"] - with_it["mottled"]
    assert scores(("mini",), 0.0) == scores(("mini",), 0.5)
