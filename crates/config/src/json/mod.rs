//! JSON as a document has it: the order of fields, fields that are there twice, and the texts of numbers are kept.

mod cursor;
mod number;
mod parse;

pub(crate) use self::number::{is_number, whole_digits};
pub(crate) use self::parse::parse;

use crate::Position;

/// A value of JSON.
#[derive(Clone, Debug)]
pub(crate) struct JsonValue {
    pub(crate) kind: JsonKind,
    /// The place of the value's first character.
    pub(crate) position: Option<Position>,
}

/// The kinds of values.
#[derive(Clone, Debug)]
pub(crate) enum JsonKind {
    Null,
    Bool(bool),
    /// The text of a number, as the grammar of JSON has it: `-1.5e3`.
    Number(String),
    Text(String),
    List(Vec<JsonValue>),
    /// The fields in the order of the document. Several may have the same name.
    Object(Vec<JsonField>),
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct JsonField {
    pub(crate) name: String,
    /// The place of the name.
    pub(crate) position: Option<Position>,
    pub(crate) value: JsonValue,
}
