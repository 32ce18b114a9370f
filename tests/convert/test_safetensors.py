"""Reading safetensors files, those of the format's own library and hostile ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from cama.convert.checkpoint import Checkpoint
from cama.convert.safetensors import SafetensorsFile
from cama.core.errors import InvalidModelFile
from tests.convert.checkpoints import write_raw

F4 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def test_reads_what_the_library_writes(tmp_path: Path) -> None:
    written: dict[str, NDArray[Any]] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b.half": np.ones((3, 1, 2), np.float16),
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 4), np.float32),
    }
    save_file(written, tmp_path / "x.safetensors", metadata={"format": "np"})
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert set(file) == set(written)
    for name, values in written.items():
        np.testing.assert_array_equal(file[name].bits, values)
        assert file[name].shape == values.shape


def test_a_view_is_no_copy(tmp_path: Path) -> None:
    save_file({"a": np.ones(4, np.float32)}, tmp_path / "x.safetensors")
    assert not SafetensorsFile(tmp_path / "x.safetensors")["a"].bits.flags.owndata


@pytest.mark.parametrize(
    ("header", "n_data"),
    [
        (b"", 0),
        (b"{", 0),
        (b"[]", 0),
        (b"7", 0),
        (b"[" * 100_000, 0),
        (b"\xff\xfe", 0),
        ({"a": 7}, 4),
        ({"a": {}}, 4),
        ({"a": F4 | {"dtype": "F31"}}, 4),
        ({"a": F4 | {"dtype": ["F32"]}}, 4),
        ({"a": F4 | {"shape": [-1]}}, 4),
        ({"a": F4 | {"shape": [True]}}, 4),
        ({"a": F4 | {"shape": ["1"]}}, 4),
        ({"a": F4 | {"shape": [2]}}, 4),
        ({"a": F4 | {"shape": [2**40, 2**40]}}, 4),
        ({"a": F4 | {"shape": [1] * 9}}, 4),
        ({"a": F4 | {"data_offsets": [0, 8]}}, 4),
        ({"a": F4 | {"data_offsets": [-4, 0]}}, 4),
        ({"a": F4 | {"data_offsets": [4, 0]}}, 4),
        ({"a": F4 | {"data_offsets": [0]}}, 4),
        ({"a": F4 | {"data_offsets": [0, 2**70]}}, 4),
        ({"a": F4, "b": F4}, 8),
        (b'{"a": %s, "a": %s}' % ((json.dumps(F4).encode(),) * 2), 8),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, header: Any, n_data: int) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    write_raw(tmp_path / "x.safetensors", raw, bytes(n_data))
    with pytest.raises(InvalidModelFile, match=r"x\.safetensors is not a valid safetensors file"):
        SafetensorsFile(tmp_path / "x.safetensors")


@pytest.mark.parametrize("data", [b"\0", b"\xff" * 8, (2**40).to_bytes(8, "little") + b"{}"])
def test_a_header_that_is_not_there_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(InvalidModelFile, match="header"):
        SafetensorsFile(tmp_path / "x.safetensors")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").touch()
    with pytest.raises(InvalidModelFile, match="is empty"):
        SafetensorsFile(tmp_path / "x.safetensors")


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    save_file({"a": np.ones(1, np.float32)}, tmp_path / "one.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    files = {path.name: path for path in tmp_path.iterdir()}
    with pytest.raises(InvalidModelFile, match=r"'b' is in 'two\.safetensors'"):
        Checkpoint(files, "x")


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_file({"a": np.ones(1, np.float32)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(InvalidModelFile, match="in another file too"):
        Checkpoint({path.name: path for path in tmp_path.iterdir()}, "x")
