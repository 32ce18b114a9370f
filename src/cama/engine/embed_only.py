"""What an engine answers that turns texts into vectors and does nothing else."""

from typing import NoReturn

from cama.core.errors import EngineError
from cama.engine.base import Logits, Plan, SeqId


class EmbedOnly:
    """The part of cama.engine.base.Engine that needs a cache: there is none to write to."""

    @property
    def free_cells(self) -> int:
        return 0

    def forward(self, plan: Plan) -> Logits:
        self._refuse()

    def share(self, source: SeqId, target: SeqId, length: int) -> None:
        self._refuse()

    def truncate(self, seq: SeqId, length: int) -> int:
        self._refuse()

    def shift(self, seq: SeqId, start: int, end: int) -> None:
        self._refuse()

    def save(self, seq: SeqId, length: int) -> bytes:
        self._refuse()

    def restore(self, seq: SeqId, state: bytes) -> int:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise EngineError("the model embeds text, it does not continue it")
