"""An S3 store for chaos.py that can be made to refuse: `python scripts/chaos_s3.py PORT FILE`.

moto's server, which keeps all in memory; while there is a FILE it answers 503, as S3 does to whom it asks to slow down.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class Refusing:
    """A WSGI application that answers 503 while there is a file of this name."""

    def __init__(self, application: Any, file: Path) -> None:
        self._application, self._file = application, file

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self._file.exists():
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"]
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer


if __name__ == "__main__":
    served = Refusing(DomainDispatcherApplication(create_backend_app), Path(sys.argv[2]))
    run_simple("127.0.0.1", int(sys.argv[1]), served, threaded=True)
