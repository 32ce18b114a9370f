"""The generated binding is what the pinned headers say."""

import ctypes
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cama.ggml import _abi, _llama_abi, _mtmd_abi

pytest.importorskip("clang.cindex", reason="libclang is not installed")
if shutil.which("gcc") is None:
    pytest.skip("gcc is not installed", allow_module_level=True)

pytestmark = pytest.mark.native

SCRIPT = Path(__file__).parents[3] / "scripts" / "generate_abi.py"


@pytest.fixture(scope="module")
def headers() -> tuple[Any, Any, Any]:
    found: tuple[Any, Any, Any] = importlib.import_module("scripts.generate_abi").headers()
    return found


def test_generated_files_are_up_to_date() -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(("index", "module"), [(0, _abi), (1, _llama_abi), (2, _mtmd_abi)])
def test_structures_have_the_compilers_layout(
    headers: tuple[Any, Any, Any], index: int, module: Any
) -> None:
    structs = headers[index].structs
    assert len(structs) > 4
    for name, cursor in structs.items():
        bound = getattr(module, name)
        assert ctypes.sizeof(bound) == cursor.type.get_size(), name
        offsets = [cursor.type.get_offset(f.spelling) // 8 for f in cursor.type.get_fields()]
        assert [getattr(bound, f[0]).offset for f in bound._fields_] == offsets, name


def test_functions_that_take_callbacks_release_the_gil() -> None:
    for name in ("ggml_backend_sched_set_eval_callback", "ggml_log_set", "ggml_map_custom1"):
        assert _abi.Ggml.__annotations__[name].startswith("Blocking")
    for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_log_set"):
        assert _llama_abi.Llama.__annotations__[name].startswith("Blocking")
    for name in ("mtmd_init_from_file", "mtmd_encode_chunk", "mtmd_tokenize_from_parts"):
        assert _mtmd_abi.Mtmd.__annotations__[name].startswith("Blocking")


def test_functions_that_build_graphs_keep_the_gil() -> None:
    for name in ("ggml_add", "ggml_mul_mat", "ggml_flash_attn_ext", "ggml_build_forward_expand"):
        assert _abi.Ggml.__annotations__[name].startswith("Callable")
