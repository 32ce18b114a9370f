"""Worlds of their own for the tests of the scheduler."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from tests.unit.scheduler.world import World


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., World]]:
    """Builds a world with the settings of a test; the world ends with the test."""
    async with AsyncExitStack() as stack:

        def build(**settings: float) -> World:
            world = World(**settings)
            stack.push_async_callback(world.close)
            return world

        yield build


@pytest.fixture
async def world(build: Callable[..., World]) -> World:
    return build()
