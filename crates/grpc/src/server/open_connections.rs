//! Limits connections, in all and of each peer.

use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::transport::server::TcpConnectInfo;

/// The part of an address of IPv6 that tells networks apart: a network has as many addresses as it likes (RFC 4291, section
/// 2.5.4).
const NETWORK_OF_IPV6: u128 = u128::MAX << 64;

/// The connections that are open. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct OpenConnections(Arc<State>);

#[derive(Debug)]
struct State {
    max: usize,
    max_per_address: usize,
    refused: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    connections: OpenConnections,
    address: Option<IpAddr>,
}

impl OpenConnections {
    /// Makes a limit of `max` connections in all, and of `max_per_address` of each address.
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        Self(Arc::new(State { max, max_per_address, refused: AtomicU64::new(0), open: Mutex::default() }))
    }

    /// Counts a connection whose other end is known by `info`. Returns `None` if there are too many.
    pub(crate) fn open<I: Any>(&self, info: &I) -> Option<OpenConnection> {
        let info: &dyn Any = info;
        let address = info.downcast_ref::<TcpConnectInfo>();
        let address = address.and_then(TcpConnectInfo::remote_addr).map(|address| network(address.ip()));
        let mut open = self.lock();
        let of_address = address.and_then(|address| open.by_address.get(&address)).copied().unwrap_or(0);
        if open.connections >= self.0.max || of_address >= self.0.max_per_address {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        open.connections += 1;
        if let Some(address) = address {
            open.by_address.insert(address, of_address + 1);
        }
        Some(OpenConnection { connections: self.clone(), address })
    }

    /// Returns the number of open connections.
    pub(crate) fn count(&self) -> usize {
        self.lock().connections
    }

    /// Returns the number of connections that were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Each change is one step; nothing panics while it is held.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK_OF_IPV6)),
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.connections = open.connections.saturating_sub(1);
        let Some(address) = self.address else { return };
        match open.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(open.by_address.remove(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: None, remote_addr: Some(address.parse().unwrap()) }
    }

    #[test]
    fn connections_are_limited_in_all_and_of_each_network() {
        let connections = OpenConnections::new(4, 2);
        let first = connections.open(&from("[2001:db8::1]:1")).unwrap();
        let _second = connections.open(&from("[2001:db8::2]:1")).unwrap();
        assert!(connections.open(&from("[2001:db8::3]:1")).is_none());
        let _other = connections.open(&from("[2001:db8:0:1::1]:1")).unwrap();
        let _unix = connections.open(&()).unwrap();
        assert!(connections.open(&from("192.0.2.1:1")).is_none(), "there are four");
        assert_eq!((connections.count(), connections.refused()), (4, 2));
        drop(first);
        let _again = connections.open(&from("[2001:db8::3]:1")).unwrap();
    }

    #[test]
    fn an_address_without_a_connection_takes_no_memory() {
        let connections = OpenConnections::new(4, 2);
        for number in 0..100 {
            drop(connections.open(&from(&format!("192.0.2.{number}:1"))));
        }
        assert_eq!((connections.count(), connections.lock().by_address.len()), (0, 0));
    }
}
