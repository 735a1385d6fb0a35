"""Requests that schemathesis makes from `openapi.json`, sent to a machine, and every answer held against the file."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from requests.models import PreparedRequest
from schemathesis import Case, CheckFunction, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from chkpt import sockets
from chkpt.service.paths import find_problem
from tests.support.served import OPENAPI

BASE: Final = "http://machine"

MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

ON_CONDITION: Final = {"/v1/save", "/v1/load", "/v1/media", "/v1/step"}
"""Where a request of the right form may still be refused: by the files that are there, or a machine without a CPU."""

OPERATIONS: Final = [(path, method.upper()) for path, methods in OPENAPI["paths"].items() for method in methods]


class UnixAdapter(HTTPAdapter):
    """Carries requests over a Unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: object = None,
    ) -> HTTPConnectionPool:
        path = self._path

        class Connection(HTTPConnection):
            def connect(self) -> None:
                self.sock = sockets.connect(path)

        pool = HTTPConnectionPool("machine")
        pool.ConnectionCls = Connection
        return pool


def fuzz(api: Path, operation: tuple[str, str], places: Sequence[Path], *, examples: int) -> Counter[int]:
    """Send requests for one operation, half of them as the file says and half not; return how often each status came.

    Args:
        api: the machine's socket.
        operation: path and method.
        places: what an absolute path in a request becomes, unless it is a relative one below the first of them: a
            machine of root's would write anywhere.
        examples: how many of each half.

    Raises:
        FailureGroup: an answer is not as the file says.
    """
    path, method = operation
    schema = schemathesis.openapi.from_dict(OPENAPI)
    found: Counter[int] = Counter()
    with requests.Session() as session:
        session.mount("http://", UnixAdapter(api))
        session.trust_env = False
        body = "requestBody" in OPENAPI["paths"][path][method.lower()]
        excluded: list[CheckFunction] = [positive_data_acceptance] if path in ON_CONDITION else []
        for mode in MODES if body else MODES[:1]:  # nothing can be wrong with a request that says nothing

            @seed(path)  # it would else be the same for every operation: this is one function, made again for each
            @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
            @given(schema[path][method].as_strategy(generation_mode=mode), st.sampled_from([None, *places]))
            def send(case: Case[Any], place: Path | None) -> None:
                tame(case, places[0], place)
                response = case.call(base_url=BASE, session=session, timeout=60)
                found[response.status_code] += 1
                case.validate_response(response, excluded_checks=excluded)

            send()
    return found


def tame(case: Case[Any], root: Path, place: Path | None) -> None:
    """Let an absolute path of a request be `place`, or lie below `root`."""
    body: object = case.body
    path = body.get("path") if isinstance(body, dict) else None
    if isinstance(body, dict) and isinstance(path, str) and find_problem(path) is None:  # else it is refused as it is
        names = [name for name in path.split("/") if name not in {"", ".", ".."}]
        body["path"] = str(place) if place is not None else os.path.join(root, *names) if names else "/"  # noqa: PTH118
