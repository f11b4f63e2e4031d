//! Tests of several parts together.

mod model;
mod outages;
mod recovering;
mod rows;
mod tickets;
