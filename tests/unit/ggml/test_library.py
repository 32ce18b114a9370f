"""Finding, loading and checking the native libraries."""

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from cama.core.errors import LibraryMismatch, LoadFailed
from cama.ggml import _abi
from cama.ggml._abi import Ggml, ggml_init_params, ggml_tensor
from cama.ggml.abort import AbortFlag
from cama.ggml.library import check, ggml, library_path
from cama.ggml.llama import llama, load_model, model_params

pytestmark = pytest.mark.native

PATHS = ("ggml-base", "ggml-cpu", "ggml")


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )


def test_every_bound_function_exists() -> None:
    for library in (ggml(), llama()):
        for name in type(library).__annotations__:
            assert callable(getattr(library, name))


def test_unknown_function_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="ggml_no_such_thing"):
        getattr(ggml(), "ggml_no_such_thing")  # noqa: B009  (mypy knows it is not there)


def test_function_that_the_library_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Ggml.__annotations__, "ggml_gone", "Callable[[Pointer], None]")
    with pytest.raises(LibraryMismatch, match="ggml_gone"):
        getattr(ggml(), "ggml_gone")  # noqa: B009


def test_function_is_bound_once() -> None:
    assert ggml().ggml_add is ggml().ggml_add


def test_null_comes_back_as_zero() -> None:
    context = ggml().ggml_init(ggml_init_params(mem_size=1024))
    first: int = ggml().ggml_get_first_tensor(context)
    ggml().ggml_free(context)
    assert first == 0


def test_structures_pass_by_value_and_tensors_read_back() -> None:
    lib = ggml()
    context = lib.ggml_init(ggml_init_params(mem_size=4096, no_alloc=True))
    address = lib.ggml_new_tensor_3d(context, _abi.GGML_TYPE_F32, 7, 5, 3)
    tensor = ggml_tensor.from_address(address)
    assert (tensor.ne[:], tensor.nb[1]) == ([7, 5, 3, 1], 28)
    assert lib.ggml_nbytes(address) == 7 * 5 * 3 * 4
    lib.ggml_free(context)


def test_check_accepts_the_pinned_library() -> None:
    check(ggml())


def test_check_refuses_another_version() -> None:
    library = Ggml([library_path(name) for name in PATHS])
    library.ggml_version = lambda: b"0.1.2"
    with pytest.raises(LibraryMismatch, match=r"libggml 0\.1\.2 found") as caught:
        check(library)
    assert caught.value.fields == {"found": "0.1.2"}


def test_check_refuses_another_tensor_size() -> None:
    library = Ggml([library_path(name) for name in PATHS])
    library.ggml_tensor_overhead = lambda: 400
    with pytest.raises(LibraryMismatch, match="400 bytes"):
        check(library)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LibraryMismatch, match="llama-cpp-python"):
        library_path("ggml")


def test_missing_library_is_named() -> None:
    with pytest.raises(LibraryMismatch, match="nothing"):
        library_path("nothing")


def test_file_that_is_no_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "libggml.so.0"
    path.write_text("text")
    with pytest.raises(LibraryMismatch, match=r"cannot load libggml\.so\.0"):
        Ggml([path])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_each_library_is_mapped_once_and_the_package_not_imported() -> None:
    code = """if 1:
        import sys
        from cama.ggml.llama import llama
        llama()
        assert "llama_cpp" not in sys.modules
        files = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
        print(*sorted(f.rsplit("/", 1)[1] for f in files if "libggml" in f or "libllama" in f))
    """
    names = ["libggml-base.so.0", "libggml-cpu.so.0", "libggml.so.0", "libllama.so.0"]
    assert python(code).stdout.split() == names


def test_libraries_write_nothing_to_the_terminal(tmp_path: Path) -> None:
    code = f"""if 1:
        from pathlib import Path
        from cama.ggml.llama import load_model, model_params
        try:
            load_model(Path({str(tmp_path / "none.gguf")!r}), model_params())
        except Exception as error:
            print(error)
    """
    run = python(code)
    assert "No such file" in run.stdout
    assert run.stderr == ""


def test_failed_load_tells_the_cause(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"hello, this is not a model")
    with pytest.raises(LoadFailed, match=r"cannot load a\.gguf: invalid magic") as caught:
        load_model(path, model_params())
    assert len(caught.value.fields["log"]) > 1


def test_weights_stay_as_they_are_in_the_file() -> None:
    assert not model_params().use_extra_bufts


def test_abort_flag_is_a_c_function_over_a_byte() -> None:
    flag = AbortFlag()
    asks = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(flag.callback)
    assert asks(flag.data) is False
    flag.set()
    assert asks(flag.data) is True
    flag.clear()
    assert asks(flag.data) is False
