"""Waiting for conditions, never for time."""

import time


class Timeout(Exception):
    """A condition did not come true before its deadline."""


def wait_until(condition, what, deadline_s=20.0, pause_s=0.02):
    """Asks condition() until it gives something true, and returns that. `what` names the condition
    in the error; an exception of the condition counts as "not yet" and ends up in the error too."""
    end = time.monotonic() + deadline_s
    last_error = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last_error = None
        except Exception as error:  # pylint: disable=broad-except
            last_error = error
        if time.monotonic() >= end:
            reason = f" (last: {last_error!r})" if last_error else ""
            raise Timeout(f"not within {deadline_s:g} s: {what}{reason}")
        time.sleep(pause_s)
