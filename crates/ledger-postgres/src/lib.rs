//! A ledger in PostgreSQL.
