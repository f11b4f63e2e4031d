//! A place in a text, that moves forward.

use std::sync::Arc;

use super::JsonKind;
use super::number::number_length;
use crate::{Faults, Position};

/// The text that is still to be read, and its place.
pub(super) struct Cursor<'t> {
    rest: &'t str,
    file: Arc<str>,
    line: u32,
    column: u32,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str, file: Arc<str>) -> Self {
        Self { rest: text, file, line: 1, column: 1 }
    }

    pub(super) fn position(&self) -> Position {
        Position::new(&self.file, self.line, self.column)
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes `length` bytes. There is no line end among them.
    pub(super) fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        self.column = self.column.saturating_add(u32::try_from(taken.chars().count()).unwrap_or(u32::MAX));
        taken
    }

    pub(super) fn skip_space(&mut self) {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let (space, _) = self.rest.split_at_checked(self.rest.len() - rest.len()).unwrap_or_default();
        for character in space.bytes() {
            if character == b'\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self.rest = rest;
    }

    /// Makes the fault `message` at this place.
    pub(super) fn fault(&self, message: impl Into<String>) -> Faults {
        Faults::one(Some(self.position()), message)
    }

    /// Makes the fault that something else is here than `expected`.
    pub(super) fn unexpected(&self, expected: &str) -> Faults {
        self.fault(match self.peek() {
            None => format!("expected {expected}, found the end"),
            Some('\u{feff}') => format!("expected {expected}, found a byte order mark"),
            Some(first @ ('/' | '#')) => format!("expected {expected}, found \"{first}\": JSON has no comments"),
            Some(first) => {
                let is_of_word = |character: &char| character.is_ascii_alphanumeric() || "+-._".contains(*character);
                let word: String = self.rest.chars().take_while(is_of_word).take(32).collect();
                if word.is_empty() {
                    format!("expected {expected}, found {:?}", first.to_string())
                } else {
                    format!("expected {expected}, found {word:?}")
                }
            }
        })
    }

    pub(super) fn expect_end(&mut self) -> Result<(), Faults> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    pub(super) fn read_number(&mut self) -> Result<String, Faults> {
        match number_length(self.rest) {
            Some(length) => Ok(self.take(length).to_owned()),
            None => Err(self.unexpected("a number")),
        }
    }

    /// Reads one of the three values that are words.
    pub(super) fn read_word(&mut self) -> Result<JsonKind, Faults> {
        let length = self.rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let kind = match self.rest.get(..length) {
            Some("null") => JsonKind::Null,
            Some("true") => JsonKind::Bool(true),
            Some("false") => JsonKind::Bool(false),
            _ => return Err(self.unexpected("a value")),
        };
        self.take(length);
        Ok(kind)
    }

    /// Reads a text, from its quotation mark on.
    pub(super) fn read_text(&mut self) -> Result<String, Faults> {
        self.take(1);
        let mut text = String::new();
        loop {
            let is_special = |byte: u8| byte == b'"' || byte == b'\\' || byte < b' ';
            let plain = self.rest.bytes().position(is_special).unwrap_or(self.rest.len());
            text.push_str(self.take(plain));
            match self.peek() {
                None => return Err(self.fault("a text is not ended")),
                Some('"') => {
                    self.take(1);
                    return Ok(text);
                }
                Some('\\') => text.push(self.read_escape()?),
                Some(control) => {
                    let code = u32::from(control);
                    return Err(
                        self.fault(format!("a text has the control character U+{code:04X}, which must be escaped"))
                    );
                }
            }
        }
    }

    fn read_escape(&mut self) -> Result<char, Faults> {
        let character = match self.rest.as_bytes().get(1) {
            None => return Err(self.fault("a text is not ended")),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.read_code(),
            Some(_) => return Err(self.unknown_escape(2)),
        };
        self.take(2);
        Ok(character)
    }

    /// Reads an escape of one UTF-16 unit, or of two.
    fn read_code(&mut self) -> Result<char, Faults> {
        let Some(first) = self.rest.get(2..).and_then(read_unit) else { return Err(self.unknown_escape(6)) };
        let second = self.rest.get(6..).and_then(|rest| rest.strip_prefix("\\u")).and_then(read_unit);
        let half = self.fault(format!("the escape \"\\u{first:04x}\" is half of a character"));
        match char::decode_utf16([first]).next() {
            Some(Ok(character)) => {
                self.take(6);
                Ok(character)
            }
            _ => match char::decode_utf16([Some(first), second].into_iter().flatten()).next() {
                Some(Ok(character)) => {
                    self.take(12);
                    Ok(character)
                }
                _ => Err(half),
            },
        }
    }

    fn unknown_escape(&self, length: usize) -> Faults {
        let escape: String = self.rest.chars().take(length).take_while(|character| !character.is_control()).collect();
        self.fault(format!("the escape \"{escape}\" is unknown"))
    }
}

/// Reads the four hexadecimal digits at the beginning of `text`.
fn read_unit(text: &str) -> Option<u16> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}
