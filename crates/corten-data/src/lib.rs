//! Tables in and out in constant memory: Parquet, CSV, Arrow IPC and JSON lines.
