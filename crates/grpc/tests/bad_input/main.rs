//! The faults of clients, over real connections: each gets its status, nothing is lost, and the server continues.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod anything;
mod deadlines;
mod departures;
mod digests;
mod fairness;
mod limits;
mod malformed;
mod names;
mod pressure;
mod raw;
mod stack;
mod uploads;
mod wire_answers;
mod zstd_frames;
