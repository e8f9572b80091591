"""taming's yaml configurations, read as data: nothing in them is resolved, imported or built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generator.checkpoints.errors import plain, sentence, shown

MAX_BYTES = 1 << 16  # bytes, thirty times what the published ones have
LIMITS = {"num_res_blocks": 32}  # others: 65536
MAX_DEPTH = 32  # of lists and tables within each other


# Classes of taming-transformers and latent-diffusion whose networks are the same; GumbelVQ chooses codes otherwise.
VQ_MODELS = ("VQModel", "VQModelInterface", "VQNoDiscModel", "EMAVQ", "GumbelVQ")
# What is said of the others that people have.
_REFUSED = {
    "VQSegmentationModel": "it draws label maps, not pictures; a VQModel of pictures is needed",
    "AutoencoderKL": "it is a VAE, which has no codes to choose from; a VQModel is needed",
    "IdentityFirstStage": "it is a model of pixels, without codes; a VQModel is needed",
}
ATTENTION = {"vanilla": True, "vanilla-xformers": True, "memory-efficient-cross-attn": True, "none": False}


def read_yaml(path: Path) -> dict[str, Any]:
    """What a small yaml file says, as plain data. Raises ValueError."""
    from omegaconf import OmegaConf

    if path.stat().st_size > MAX_BYTES:
        raise ValueError("it is too large for a configuration")
    try:
        text = path.read_text(encoding="utf-8")
        _check_tokens(text)
        loaded = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except Exception as error:  # the yaml parser, OmegaConf and the decoder each have errors of their own
        raise ValueError(f"it is no yaml configuration ({plain(sentence(error), 120)})") from None
    return {str(key): value for key, value in loaded.items()} if isinstance(loaded, dict) else {}


def read_config(path: Path) -> dict[str, Any]:
    """The `params` of taming's yaml, with `gumbel` told by its target and `attention` by its attn_type.

    Of a model over the codes of a VQGAN, a transformer's or a diffusion's, those of its first stage. Nothing in it is
    resolved or imported. Raises ValueError.
    """
    model = read_yaml(path).get("model")
    params = model.get("params") if isinstance(model, dict) else None
    if isinstance(params, dict) and isinstance(params.get("first_stage_config"), dict):
        model = params["first_stage_config"]
        params = model.get("params")
    if not isinstance(model, dict) or not isinstance(params, dict):
        raise ValueError("it has no model.params")
    target = str(model.get("target", "")).rpartition(".")[2]
    if target not in VQ_MODELS:
        why = _REFUSED.get(target, f"{', '.join(VQ_MODELS)} can be loaded")
        raise ValueError(f"its model is {plain(target) or 'not named'}; {why}")
    ddconfig = params.get("ddconfig")
    needed: dict[str, Any] = {"embed_dim": params, "n_embed": params}
    needed |= dict.fromkeys(("z_channels", "resolution", "in_channels", "out_ch", "ch", "num_res_blocks"), ddconfig)
    for key, holder in needed.items():
        value = holder.get(key) if isinstance(holder, dict) else None
        limit = LIMITS.get(key, 65_536)
        if not isinstance(value, int) or not 0 < value <= limit:
            raise ValueError(f"its {key} is {shown(value)}; a whole number from 1 to {limit} is needed")
    assert isinstance(ddconfig, dict)  # it has been read from
    if (read := (ddconfig["in_channels"], ddconfig["out_ch"])) != (3, 3):
        raise ValueError(f"its in_channels and out_ch are {read[0]} and {read[1]}; 3 and 3, of pictures, are needed")
    levels = ddconfig.get("ch_mult", [1])
    if not isinstance(levels, list) or not 0 < len(levels) <= 16 or any(level not in range(1, 257) for level in levels):
        raise ValueError(f"its ch_mult is {shown(levels)}; 1 to 16 whole numbers from 1 to 256 are needed")
    kind = ddconfig.get("attn_type", "vanilla")
    if ddconfig.get("use_linear_attn") or kind not in ATTENTION:
        raise ValueError(f"its attn_type is {shown(kind)}; {', '.join(ATTENTION)} can be loaded")
    return {**params, "gumbel": target == "GumbelVQ", "attention": ATTENTION[kind]}


def _check_tokens(text: str) -> None:
    """Raises ValueError for what yaml can do beyond plain data, yaml.YAMLError for what is no yaml."""
    import yaml  # type: ignore[import-untyped]

    begins = (
        yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken,
        yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken,
    )  # fmt: skip
    ends = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, (yaml.AnchorToken, yaml.AliasToken)):
            raise ValueError("it has anchors, with which a small file can unpack to a huge one")
        if isinstance(token, (yaml.TagToken, yaml.DirectiveToken)):
            raise ValueError("it has tags, which say what is to be made of its values")
        if isinstance(token, begins):
            depth += 1
        elif isinstance(token, ends):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError("it is nested far deeper than any configuration")
