"""python -m generator.checkpoints: list, download, verify and remove the weights of the real models; export a model of
one's own as a folder of diffusers (export caption-diffusion/NAME FOLDER), and import such a folder again (import FOLDER
caption-diffusion/NAME)."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from characters.brief import Parser
from generator.checkpoints import caption_folder
from generator.checkpoints.command_line import checkpoints_dir_option, listing, path_of
from generator.checkpoints.download import DownloadFailed, FolderProblem
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.loading import verify
from generator.checkpoints.resolve import resolve_files
from generator.checkpoints.store import download, remove
from generator.registry import PUBLISHED, UnknownName, is_own_clip, own_kind


class _Bar:
    """A progress bar per file."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._name = ""

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if self._bar is None or self._name != name:
            self.close()
            self._name = name
            self._bar = tqdm(desc=name, total=total, unit="B", unit_scale=True, disable=None)
        # Set, not added: a download that goes on or starts again moves the bar to where it really is.
        self._bar.n = done
        self._bar.update(0)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 where a download or check failed, 2 for an unknown name or a missing checkpoint."""
    parser = Parser(prog="python -m generator.checkpoints", description=__doc__)
    parser.add_argument("action", choices=("list", "download", "verify", "remove", "export", "import"))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="as `list` shows them, or KIND/OWNER/MODEL of Hugging Face"
    )
    parser.add_argument("--mirror", metavar="URL", help="a base URL to try before the sources")
    checkpoints_dir_option(parser)
    args = parser.parse_args(argv)
    if args.action == "list":
        print(listing(args.checkpoints_dir))
        return 0
    if not args.names:
        print(f"Name what to {args.action}: {', '.join(PUBLISHED)}.", file=sys.stderr)
        return 2
    if args.action in ("export", "import"):
        return _convert(args.action, args.names, args.checkpoints_dir)
    bar = _Bar()
    try:
        for name in args.names:
            if not (own_kind(name) or (args.action == "verify" and is_own_clip(name))):
                resolve_files(name, args.checkpoints_dir)
        for name in args.names:
            if args.action == "download":
                download(name, args.checkpoints_dir, progress=bar, say=tqdm.write, mirror=args.mirror)
                bar.close()
                print(f"{name} is installed in {args.checkpoints_dir}.")
            elif args.action == "verify":
                verify(name, args.checkpoints_dir, say=print)
                print(f"{name}: hashes, keys and shapes are right.")
            else:
                gone = remove(name, args.checkpoints_dir)
                print(f"{name}: {', '.join(path.name for path in gone)} removed." if gone else f"{name}: not there.")
    except (UnknownName, CheckpointMissing) as error:
        print(error, file=sys.stderr)
        return 2
    except (CheckpointDamaged, DownloadFailed, FolderProblem, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What has arrived is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    finally:
        bar.close()
    return 0


def _convert(action: str, names: Sequence[str], checkpoints_dir: Path) -> int:
    """One file into a folder of diffusers or back: 0, 1 where it failed, 2 for names that do not fit."""
    kind = "caption-diffusion"
    name, folder = names[:: 1 if action == "export" else -1] if len(names) == 2 else ("", "")
    if own_kind(name) != kind:
        order = f"{kind}/NAME FOLDER" if action == "export" else f"FOLDER {kind}/NAME"
        print(f"Write: python -m generator.checkpoints {action} {order}", file=sys.stderr)
        return 2
    try:
        if action == "export":
            caption_folder.export_folder(name, path_of(folder), checkpoints_dir)
            print(f"{folder} holds {name}: StableDiffusionPipeline.from_pretrained({folder!r}) loads it.")
        else:
            print(f"{caption_folder.import_folder(path_of(folder), name, checkpoints_dir)} is {name}.")
    except CheckpointMissing as error:
        print(error, file=sys.stderr)
        return 2
    except (CheckpointDamaged, OSError, ArgumentTypeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
