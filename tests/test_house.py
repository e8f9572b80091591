"""The house stays as it was designed: who may import whom, no circles, file sizes, no torch where it is not needed.

Every import counts wherever it stands, also inside a function. What stands under `if TYPE_CHECKING` is never run: it
counts for who may import whom, and not for circles.
"""

import ast
import graphlib
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The rooms are the packages that are there: one that is built tomorrow is held to the rules from its first file on.
ROOMS = sorted(p.parent.name for p in ROOT.glob("*/__init__.py"))
SOURCES = sorted([*ROOT.glob("*.py"), *(p for room in ROOMS for p in ROOT.glob(f"{room}/**/*.py"))])
TESTS = sorted(ROOT.glob("tests/**/*.py"))

# Whom a room, or a file beside the rooms, may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "settings": set(),
    "lasting": set(),
    "masking": set(),
    "logs": {"characters", "masking"},
    "telemetry": {"masking"},
    "ratings": set(),
    "characters": set(),
    "generator": {"characters", "lasting"},
    "db": {"characters", "lasting", "masking", "ratings"},
    "executor": {"db", "generator", "lasting", "masking", "settings", "telemetry"},
    "job_executor": {"characters", "executor", "db", "generator", "logs", "settings", "telemetry"},
    "studio": {"characters", "db", "generator", "masking", "ratings", "settings"},
    "pages": {"characters", "studio", "db", "generator", "masking", "ratings", "settings"},
    "api": {"characters", "studio", "db", "generator", "logs", "masking", "ratings", "settings", "telemetry"},
    "starter": {"db", "settings"},
    "webapp": {"pages", "api", "studio", "db", "logs", "ratings", "settings", "telemetry"},
}
# Who may import these of other people's packages.
FOREIGN: dict[str, set[str]] = {
    "streamlit": {"pages", "webapp"},
    "torch": {"generator", "executor", "job_executor"},
    "fastapi": {"api"},
    "starlette": {"api", "webapp"},
    "prometheus_client": {"api"},
    "opentelemetry": {"telemetry"},
    "c2pa": {"executor"},
}
# What pages, studio and api may know of the generator: all of it without torch.
SHOWN: set[str] = {
    "generator.registry",
    "generator.params",
    "generator.params.learning",
    "generator.params.sheet",
    "generator.params.vary",
    "generator.prompts",
    "generator.checkpoints.clip_space",
    "generator.checkpoints.inventory",
    "generator.checkpoints.errors",
    "generator.checkpoints.memory",
    "generator.checkpoints.model_file",
    "generator.checkpoints.training_needs",
    "generator.images.decode",
    "generator.images.freed",
    "generator.images.encode",
    "generator.images.formats",
    "generator.learning.stream.archive",
    "generator.learning.stream.contact_sheet",
    "generator.learning.stream.opening",
    "generator.learning.stream.report",
    "generator.learning.stream.samples",
    "generator.learning.stream.sources",
    "generator.output.animation",
    "generator.output.documents",
    "generator.output.film",
    "generator.output.infotext",
    "generator.output.infotext_read",
    "generator.output.learning",
    "generator.output.licence",
    "generator.output.metadata",
    "generator.output.sources",
    "generator.paddlehub.modules",
    "generator.paddlehub.planning",
    "generator.paddlehub.results",
    "generator.version",
    "generator.wording",
}
# Inside the generator each imports only what stands before it. Networks (models) know nothing of files; checkpoints
# builds them from files; sampling is arithmetic between noise levels, which no network is needed for.
LAYERS: tuple[str, ...] = (
    "version",
    "bundles",
    "registry",
    "prompts",
    "tokens",
    "tiling",
    "device",
    "transfer",
    "fused",
    "precision",
    "params",
    "wording",
    "images",
    "output",
    "sampling",
    "compiled",
    "models",
    "checkpoints",
    "guidance",
    "starts",
    "upscaler",
    "learning",
    "engines",
    "paddlehub",
    "drawing",
    "__main__",
    "training",
)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCES}


@cache
def imports_of(path: Path) -> dict[str, bool]:
    """What a file imports, as the longest dotted name that is a module of ours -> whether it is ever run."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    found: dict[str, bool] = {}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: write imports in full"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in whole]
        for name in names:
            found[name] = found.get(name, False) or id(node) not in typing_only
    return found


def loaded_by(module: str) -> set[str]:
    """The modules of ours that importing this one loads first, or that one of its functions does.

    Importing a.b.c runs the faces of a and a.b as well, but for the packages that the module itself is in.
    """
    around = {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)}
    found: set[str] = set()
    for name, is_run in imports_of(MODULES[module]).items():
        if is_run:
            packages = {name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)}
            found |= {name} | (packages - around - {module})
    return (found & MODULES.keys()) - {module}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def layer_of(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


def test_there_are_rules_for_every_room_and_layer() -> None:
    assert {room_of(module) for module in MODULES} <= MAY_IMPORT.keys()
    assert {m.split(".")[1] for m in MODULES if m.startswith("generator.")} == set(LAYERS)


def test_every_room_imports_only_what_it_may() -> None:
    for path in SOURCES:
        room = room_of(name_of(path))
        imported = {room_of(module) for module in imports_of(path)}
        assert not (imported & MAY_IMPORT.keys()) - MAY_IMPORT[room] - {room}, path
        assert not {name for name in imported & FOREIGN.keys() if room not in FOREIGN[name]}, path
        if room in ("pages", "studio", "api"):
            assert not {module for module in imports_of(path) if room_of(module) == "generator"} - SHOWN, path


def test_no_arrow_points_upwards_in_the_generator() -> None:
    for module in (m for m in MODULES if m.startswith("generator.")):
        imported = {name for name in imports_of(MODULES[module]) if name.startswith("generator.")}
        assert not {name for name in imported if layer_of(name) > layer_of(module)}, module
        if not module.startswith("generator.training"):
            assert not {name for name in imported if name.startswith("generator.training")}, module


def test_no_circle_of_imports() -> None:
    graphlib.TopologicalSorter({module: loaded_by(module) for module in MODULES}).prepare()  # raises CycleError


def test_no_file_is_too_long_or_a_drawer_for_leftovers() -> None:
    in_browsers = [path for kind in ("css", "js", "html") for path in ROOT.glob(f"pages/**/*.{kind}")]
    for path in (*SOURCES, *TESTS, *in_browsers):
        assert len(path.read_text().splitlines()) <= 400, path
        assert path.stem not in ("utils", "helpers", "common", "misc"), path


def test_what_draws_nothing_does_not_load_torch() -> None:
    """Pages, api, studio and db, and the tables, parameters and lists of the generator that they know."""
    rooms = ("pages", "api", "studio", "db", "ratings")
    layers = ("generator.registry", "generator.params")
    modules = {m for m in MODULES if room_of(m) in rooms or m.startswith(layers)} | SHOWN
    modules = {m for m in modules if not m.startswith("db.migrations.")}  # they run in a connection of their own
    code = f"import sys, importlib; [importlib.import_module(m) for m in {sorted(modules)}]; "
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
