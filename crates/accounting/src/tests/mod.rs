//! Tests of several parts together.

mod model;
mod recovering;
mod tickets;
