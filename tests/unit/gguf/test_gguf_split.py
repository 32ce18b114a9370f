"""Models that are split over several files."""

from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.gguf import GGMLType, TensorSource, write_gguf
from cama.gguf.split import find_parts, part_names
from cama.gguf.values import U16
from tests.splitting import split


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.gguf"
    tensors = [TensorSource(f"t{i}", GGMLType.F32, (4,), bytes(16)) for i in range(5)]
    write_gguf(path, {"general.architecture": "llama"}, tensors)
    return path


def test_part_names_are_those_of_all_parts() -> None:
    assert part_names("m-00002-of-00003.gguf") == (
        "m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "m.gguf", "m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-1-of-3.gguf",
        "m-00001-of-65535.gguf", "-00001-of-00003.gguf", "m-00001-of-00003.bin",
    ],
)  # fmt: skip
def test_part_names_of_other_files_are_none(name: str) -> None:
    assert part_names(name) == ()


def test_find_parts_of_a_whole_model_is_itself(whole: Path) -> None:
    assert find_parts(whole) == (whole,)


@pytest.mark.parametrize("given", range(3))
def test_find_parts_starts_from_any_part(whole: Path, tmp_path: Path, given: int) -> None:
    paths = split(whole, tmp_path / "parts", "m", 3)
    assert find_parts(paths[given]) == tuple(paths)


def test_find_parts_names_what_is_missing(whole: Path, tmp_path: Path) -> None:
    paths = split(whole, tmp_path / "parts", "m", 3)
    paths[1].unlink()
    with pytest.raises(ModelNotFound, match=r"one of 3 parts, and m-00002-of-00003\.gguf is not"):
        find_parts(paths[0])


def test_find_parts_refuses_parts_in_another_order(whole: Path, tmp_path: Path) -> None:
    paths = split(whole, tmp_path / "parts", "m", 3)
    content = paths[1].read_bytes()
    paths[1].write_bytes(paths[2].read_bytes())
    paths[2].write_bytes(content)
    with pytest.raises(InvalidModelFile, match=r"split\.no is not that of part 2"):
        find_parts(paths[0])


def test_find_parts_refuses_parts_of_two_models(whole: Path, tmp_path: Path) -> None:
    paths = split(whole, tmp_path / "parts", "m", 2)
    about = {"split.no": U16(1), "split.count": U16(2)}
    write_gguf(paths[1], about, [TensorSource("t", GGMLType.F32, (4,), bytes(16))])
    with pytest.raises(InvalidModelFile, match=r"split\.tensors\.count is 5, and the parts have 3"):
        find_parts(paths[0])


def test_find_parts_refuses_a_part_with_a_name_of_its_own(whole: Path, tmp_path: Path) -> None:
    paths = split(whole, tmp_path / "parts", "m", 2)
    alone = paths[0].rename(tmp_path / "m.gguf")
    with pytest.raises(InvalidModelFile, match=r"split\.count is 2, so the file must be named"):
        find_parts(alone)


@pytest.mark.parametrize("count", [-1, 1000, "many", True, 2.5])
def test_find_parts_refuses_a_count_that_is_none(tmp_path: Path, count: object) -> None:
    path = tmp_path / "m-00001-of-00002.gguf"
    write_gguf(path, {"general.architecture": "llama", "split.count": count}, [])  # type: ignore[dict-item]
    with pytest.raises(InvalidModelFile, match=r"split\.count"):
        find_parts(path)
