//! Counts messages in the bytes of a body.

/// The bytes before each message: a flag and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: u8 = 5;

/// A count of messages in the bytes of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MessageCount {
    /// The bytes of the prefix that have come.
    prefix_bytes: u8,
    /// The length in the prefix, as far as it has come.
    length: u32,
    /// The bytes of the message that are to come.
    left: usize,
}

impl MessageCount {
    /// Returns the number of messages that end in `bytes`, which follow those before.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                bytes = bytes.get(taken..).unwrap_or_default();
                self.left -= taken;
            } else {
                bytes = rest;
                self.length = if self.prefix_bytes == 0 { 0 } else { (self.length << 8) | u32::from(*first) };
                self.prefix_bytes += 1;
                if self.prefix_bytes < PREFIX_BYTES {
                    continue;
                }
                self.prefix_bytes = 0;
                self.left = usize::try_from(self.length).unwrap_or(usize::MAX);
            }
            if self.left == 0 {
                count += 1;
            }
        }
        count
    }

    /// Returns the number of bytes of the message that has begun and not ended.
    pub(crate) fn begun_bytes(&self) -> u64 {
        if self.left == 0 {
            return self.prefix_bytes.into();
        }
        let left = u64::try_from(self.left).unwrap_or(u64::MAX);
        u64::from(PREFIX_BYTES).saturating_add(u64::from(self.length).saturating_sub(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_their_bytes_are_cut() {
        let mut bytes = Vec::new();
        for length in [0_u8, 3, 0, 200] {
            bytes.extend([0, 0, 0, 0, length]);
            bytes.extend(vec![7; usize::from(length)]);
        }
        for size in 1..bytes.len() {
            let mut count = MessageCount::default();
            assert_eq!(bytes.chunks(size).map(|chunk| count.count(chunk)).sum::<u64>(), 4, "{size}");
        }
        let mut cut = MessageCount::default();
        assert_eq!(cut.count(&bytes[..bytes.len() - 1]), 3);
        assert_eq!(cut.begun_bytes(), 204);
        cut.count(&[7, 0, 0]);
        assert_eq!(cut.begun_bytes(), 2);
    }
}
