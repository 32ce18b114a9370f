"""Command R7B and A: layers with windows know positions, those without do not."""

from dataclasses import dataclass

from cama.engine.native import nn
from cama.engine.native.models import command_r


@dataclass(frozen=True, kw_only=True)
class Config(command_r.Config, nn.WindowConfig):
    sliding_window: int = nn.gguf("attention.sliding_window")
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", default=4, by_layer=True)
    logit_scale: float = nn.gguf("logit_scale")

    @property
    def rotates(self) -> bool:
        return self.window is not None


class Cohere2(command_r.CommandR):
    config: Config
