"""What must hold for every file: round trips, and damage that is always noticed or harmless."""

import struct
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cama.core.errors import InvalidModelFile
from cama.gguf import Array, GGMLType, GGUFFile, Scalar, TensorSource, ValueType, write_gguf

TEXT = st.text(max_size=80)
INTEGERS = [kind for kind in ValueType if kind.code and kind.code in "BbHhIiQq"]


def elements(kind: ValueType) -> st.SearchStrategy[bool | int | float | str]:
    if kind is ValueType.STRING:
        return TEXT
    if kind is ValueType.BOOL:
        return st.booleans()
    if kind in (ValueType.FLOAT32, ValueType.FLOAT64):
        return st.floats(width=32 if kind is ValueType.FLOAT32 else 64, allow_nan=False)
    bits = 8 * kind.size
    low = -(2 ** (bits - 1)) if kind.code.islower() else 0
    return st.integers(low, low + 2**bits - 1)


def values(kind: ValueType) -> st.SearchStrategy[Scalar | Array]:
    one = elements(kind)
    return st.one_of(
        one.map(lambda value: Scalar(kind, value)),
        st.lists(one, max_size=200).map(lambda several: Array(kind, several)),
    )


METADATA = st.dictionaries(
    TEXT.filter(lambda key: key not in ("", "general.alignment")),
    st.sampled_from([kind for kind in ValueType if kind is not ValueType.ARRAY]).flatmap(values),
    max_size=6,
)


@st.composite
def tensor_sources(draw: st.DrawFn) -> TensorSource:
    kind = draw(st.sampled_from(GGMLType))
    rest = draw(st.lists(st.integers(1, 3), max_size=3))
    shape = (kind.block_size * draw(st.integers(1, 2)), *rest)
    n_bytes = kind.n_bytes(shape)
    filling = draw(st.binary(min_size=1, max_size=8))
    data = (filling * n_bytes)[:n_bytes]
    name = draw(TEXT.filter(lambda name: 0 < len(name.encode()) < 64))
    return TensorSource(name, kind, shape, data)


TENSORS = st.lists(tensor_sources(), max_size=4, unique_by=lambda source: source.name)


def file_bytes(
    metadata: dict[str, Scalar | Array], tensors: Sequence[TensorSource], alignment: int = 32
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.gguf")
        write_gguf(path, metadata, tensors, alignment=alignment)
        return path.read_bytes()


def read_everything(data: bytes) -> bool:
    """Whether ``data`` is accepted; any error but InvalidModelFile escapes."""
    try:
        with GGUFFile(data, Path("damaged.gguf")) as file:
            dict(file.metadata)
            sizes = {name: len(file.data(name)) for name in file.tensors}
    except InvalidModelFile:
        return False
    assert sizes == {name: tensor.n_bytes for name, tensor in file.tensors.items()}
    return True


SAMPLE = file_bytes(
    {
        "general.architecture": Scalar(ValueType.STRING, "llama"),
        "flags": Array(ValueType.BOOL, [True, False]),
        "scores": Array(ValueType.FLOAT32, [0.5] * 10),
        "tokens": Array(ValueType.STRING, ["a", "bc", "", "def"] * 40),
    },
    [
        TensorSource("a", GGMLType.Q4_K, (256, 2), bytes(288)),
        TensorSource("b", GGMLType.F32, (3, 2), bytes(24)),
    ],
)


@settings(deadline=None)
@given(METADATA, TENSORS, st.sampled_from([8, 16, 32, 64, 256]))
def test_reading_gives_back_what_was_written(
    metadata: dict[str, Scalar | Array], tensors: list[TensorSource], alignment: int
) -> None:
    data = file_bytes(metadata, tensors, alignment)
    with GGUFFile(data, Path("a.gguf")) as file:
        found = {key: file.typed(key) for key in file.metadata if key != "general.alignment"}
        assert found == metadata
        assert file.alignment == alignment
        back = [
            TensorSource(t.name, t.type, t.shape, bytes(file.data(t.name)))
            for t in file.tensors.values()
        ]
        assert back == tensors


@settings(deadline=None)
@given(METADATA, TENSORS)
def test_copying_a_file_gives_the_same_bytes(
    metadata: dict[str, Scalar | Array], tensors: list[TensorSource]
) -> None:
    data = file_bytes(metadata, tensors)
    with GGUFFile(data, Path("a.gguf")) as file:
        again = {key: file.typed(key) for key in file.metadata}
        sources = [
            TensorSource(t.name, t.type, t.shape, file.data(t.name)) for t in file.tensors.values()
        ]
        assert file_bytes(again, sources) == data


@settings(deadline=None)
@given(st.integers(0, len(SAMPLE) - 1))
def test_truncation_anywhere_is_noticed_or_harmless(length: int) -> None:
    end_of_data = 288 + 24
    start = GGUFFile(SAMPLE, Path("a.gguf")).data_offset
    assert read_everything(SAMPLE[:length]) == (length >= start + end_of_data)


@settings(deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255))
def test_one_wrong_byte_never_breaks_the_reader(at: int, difference: int) -> None:
    damaged = bytearray(SAMPLE)
    damaged[at] ^= difference
    read_everything(bytes(damaged))


@settings(deadline=None)
@given(st.integers(0, len(SAMPLE) - 8), st.integers(0, 2**64 - 1))
def test_wrong_numbers_never_break_the_reader_or_its_memory(at: int, number: int) -> None:
    damaged = SAMPLE[:at] + struct.pack("<Q", number) + SAMPLE[at + 8 :]
    tracemalloc.start()
    try:
        read_everything(damaged)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000 + 20 * len(SAMPLE)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_behind_the_counts_never_breaks_the_reader(noise: bytes) -> None:
    read_everything(b"GGUF" + struct.pack("<IQQ", 3, 2, 2) + noise)
