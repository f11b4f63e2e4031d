//! The identity of a reporter: the name of a host, and a life of its program.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;

use blobaccess::{AccountName, Error, Result};

/// The stable name of a reporter: a host, or one of several stores of a host.
///
/// Each store with accounts of its own reports under its own name: `host-7/bucket`, `host-7/mirror`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reporter(Arc<str>);

impl Reporter {
    /// Makes the reporter with this name, which is bounded as that of an account is ([`AccountName::new`]).
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        if AccountName::is_kept(&name) { Self(name) } else { Self(Arc::from(AccountName::new(name).as_str())) }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Reporter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identifier of one life of a reporter: sixteen random bytes, drawn at each start.
///
/// Counters begin anew with each life. If two lives shared an epoch, as after a host was cloned, the higher count would
/// hide the other. So epochs are random, and not made of names or times.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch([u8; 16]);

impl Epoch {
    /// Draws a new epoch from the system's randomness.
    ///
    /// # Errors
    ///
    /// `Internal` if the system has no randomness.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        match draw(&mut bytes) {
            Ok(16) => Ok(Self(bytes)),
            Ok(drawn) => Err(Error::internal(format!("drew {drawn} random bytes of 16"))),
            Err(error) => Err(Error::internal("cannot draw random bytes").with_source(error)),
        }
    }

    /// Makes the epoch with these bytes: an epoch that was stored before, or the life of a store
    /// ([`EvictionTotals`](blobaccess::EvictionTotals)).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses an epoch as [`Display`] prints it; `None` for any other text.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(hex, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl Display for Epoch {
    /// Prints 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Debug for Epoch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// Draws random bytes from the system, and returns the number of bytes drawn.
#[cfg(target_os = "linux")]
fn draw(bytes: &mut [u8; 16]) -> std::io::Result<usize> {
    Ok(rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())?)
}

/// Draws random bytes from the system, and returns the number of bytes drawn.
#[cfg(not(target_os = "linux"))]
fn draw(bytes: &mut [u8; 16]) -> std::io::Result<usize> {
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, bytes)?;
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_read_as_it_prints() {
        let epoch = Epoch::random().unwrap();
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
        assert_ne!(epoch, Epoch::random().unwrap());
        for wrong in ["", "12", &"g".repeat(32), &"+".repeat(32), &"0".repeat(33)] {
            assert_eq!(Epoch::parse(wrong), None, "{wrong}");
        }
    }
}
