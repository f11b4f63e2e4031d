//! The README files and guides, as modules, so that their code is compiled and run with the tests of documentation.

#[doc = include_str!("../../README.md")]
mod project {}

#[doc = include_str!("../../docs/faq.md")]
mod faq {}

#[doc = include_str!("../../crates/accounting/README.md")]
mod accounting {}

#[doc = include_str!("../../crates/blobaccess/README.md")]
mod blobaccess {}

#[doc = include_str!("../../crates/grpc/README.md")]
mod grpc {}

#[doc = include_str!("../../crates/config/README.md")]
mod config {}

#[doc = include_str!("../../crates/icas/README.md")]
mod icas {}

#[doc = include_str!("../../crates/ledger-clickhouse/README.md")]
mod ledger_clickhouse {}

#[doc = include_str!("../../crates/ledger-postgres/README.md")]
mod ledger_postgres {}

#[doc = include_str!("../../crates/local-store/README.md")]
mod local_store {}

#[doc = include_str!("../../crates/metrics/README.md")]
mod metrics {}

#[doc = include_str!("../../crates/proto/README.md")]
mod proto {}

#[doc = include_str!("../../crates/s3-backend/README.md")]
mod s3_backend {}

#[doc = include_str!("../../crates/testkit/README.md")]
mod testkit {}

#[doc = include_str!("../../crates/write-behind/README.md")]
mod write_behind {}

#[doc = include_str!("../../crates/zip-store/README.md")]
mod zip_store {}
