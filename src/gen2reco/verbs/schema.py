"""`schema`: the JSON Schema of study files, model families and transforms included."""

from __future__ import annotations

from typing import Any

from gen2reco.errors import StudyError, nearest
from gen2reco.study import Study


def schema(what: str = "study") -> dict[str, Any]:
    """Return the JSON Schema of a study file, or the functions of the expression language.

    Args:
        what: `study` or `expressions`.

    Raises:
        StudyError: `what` is neither.
    """
    if what == "expressions":
        from gen2reco.rows.functions import FUNCTIONS  # noqa: PLC0415

        return {
            name: {"usage": one.usage, "summary": one.summary} for name, one in FUNCTIONS.items()
        }
    if what != "study":
        raise StudyError(
            f"there is no schema of {what!r}, but of 'study' and 'expressions'."
            f"{nearest(what, ['study', 'expressions'])}"
        )
    from gen2reco import models  # noqa: PLC0415

    document = Study.model_json_schema()
    families = models.config_schema()
    definitions = document.setdefault("$defs", {})
    definitions.update(families.pop("$defs", {}))
    definitions["Part"]["properties"]["model"] = {
        **families,
        "description": "family and its settings",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}
