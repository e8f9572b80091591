"""A folder that Hugging Face's `datasets` library wrote with save_to_disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generator.learning.stream.metadata import caption_column, image_column
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import Skipped, why_not
from generator.learning.stream.table import bytes_of, first_of

MARKS = ("dataset_dict.json", "state.json")  # one of which such a folder has


class DatasetsFolder:
    """A Source. ids: SPLIT:ROW. Of a data set with splits only `train` is read, or the only one there is."""

    kind = "datasets"

    def __init__(self, path: Path) -> None:
        from datasets import DatasetDict, Image, load_from_disk

        self.name = path.name
        try:
            loaded = load_from_disk(str(path))
        except Exception as error:  # whatever its readers stumble over means the same here
            raise DataProblem(f"{self.name} is not a folder that save_to_disk wrote ({error}).") from None
        split = "train"
        if isinstance(loaded, DatasetDict):
            split = "train" if "train" in loaded else next(iter(loaded), "")
            if not split or ("train" not in loaded and len(loaded) > 1):
                raise DataProblem(f"{self.name} has no split train; it has {', '.join(map(str, loaded)) or 'none'}.")
            loaded = loaded[split]
        columns = loaded.column_names
        captions, self._images = caption_column(columns, self.name), image_column(columns, self.name)
        if isinstance(loaded.features[self._images], Image):
            loaded = loaded.cast_column(self._images, Image(decode=False))
        self._data: Any = loaded.select_columns([self._images])
        self.ids: list[str] = []
        self.skipped: list[Skipped] = []
        self._rows: list[int] = []
        self._captions: list[str] = []
        for row, value in enumerate(loaded[captions]):
            found = first_of(value)
            caption = found.strip() if isinstance(found, str) else ""
            if problem := why_not(caption):
                self.skipped.append(Skipped(f"{split}:{row}", *problem))
                continue
            self.ids.append(f"{split}:{row}")
            self._rows.append(row)
            self._captions.append(caption)
        if not self.ids:
            raise DataProblem(f"{self.name} holds no captioned picture.")

    def caption(self, index: int) -> str:
        return self._captions[index]

    def image(self, index: int) -> bytes:
        data = bytes_of(self._data[self._rows[index]][self._images])
        if not isinstance(data, bytes):
            raise DataProblem(
                f"{self.ids[index]} of {self.name} holds no picture, or the path of one that is elsewhere."
            )
        return data

    def close(self) -> None:
        """Let go of the mapped files."""
        self._data = None
