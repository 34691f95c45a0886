"""An opened slide with OpenSlide's rules: closed is an error, and one failure ends it all."""

from __future__ import annotations

import os
from ctypes import ArgumentError

from PIL import Image as Picture

from regionio._errors import RegionIOError, UnsupportedFormatError
from regionio._image import Image
from regionio._open import open as open_image
from regionio.compat.openslide._abstract import Filename
from regionio.compat.openslide._canvas import Canvas, canvas_of
from regionio.compat.openslide._errors import OpenSlideError, OpenSlideUnsupportedFormatError
from regionio.compat.openslide._pixels import check_pixels
from regionio.compat.openslide._properties import slide_properties

__all__ = ["SlideHandle", "open_checked"]


def open_checked(filename: Filename) -> Image:
    """Open a file as a slide whose pixels can be made RGBA.

    Parameters
    ----------
    filename
        Path of the file.

    Raises
    ------
    ctypes.ArgumentError
        `filename` is no path.
    OpenSlideUnsupportedFormatError, OpenSlideError
        As in `OpenSlide`.
    """
    try:
        path = os.fsdecode(filename)
    except TypeError as error:
        raise ArgumentError(str(error)) from None
    try:
        image = open_image(path)
    except (UnsupportedFormatError, OSError) as error:
        raise OpenSlideUnsupportedFormatError(str(error)) from error
    except RegionIOError as error:
        raise OpenSlideError(str(error)) from error
    try:
        check_pixels(image)
    except BaseException:
        image.close()
        raise
    return image


class SlideHandle:
    """What a slide and its maps of properties and associated images hold in common.

    Parameters
    ----------
    filename
        Path of the file.
    """

    def __init__(self, filename: Filename) -> None:
        self._filename = filename
        self._canvas = canvas_of(open_checked(filename))
        self._closed = False
        self._error: str | None = None
        self._properties: dict[str, str] | None = None

    @property
    def canvas(self) -> Canvas:
        """The canvas.

        Raises
        ------
        ctypes.ArgumentError
            It is closed.
        OpenSlideError
            Reading from it failed before.
        """
        self._check_open()
        if self._error is not None:
            raise OpenSlideError(self._error)
        return self._canvas

    @property
    def image(self) -> Image:
        """The image that speaks for the slide."""
        return self.canvas.image

    @property
    def properties(self) -> dict[str, str]:
        """All properties of the slide."""
        canvas = self.canvas
        if self._properties is None:
            try:
                self._properties = slide_properties(canvas)
            except (RegionIOError, OSError) as error:  # those of DICOM are read from the file
                self._error = str(error)
                raise OpenSlideError(self._error) from error
        return self._properties

    def read(
        self, canvas: Canvas, location: tuple[int, int], size: tuple[int, int], level: int
    ) -> Picture.Image:
        """Read a region of the slide or of an associated image; a failure is remembered."""
        try:
            return canvas.read(location, size, level)
        except (RegionIOError, OSError) as error:
            self._error = str(error)
            raise OpenSlideError(self._error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._check_open()
        self._closed = True
        self._canvas.close()

    def _check_open(self) -> None:
        if self._closed:
            msg = f"slide {self._filename!r} is closed; open it again"
            raise ArgumentError(msg)
