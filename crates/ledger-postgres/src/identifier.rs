//! Names of tables and columns, which become parts of statements.

use blobaccess::{Error, Result};

/// The length of the longest name that PostgreSQL keeps whole, in bytes.
pub(crate) const MAX_BYTES: usize = 63;

/// Checks that `name` is an identifier: a letter or `_`, then letters, digits and `_`, at most 63 in all, of ASCII.
pub(crate) fn check(what: &str, name: &str) -> Result<()> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let begins = name.bytes().next().is_some_and(is_letter);
    if begins && name.len() <= MAX_BYTES && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{name:?} is no name of {what}: it must have a letter or _, then letters, digits and _, at most {MAX_BYTES} in all"
    )))
}

/// Returns a name that was checked for a statement, with its capitals.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "_"))
}

/// Returns the name of a table for a statement, in a schema if one is given.
pub(crate) fn quote_table(schema: Option<&str>, table: &str) -> String {
    schema.map_or_else(|| quote(table), |schema| format!("{}.{}", quote(schema), quote(table)))
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn a_name_is_an_identifier_and_nothing_else() {
        for name in ["a", "_", "Build_Cache2", &"x".repeat(63)] {
            check("a table", name).unwrap();
        }
        for name in ["", "2a", "a b", "a.b", "a\"b", "a;--", "ä", "a\0", &"x".repeat(64)] {
            assert_eq!(check("a table", name).unwrap_err().kind(), ErrorKind::InvalidArgument, "{name:?}");
        }
        assert_eq!(quote_table(Some("web"), "Entries"), "\"web\".\"Entries\"");
        assert_eq!(quote("a\"b"), "\"a_b\"");
    }
}
