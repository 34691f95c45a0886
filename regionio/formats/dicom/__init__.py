"""DICOM: slides and volumes; headers by pydicom, frames by their own tables."""

from __future__ import annotations

from regionio.formats.dicom.header import is_dicom

__all__ = ["is_dicom"]
