"""What a run leaves behind: facts, run folders, checkpoints; readable without torch."""

from lifelong.log.facts import FACTS, FACTS_SCHEMA, Edited, Fact, Gauged, Probed, Served, Timed, schema_of, table_of
from lifelong.log.files import LogError
from lifelong.log.run_log import RunLog

__all__ = ["FACTS", "FACTS_SCHEMA", "Edited", "Fact", "Gauged", "LogError", "Probed", "RunLog", "Served", "Timed",
           "schema_of", "table_of"]  # fmt: skip
