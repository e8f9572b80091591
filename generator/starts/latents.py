"""The z a VQGAN's picture starts from: codes drawn from the text, random codes, a picture, or a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from generator.guidance.targets import Targets
from generator.images.convert import cover, to_tensor
from generator.models.contracts import Clip, Quantised
from generator.params import VqganClipParams
from generator.precision import Precision
from generator.prompts import main_prompt
from generator.starts.drafts import DraftCodes, Show, best_draft, composed_z, distances, showing
from generator.starts.masks import Kept
from generator.starts.pictures import contain, gradient_picture
from generator.starts.scenes import Composition
from generator.starts.variants import Variant

SPREAD = 0.2  # deviation of the random amounts of the components, in theirs


@torch.no_grad()
def start_z(
    params: VqganClipParams,
    vqgan: Quantised,
    clips: Sequence[Clip],
    targets: Targets,
    generator: torch.Generator,
    *,
    draft_codes: DraftCodes | None,
    read_image: Callable[[str], Image.Image],
    precision: Precision,
    kept: Kept | None = None,
    composition: Composition | None = None,
    show: Show | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The z (1, e_dim, h, w) a picture starts from, float32; with init=components how much of each in as many starts as
    are tried, (candidates, components). And z of the draft that the prior drew, in its own size, where it drew one.

    show is given a first picture (3, height, width) in [0, 1] as soon as there is a draft. composition: the scene that
    init=prior begins with, in place of one draft.
    kept: of a picture, whose codes stand where nothing is drawn anew; what is drawn there begins as `init` says.

    All draws come from the CPU `generator`. init_strength below 1 puts random codes in that share of places.
    Raises what `read_image` raises.
    """
    device = precision.device
    width, height = params.actual_size
    if params.init == "components":
        if draft_codes is None:
            raise ValueError("init=components needs the components of this checkpoint; use random, gradient or image.")
        shape = params.candidates, len(draft_codes.layout.deviation)
        return SPREAD * torch.randn(shape, generator=generator).to(device), None
    grid = (1, height // vqgan.factor, width // vqgan.factor)
    noise = vqgan.codes_to_z(torch.randint(vqgan.n_embed, grid, generator=generator).to(device)).float()
    stays = (torch.rand(grid, generator=generator) < params.init_strength).to(device)
    draft = None
    if params.init == "random":
        z = noise
    elif params.init == "prior":
        if draft_codes is None:
            raise ValueError("init=prior needs a prior for this checkpoint; use random, gradient or image.")
        if composition is not None:
            z = vqgan.encode(composition.pictures[:1])
            draft = composed_z(composition, vqgan, draft_codes.layout) if kept is None else None
            return torch.where(stays[:, None], z.float(), noise), draft
        if kept is not None:
            raise ValueError("init=prior with a mask needs what composes pictures; use random, gradient or image.")
        z = draft = best_draft(
            draft_codes,
            vqgan,
            main_prompt(params.prompt),
            params.style,
            params.candidates,
            generator,
            lambda z: distances(z, vqgan, clips, targets, params.loss, precision),
            showing(show, vqgan, precision, (width, height)),
            Variant.of(params, vqgan, clips, precision),
        )
        if z.shape[2:] != noise.shape[2:]:
            # The prior draws one size; a larger picture starts from that draft scaled up, on its own edge colours.
            with precision.autocast():
                small = vqgan.decode(z)
            z = vqgan.encode(contain(small, width, height))
    elif params.init == "image":
        assert params.init_image is not None
        z = vqgan.encode(to_tensor(cover(read_image(params.init_image), width, height))[None].to(device))
    else:
        z = vqgan.encode(gradient_picture(width, height, generator)[None].to(device))
    z = torch.where(stays[:, None], z.float(), noise)
    return (z, draft) if kept is None else (kept.hold(z, vqgan.encode(kept.image[None]).float()), None)
