//! Numbers of bytes, as people read them.

use std::fmt::{self, Display, Formatter};

/// A number of bytes, displayed in the largest unit of which there are at least ten: `64 MiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteCount(pub(crate) u64);

impl Display for ByteCount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let is_whole = |bytes: u64| self.0 >= bytes && self.0.is_multiple_of(bytes);
        let unit = UNITS.iter().find(|(bytes, _)| self.0 >= 10 * bytes || is_whole(*bytes));
        match unit {
            Some((bytes, name)) => write!(f, "{} {name}", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_do_not_exaggerate() {
        let shown = [0, 4096, 5000, 20_000, 1 << 20, (1 << 30) + 1, 10 << 30].map(|bytes| ByteCount(bytes).to_string());
        assert_eq!(shown, ["0 bytes", "4 KiB", "5000 bytes", "19 KiB", "1 MiB", "1024 MiB", "10 GiB"]);
    }
}
