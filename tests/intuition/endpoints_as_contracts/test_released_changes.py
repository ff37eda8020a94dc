"""Who breaks and who tells, against the slider, and the trivial policies."""

from __future__ import annotations

from serving_mathematics.intuition.endpoints_as_contracts.callers import (
    CALLERS,
    CHANGES,
    _ends,
    _served,
)
from serving_mathematics.intuition.endpoints_as_contracts.released_changes import (
    ASKED,
    CHECKS,
    _missed,
    _outcomes,
    example,
    slider_released_changes,
)


def test_the_table_shows_the_outcomes() -> None:
    told = slider_released_changes()
    (panel,) = told["panels"]
    breaks, objects, stopped = (part["values"] for part in told["readouts"])
    for column, asked in enumerate(ASKED.values()):
        reach = [name for name in CHANGES if _outcomes(name)[1] and name in _missed(asked, CALLERS)]
        assert stopped[0][column] == example().breaking - len(reach)
        for row, change in enumerate(CHANGES):
            seen, hurt = _outcomes(change)
            assert breaks[row][column] == len(hurt)
            assert objects[row][column] == len(seen & set(asked))
            marks = dict(zip(panel["columns"], panel["cells"][row][column][row], strict=True))
            states = [
                {name for name, state in marks.items() if state == one}
                for one in ("answer", "cached", "broken", "idle")
            ]
            spared = bool(seen & set(asked))
            assert states[:2] == [seen & set(asked), seen - set(asked)]
            assert states[2:] == ([set(), hurt] if spared else [hurt, set()])


def test_no_check_alone_tells_of_all() -> None:
    """Schemas, fingerprints, streams and stored answers each miss what another finds."""
    alone = {name: set(_missed([name], CALLERS)) for name in CHECKS}
    assert all(len(missed) >= 5 for missed in alone.values())
    everywhere = [name for name in CHANGES if all(name in missed for missed in alone.values())]
    assert set(everywhere) == {
        "a larger batch, on many GPUs",
        "a shorter time-out",
    }
    assert _missed(CHECKS[:2], CALLERS) == everywhere


def test_an_ignored_parameter_is_no_error() -> None:
    """Who sends it gets a whole answer in another form; the stream is sound, and only the schema
    and stored answers tell."""
    told, broken = _outcomes("a parameter is ignored")
    assert broken == {"spam filter"}
    assert told == {"schema", "stored answers"}
    endpoint, caller = CHANGES["a parameter is ignored"], CALLERS["spam filter"]
    assert _ends(_served(endpoint, caller)) == {"stop"}
