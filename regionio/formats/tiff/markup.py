"""XML that vendors write into ImageDescription."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from regionio._errors import CorruptFileError

__all__ = ["as_plain", "parse_xml"]


def parse_xml(text: str, path: str) -> ET.Element:
    """Parse XML and take the namespaces off its names.

    Parameters
    ----------
    text
        The document.
    path
        The file it stands in, for messages.

    Returns
    -------
    Element
        The root; tags of all elements are bare names. Attributes of other namespaces, which say
        where schemas are, are left out.

    Raises
    ------
    CorruptFileError
        It is not well-formed, or defines entities, which no vendor does and attackers do.

    Examples
    --------
    >>> parse_xml('<a xmlns="urn:b"><c/></a>', "slide.tif").find("c").tag
    'c'
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        msg = f"{path!r}: the XML in its ImageDescription defines entities; it was tampered with"
        raise CorruptFileError(msg)
    try:
        root = ET.fromstring(text.strip("\ufeff\0 \t\r\n"))  # noqa: S314  no entities: checked
    except ET.ParseError as error:
        msg = f"{path!r}: the XML in its ImageDescription is damaged: {error}"
        raise CorruptFileError(msg) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [name for name in element.attrib if name.startswith("{")]:
            del element.attrib[name]
    return root


def as_plain(element: ET.Element) -> Any:
    """Return an element as a dict of its attributes and children, or as text if it has neither.

    Children that share a name become a list; text beside attributes is under ``"text"``.

    Examples
    --------
    >>> as_plain(ET.fromstring('<a b="1"><c>2</c><d e="3"/><d e="4"/></a>'))
    {'b': '1', 'c': '2', 'd': [{'e': '3'}, {'e': '4'}]}
    """
    plain: dict[str, Any] = dict(element.attrib)
    children: dict[str, list[Any]] = {}
    for child in element:
        children.setdefault(child.tag, []).append(as_plain(child))
    plain.update({tag: found if len(found) > 1 else found[0] for tag, found in children.items()})
    text = (element.text or "").strip()
    if not plain:
        return text
    return {**plain, "text": text} if text else plain
