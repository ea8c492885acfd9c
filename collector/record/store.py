"""The reads and writes of the record that others use, in one place; each table's SQL stands in a module of its own."""

from __future__ import annotations

from pathlib import Path

from collector.record.cpu import CPU_NAMES
from collector.record.demand import (
    DemandExtent,
    count_requests,
    read_demand,
    read_demand_extent,
    read_watermark,
    write_imported_demand,
)
from collector.record.histogram import bucket_of, quantile_from_histogram, upper_edge
from collector.record.ingest import IngestCounts, read_ingest_counts
from collector.record.markers import excluded_spans
from collector.record.red import RedDimension, read_red, read_red_totals
from collector.record.resources import (
    MEMORY_NAMES,
    read_cpu_steps,
    read_memory_steps,
    read_resource_span,
)
from collector.record.runs import (
    Capacity,
    LoadRun,
    Marker,
    read_capacities,
    read_load_run,
    read_load_runs,
    read_load_seconds,
    read_load_spans,
    read_markers,
    write_capacity,
    write_load_requests,
    write_load_run,
    write_load_seconds,
    write_marker,
)

SCHEMA_FOLDER = Path(__file__).parent / "schema"
SCHEMA_OWNER = "collector"
READER_ROLE = Path(__file__).parent / "reader.sql"

__all__ = [
    "CPU_NAMES",
    "MEMORY_NAMES",
    "READER_ROLE",
    "SCHEMA_FOLDER",
    "SCHEMA_OWNER",
    "Capacity",
    "DemandExtent",
    "IngestCounts",
    "LoadRun",
    "Marker",
    "RedDimension",
    "bucket_of",
    "count_requests",
    "excluded_spans",
    "quantile_from_histogram",
    "read_capacities",
    "read_cpu_steps",
    "read_demand",
    "read_demand_extent",
    "read_ingest_counts",
    "read_load_run",
    "read_load_runs",
    "read_load_seconds",
    "read_load_spans",
    "read_markers",
    "read_memory_steps",
    "read_red",
    "read_red_totals",
    "read_resource_span",
    "read_watermark",
    "upper_edge",
    "write_capacity",
    "write_imported_demand",
    "write_load_requests",
    "write_load_run",
    "write_load_seconds",
    "write_marker",
]
