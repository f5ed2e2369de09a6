"""The table of libraries whose models are recognised by their files or their card: one row each, as data.

A row's `features` are alternatives; each is a text of conditions that must all hold:

=====================  =====================================================================================
``am.mvn``             a file of that name in the model's folder (``*`` and ``?`` match, ``**/`` any depth)
``config.json:a.b``    that metadata file was read and has the key (lists are searched through)
``config.json:a=x*``   ... and its value, or one of its values, matches
``@pickle``            there is a weight file of that format
``!condition``         the condition does not hold
=====================  =====================================================================================

The rows stand in the order of precedence: where the formats of two libraries are in one folder, the upper one wins.
`tasks` is what a model of the library is for when nothing else says; `infer` names a function of `inference`.
Adding a library is adding a row here and its two fixtures (a match and a near miss) in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelscope_ext.models.decision.libraries import containers, layered, runtimes, toolkits, trainers
from modelscope_ext.models.decision.libraries.row import Library

__all__ = ["LIBRARIES", "SPELLINGS", "Library"]

LIBRARIES: tuple[Library, ...] = (*layered.ROWS, *toolkits.ROWS, *runtimes.ROWS, *trainers.ROWS, *containers.ROWS)

#: Spelling of a library in a card or an argument (lower case, hyphens) -> the row's name.
SPELLINGS: Mapping[str, str] = {
    spelling: row.name for row in LIBRARIES for spelling in (row.name, *row.spellings.split())
}
