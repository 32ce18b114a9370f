"""Devices beside the CPU: which layers they have, and the streams of work on them."""

from collections.abc import Sequence
from contextlib import ExitStack

from cama.core.errors import UnsupportedModel
from cama.core.load import LoadOptions
from cama.core.placement import GPU_RESERVE, Placement, place
from cama.ggml import _abi
from cama.ggml.abort import AbortFlag
from cama.ggml.backend import Backend, Device, DeviceBackend, devices

_GPUS = (_abi.GGML_BACKEND_DEVICE_TYPE_GPU, _abi.GGML_BACKEND_DEVICE_TYPE_IGPU)
_OUTPUT = frozenset(f"output{part}.{kind}" for part in ("", "_norm") for kind in ("weight", "bias"))
"""Tensors that go where the output goes."""

Rooms = Sequence[tuple[Device, int]]
"""Devices, and how many bytes of each a model may take."""


def rooms_for(load: LoadOptions) -> Rooms:
    """The devices that ``load`` names, else every GPU with what it has free, most first.

    Raises UnsupportedModel for a device that is not there.
    """
    if load.n_gpu_layers == 0:
        return []
    there = devices()
    if load.rooms:
        by_name = {device.name: device for device in there}
        missing = [room.device for room in load.rooms if room.device not in by_name]
        if missing:
            raise UnsupportedModel(f"there is no device {missing[0]!r} here")
        return [(by_name[room.device], room.n_bytes) for room in load.rooms]
    gpus = [(device, device.free_bytes - GPU_RESERVE) for device in there if device.type in _GPUS]
    return sorted(gpus, key=lambda pair: -pair[1])


class Devices:
    """Which layers are where. Layers that are on no device are on the CPU."""

    def __init__(
        self, rooms: Rooms, placement: Placement, n_threads: int, abort: AbortFlag
    ) -> None:
        self.placement = placement
        used = {*placement.layers, placement.output} - {None}
        self._by_number: dict[int | None, DeviceBackend] = {}
        with ExitStack() as opened:
            for number, (device, _) in enumerate(rooms):
                if number in used:
                    backend = DeviceBackend(device, n_threads, abort)
                    opened.callback(backend.close)
                    self._by_number[number] = backend
            self.cpu = Backend(n_threads, abort)
            opened.pop_all()

    @classmethod
    def filled(
        cls,
        layers: Sequence[int],
        output: int,
        load: LoadOptions,
        n_threads: int,
        abort: AbortFlag,
    ) -> "Devices":
        """Devices with as much of a model as has room; ``layers`` and ``output`` in bytes."""
        rooms = rooms_for(load)
        placement = place(layers, output, [room for _, room in rooms], load.n_gpu_layers)
        return cls(rooms, placement, n_threads, abort)

    @property
    def backends(self) -> list[Backend]:
        """All streams of work, the CPU's last."""
        return [*self._by_number.values(), self.cpu]

    @property
    def names(self) -> tuple[str, ...]:
        """Those that compute; the CPU does in any case."""
        return (*(backend.device.name for backend in self._by_number.values()), "CPU")

    def of_layer(self, index: int | None) -> DeviceBackend | None:
        """Where a layer is, or with None what follows the last one."""
        number = self.placement.output if index is None else self.placement.layers[index]
        return self._by_number.get(number)

    def of_tensor(self, name: str) -> DeviceBackend | None:
        """Where a weight is."""
        head, _, rest = name.partition(".")
        index = rest.partition(".")[0]
        if head == "blk" and index.isdecimal() and int(index) < len(self.placement.layers):
            return self.of_layer(int(index))
        return self.of_layer(None) if name in _OUTPUT else None

    def close(self) -> None:
        for backend in self.backends:
            backend.close()
