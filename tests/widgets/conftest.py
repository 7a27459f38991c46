"""Widgets without a browser, whatever ran before them in this process."""

import asyncio

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_loop_of_a_browser():
    """Playwright's loop stands still between its calls, yet counts as running in the main thread.

    A bridge would take it for the kernel's, and wait for ever for what it posts there.
    """
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)
