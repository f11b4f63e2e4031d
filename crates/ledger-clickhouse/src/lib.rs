//! A ledger in `ClickHouse`.
