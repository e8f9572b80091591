"""The published CLIP models, and the networks by which an engine compares pictures: one literal row each.

sha256 is published for all of them.
"""

from __future__ import annotations

from generator.registry.rows import MIB, Checkpoint, File, table

_CLIP = "https://openaipublic.azureedge.net/clip/models"


def _clip(
    name: str,
    *,
    sha256: str,
    file: str,
    mib: int,
    side: int,
    shapes: tuple[tuple[int, ...], tuple[int, int]],
    weight_bytes: int,
    activation_bytes_per_cutout: int,
) -> Checkpoint:
    """shapes: of the first convolution and of the projection of texts."""
    return Checkpoint(
        name=name,
        kind="clip",
        title=f"CLIP {name} ({side} px)",
        licence="MIT (OpenAI CLIP)",
        files=(File(file, (f"{_CLIP}/{sha256}/{file}",), mib * MIB, sha256),),
        shapes={"visual.conv1.weight": shapes[0], "text_projection": shapes[1]},
        only_side=side,
        weight_bytes=weight_bytes,
        activation_bytes_per_cutout=activation_bytes_per_cutout,
    )


PUBLISHED_CLIPS = table(
    _clip(
        "RN50",
        sha256="afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        file="RN50.pt",
        mib=244,
        side=224,
        shapes=((32, 3, 3, 3), (512, 1024)),
        weight_bytes=390 * MIB,
        activation_bytes_per_cutout=110 * MIB,
    ),
    _clip(
        "RN101",
        sha256="8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
        file="RN101.pt",
        mib=278,
        side=224,
        shapes=((32, 3, 3, 3), (512, 512)),
        weight_bytes=460 * MIB,
        activation_bytes_per_cutout=150 * MIB,
    ),
    _clip(
        "RN50x4",
        sha256="7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
        file="RN50x4.pt",
        mib=402,
        side=288,
        shapes=((40, 3, 3, 3), (640, 640)),
        weight_bytes=680 * MIB,
        activation_bytes_per_cutout=250 * MIB,
    ),
    _clip(
        "ViT-B/32",
        sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        file="ViT-B-32.pt",
        mib=338,
        side=224,
        shapes=((768, 3, 32, 32), (512, 512)),
        weight_bytes=577 * MIB,
        activation_bytes_per_cutout=45 * MIB,
    ),
    _clip(
        "ViT-B/16",
        sha256="5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        file="ViT-B-16.pt",
        mib=335,
        side=224,
        shapes=((768, 3, 16, 16), (512, 512)),
        weight_bytes=571 * MIB,
        activation_bytes_per_cutout=170 * MIB,
    ),
    _clip(
        "ViT-L/14",
        sha256="b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        file="ViT-L-14.pt",
        mib=890,
        side=224,
        shapes=((1024, 3, 14, 14), (768, 768)),
        weight_bytes=1631 * MIB,
        activation_bytes_per_cutout=480 * MIB,
    ),
)

# One's own: the second family's, which a recipe in generator/training makes; see generator.checkpoints.own_clips.
OWN_CLIP = Checkpoint(
    name="clip",
    kind="clip",
    title="CLIP of the second family",
    licence="as its publisher says",
    own=True,
    weight_bytes=80 * MIB,
    activation_bytes_per_cutout=16 * MIB,
)

NETWORKS = table(
    Checkpoint(
        name="lpips-vgg",
        kind="lpips",
        title="LPIPS (VGG16)",
        licence="BSD-3-Clause (torchvision's VGG16), BSD-2-Clause (LPIPS, Zhang et al.)",
        files=(
            File(
                "vgg16-397923af.pth",
                ("https://download.pytorch.org/models/vgg16-397923af.pth",),
                553_433_881,
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                size=553_433_881,
            ),
            File(
                "lpips_vgg.pt",
                ("https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",),
                8_000,
                "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            ),
        ),
        weight_bytes=57 * MIB,
        activation_bytes_per_px=5_000,
    ),
)
