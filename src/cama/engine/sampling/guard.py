"""What holds an answer to a form, as the sampler sees it."""

from typing import Protocol

from cama.engine.sampling.mask import Mask


class Guard(Protocol):
    """Says which tokens may come next. Tokens that end the answer are asked for like others."""

    def allows(self, token: int) -> bool:
        """Whether ``token`` may come next. Raises EngineError when that cannot be told any more."""

    def allowed(self) -> Mask:
        """The tokens that may come next; the mask is the caller's.

        A token in it can still be refused by :meth:`allows`, but none that it leaves out is
        allowed. Raises EngineError as :meth:`allows`, and when nothing may come.
        """

    def accept(self, token: int) -> None:
        """``token``, which was allowed and does not end the answer, came next."""

    @property
    def is_over(self) -> bool:
        """The answer is whole, and nothing may follow."""
