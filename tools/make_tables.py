#!/usr/bin/env python3
"""Write the small tables that the readers of files are tested and fuzzed with: `python tools/make_tables.py`.

They go to `fixtures/tables/`: Parquet and Arrow, with dictionaries, missing values, compression and several blocks.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "tables"


def table() -> pa.Table:
    """Columns of the types that are read, and one that is not."""
    rows = 40
    city = pa.array([None if i % 7 == 0 else ("Oslo", "Rome", "Łódź")[i % 3] for i in range(rows)])
    return pa.table(
        {
            "a": pa.array([None if i % 5 == 0 else i * 0.25 - 3 for i in range(rows)]),
            "b": city,
            "level": city.dictionary_encode(),
            "count": pa.array(range(rows), pa.int32()),
            "ok": pa.array([i % 2 == 0 for i in range(rows)]),
            "view": city.cast(pa.string_view()),
            "price": pa.array(range(rows), pa.int64()).cast(pa.decimal128(21, 2)),
            "day": pa.array(range(rows), pa.int32()).cast(pa.date32()),
            "none": pa.nulls(rows),
        }
    )


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = table()
    parts = [whole.slice(start, 10) for start in range(0, len(whole), 10)]
    for name, codec in (("plain", None), ("lz4", "lz4"), ("zstd", "zstd")):
        options = pa.ipc.IpcWriteOptions(compression=codec, unify_dictionaries=True)
        with (
            pa.OSFile(str(FOLDER / f"{name}.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, whole.schema, options=options) as writer,
        ):
            for part in parts:
                writer.write_table(part)
    with pa.OSFile(str(FOLDER / "stream.arrow"), "wb") as sink, pa.ipc.new_stream(sink, whole.schema) as writer:
        for part in parts:
            writer.write_table(part)
    flat = whole.drop_columns(["none", "view"])
    for name, codec, dictionary in (("plain", "none", False), ("snappy", "snappy", True), ("zstd", "zstd", True)):
        pq.write_table(
            flat,
            FOLDER / f"{name}.parquet",
            compression=codec,
            use_dictionary=dictionary,
            row_group_size=20,
            store_schema=False,
        )


if __name__ == "__main__":
    main()
