"""Rules of the house: what a reader of the tree may rely on."""

import ast
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

import cama
from cama.core.errors import CamaError
from cama.core.settings import Settings
from cama.engine.native.dialect import FORMS
from cama.engine.native.models import _DEFINITIONS

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "src" / "cama" / "engine" / "native" / "models"
GENERATED = {"_abi.py", "_llama_abi.py", "_mtmd_abi.py"}
HEAVY = {"fastapi", "httpx", "jinja2", "llama_cpp", "numpy", "prompt_toolkit", "pydantic"}
HEAVY |= {"starlette", "uvicorn", "cama.ggml", "cama.engine", "cama.api"}


def test_readme_documents_every_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    for item in fields(Settings):
        line = f"| `{item.metadata['variables'][0]}` | {item.metadata['help']} |"
        assert line in readme


def test_every_error_has_a_code_of_its_own() -> None:
    codes = Counter(kind.code for kind in CamaError.kinds())
    assert [code for code, count in codes.items() if count > 1] == []


def test_no_file_outgrows_its_idea() -> None:
    sources = [p for p in (ROOT / "src").rglob("*.py") if p.name not in GENERATED]
    long = {p.name: n for p in sources if (n := len(p.read_text().splitlines())) > 400}
    assert len(sources) > 50
    assert long == {}


def test_a_model_is_a_short_file() -> None:
    lengths = [len(path.read_text().splitlines()) for path in MODELS.glob("[a-z]*.py")]
    assert len(lengths) > 25
    assert statistics.median(lengths) <= 90


def test_architectures_are_named_by_their_own_files_and_by_tables_only() -> None:
    """Whatever else an engine does must hold for all of them."""
    names = {*_DEFINITIONS, *(form.written for form in FORMS)} - {"llama"}  # an engine's, too
    tables = {"native/models/__init__.py", "native/dialect.py", "llama/adapters.py"}
    engine = ROOT / "src" / "cama" / "engine"
    files = [path for path in engine.rglob("*.py") if path.parent != MODELS]
    named = {
        f"{path.relative_to(engine)}: {node.value}"
        for path in files
        if str(path.relative_to(engine)) not in tables
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert len(files) > 60
    assert named == set()


def test_package_shows_what_it_says() -> None:
    assert cama.__all__ == sorted(cama.__all__)
    assert all(hasattr(cama, name) for name in cama.__all__)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_of_the_command_line_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, runpy, atexit\n"
        "atexit.register(lambda: print('\\nMODULES', *sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['cama', *{arguments!r}]\n"
        "runpy.run_module('cama', run_name='__main__')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"CAMA_HOST": "127.0.0.1:1", "PATH": "", "HOME": "/nonexistent"},
    )
    modules = set(result.stderr.rsplit("MODULES", 1)[1].split())
    assert "cama.cli.main" in modules
    assert modules & HEAVY == set()
