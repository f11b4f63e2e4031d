//! The parts that layers over two stores share.

mod go_on;
mod member;
mod noted;
mod repairs;
mod rest;
mod wanted;

pub(super) use self::go_on::{GoOn, read_and_copy};
pub(super) use self::member::Member;
pub use self::repairs::RepairSnapshot;
pub(super) use self::repairs::{Need, Repairs};
pub(super) use self::rest::Rest;
pub(super) use self::wanted::Wanted;
