"""The steps of DALL-E Flow's client.ipynb against a server: `check_dalle_flow.py http://host:port folder`.

Runs where docarray 0.21 and jina 3.27.20 are installed, see check_dalle_flow.sh. Exit status 1 where an answer is
wrong. This client waits 300 s for an answer and no longer.
"""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore", category=SyntaxWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)

from docarray import Document  # noqa: E402
from PIL import Image  # noqa: E402

PROMPT = "a red heart"
QUICK = {"steps": 2, "candidates": 1}  # settings of ours: what is proved is that the programs understand each other


def check(true: bool, what: str) -> None:
    """Say that it is so, or end."""
    if not true:
        sys.exit(f"WRONG: {what}")
    print(f"ok: {what}")


def picture(document: Any, folder: Path) -> Image.Image:
    """The picture of a Document, by way of its own `save_uri_to_file`."""
    document.save_uri_to_file(str(folder / "picture.png"))
    return Image.open(io.BytesIO((folder / "picture.png").read_bytes()))


def check_matches(matches: Any, count: int, folder: Path) -> None:
    """What the notebook reads of its candidates."""
    check(len(matches) == count, f"{count} matches")
    check(all(one.uri.startswith("data:image/png;base64,") for one in matches), "each a PNG as a data URI")
    check(all(picture(one, folder).format == "PNG" for one in matches), "which save_uri_to_file writes")
    scores = [one.scores["clip_score"].value for one in matches]
    cosines = [one.scores["clip_score_cosine"].value for one in matches]
    check(scores == sorted(scores, reverse=True) and abs(sum(scores) - 1) < 1e-5, f"clip_score falls: {scores}")
    check(cosines == sorted(cosines, reverse=True) and cosines[-1] > -1, f"clip_score_cosine falls: {cosines}")
    tags = {"text", "generator", "request_time", "created_time"}
    check(
        all(tags <= set(one.tags) and one.text == PROMPT for one in matches), f"text and tags: {dict(matches[0].tags)}"
    )
    matches.plot_image_sprites(str(folder / "sprites.png"), fig_size=(10, 10), show_index=True)
    check((folder / "sprites.png").stat().st_size > 1000, "plot_image_sprites draws them")


def notebook(server: str, folder: Path) -> None:
    """Generate, diffuse, upscale; and what must be refused."""
    doc = Document(text=PROMPT).post(server, parameters={"num_images": 3, **QUICK})
    da = doc.matches
    check_matches(da, 3, folder)
    fav = da[2]
    fav.embedding = doc.embedding
    parameters = {"skip_rate": 0.5, "num_images": 2, **QUICK}
    diffused = fav.post(server, parameters=parameters, target_executor="diffusion").matches
    check_matches(diffused, 2, folder)
    check(diffused[0].uri != fav.uri, "diffused pictures are others")
    dfav = diffused[0]
    before = picture(dfav, folder).size
    large = dfav.post(f"{server}/upscale")
    after = picture(large, folder).size
    check(after == (4 * before[0], 4 * before[1]), f"/upscale: {before} px became {after} px")
    check(large.id == dfav.id and large.tags["upscaled"], "/upscale answers with the same Document")
    large.summary()
    stable = Document(text=PROMPT).post(
        server, parameters={"num_images": 1, **QUICK, "scale": 3.0, "sampler": "ddim"}, target_executor="stable"
    )
    check(len(stable.matches) == 1, "stable")
    again = stable.matches[0].post(f"{server}/stablediffuse", parameters={"strength": 0.4, "num_images": 1, **QUICK})
    check(len(again.matches) == 1, "/stablediffuse")
    large = again.matches[0].post(f"{server}/realesrgan", parameters={"model_name": "RealESRGAN_x4plus"})
    check(picture(large.matches[0], folder).size[0] == 4 * picture(again.matches[0], folder).size[0], "/realesrgan")
    refused(Document(text=PROMPT), server, {"num_images": 36}, "1 to 9")
    refused(Document(text=""), server, {}, "prompt is empty")
    refused(Document(text=PROMPT), f"{server}/segment", {}, "no such endpoint")


def refused(document: Any, server: str, parameters: dict[str, float], says: str) -> None:
    """The client raises, with the sentence."""
    try:
        document.post(server, parameters=parameters)
    except Exception as error:
        check(says in str(error), f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")
    else:
        sys.exit(f"WRONG: {parameters} was answered")


if __name__ == "__main__":
    notebook(sys.argv[1], Path(sys.argv[2]))
    print("DALL-E Flow's client works.")
