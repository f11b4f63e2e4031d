//! Addresses and sockets that services listen on, in groups with policies of their own.

mod group;
mod listen_error;
mod options;
#[cfg(unix)]
mod socket_file;
mod tcp_address;

pub use self::group::{BoundListeners, ListenerGroup};
pub(crate) use self::group::{GroupPolicy, Sockets};
pub use self::options::ListenerOptions;
pub(crate) use self::options::PingPolicy;
