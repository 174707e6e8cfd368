"""Errors are one line."""

import pytest

from pushforward.errors import InputError


def line(call, *args, **kwargs) -> str:
    """The message of the `InputError` of a call, which must be one line."""
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message
