"""What an executor sees in pictures: a thread with a CLIP of its own, on the CPU, for the search by meaning.

It reads what is searched for, also while pictures are drawn; it looks at each picture that is finished here; and while
nothing is drawn it looks at those that nobody has looked at: older ones, or all of them after another CLIP was chosen.
The model is loaded by the main loop, between two steps: building one draws from the random numbers that all share.
"""

from __future__ import annotations

import logging
import math
import queue as fifo
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from db.errors import DatabaseReplaced, StoreUnavailable, UnknownArtefact
from db.search import embeddings, searches
from db.search.searches import Asked
from executor.context import DATABASE_DOWN, Context, awake
from executor.stall import Watch
from generator import registry
from generator.checkpoints.clip_space import clip_space
from generator.device import Host
from generator.images.decode import BadImage, ReadersBusy, decode_image
from generator.tiling import MAX_PX
from generator.tokens import PromptTooLong

if TYPE_CHECKING:
    import torch

    from generator.models.clip import ClipModel

LOOK_S = 0.15  # between two looks for searches: one narrow index is read, nothing written
MAX_BYTES = 512 << 20  # of a picture in the store
AT_ONCE = 4  # pictures at a time: whoever searches, or asks for a picture, has no more than these before them
WAITING = 16  # finished pictures that wait to be looked at; of more it is found later that nobody has
AGAIN_S = 600.0  # from the end of one walk through all pictures to the next
LOADS_S = 1.0  # until it is looked again whether the model is there
RETRY_S = 60.0  # for a model that cannot be loaded, or a store or database that is away


