//! Numbers of bytes, for people.

/// Writes `bytes` with the largest unit that leaves a whole number in front: `17.3 MiB`.
pub(crate) fn human(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = units.into_iter().find(|(_, shift)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let tenths = ((bytes >> (shift - 10)) & 0x3ff) * 10 / 1024;
    format!("{}.{tenths} {unit}", bytes >> shift)
}

/// Writes `bytes` with a unit, and the raw number behind it.
pub(crate) fn exact(bytes: u64) -> String {
    if bytes < 1024 { human(bytes) } else { format!("{} ({bytes} bytes)", human(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_leaves_a_whole_number_in_front() {
        let written = [0, 1023, 1024, 1536, (1 << 20) - 1, 17 << 20, 3 << 39].map(human);
        assert_eq!(written, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1023.9 KiB", "17.0 MiB", "1.5 TiB"]);
        assert_eq!(exact(1536), "1.5 KiB (1536 bytes)");
        assert_eq!(exact(5), "5 B");
    }
}
