"""A GGUF file, opened for reading."""

import mmap
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

from cama.core.errors import InvalidModelFile, ModelNotFound, StoreError
from cama.gguf.cursor import Data
from cama.gguf.file_types import file_type_name
from cama.gguf.header import parse_header
from cama.gguf.metadata import Metadata
from cama.gguf.tensors import TensorInfo
from cama.gguf.values import Array, Scalar


class GGUFFile:
    """The header of a GGUF file and views of its tensors, over a memory map.

    The header is checked completely at open, metadata values when they are looked up. Threads may
    share a file. It must not be used after :meth:`close`, and the file must not shrink while it is
    mapped: touching what is gone kills a process. Replace files by renaming, as write_gguf does.
    """

    def __init__(self, data: Data, path: Path) -> None:
        """Read ``data``, the whole content of ``path``. Raises InvalidModelFile."""
        header = parse_header(data, path)
        self.path = path
        self.size = len(data)
        self.version = header.version
        self.alignment = header.alignment
        self.data_offset = header.data_offset
        self.tensors: Mapping[str, TensorInfo] = header.tensors
        self._metadata = header.metadata
        self._data = data
        # By identity: a memoryview hashes and compares by its content, which may be gigabytes.
        self._views: WeakValueDictionary[int, memoryview] = WeakValueDictionary()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map ``path``. Raises ModelNotFound, InvalidModelFile, and StoreError when unreadable."""
        data = _map(path)
        try:
            return cls(data, path)
        except BaseException:
            if isinstance(data, mmap.mmap):
                data.close()
            raise

    @property
    def metadata(self) -> Metadata:
        return self._metadata

    @property
    def architecture(self) -> str:
        """``general.architecture``. Raises InvalidModelFile on a file that names none."""
        key = "general.architecture"
        name = self.get(key)
        if not isinstance(name, str):
            raise self._metadata.cursor(key).damaged("value", "is missing or not a string")
        return name

    @property
    def file_type_name(self) -> str:
        """The quantization as users know it ("Q4_K_M"); "unknown" when the file is silent."""
        return file_type_name(self.get("general.file_type"))

    @property
    def parameter_count(self) -> int:
        return sum(tensor.n_elements for tensor in self.tensors.values())

    def get(self, key: str, default: Any = None) -> Any:
        """A metadata value, or ``default`` when the file has no such key."""
        return self._metadata.get(key, default)

    def typed(self, key: str) -> Scalar | Array:
        """A metadata value with the type it has in the file, as write_gguf takes it."""
        return self._metadata.typed(key)

    def array_length(self, key: str) -> int:
        """Elements of an array, which is not decoded. InvalidModelFile if there is none."""
        return self._metadata.array_length(key)

    def data(self, name: str) -> memoryview:
        """The bytes of a tensor: a read-only view into the map, valid until :meth:`close`."""
        tensor = self.tensors[name]
        view = memoryview(self._data)[tensor.offset : tensor.offset + tensor.n_bytes]
        self._views[id(view)] = view
        return view

    def close(self) -> None:
        """Release the views that :meth:`data` gave and the map. A second call does nothing.

        Raises BufferError, and stays open, while something made from a view still uses the map,
        such as a NumPy array.
        """
        for view in list(self._views.values()):
            view.release()
        if isinstance(self._data, mmap.mmap):
            self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _map(path: Path) -> Data:
    try:
        # Not blocking: a named pipe without a writer would stop us here for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ModelNotFound(f"{path} does not exist", path=str(path)) from None
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}", path=str(path)) from error
    try:
        return _map_descriptor(descriptor, path)
    except OSError as error:
        raise StoreError(f"cannot map {path}: {error.strerror}", path=str(path)) from error
    finally:
        os.close(descriptor)


def _map_descriptor(descriptor: int, path: Path) -> Data:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise InvalidModelFile(
            f"{path} is not a GGUF file: it is {kind}", path=str(path), field="header.magic"
        )
    if status.st_size == 0:  # nothing to map
        return b""
    mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    _ask_for_large_pages(mapped)
    return mapped


def _ask_for_large_pages(mapped: mmap.mmap) -> None:
    """Weights are read whole for every token, and addresses are found faster in large pages.

    Not every file system has them.
    """
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is not None:
        with suppress(OSError):
            mapped.madvise(advice)