class Sight(threading.Thread):
    """Looks until `end()`. idle: whether no picture is drawn at this moment; a run that trains is none."""

    def __init__(self, context: Context, idle: Callable[[], bool]) -> None:
        super().__init__(name="sight", daemon=True)
        self._context, self._idle = context, idle
        self._clip: ClipModel | None = None
        self._wanted, self._ending, self._alone = threading.Event(), threading.Event(), threading.Event()
        self._finished: fifo.Queue[tuple[str, bytes | None]] = fifo.Queue(WAITING)
        self._space = ""
        self._load_at = self._walk_at = self._down_until = -math.inf
        self._before: str | None = None  # where the walk is: the id of the job it has come to
        try:
            self._space = clip_space(name) if (name := context.settings.search_clip) else ""
        except registry.UnknownName as error:
            context.event("no_search", logging.WARNING, error=f"T2I_SEARCH_CLIP: {error}")

    def start(self) -> None:
        """Begin to look, where there is a search by meaning here."""
        if not self._space:
            return
        import torch

        self._context.seen = self.finished
        all_of_them = torch.get_num_threads()
        super().start()
        self._alone.wait()
        torch.set_num_threads(all_of_them)  # also what threads to come begin with, which `run` has changed

    def end(self) -> None:
        """Look at what was finished, and no more; waits for it, two seconds at most."""
        self._ending.set()
        if self.ident is not None:
            self.join(2.0)

    def finished(self, job_id: str, picture: bytes | None) -> None:
        """A job has succeeded here. picture: its file; None where it has none. Never waits."""
        self._wanted.set()
        try:
            self._finished.put_nowait((job_id, picture))
        except fifo.Full:
            self._before, self._walk_at = None, -math.inf  # the walk comes by

    def load(self, watch: Watch) -> None:
        """Load the model where it is wanted by now. Called by the main loop, between two steps."""
        if not self._wanted.is_set() or self._clip is not None or awake() < self._load_at:
            return
        from generator.checkpoints.loading import load_clip
        from generator.images.convert import no_picture

        context = self._context
        try:
            row = registry.CLIP_MODELS[context.settings.search_clip]
            with watch.over([]):
                self._clip = load_clip(row, Host("cpu", context.settings.checkpoints_dir, no_picture))
        except Exception as error:  # it is not there, or damaged: pictures are drawn all the same
            if self._load_at == -math.inf:
                context.event("no_search", logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])
            self._load_at = awake() + RETRY_S

    def run(self) -> None:
        import torch

        torch.get_num_threads()  # a thread's first look at the number would set it again
        torch.set_num_threads(1)  # of this thread alone: those that draw would wait for each of several here
        self._alone.set()
        while True:
            first = self._next()
            if first is None and self._ending.is_set():
                return
            if awake() < self._down_until:
                self._walk_at = -math.inf
                continue
            try:
                self._look(first)
            except DatabaseReplaced:
                return
            except (StoreUnavailable, ReadersBusy, *DATABASE_DOWN):
                self._down_until = awake() + RETRY_S / 10  # the heartbeat says so
            except Exception as error:
                self._context.log.error("sight_failed", exc_info=error)
                self._down_until = awake() + RETRY_S

    def _next(self) -> tuple[str, bytes | None] | None:
        """What was finished, once it can be looked at; None after LOOK_S."""
        if self._clip is None:
            self._ending.wait(LOOK_S)
            return None
        try:
            return self._finished.get(timeout=0.0 if self._ending.is_set() else LOOK_S)
        except fifo.Empty:
            return None

    def _look(self, finished: tuple[str, bytes | None] | None) -> None:
        waiting = searches.asked(self._context.db, self._space)
        if waiting:
            self._wanted.set()
        if self._clip is not None:
            for one in waiting:
                self._answer(self._clip, one)
            if finished is not None:
                self._keep(self._clip, [finished])
        if not waiting and finished is None and self._idle():
            self._walk()

    def _keep(self, clip: ClipModel, files: Sequence[tuple[str, bytes | None]]) -> None:
        """Look at these jobs' pictures, and keep what is seen."""
        seen = {job_id: None if data is None else self._seen(clip, job_id, data) for job_id, data in files}
        embeddings.save(self._context.db, self._space, seen)

    def _answer(self, clip: ClipModel, asked: Asked) -> None:
        vector, problem = None, None
        try:
            if asked.picture is not None:
                vector = _of_picture(clip, asked.picture)
            else:
                vector = _of_words(clip, asked.words or "")
        except ReadersBusy:
            raise  # it is read at the next look
        except (PromptTooLong, BadImage) as error:
            problem = str(error)
        except Exception as error:  # one that cannot be read holds up no other
            self._context.log.error("not_read", exc_info=error)
            problem = "It cannot be read here; the executor's log says why."
        if vector is None and problem is None:
            problem = "This CLIP makes nothing of it."
        searches.answer(self._context.db, self._space, asked.digest, vector=vector, problem=problem)

    def _walk(self) -> None:
        """Go on from the newest job to the oldest, AT_ONCE pictures at a time."""
        context = self._context
        if awake() < self._walk_at:
            return
        some, further = embeddings.unseen(context.db, self._space, before_id=self._before)
        nothing = {one.job_id: None for one in some if one.key is None}
        if nothing:
            embeddings.save(context.db, self._space, nothing)
        pictures = [(one.job_id, one.key) for one in some if one.key is not None][:AT_ONCE]
        if pictures:
            if self._clip is None:
                self._wanted.set()
                self._walk_at = awake() + LOADS_S
            else:
                self._keep(self._clip, [(job_id, self._read(key)) for job_id, key in pictures])
        elif further is not None:
            self._before = further
        else:
            self._before, self._walk_at = None, awake() + AGAIN_S

    def _read(self, key: str) -> bytes:
        """A picture's file; empty where it is gone."""
        try:
            return self._context.store.get(key)
        except UnknownArtefact:
            return b""

    def _seen(self, clip: ClipModel, job_id: str, picture: bytes) -> bytes | None:
        """What is seen in a picture; None where it cannot be read."""
        try:
            return _of_picture(clip, picture)
        except ReadersBusy:
            raise  # it is seen when the walk comes by
        except BadImage as error:
            self._context.event("not_seen", logging.WARNING, job=job_id, error=str(error))
        except Exception as error:
            self._context.log.error("not_seen", exc_info=error, extra={"fields": {"job": job_id}})
        return None


def _of_words(clip: ClipModel, words: str) -> bytes | None:
    import torch

    with torch.inference_mode():
        return _packed(clip.encode_text([words])[0])


def _of_picture(clip: ClipModel, picture: bytes) -> bytes | None:
    """Of a picture cut to a square as CLIP's own preparation does. Raises BadImage."""
    import torch

    from generator.images.convert import cover, to_tensor

    side = clip.resolution
    image = cover(decode_image(picture, MAX_BYTES, MAX_PX), side, side)
    with torch.inference_mode():
        return _packed(clip.encode_image(to_tensor(image)[None])[0])


def _packed(vector: torch.Tensor) -> bytes | None:
    """(D,) of unit length as float16; None where it is no vector."""
    import torch

    return vector.to(torch.float16).numpy().tobytes() if bool(vector.isfinite().all()) else None
