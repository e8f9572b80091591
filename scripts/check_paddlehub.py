"""`generate_image` with docarray 0.21 installed, and what programs then call: `check_paddlehub.py folder`.

Also the form in which the serving can send it, `DocumentArray.to_base64()`. Exit status 1 where something is wrong.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=SyntaxWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)

import docarray  # noqa: E402
from PIL import Image  # noqa: E402

from generator.output.documents import document_classes  # noqa: E402
from generator.paddlehub import Module  # noqa: E402


def check(true: bool, what: str) -> None:
    """Say that it is so, or end."""
    if not true:
        sys.exit(f"WRONG: {what}")
    print(f"ok: {what}")


def main(folder: Path) -> None:
    """Both modules."""
    check(document_classes()[1] is docarray.DocumentArray, f"docarray {docarray.__version__}'s own classes are used")
    quick = {"seed": 5, "display_rate": 1, "output_dir": str(folder / "out")}
    disco = Module(name="disco_diffusion_clip_rn50")
    da = disco.generate_image(text_prompts="a red heart", steps=6, **quick)
    check(isinstance(da, docarray.DocumentArray) and da[0].chunks[-1].tags["cur_t"] == -1, "disco's structure")
    da[0].save_uri_to_file(str(folder / "final.png"))
    check(Image.open(folder / "final.png").format == "PNG", "da[0].save_uri_to_file")
    da[0].chunks.plot_image_sprites(str(folder / "sprites.png"), skip_empty=True, show_index=True)
    check(Image.open(folder / "sprites.png").size[0] > 0, ".chunks.plot_image_sprites")
    da[0].chunks.save_gif(str(folder / "film.gif"), show_index=True, size_ratio=0.5)
    check(getattr(Image.open(folder / "film.gif"), "n_frames", 1) > 1, ".chunks.save_gif")
    stable = Module(name="stable_diffusion")
    da = stable.generate_image("a red heart", num_inference_steps=3, batch_size=2, **quick)
    check([c.tags["image idx"] for c in da[0].chunks] == [0, 1, "merged"], "stable_diffusion's structure")
    check(len(da[0].chunks[0].chunks) == 2 == len(da[0].chunks[-1].chunks), "with the pictures on the way")
    again = docarray.DocumentArray.from_base64(da.to_base64())
    check(again[0].chunks[1].uri == da[0].chunks[1].uri, "to_base64 and from_base64, as the serving sends it")
    da.summary()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print("PaddleHub's programs work with docarray.")
