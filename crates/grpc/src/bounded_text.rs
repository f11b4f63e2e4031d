//! Texts of bounded size.

/// The maximum size of the text of an error, in bytes. Common clients take 8 to 16 KiB of metadata in all,
/// percent-encoded, and show another error in place of a text that is larger.
pub(crate) const MAX_TEXT_BYTES: usize = 1 << 10;

/// The mark of what was cut.
pub(crate) const CUT: &str = "..";

/// Cuts `text` to [`MAX_TEXT_BYTES`].
pub(crate) fn cut(text: String) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    format!("{}{CUT}", start(&text, MAX_TEXT_BYTES - CUT.len()))
}

/// Returns the start of `text`, of at most `max` bytes and whole characters.
pub(crate) fn start(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
