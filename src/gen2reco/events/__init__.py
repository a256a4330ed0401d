"""Events: reading and writing files of any known format as streams of awkward arrays."""

from gen2reco.events.files import EventFile
from gen2reco.events.layout import Jagged, flat_columns, to_events
from gen2reco.events.reading import Chunk, EventSource, open_events
from gen2reco.events.writing import EventWriter, write_events

__all__ = [
    "Chunk",
    "EventFile",
    "EventSource",
    "EventWriter",
    "Jagged",
    "flat_columns",
    "open_events",
    "to_events",
    "write_events",
]
