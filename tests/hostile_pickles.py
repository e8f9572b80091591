"""Pickles that only look like weights: each would run a command, write a file or take all memory in a careless reader.

Every payload, where there is one, writes the file `mark`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What is known to run code, read or write files, or fetch something when a pickle calls it.
GADGETS: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("os", "system", ("touch {mark}",)),
    ("posix", "system", ("touch {mark}",)),
    ("nt", "system", ("echo > {mark}",)),
    ("os", "popen", ("touch {mark}",)),
    ("os", "execv", ("/bin/touch", ("touch", "{mark}"))),
    ("os", "posix_spawn", ("/bin/touch", ("touch", "{mark}"), {})),
    ("os", "remove", ("{mark}",)),
    ("subprocess", "Popen", (("touch", "{mark}"),)),
    ("subprocess", "check_output", (("touch", "{mark}"),)),
    ("subprocess", "getoutput", ("touch {mark}",)),
    ("_posixsubprocess", "fork_exec", ()),
    ("pty", "spawn", (("touch", "{mark}"),)),
    ("builtins", "eval", ("open({mark!r}, 'w')",)),
    ("builtins", "exec", ("open({mark!r}, 'w')",)),
    ("__builtin__", "eval", ("open({mark!r}, 'w')",)),
    ("builtins", "compile", ("open({mark!r}, 'w')", "x", "exec")),
    ("builtins", "__import__", ("os",)),
    ("builtins", "open", ("{mark}", "w")),
    ("builtins", "getattr", ("os", "system")),
    ("builtins", "setattr", ("os", "system", 1)),
    ("builtins", "breakpoint", ()),
    ("io", "open", ("{mark}", "w")),
    ("codecs", "open", ("{mark}", "w")),
    ("pathlib", "Path.touch", ("{mark}",)),
    ("importlib", "import_module", ("os",)),
    ("runpy", "run_path", ("{mark}",)),
    ("runpy", "_run_code", ("open({mark!r}, 'w')", {})),
    ("types", "FunctionType", ()),
    ("types", "CodeType", ()),
    ("marshal", "loads", (b"\xe3",)),
    ("pickle", "loads", (b"cos\nsystem\n(S'touch {mark}'\ntR.",)),
    ("_pickle", "loads", (b"cos\nsystem\n(S'touch {mark}'\ntR.",)),
    ("cloudpickle", "loads", (b"cos\nsystem\n(S'touch {mark}'\ntR.",)),
    ("functools", "partial", ("os.system", "touch {mark}")),
    ("operator", "methodcaller", ("system", "touch {mark}")),
    ("operator", "attrgetter", ("system",)),
    ("timeit", "timeit", ("open({mark!r}, 'w')",)),
    ("cProfile", "run", ("open({mark!r}, 'w')",)),
    ("pdb", "run", ("open({mark!r}, 'w')",)),
    ("bdb", "Bdb.run", ("open({mark!r}, 'w')",)),
    ("code", "InteractiveInterpreter.runcode", ("open({mark!r}, 'w')",)),
    ("ctypes", "CDLL", ("libc.so.6",)),
    ("multiprocessing", "Process", ()),
    ("asyncio", "create_subprocess_shell", ("touch {mark}",)),
    ("socket", "create_connection", (("127.0.0.1", 9),)),
    ("urllib.request", "urlopen", ("file://{mark}",)),
    ("http.client", "HTTPSConnection", ("127.0.0.1",)),
    ("webbrowser", "open", ("file://{mark}",)),
    ("shutil", "copyfile", ("/etc/hostname", "{mark}")),
    ("tempfile", "mkdtemp", ()),
    ("logging", "FileHandler", ("{mark}",)),
    ("logging.config", "dictConfig", ({"version": 1, "handlers": {}},)),
    ("sqlite3", "connect", ("{mark}",)),
    ("zipfile", "ZipFile", ("{mark}", "w")),
    ("numpy", "save", ("{mark}", 1)),
    ("numpy", "load", ("{mark}", None, True)),
    ("numpy.testing._private.utils", "runstring", ("open({mark!r}, 'w')", {})),
    ("torch", "load", ("{mark}",)),
    ("torch", "save", (1, "{mark}")),
    ("torch.jit", "load", ("{mark}",)),
    ("torch.hub", "load", ("x/y", "z")),
    ("torch.hub", "download_url_to_file", ("file:///etc/hostname", "{mark}")),
    ("torch.storage", "_load_from_bytes", (b"cos\nsystem\n(S'touch {mark}'\ntR.",)),
    ("torch._utils", "_import_dotted_name", ("os.system",)),
    ("torch.utils.cpp_extension", "load", ("x", ())),
    ("torch.utils.collect_env", "run", ("touch {mark}",)),
    ("torch.fx.graph_module", "reduce_graph_module", ({}, "import os")),
    ("torch.ops", "load_library", ("{mark}",)),
    ("torch.serialization", "add_safe_globals", ((),)),
    ("pip", "main", (("install", "x"),)),
    ("__main__", "x", ()),
)


def hostile_pickles(mark: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents. The name's first part says what kind of trap it is."""
    yield from _calls(mark)
    yield from _pickles(mark)
    yield from _tensors()
    yield from _names()


