"""Opening sound files, and what is not a GGUF file at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.gguf import (
    F64,
    U64,
    Array,
    GGMLType,
    GGUFFile,
    TensorSource,
    ValueType,
    Writable,
    write_gguf,
)

TOKENS = [f"token {i}" * (i % 20) for i in range(300)]
"""Some empty, some longer than 63 bytes: both ways of stepping over strings are taken."""


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.gguf"
    metadata: dict[str, Writable] = {
        "general.architecture": "llama",
        "general.file_type": 15,
        "llama.block_count": 2,
        "llama.rope.freq_base": 10000.0,
        "wide": U64(2**63),
        "exact": F64(0.1),
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.add_bos_token": True,
        "empty": Array(ValueType.FLOAT32, []),
    }
    tensors = [
        TensorSource("output_norm.weight", GGMLType.F32, (4,), bytes(range(16))),
        TensorSource("blk.0.attn_q.weight", GGMLType.Q8_0, (32, 2), bytes(range(68))),
    ]
    write_gguf(path, metadata, tensors)
    return path


def test_open_reads_the_header(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        assert (file.version, file.alignment, file.size) == (3, 32, sample.stat().st_size)
        assert (file.architecture, file.file_type_name) == ("llama", "Q4_K_M")
        assert file.data_offset % 32 == 0
        assert file.parameter_count == 4 + 64


def test_metadata_gives_plain_values(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        assert dict(file.metadata) == {
            "general.architecture": "llama",
            "general.file_type": 15,
            "llama.block_count": 2,
            "llama.rope.freq_base": 10000.0,
            "wide": 2**63,
            "exact": 0.1,
            "tokenizer.ggml.tokens": TOKENS,
            "tokenizer.ggml.add_bos_token": True,
            "empty": [],
        }


def test_metadata_keeps_bools_apart_from_numbers(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        assert file.metadata["tokenizer.ggml.add_bos_token"] is True


def test_get_falls_back_to_the_default(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        assert file.get("llama.block_count", 7) == 2
        assert file.get("llama.expert_count", 7) == 7
        assert file.get("llama.expert_count") is None


def test_array_length_needs_no_decoding(sample: Path) -> None:
    raw = sample.read_bytes()
    sample.write_bytes(raw.replace(b"token 9", b"token \xff"))
    with GGUFFile.open(sample) as file:
        assert file.array_length("tokenizer.ggml.tokens") == len(TOKENS)


@pytest.mark.parametrize(
    ("key", "field"),
    [("general.file_type", "type"), ("missing", "value")],
)
def test_array_length_refuses_what_is_no_array(sample: Path, key: str, field: str) -> None:
    with GGUFFile.open(sample) as file, pytest.raises(InvalidModelFile) as caught:
        file.array_length(key)
    assert caught.value.fields["field"] == f"metadata[{key}].{field}"


def test_tensors_have_shape_and_place(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        tensor = file.tensors["blk.0.attn_q.weight"]
        assert (tensor.type, tensor.shape, tensor.n_bytes) == (GGMLType.Q8_0, (32, 2), 68)
        assert tensor.offset == file.data_offset + 32


def test_data_is_the_bytes_of_a_tensor(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        view = file.data("blk.0.attn_q.weight")
        assert bytes(view) == bytes(range(68))
        assert view.readonly


def test_close_releases_the_views_it_gave(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        view = file.data("output_norm.weight")
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_close_twice_does_nothing(sample: Path) -> None:
    file = GGUFFile.open(sample)
    file.close()
    file.close()


def test_close_refuses_while_the_data_is_in_use(sample: Path) -> None:
    file = GGUFFile.open(sample)
    in_use = memoryview(file.data("output_norm.weight"))
    with pytest.raises(BufferError):
        file.close()
    assert bytes(in_use) == bytes(range(16))
    in_use.release()
    file.close()


def test_views_are_not_kept_alive(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        for _ in range(3):
            file.data("output_norm.weight")
        assert len(file._views) == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of descriptors here")
def test_open_and_close_leave_no_descriptor(sample: Path) -> None:
    before = os.listdir("/proc/self/fd")
    GGUFFile.open(sample).close()
    assert os.listdir("/proc/self/fd") == before


def test_version_2_is_read_like_3(sample: Path) -> None:
    raw = sample.read_bytes()
    sample.write_bytes(raw[:4] + b"\2" + raw[5:])
    with GGUFFile.open(sample) as file:
        assert (file.version, file.architecture) == (2, "llama")


def test_trailing_data_is_allowed(sample: Path) -> None:
    sample.write_bytes(sample.read_bytes() + b"more")
    with GGUFFile.open(sample) as file:
        assert bytes(file.data("output_norm.weight")) == bytes(range(16))


def test_padding_of_the_last_tensor_may_be_missing(sample: Path) -> None:
    with GGUFFile.open(sample) as file:
        tensor = file.tensors["blk.0.attn_q.weight"]
        end = tensor.offset + tensor.n_bytes
    os.truncate(sample, end)
    with GGUFFile.open(sample) as file:
        assert bytes(file.data("blk.0.attn_q.weight")) == bytes(range(68))


def test_file_without_tensors_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    write_gguf(path, {"general.architecture": "llama"}, [])
    with GGUFFile.open(path) as file:
        assert (file.parameter_count, file.data_offset) == (0, path.stat().st_size)


def test_architecture_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "nameless.gguf"
    write_gguf(path, {"general.architecture": 1}, [])
    with GGUFFile.open(path) as file, pytest.raises(InvalidModelFile) as caught:
        _ = file.architecture
    assert caught.value.fields["field"] == "metadata[general.architecture].value"


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        GGUFFile.open(tmp_path / "missing.gguf")


def test_path_below_a_file_is_not_found(sample: Path) -> None:
    with pytest.raises(ModelNotFound):
        GGUFFile.open(sample / "below.gguf")


def test_path_with_a_null_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        GGUFFile.open(Path("a\0b.gguf"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"GGU", "cut off"),
        (b"Once upon a time", "starts with b'Once'"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"__metadata__":{}}', "safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"tjgg\1\0\0\0", "older GGML format"),
        (b"FUGG\3\0\0\0", "starts with b'FUGG'"),
    ],
)
def test_other_files_are_named_in_one_line(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    with pytest.raises(InvalidModelFile, match=what) as caught:
        GGUFFile.open(path)
    assert "is not a GGUF file" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.fields == {"path": str(path), "field": "header.magic"}


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelFile, match="a folder"):
        GGUFFile.open(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    with pytest.raises(InvalidModelFile, match="not a regular file"):
        GGUFFile.open(path)


def test_import_does_not_pay_for_numpy() -> None:
    code = "import sys, cama.gguf; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
