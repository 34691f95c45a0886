"""cuCIM's profiler, which is always off."""

from __future__ import annotations

__all__ = ["Profiler"]


class Profiler:
    """Whether reads are traced: they never are. `Loader.stats` of regionio counts what they do."""

    @property
    def config(self) -> dict[str, bool]:
        """The settings."""
        return {"trace": False}

    def trace(self, value: bool | None = None) -> bool:  # noqa: FBT001  cuCIM's signature
        """Return whether reads are traced.

        Parameters
        ----------
        value
            None or False.

        Raises
        ------
        ValueError
            `value` is true.
        """
        if value:
            msg = "reads can't be traced; run the script under a sampling profiler"
            raise ValueError(msg)
        return False
