"""When a guess is worth evaluating: what passes cost, and what a request has won so far."""

from collections import deque
from collections.abc import Callable
from statistics import median

_N_SAMPLES = 5
_MAX_AGE = 512
"""Passes after which a time is no longer believed: the context has grown, the machine is calmer."""

_SLOPE = 0.1
"""What a row more costs, of a pass, as long as nobody knows: little, so that it is tried."""

_LENGTHS = (1, 3, 7, 15)
"""Tokens that are evaluated ahead. Few lengths: each is a shape of graph that is built when it
follows another."""

MOST = _LENGTHS[-1]

_RATE = 0.015
"""The part of its time that a request may spend on guesses that lose."""

_START = 1.0
_CAP = 8.0
"""What a request may lose at first, and at most later on, in passes."""


class PassTimes:
    """How long a pass of so many rows takes on this engine now: the median of the newest times."""

    def __init__(self) -> None:
        self._samples: dict[int, deque[float]] = {}
        self._newest: dict[int, int] = {}
        self._n_passes = 0

    def add(self, n_rows: int, seconds: float) -> None:
        self._n_passes += 1
        self._drop_old(n_rows)
        self._samples.setdefault(n_rows, deque(maxlen=_N_SAMPLES)).append(seconds)
        self._newest[n_rows] = self._n_passes

    @property
    def largest(self) -> int:
        """The highest number of rows that was measured lately."""
        return max(self._samples, default=0)

    def known(self, n_rows: int) -> float | None:
        """Seconds, if they were measured lately."""
        self._drop_old(n_rows)
        samples = self._samples.get(n_rows)
        return median(samples) if samples else None

    def expected(self, n_rows: int) -> float | None:
        """Seconds, guessed from other numbers of rows where need be; None when nothing is known."""
        seconds = self.known(n_rows)
        if seconds is not None:
            return seconds
        times = {n: t for n in list(self._samples) if (t := self.known(n)) is not None}
        below = max((n for n in times if n < n_rows), default=None)
        above = min((n for n in times if n > n_rows), default=None)
        if below is None:
            return None
        if above is None:
            return times[below] * (1 + _SLOPE * (n_rows - below))
        part = (n_rows - below) / (above - below)
        return times[below] + part * (times[above] - times[below])

    def _drop_old(self, n_rows: int) -> None:
        if self._n_passes - self._newest.get(n_rows, self._n_passes) > _MAX_AGE:
            del self._samples[n_rows], self._newest[n_rows]


class Pace:
    """How far ahead one request looks.

    It has a credit of seconds. Every pass without guesses adds a small part of its time, every
    guess what it has won or lost; a guess that may lose more than there is is not made. So a text
    that cannot be guessed takes at most that part longer, whatever the estimates say.
    """

    def __init__(self) -> None:
        self._credit: float | None = None

    def choose(
        self,
        times: PassTimes,
        *,
        chance: float,
        n_rows: int,
        n_planned: int,
        most: int,
        price: Callable[[int], float] = lambda k: 0.0,
    ) -> int:
        """How many tokens to guess: the number that promises the most tokens per second.

        ``n_rows`` generate in this pass, ``n_planned`` rows are in it already; at most ``most`` are
        wanted. A token is worth what it takes in a pass without guesses. ``price`` is what it takes
        to guess so many, in seconds.
        """
        plain, planned = times.known(n_rows), times.expected(n_planned)
        if plain is None or planned is None:
            return 0
        if self._credit is None:
            self._credit = _START * plain
        best, best_gain = 0, 0.0
        shorter = 0
        for k in _LENGTHS:
            # A longer guess is tried when a shorter one has shown what rows cost.
            if k > most or n_planned + shorter > times.largest:
                break
            seconds = times.expected(n_planned + k)
            if seconds is None:
                break
            seconds += price(k)
            if seconds - planned > self._credit:
                break
            shorter = k
            won = _expected_hits(chance, k) * plain / n_rows
            gain = (won - (seconds - planned)) / seconds
            if gain > best_gain:
                best, best_gain = k, gain
        return best

    def settle(self, seconds: float, plain: float) -> None:
        """``seconds`` were won, or lost where negative; ``plain`` is a pass without guesses."""
        if self._credit is not None:
            self._credit = min(self._credit + seconds, _CAP * plain)

    def rest(self, plain: float, lost: float) -> None:
        """A pass without guesses; ``lost`` is what it took longer because the last one had some."""
        self.settle(_RATE * plain - lost, plain)


def _expected_hits(chance: float, k: int) -> float:
    """How many of ``k`` tokens are right before the first wrong one."""
    chance = min(chance, 0.999)
    return chance * (1 - chance**k) / (1 - chance)
