"""What can be set, and what is said about settings nobody can run with."""

import pytest

from generator.checkpoints.memory import estimate_memory
from generator.params import BadParams, VqganClipParams, validate
from generator.registry import CHECKPOINTS, UnknownName


def made(**values):
    return validate("vqgan-clip", {"prompt": "a red heart", **values})


def test_the_defaults_are_those_of_the_checkpoint():
    mini, real = made(), made(checkpoint="imagenet-f16-16384")
    assert mini.clip == ("mini",) and mini.init == "prior"
    assert real.clip == ("ViT-B/32",) and real.init == "random" and real.cutn == 32
    assert mini.steps == CHECKPOINTS["mini"].defaults["steps"]
    assert (mini.upscale, real.upscale) == (4, 1), "only small pictures are upscaled unasked"


def test_only_a_draft_of_the_prior_is_held_on_to_unless_asked():
    assert made().init_weight > 0
    assert made(init="random").init_weight == 0 and made(init_image="a.png").init_weight == 0
    assert made(init="random", init_weight=2.0).init_weight == 2.0


def test_what_is_set_wins_over_the_checkpoint():
    assert made(checkpoint="imagenet-f16-1024", steps=7, cutn=3).steps == 7


def test_no_seed_means_another_picture_each_time_and_a_seed_is_kept():
    assert made().seed != made().seed
    assert made(seed=0).seed == 0


def test_the_real_size_is_floored_to_the_factor_of_the_model():
    assert made(width=67, height=65).actual_size == (64, 64)
    assert made(checkpoint="imagenet-f16-1024", width=300, height=300).actual_size == (288, 288)


def test_a_prompt_is_cleaned_of_line_ends_and_spaces_and_kept_otherwise():
    assert made(prompt="  a red\n\theart  ").prompt == "a red heart"
    assert made(prompt="<script>alert(1)</script>").prompt == "<script>alert(1)</script>"
    assert made(prompt="u\u0308ber").prompt == "über"


def test_changed_settings_are_those_that_differ_from_the_checkpoints_defaults():
    assert made(seed=4).changed() == {}
    assert made(seed=4, steps=3, checkpoint="wikiart-f16-1024").changed() == {"steps": 3}


def test_a_start_picture_alone_means_starting_from_it():
    assert made(init_image="a.png").init == "image"


def test_pictures_can_be_the_only_prompts():
    params = made(prompt="", image_prompts="a.png:1", init="random")
    assert params.prompt == ""


def test_values_survive_the_job_row():
    params = made(seed=3, style="noto", clip=["mini"])
    assert VqganClipParams(**params.model_dump()) == params


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": " \n "}, "The prompt is empty"),
        ({"prompt": "a" * 1001}, "1001 characters; at most 1000"),
        ({"prompt": "a\x00b"}, "U\\+0000"),
        ({"prompt": "a cat |"}, "The prompt has an empty part"),
        ({"prompt": "a cat:-1"}, "nothing to draw"),
        ({"prompt": "", "image_prompts": "a.png", "init": "prior"}, "init=prior draws from text"),
        ({"prompt": "", "image_prompts": "a.png:-1", "init": "random"}, "nothing to draw"),
        ({"image_prompts": "|"}, "The image_prompts has an empty part"),
        ({"width": 0}, "width = '0'.*greater than or equal to 16"),
        ({"width": 100_000}, "width = '100000'"),
        ({"width": 512}, "too large for mini: at most 256"),
        ({"steps": -1}, "steps"),
        ({"steps": "many"}, "steps = 'many'"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"seed": 2**32}, "seed"),
        ({"optimiser": "Magic"}, "Adam"),
        ({"checkpoint": "nope"}, "Unknown checkpoint 'nope'.*mini"),
        ({"clip": ["nope"]}, "Unknown CLIP model 'nope'.*ViT-B/32"),
        ({"clip": []}, "clip"),
        ({"style": "nope"}, "Unknown style 'nope'.*noto"),
        ({"style": "noto", "checkpoint": "wikiart-f16-1024"}, "mini models only"),
        ({"init": "prior", "checkpoint": "wikiart-f16-1024"}, "init=prior needs the mini"),
        ({"init": "image"}, "needs an init_image"),
        ({"checkpoint": ["mini"]}, "checkpoint"),
        ({"stepz": 3}, "Unknown setting 'stepz'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence_that_names_them(values, says):
    with pytest.raises(BadParams, match=says):
        made(**values)


def test_a_missing_prompt_is_named():
    with pytest.raises(BadParams, match="The prompt is missing"):
        validate("vqgan-clip", {})


def test_an_unknown_engine_is_answered_with_the_known_ones():
    with pytest.raises(UnknownName, match="vqgan-clip"):
        validate("nope", {"prompt": "a"})


def test_jobs_share_a_batch_when_checkpoint_clip_and_real_size_agree():
    assert made(width=66).batch_key == made(width=64, cutn=3, prompt="a cat").batch_key
    assert made(width=68).batch_key != made(width=64).batch_key


def test_more_cutouts_and_larger_pictures_need_more_memory():
    base = estimate_memory(made())
    assert estimate_memory(made(cutn=64)) > base and estimate_memory(made(width=128, height=128)) > base
    tried = made(init="components", candidates=16)
    assert estimate_memory(tried) > estimate_memory(made(init="components", candidates=1))
    assert tried.memory_advice == "lower candidates or cutn"
