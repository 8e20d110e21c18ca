"""The command line run in process: arguments in, exit code and both streams out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from routeline.cli import run


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """cli("compare", "DeepSeek-V3", ...) or cli("compare DeepSeek-V3 ...") -> Result."""

    def call(*arguments: str) -> Result:
        words = arguments[0].split() if len(arguments) == 1 else list(arguments)
        capsys.readouterr()
        code = run(words)
        seen = capsys.readouterr()
        return Result(code, seen.out, seen.err)

    return call
