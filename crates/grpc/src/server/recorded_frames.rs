//! A few contents as the `zstd` program (1.5) compressed them.

/// The contents of [`PLAIN`] and [`PLAIN_WITHOUT_SIZE`].
pub(super) const CONTENTS: &[u8] = b"hello hello hello hello hello zstd\n";

/// `zstd -c FILE`: a frame with content size and checksum.
pub(super) const PLAIN: &[u8] =
    b"\x28\xb5\x2f\xfd\x24\x23\x8d\x00\x00\x58hello zstd\n\x01\x00\x01K\x11\x1f\x06\x18\x09";

/// `cat FILE | zstd -c`: a frame without content size.
pub(super) const PLAIN_WITHOUT_SIZE: &[u8] =
    b"\x28\xb5\x2f\xfd\x04\x58\x8d\x00\x00\x58hello zstd\n\x01\x00\x01K\x11\x1f\x06\x18\x09";

/// `first ` by `zstd --no-check`, and `second\n` by `zstd -19`: two frames, neither with content size.
pub(super) const TWO_FRAMES: &[u8] =
    b"\x28\xb5\x2f\xfd\x00\x58\x31\x00\x00first \x28\xb5\x2f\xfd\x04\x68\x39\x00\x00second\n\x16\x40\x4c\x55";

/// A frame without contents.
pub(super) const EMPTY: &[u8] = b"\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x99\xe9\xd8\x51";

/// A million zeros, in a frame that does not give their number.
pub(super) const MILLION_ZEROS: &[u8] =
    b"\x28\xb5\x2f\xfd\x00\x58\x54\x00\x00\x10\x00\x00\x01\x00\xfb\xff\x39\xc0\x02\x02\x00\x10\x00\x02\
    \x00\x10\x00\x02\x00\x10\x00\x02\x00\x10\x00\x02\x00\x10\x00\x02\x00\x10\x00\x03\x12\x0a\x00";
