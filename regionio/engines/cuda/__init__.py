"""The CUDA engine: bytes to pinned memory, decoders of the GPU and the CPU, one kernel a batch."""

from __future__ import annotations

__all__: list[str] = []
