//! The score of one shard for one blob, in whole numbers.

/// The multipliers of [`mix`]: those of the finalizer of `SplitMix64`.
pub(super) const MULTIPLIERS: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// The scale of logarithms: 16 bits after the point.
const ONE: u64 = 1 << 16;

/// The binary logarithms of 1 + i/64, as multiples of 2^-16. The last one wraps around.
const LOGARITHMS: [u16; 65] = [
    0x0000, 0x05ba, 0x0b5d, 0x10eb, 0x1664, 0x1bc8, 0x2119, 0x2656, 0x2b80, 0x3098, 0x359f, 0x3a94, 0x3f78, 0x444c,
    0x4910, 0x4dc5, 0x526a, 0x5700, 0x5b89, 0x6003, 0x646f, 0x68ce, 0x6d20, 0x7165, 0x759d, 0x79ca, 0x7dea, 0x81ff,
    0x8608, 0x8a06, 0x8dfa, 0x91e2, 0x95c0, 0x9994, 0x9d5e, 0xa11e, 0xa4d4, 0xa881, 0xac24, 0xafbe, 0xb350, 0xb6d9,
    0xba59, 0xbdd1, 0xc140, 0xc4a8, 0xc807, 0xcb5f, 0xceaf, 0xd1f7, 0xd538, 0xd872, 0xdba5, 0xded0, 0xe1f5, 0xe513,
    0xe82a, 0xeb3b, 0xee45, 0xf149, 0xf446, 0xf73e, 0xfa2f, 0xfd1a, 0x0000,
];

/// The logarithm at the beginning of each segment, and its increase within the segment.
const SEGMENTS: [(u16, u16); 64] = segments();

#[expect(clippy::indexing_slicing, reason = "it is computed when it is compiled")]
const fn segments() -> [(u16, u16); 64] {
    let mut segments = [(0, 0); 64];
    let mut index = 0;
    while index < 64 {
        segments[index] = (LOGARITHMS[index], LOGARITHMS[index + 1].wrapping_sub(LOGARITHMS[index]));
        index += 1;
    }
    segments
}

/// Returns the score of a shard with `weight`, if `number` is the hash of its key, combined with that of the blob.
///
/// A uniform number u between 0 and 1 is turned into weight / -log2(u). The greatest of these belongs to each shard as
/// often as its share of the total weight.
pub(super) fn score(number: u64, weight: u32) -> u64 {
    // The logarithm is below 64, so the divisor is at least 1.
    (u64::from(weight) << 32) / (64 * ONE - log2(mix(number)))
}

/// Returns a number that looks random. 0 stays 0.
pub(super) const fn mix(mut number: u64) -> u64 {
    number ^= number >> 30;
    number = number.wrapping_mul(MULTIPLIERS[0]);
    number ^= number >> 27;
    number = number.wrapping_mul(MULTIPLIERS[1]);
    number ^ number >> 31
}

/// Returns the binary logarithm with 16 bits after the point, by interpolation between 64 values; 0 for 0.
pub(super) fn log2(number: u64) -> u64 {
    let whole = u64::BITS - (number >> 1).leading_zeros();
    // The bits after the first one.
    let fraction = number.checked_shl(u64::BITS - whole).unwrap_or(0);
    let segment = usize::try_from(fraction >> 58).unwrap_or(usize::MAX);
    let (begin, increase) = SEGMENTS.get(segment).copied().unwrap_or_default();
    let within_segment = fraction << 6 >> 16;
    // Even the last segment ends below 2^64.
    let interpolated = (u64::from(begin) << 48) + u64::from(increase) * within_segment;
    u64::from(whole) << 16 | interpolated >> 48
}
