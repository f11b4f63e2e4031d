//! A ledger in ClickHouse.
