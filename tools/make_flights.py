"""Make `python/corten/datasets/flights.parquet` from nycflights13.

The input is the table `flights` of nycflights13 (CC0; the data themselves are records of the US Bureau of
Transportation Statistics) left-joined with the hourly `weather` (NOAA) on origin and hour, as one Parquet file. Kept is
what is known before a flight leaves; `dep_time`, `dep_delay`, `arr_time` and `air_time` would leak the answer. The
target `late` says whether the flight arrived more than 15 minutes late; flights that never arrived are left out.

    python tools/make_flights.py nycflights13.parquet
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

TARGET = Path(__file__).resolve().parent.parent / "python" / "corten" / "datasets" / "flights.parquet"
LIMIT = 3_000_000
ROWS = 100_000
SEED = 13


def flights(source: Path, rows: int = ROWS) -> pl.DataFrame:
    """The raw columns, a row per flight, in order of departure."""
    weather = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    return (
        pl.read_parquet(source)
        .filter(pl.col("arr_delay").is_not_null())
        .with_row_index("order")
        .sample(rows, seed=SEED)
        .sort("order")
        .select(
            "month",
            "day",
            (pl.datetime("year", "month", "day").dt.weekday()).cast(pl.Int8).alias("weekday"),
            "hour",
            "minute",
            pl.col("carrier", "origin", "dest").cast(pl.String),
            pl.col("distance").cast(pl.Int16),
            pl.col("sched_arr_time").cast(pl.Int16),
            *(pl.col(name).cast(pl.Float32) for name in weather),
            (pl.col("arr_delay") > 15).alias("late"),
        )
    )


def main() -> None:
    """Write the data set and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="Parquet file of nycflights13 flights joined with weather")
    frame = flights(parser.parse_args().source)
    frame.write_parquet(TARGET, compression="zstd", compression_level=19, statistics=False)
    size = TARGET.stat().st_size
    if size > LIMIT:
        raise SystemExit(f"{TARGET.name}: {size} bytes, at most {LIMIT} are allowed; keep fewer rows")
    print(
        f"{TARGET.name}: {frame.height} rows, {frame.width} columns, {size} bytes, {frame['late'].sum() / frame.height:.3f} late"
    )


if __name__ == "__main__":
    main()
