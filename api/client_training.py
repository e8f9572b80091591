"""The studio from Python, for training: the client of api/client.py with seven words more.

    trainer = Trainer("http://localhost:8501", key="...")
    job = trainer.train(trainer.dataset("discs.zip", "Discs", "CC0")["data"], "discs")
    job.result()  # the grid of its captions, once it is done

Beside api/client.py it may be copied to where it is wanted. `AsyncTrainer` has the same words, to be awaited.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.client import ROOT, AsyncStudio, Studio, _checked, _got, _now

SEND_S = 1800.0  # for a zip to be sent and checked


class AsyncTrainer(AsyncStudio):
    """A studio that trains, to be awaited."""

    async def dataset(self, file: str | Path, name: str, licence: str = "") -> dict[str, Any]:
        """Send a zip of captioned pictures; its `data` is what `train` takes. Asked once: it may be long."""
        headers, query = {"content-type": "application/octet-stream"}, {"name": name, "licence": licence}
        sent = {"params": query, "content": Path(file).read_bytes(), "headers": headers, "timeout": SEND_S}
        return dict(_checked(await _got(self._wire.client.post(f"{ROOT}/datasets", **sent))).json())

    async def train(self, data: str, name: str, engine: str = "train", **settings: Any) -> Any:
        """Queue a run and get its job: `watch` it, or wait for its `result`, the grid of its captions."""
        params = {"data": data, "name": name, **settings}
        return self._job(self._wire, await self._wire.post("/training", engine=engine, params=params))

    async def needs(self, data: str, name: str, engine: str = "train", **settings: Any) -> dict[str, Any]:
        """The bytes of disk and memory that such a run needs; nothing is queued."""
        params = {"data": data, "name": name, **settings}
        return dict(await self._wire.post("/training/estimate", engine=engine, params=params))

    async def run(self, job_id: str) -> dict[str, Any]:
        """What a run has learnt by now: its losses, how fast it is, its model once it has ended. Raises Unknown."""
        return dict(await self._wire.get(f"/training/{job_id}"))

    async def ask_run(self, job_id: str, what: str) -> dict[str, Any]:
        """Ask `pause`, `go-on`, or `keep` (end with the model it has) of a run of yours; its job, as it is then."""
        return dict(await self._wire.post(f"/training/{job_id}/{what}"))

    async def import_model(self, file: str | Path, name: str, licence: str = "") -> dict[str, Any]:
        """Bring a model along as one file: trained in another studio, or a LoRA. Its `name` is what to draw with.
        Needs a key of the scope host."""
        headers, query = {"content-type": "application/octet-stream"}, {"name": name, "licence": licence}
        sent = {"params": query, "content": Path(file).read_bytes(), "headers": headers, "timeout": SEND_S}
        return dict(_checked(await _got(self._wire.client.post(f"{ROOT}/models", **sent))).json())

    async def export_model(self, name: str, file: str | Path) -> Path:
        """The model KIND/NAME as one file, which `import_model` of another studio takes; where it is then."""
        answer = _checked(await _got(self._wire.client.get(f"{ROOT}/models/{name}/file", timeout=SEND_S)))
        Path(file).write_bytes(answer.content)
        return Path(file)


class Trainer(Studio):
    """A studio that trains: the words of AsyncTrainer, at once."""

    dataset, train = _now(AsyncTrainer.dataset), _now(AsyncTrainer.train)
    import_model, export_model = _now(AsyncTrainer.import_model), _now(AsyncTrainer.export_model)
    needs, run, ask_run = _now(AsyncTrainer.needs), _now(AsyncTrainer.run), _now(AsyncTrainer.ask_run)
