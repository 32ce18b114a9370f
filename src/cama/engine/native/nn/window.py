"""Layers whose tokens see only the nearest ones."""

from dataclasses import dataclass

from cama.engine.native.kvcache.layout import Window
from cama.engine.native.nn.config import gguf
from cama.engine.native.nn.decoder_config import DecoderConfig


@dataclass(frozen=True, kw_only=True)
class WindowConfig(DecoderConfig):
    """A window of 0 is none. As a mixin it stands last, so that its fields override no other's."""

    sliding_window: int = gguf("attention.sliding_window", default=0)
    window_pattern: int = gguf("attention.sliding_window_pattern", default=0, by_layer=True)
    """A flag per layer, or a period of which the last layer sees everything (0: none does)."""

    @property
    def window(self) -> Window | None:
        if self.sliding_window <= 0 or not self._is_windowed:
            return None
        return Window(self.sliding_window)

    @property
    def _is_windowed(self) -> bool:
        period = self.window_pattern
        if "window_pattern" in self.values_by_layer:
            return period != 0
        return period <= 0 or self.index % period != period - 1
