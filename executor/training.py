"""A run in the executor's hands: one job that learns instead of drawing. It is saved in parts, watched as it learns,
and ends with a model that everybody can draw with."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import artefacts, queue
from db.artefacts import free_space
from db.errors import DiskNearlyFull, StoreUnavailable, UnknownArtefact
from db.jobs import HISTORY_POINTS, Job, thin
from db.models import trained
from db.wording import duration
from executor.context import Context
from executor.engines import EngineKey
from executor.job import PREVIEW_EVERY_S, Work
from executor.models import install, packed
from executor.outputs import File
from executor.run_files import FILMED_SHARE, RunFiles
from executor.states import RunStates
from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.training_needs import STATES_OF_ROOM
from generator.output.learning import History
from generator.params.learning import LearningParams

if TYPE_CHECKING:
    from generator.engines.base import Step
    from generator.engines.train import RunSlot
    from generator.params import JobParams

SHARE = 20.0  # saving, and writing the model so far, take at most so small a part of the time
_OTHER_RECIPE = (KeyError, TypeError, AttributeError, ValueError, RuntimeError)


class NoRoomToTrain(RuntimeError):
    """The disks have too little room for what a run has to keep."""


class RunWork(Work):
    """A claimed run until it is ended, given back or lost. Driven by the main loop as Work is.

    asked: what its owner wants of it, see db.queue.asking.
    """

    is_run = True
    slot: RunSlot | None  # type: ignore[assignment]
    params: LearningParams

    def __init__(self, job: Job, context: Context) -> None:
        super().__init__(job, context)
        self.asked = job.asked
        self._states = RunStates(context, job.id, self.attempt)
        self._reading: Iterator[tuple[int, dict[str, Any]]] | None = None
        self._speed: float | None = None
        self._saving_s = self._exporting_s = self._filming_s = 0.0
        self._exported_at = self._filmed_at = time.monotonic()
        self._storing_model = False
        self._model_at: int | None = None  # the step of the model that is stored so far

    @property
    def steps_per_s(self) -> float | None:
        return self._speed

    @property
    def ended_at(self) -> int | None:
        """A run may end before its last step."""
        return self.step

    @property
    def run_files(self) -> RunFiles:
        """What it has made."""
        assert isinstance(self._files, RunFiles)
        return self._files

    def begin(self, params: JobParams, device: str) -> None:
        """The parameters are read and good."""
        assert isinstance(params, LearningParams)
        self.params, self.key = params, EngineKey.of(self.job.engine, params)
        self._files = RunFiles(self.job.engine, params, self.attempt.folder, device)

    def store_kept(self) -> bool:
        step = self.job.step
        kept = super().store_kept()
        self.step = step if kept else self.step
        return kept

    # Saved states

    def read_state(self) -> dict[str, Any] | None:
        """The newest state that can be read; each further call finds the one before. None: start anew."""
        if self._reading is None:
            self._reading = self._states.read()
        found = next(self._reading, None)
        if found is None:
            return None
        step, document = found
        self._take_over(step, document)
        return document

    def unpack_state(self) -> dict[str, Any] | None:
        self._reading = None
        return self.read_state()

    def _take_over(self, step: int, document: dict[str, Any]) -> None:
        """What was measured and drawn up to this step becomes this attempt's."""
        files = self.run_files
        self.history = document["history"]
        files.history = History.of(document["measured"])
        files.spent_s = float(document["spent_s"])
        # What a kill has cost is learnt again, and was spent all the same.
        self.turn.spent_s = max(self.turn.spent_s, files.spent_s)
        stored = self.context.retry(lambda: artefacts.of_job(self.context.db, self.job.id)).get("samples")
        if stored is not None:
            try:
                files.samples.restore(self.context.store.get(stored.key), step)
            except (ValueError, OSError, UnknownArtefact) as error:
                self.tell("samples_lost", error)  # a shorter film

    def open(self, state: dict[str, Any] | None) -> None:
        """A slot to advance, from the newest state that fits. Raises what the engine raises, NoRoomToTrain."""
        from generator.learning.stream.samples import DataProblem

        self.slot = None
        while state is not None and self.slot is None:
            try:
                self.slot = self.engine.resume(self.params, state["slot"])  # type: ignore[assignment]
            except (DataProblem, StoreUnavailable):
                raise
            except _OTHER_RECIPE as error:
                self.tell("state_unusable", error)
                state = self.read_state()
        self._reading = None
        if self.slot is None:
            self.slot, self.history = self.engine.open(self.params), []  # type: ignore[assignment]
            self.run_files.history = History()
            self._check_room()
        assert self.slot is not None
        self.step = self.slot.index
        self._state_at = self._exported_at = self._filmed_at = time.monotonic()

    def _check_room(self) -> None:
        """Raises NoRoomToTrain, before the first step is made."""
        assert self.slot is not None
        context, least = self.context, self.context.settings.min_free_bytes
        try:
            size = _bytes_of(self.slot.state_dict())
            wanted = size * STATES_OF_ROOM
            self.say("needs_disk", state_mb=round(size / 1e6, 1), disk_mb=round(wanted / 1e6, 1))
            free_space.check(context.db, context.store, least, wanted=wanted, work_dir=context.work_dir)
        except BaseException as error:
            self.slot.close()
            self.slot = None
            if not isinstance(error, DiskNearlyFull):
                raise
            raise NoRoomToTrain(
                f"This run needs about {wanted / 1e9:.2f} GB of disk for its saved states and its model, and there is "
                "not so much room. Take a smaller model, or ask the host to make room."
            ) from error

    # Steps

    def on_step(self, step: Step) -> None:
        now, files = time.monotonic(), self.run_files
        assert self.slot is not None
        files.spent_s, files.captions = self.turn.spent_s, self.slot.captions
        self.step = step.index
        if step.progress is not None:
            self._speed = step.progress.steps_per_s or self._speed
        if "train" in step.losses:
            self.history.append([step.index, step.losses["train"]])
        if len(self.history) > 2 * HISTORY_POINTS:
            self.history = thin(self.history)
        files.on_step(step)
        if step.image is not None:
            self._show(step, now)
        if now - self._logged_at >= self.context.settings.heartbeat_s:
            self._logged_at = now
            self.say("step", total=step.total, steps_per_s=self._speed, loss=step.losses.get("train"))
        due = now - self._state_at >= max(self.context.settings.state_every_s, SHARE * self._saving_s)
        if due and not step.done and not self._writer.waiting:
            self.save_state()

    def _show(self, step: Step, now: float) -> None:
        """Samples were due: they are shown, with the losses, and the model so far is kept."""
        image, index = step.image, step.index
        assert image is not None
        self._writer.do(lambda: self._keep_sheet(index, image))
        if now - self._preview_at >= PREVIEW_EVERY_S and self._writer.waiting <= 2:
            self._preview_at = now
            self._writer.preview(image)
        if step.done or self._writer.waiting > 4:
            return
        film = now - self._filmed_at >= FILMED_SHARE * self._filming_s
        self._writer.do(lambda: self._store_so_far(film=film))
        if not self._storing_model and now - self._exported_at >= SHARE * self._exporting_s:
            self._store_model_so_far(index)

    def _keep_sheet(self, index: int, image: Any) -> None:
        try:
            self.run_files.sheet(index, image)
        except OSError as error:
            self.tell("sheet_missing", error)

    def _store_so_far(self, *, film: bool) -> None:
        """In the writer's thread: what others watch. A store that is away costs no more than that."""
        began = time.monotonic()
        try:
            for file in self.run_files.so_far(self.tell, film=film):
                self._writer.save(file)
        except StoreUnavailable as error:
            self.context.no_store(error)
        except OSError as error:
            self.tell("sheet_missing", error)
        if film:
            self._filmed_at = time.monotonic()
            self._filming_s = self._filmed_at - began

    def _store_model_so_far(self, index: int) -> None:
        """The model as it is now, which is what a run that goes wrong later leaves."""
        began = time.monotonic()
        try:
            model = self._exported("so-far")
        except OSError as error:
            return self.tell("model_not_kept", error)
        self._exporting_s = time.monotonic() - began
        self._storing_model = True

        def store() -> None:
            try:
                self._writer.save(File("model", b"", path=model[0]))
                self._model_at = index
            except StoreUnavailable as error:
                self.context.no_store(error)
            finally:
                self._exported_at, self._storing_model = time.monotonic(), False

        self._writer.do(store)

    def _exported(self, name: str) -> list[Path]:
        """The model as it is now, in one file. Raises OSError."""
        assert self.slot is not None
        folder = self.attempt.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        return [packed(self.slot.export(folder, self.run_files.card()), folder)]

    def save_state(self) -> None:
        """Keep what is needed to go on from here: a file now, since the next step changes the tensors; stored by the
        writer. A disk that is full costs the state, and not the run."""
        if self.slot is None or self.slot.done or self.slot.index == 0:
            return
        began, step = time.monotonic(), self.slot.index
        document = {
            "step": step,
            "slot": self.slot.state_dict(),
            "history": thin(self.history),
            "measured": self.run_files.history.plain(),
            "spent_s": self.turn.spent_s,
        }
        try:
            path = self._states.write(document, step)
        except OSError as error:
            self._state_at = time.monotonic()
            return self.tell("state_not_kept", error)
        self._state_at = time.monotonic()
        self._saving_s = self._state_at - began
        self._writer.do(lambda: self._put_state(path, step))

    def _put_state(self, path: Path, step: int) -> None:
        if self.context.store_trouble is not None or not path.exists():
            return  # it stays here, until a newer one is stored
        try:
            self._writer.save(File("state", self._states.put(path, step)))
        except StoreUnavailable as error:
            self.context.no_store(error)
        except OSError as error:
            self.tell("state_not_kept", error)

    # Its end

    @property
    def over_budget(self) -> bool:
        """Whether it has had all the time it may have."""
        budget_s = self.job.budget_s
        return budget_s is not None and self.turn.spent_s >= budget_s

    def finish(self) -> None:
        """The last step was made, or it is to be kept as it is: store the model and all files, then succeed."""
        assert self.slot is not None
        total = self.slot.run.total_steps
        if self.over_budget and self.step < total:
            self.run_files.stopped = f"after the {duration(self.job.budget_s or 0)} the host allows one run"
        elif self.step < total:
            self.run_files.stopped = f"at step {self.step:,} of {total:,}" + (" as asked" if self.asked else "")
        try:
            self.run_files.model = self._exported("model")
        except OSError as error:
            self.tell("model_not_written", error)
            self.save_state()
            return self.give_back("no room for its model")
        super().finish()

    def fail(self, kind: str, message: str) -> None:
        """It cannot go on: what it has learnt stays, as far as that is good."""
        if self.slot is not None and self.slot.index and kind not in ("diverged", "no_room_to_train"):
            try:
                self.run_files.model, self._model_at = self._exported("model"), self.slot.index
            except Exception as error:  # whatever stops the run may stop this
                self.tell("model_not_written", error)
        if isinstance(self._files, RunFiles):
            self._files.stopped = message
        if self._model_at is not None:
            message = f"{message} Its model of step {self._model_at:,} is kept."
        super().fail(kind, message)

    def pause(self) -> None:
        """As its owner asked: saved and given back; nobody claims it until it is to go on."""
        self.save_state()
        self._end(lambda: self._writer.release("paused by its owner"))

    def announce(self) -> None:
        """In the writer's thread, once its files are stored: the model is known by its name, and installed here."""
        context = self.context
        files = context.retry(lambda: artefacts.of_job(context.db, self.job.id))
        stored, told = files.get("model"), files.get("json")
        if stored is None or told is None:
            return
        # As it was stored: an executor that finds a finished run of before has read no parameters.
        document = json.loads(context.store.get(told.key))
        card = document["card"]
        add = partial(
            trained.add,
            context.db,
            name=card["name"],
            job_id=self.job.id,
            key=stored.key,
            sha256=stored.sha256,
            size=stored.size,
            licence=document["params"]["licence"],
            submitter=self.job.submitter,
            card=card,
        )
        model = context.retry(add)
        try:
            install(context, model)
        except (CheckpointDamaged, StoreUnavailable, OSError) as error:
            self.tell("not_installed", error)  # fetched when somebody draws with it
        self.say("trained", name=model.name, bytes=model.bytes)

    def _end(self, task: Any) -> None:
        if self.slot is not None:
            try:
                self.slot.close()
            except Exception as error:
                self.tell("data_not_closed", error)
        self.waits_for = None
        super()._end(task)


def _bytes_of(state: Any) -> int:
    """Bytes of all tensors in nested lists and dicts."""
    if isinstance(state, dict):
        return sum(map(_bytes_of, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(_bytes_of, state))
    return int(state.nbytes) if hasattr(state, "nbytes") else 0


def work_for(job: Job, context: Context) -> Work:
    """What an executor does with a claimed job."""
    from generator import registry

    spec = registry.ENGINES.get(job.engine)
    return RunWork(job, context) if spec is not None and spec.makes == "model" else Work(job, context)


def asked_of(context: Context, works: list[RunWork]) -> None:
    """Take note of what the owners of these runs ask."""
    found = queue.asked_of(context.db, [work.job.id for work in works])
    for work in works:
        work.asked = found.get(work.job.id)
