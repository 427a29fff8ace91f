"""What OpenAPI cannot say of parameters, for the cases that schemathesis means to be accepted.

No check is left out: a case that breaks what the document does say is sent as it is, and has to be refused.
"""

import schemathesis
from schemathesis.generation.modes import GenerationMode

# A trend is of one thing.
SLICES = {"link": "link-1", "country": "DE", "referrer": "t.co", "device": "mobile"}
# A cursor is what a page before answered; in the other lists any id is a place.
CURSORS = {"/profiles": "ada", "/links": "link-1", "/history": "1795176000000.000102030405060708090a0b0c0d0e0f"}


def told_when(query):
    """Either a period with a name, or `from` with `to` not before it; of a zone that exists."""
    if "period" in query or "from" not in query:
        query.pop("from", None)
        query.pop("to", None)
    else:
        query["from"] = "2026-01-01" if "T" not in str(query["from"]) else "2026-01-01T10:30:00Z"
        query["to"] = "2026-02-03"
    if "tz" in query:
        query["tz"] = "Europe/Berlin"


def told_of_one_slice(query):
    """Exactly one slice, and not more hours than a curve can have, of a link alone."""
    named = next((name for name in SLICES if query.pop(name, None) is not None), "link")
    for other in SLICES:
        query.pop(other, None)
    query[named] = SLICES[named]
    if named != "link" or query.get("period") == "last_90_days":
        query.pop("granularity", None)


@schemathesis.hook
def map_case(context, case):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return case
    query = dict(case.query or {})
    path = context.operation.path
    told_when(query)
    if path.endswith("/trend"):
        told_of_one_slice(query)
    # With `metrics` a report leaves out what the document calls required without it: no schema depends on a parameter.
    # console/tests checks these answers.
    query.pop("metrics", None)
    for end, cursor in CURSORS.items():
        if "after" in query and path.endswith(end):
            query["after"] = cursor
    case.query = query
    return case
