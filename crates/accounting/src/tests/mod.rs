//! What the parts come to together.

mod model;
mod recovering;
mod tickets;