def archive(pickled: bytes, files: dict[str, bytes] | None = None, root: str = "archive") -> bytes:
    """What torch.save would write of that pickle."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for name, data in {"data.pkl": pickled, "version": b"3\n", "data/0": b"\0" * 16, **(files or {})}.items():
            made.writestr(f"{root}/{name}", data)
    return held.getvalue()


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def named(value: bytes, name: str = "w") -> bytes:
    """The pickle of {name: value}; value: the opcodes that push it."""
    return b"\x80\x02}" + text(name) + value + b"s."


def _call(module: str, name: str, arguments: tuple[Any, ...]) -> bytes:
    pushed = pickle.dumps(arguments, 2)[2:-1]
    return f"c{module}\n{name}\n".encode() + pushed + b"R"


def _storage(kind: str = "FloatStorage", key: str = "0", numel: int = 4, end: bytes = b"") -> bytes:
    device = text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    return b"(" + device + pickle.dumps(numel, 2)[2:-1] + end + b"tQ"


def tensor(size: tuple[Any, ...] = (4,), stride: tuple[Any, ...] = (1,), offset: int = 0, **storage: Any) -> bytes:
    values: tuple[Any, ...] = (offset, size, stride, False, {})
    places = b"".join(pickle.dumps(value, 2)[2:-1] for value in values)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + _storage(**storage) + places + b"tR"


def _marked(value: Any, mark: Path) -> Any:
    if isinstance(value, tuple):
        return tuple(_marked(one, mark) for one in value)
    if isinstance(value, bytes):
        return value.replace(b"{mark}", str(mark).encode())
    return value.format(mark=str(mark)) if isinstance(value, str) else value


def _calls(mark: Path) -> Iterator[tuple[str, bytes]]:
    for module, name, arguments in GADGETS:
        call = _call(module, name, _marked(arguments, mark))
        yield f"call/{module}.{name}", archive(named(call))
    system = _call("os", "system", (f"touch {mark}",))
    yield "call/at-the-top", archive(b"\x80\x02" + system + b".")
    yield "call/as-a-key-alone", archive(b"\x80\x02}" + system + tensor() + b"s.")
    yield "call/through-inst", archive(named(f"(S'touch {mark}'\nios\nsystem\n".encode()))
    yield "call/through-obj", archive(named(f"(cos\nsystem\nS'touch {mark}'\no".encode()))
    yield "call/through-newobj", archive(named(b"cos\nsystem\n" + text(f"touch {mark}") + b"\x85\x81"))
    yield "call/through-stack-global", archive(b"\x80\x04}" + text("w") + text("os") + text("system") + b"\x93)Rs.")
    yield "call/through-build", archive(named(b"cos\nsystem\n)R}" + text("__setstate__") + system + b"sb"))
    yield (
        "call/defaults-of-a-function",
        archive(named(b"ctorch._utils\n_rebuild_tensor_v2\nN}" + text("__defaults__") + b"K\x01\x85s\x86b")),
    )
    yield "call/a-class-of-ours", archive(named(b"ccollections\nOrderedDict\n}" + text("pop") + b"NsbN"))
    made_of_a_call = b"ctorch._utils\n_rebuild_parameter\n" + system + b"\x89}\x87R"
    yield "call/inside-a-parameter", archive(named(made_of_a_call))
    yield "call/in-an-old-file", old(named(system))
    yield "call/in-an-old-files-first-lines", old(named(tensor()), first=b"\x80\x02" + system + b".")
    yield "call/a-bare-pickle", b"\x80\x02" + system + b"."
    yield "call/a-bare-pickle-in-text", f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()


def old(
    pickled: bytes, *, first: bytes | None = None, keys: Any = ("0",), listed: bytes | None = None,
    storages: bytes | None = None,
) -> bytes:  # fmt: skip
    """The file that torch.save wrote before PyTorch 1.6. listed: the pickle of the keys of its storages."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + (first or pickle.dumps(system, 2))
    return head + pickled + (listed or pickle.dumps(list(keys), 2)) + (storages or struct.pack("<q4f", 4, 1, 2, 3, 4))


