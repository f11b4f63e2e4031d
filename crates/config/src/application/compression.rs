//! The compression that clients are offered.

use std::fmt::{self, Display, Formatter};

use blobaccess::Compressor;

use crate::section::Section;

/// The level of zstd for each level of Buildbarn's encoder, from 1: fastest, default, better, best.
const LEVELS: [i32; 4] = [1, 3, 7, 11];

/// The level of zstd unless the file sets another.
const DEFAULT_LEVEL: i32 = 1;

/// The plan of compression: the level of zstd, if it is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compression {
    pub(super) level: Option<i32>,
}

impl Compression {
    /// Reads `supported_compressors` and `zstd_pool` from an `ApplicationConfiguration`. `None` says that faults were
    /// noted.
    pub(super) fn read(root: &Section<'_>) -> Option<Self> {
        let zstd = Compressor::Zstd.number();
        let offered = root.enumerations("supported_compressors");
        if offered.iter().any(|number| *number != zstd && *number != 0) {
            root.notice_at("supported_compressors", "of all compressors, zstd alone is offered");
        }
        let level = match root.message("zstd_pool") {
            Some(pool) => read_level(&pool)?,
            None => DEFAULT_LEVEL,
        };
        Some(Self { level: offered.contains(&zstd).then_some(level) })
    }
}

fn read_level(pool: &Section<'_>) -> Option<i32> {
    for field in ["maximum_encoders", "maximum_decoders"] {
        pool.notice_at(field, "has no effect: the number of open calls is limited instead");
    }
    for field in ["encoder_window_size_bytes", "decoder_window_size_bytes"] {
        pool.notice_at(field, "has no effect: windows are those of the level");
    }
    let level = pool.int("encoder_level");
    if level == 0 {
        return Some(DEFAULT_LEVEL);
    }
    let known = usize::try_from(level - 1).ok().and_then(|index| LEVELS.get(index));
    if known.is_none() {
        pool.fault_at("encoder_level", format!("is {level}; levels are 1 to {}", LEVELS.len()));
    }
    known.copied()
}

impl Display for Compression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "compressed by zstd at level {level} for clients that ask for it"),
            None => f.write_str("not compressed"),
        }
    }
}