def _pickles(mark: Path) -> Iterator[tuple[str, bytes]]:
    fine = named(tensor())
    yield "pickle/two-in-one", archive(fine[:-1] + b"0" + fine)
    yield "pickle/a-second-after-it", archive(fine + b"cos\nsystem\n(S'x'\ntR.")
    yield "pickle/stacked-protocols", archive(b"\x80\x02\x80\x04\x80\x05" + fine[2:])
    yield "pickle/unknown-protocol", archive(b"\x80\xff" + fine[2:].replace(b"s.", b"s"))
    yield "pickle/cut-short", archive(fine[: len(fine) // 2])
    yield "pickle/empty", archive(b"")
    yield "pickle/noise", archive(b"\xff\xfe\xfd" * 99)
    yield "pickle/takes-from-an-empty-stack", archive(b"\x80\x020000.")
    yield "pickle/takes-across-a-mark", archive(b"\x80\x02K\x01(R.")
    yield "pickle/remembers-nothing", archive(named(b"j\xff\xff\xff\x7f"))
    yield "pickle/a-memo-of-billions", archive(named(b"Nr\xff\xff\xff\x7f"))
    yield "pickle/bytes-of-exabytes", archive(named(b"\x8e" + struct.pack("<Q", 1 << 60)))
    yield "pickle/text-of-gigabytes", archive(named(b"X\xff\xff\xff\xff"))
    yield "pickle/a-negative-length", archive(named(b"\x8b\xff\xff\xff\xff"))
    yield "pickle/a-frame-of-exabytes", archive(b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + fine[2:-3])
    yield "pickle/an-integer-of-digits", archive(named(b"I" + b"9" * 1_000_000 + b"\n"))
    yield (
        "pickle/a-long-of-megabytes",
        archive(b"\x80\x02}\x8b" + struct.pack("<i", 4 << 20) + b"\x7f" * (4 << 20) + b"Ns."),
    )
    yield "pickle/a-key-that-takes-forever", archive(b"\x80\x02})" + b"2\x86" * 200 + tensor() + b"s.")
    yield "pickle/a-list-in-itself", archive(named(b"]2a"))
    yield "pickle/nested-without-end", archive(named(b"]" * 20_000 + b"a" * 19_999))
    yield "pickle/extension-registry", archive(named(b"\x82\x01"))
    yield "pickle/a-reference-in-text", archive(named(b"Pcpu\n"))
    yield "pickle/a-buffer-from-elsewhere", archive(named(b"\x97"))
    yield "pickle/a-class-named-by-a-number", archive(b"\x80\x04}" + text("w") + b"K\x01K\x02\x93s.")
    yield "pickle/a-key-without-a-value", archive(b"\x80\x02}(" + text("w") + b"u.")
    yield "pickle/no-state-dict", archive(pickle.dumps([1, 2], 2))
    yield "pickle/an-empty-state-dict", archive(pickle.dumps({}, 2))
    yield "pickle/a-number-for-a-tensor", archive(pickle.dumps({"w": 1}, 2))
    yield "pickle/a-number-for-a-name", archive(pickle.dumps({1: 2}, 2))
    yield "pickle/a-huge-number-for-a-name", archive(pickle.dumps({10**6000: 2}, 2))
    yield "pickle/reduce-of-what-is-no-tuple", archive(named(b"cos\nsystem\nK\x01R"))
    yield "pickle/optimised", archive(pickletools.optimize(pickle.dumps({"w": {"x": mark.name}}, 4)))


def _tensors() -> Iterator[tuple[str, bytes]]:
    yield "tensor/one-number-a-billion-times", archive(named(tensor((1 << 15, 1 << 15), (0, 0))))
    yield "tensor/larger-than-its-storage", archive(named(tensor((1 << 20,))))
    yield "tensor/behind-its-storage", archive(named(tensor((1,), (1,), 1 << 30)))
    yield "tensor/before-its-storage", archive(named(tensor((1,), (1,), -4)))
    yield "tensor/steps-backwards", archive(named(tensor((4,), (-1,), 3)))
    yield "tensor/of-negative-size", archive(named(tensor((-4,))))
    yield "tensor/of-astronomical-size", archive(named(tensor((10**400,), (10**400,))))
    yield "tensor/of-astronomical-size-and-none", archive(named(tensor((1 << 48, 1 << 48, 0), (1, 1, 1))))
    yield "tensor/of-a-thousand-dimensions", archive(named(tensor((1,) * 1000, (1,) * 1000)))
    yield "tensor/sizes-and-strides-differ", archive(named(tensor((2, 2))))
    yield "tensor/size-of-text", archive(named(tensor(("4",))))
    yield (
        "tensor/of-no-storage",
        archive(named(b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00K\x01\x85K\x01\x85\x89}tR")),
    )
    yield "tensor/of-too-few-arguments", archive(named(b"ctorch._utils\n_rebuild_tensor_v2\n)R"))
    yield "storage/not-there", archive(named(tensor(key="7")))
    yield "storage/outside", archive(named(tensor(key="../../../../etc/passwd")))
    yield "storage/absolute", archive(named(tensor(key="/etc/passwd")))
    yield "storage/the-pickle-itself", archive(named(tensor(key="../data.pkl")))
    yield "storage/longer-than-it-is", archive(named(tensor(numel=1 << 30)))
    yield "storage/negative", archive(named(tensor(numel=-1)))
    yield "storage/of-an-unknown-kind", archive(named(tensor(kind="PickleStorage")))
    yield (
        "storage/of-two-kinds",
        archive(b"\x80\x02}" + text("a") + tensor() + b"s" + text("b") + tensor(kind="IntStorage") + b"s."),
    )
    yield "storage/a-view", old(named(tensor(end=b"(" + text("v") + b"K\x00K\x04t")))
    shared = b"".join(
        text(f"w{n}") + (tensor((1 << 18,), numel=1 << 18) + b"q\x01" if n == 0 else b"h\x01") + b"s"
        for n in range(2000)
    )
    yield "storage/shared-two-thousand-times", archive(b"\x80\x02}" + shared + b".", {"data/0": bytes(1 << 20)})
    yield "storage/packed", _deflated_storage()
    yield "storage/of-another-byte-order", archive(named(tensor()), {"byteorder": b"big"})
    yield "old/storages-missing", old(named(tensor()), storages=b"\0")
    yield "old/storages-longer", old(named(tensor()), storages=struct.pack("<q4f", 4, 1, 2, 3, 4) + b"PK\x05\x06")
    yield "old/a-storage-of-exabytes", old(named(tensor()), storages=struct.pack("<q4f", 1 << 60, 1, 2, 3, 4))
    yield "old/a-negative-storage", old(named(tensor()), storages=struct.pack("<q4f", -4, 1, 2, 3, 4))
    yield "old/keys-of-others", old(named(tensor()), keys=("1",))
    yield "old/keys-twice", old(named(tensor()), keys=("0", "0"))
    yield "old/keys-of-no-kind", old(named(tensor()), keys=({},))


# What a terminal would obey, what fills a page, and what cannot be written down.
NAMES = {
    "a-command-for-the-terminal": "\x1b]0;owned\x07\x1b[2J\x1b[31mw",
    "many-lines": "w\n" * 400,
    "a-hundred-thousand-letters": "w" * 100_000,
    "half-a-letter": "\ud800w",
    "right-to-left": "\u202ew",
}


def _names() -> Iterator[tuple[str, bytes]]:
    for what, name in NAMES.items():
        yield f"name/{what}", archive(named(tensor(), name))
        yield f"name/{what}-of-what-is-no-tensor", archive(named(b"]", name))
        yield f"name/{what}-for-a-storage", archive(named(tensor(key=name)))
    yield "name/a-command-for-a-kind-of-numbers", archive(named(tensor(kind="\x1b[2JStorage")))


def _deflated_storage() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("archive/data.pkl", named(tensor(numel=1 << 22, size=(1 << 22,))))
        made.writestr("archive/data/0", bytes(1 << 24), zipfile.ZIP_DEFLATED)
    return held.getvalue()
