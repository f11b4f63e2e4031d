//! Reads the text of a document.

use std::sync::Arc;

use super::cursor::Cursor;
use super::{JsonField, JsonKind, JsonValue};
use crate::{Faults, Position};

/// The most lists and objects that may lie in each other, which is about where Buildbarn's Jsonnet stops, too.
pub(crate) const MAX_DEPTH: usize = 500;

/// Reads the JSON `text` of the file `file`, as strictly as Go's `protojson` does: there are no comments, no commas behind
/// the last element and no byte order mark.
///
/// # Errors
///
/// One fault, at the place of the first mistake.
pub(crate) fn parse(text: &str, file: &str) -> Result<JsonValue, Faults> {
    let mut cursor = Cursor::new(text, Arc::from(file));
    // Deep documents take memory here, and no stack.
    let mut open: Vec<Open> = Vec::new();
    loop {
        let Some(mut value) = begin_value(&mut cursor, &mut open)? else { continue };
        loop {
            let Some(innermost) = open.pop() else {
                cursor.expect_end()?;
                return Ok(value);
            };
            match innermost.add(value, &mut cursor)? {
                Added::Ended(ended) => value = ended,
                Added::More(more) => {
                    open.push(more);
                    break;
                }
            }
        }
    }
}

/// A list or object that has begun.
enum Open {
    List { elements: Vec<JsonValue>, position: Position },
    Object { fields: Vec<JsonField>, position: Position, name: String, name_position: Position },
}

/// A list or object that a value was added to.
enum Added {
    /// Another value is due.
    More(Open),
    Ended(JsonValue),
}

/// Reads a value, or else the beginning of a list or object that has at least one value, which is then the last of `open`.
fn begin_value(cursor: &mut Cursor<'_>, open: &mut Vec<Open>) -> Result<Option<JsonValue>, Faults> {
    cursor.skip_space();
    let position = cursor.position();
    let first = cursor.peek();
    if matches!(first, Some('[' | '{')) && open.len() >= MAX_DEPTH {
        return Err(cursor.fault(format!("more than {MAX_DEPTH} lists and objects lie in each other")));
    }
    let kind = match first {
        Some('[') => {
            cursor.take(1);
            cursor.skip_space();
            if cursor.peek() != Some(']') {
                open.push(Open::List { elements: Vec::new(), position });
                return Ok(None);
            }
            cursor.take(1);
            JsonKind::List(Vec::new())
        }
        Some('{') => {
            cursor.take(1);
            cursor.skip_space();
            if cursor.peek() != Some('}') {
                let (name, name_position) = begin_field(cursor)?;
                open.push(Open::Object { fields: Vec::new(), position, name, name_position });
                return Ok(None);
            }
            cursor.take(1);
            JsonKind::Object(Vec::new())
        }
        Some('"') => JsonKind::Text(cursor.read_text()?),
        Some('-' | '0'..='9') => JsonKind::Number(cursor.read_number()?),
        _ => cursor.read_word()?,
    };
    Ok(Some(JsonValue { kind, position: Some(position) }))
}

/// Reads the name of a field, and the colon behind it.
fn begin_field(cursor: &mut Cursor<'_>) -> Result<(String, Position), Faults> {
    cursor.skip_space();
    let position = cursor.position();
    if cursor.peek() != Some('"') {
        return Err(cursor.unexpected("the name of a field in quotation marks"));
    }
    let name = cursor.read_text()?;
    cursor.skip_space();
    if cursor.peek() != Some(':') {
        return Err(cursor.unexpected("a colon"));
    }
    cursor.take(1);
    Ok((name, position))
}

impl Open {
    /// Adds a value, and reads the comma or bracket behind it.
    fn add(self, value: JsonValue, cursor: &mut Cursor<'_>) -> Result<Added, Faults> {
        cursor.skip_space();
        let next = cursor.peek();
        match self {
            Self::List { mut elements, position } => {
                elements.push(value);
                match next {
                    Some(',') => {
                        cursor.take(1);
                        Ok(Added::More(Self::List { elements, position }))
                    }
                    Some(']') => {
                        cursor.take(1);
                        let kind = JsonKind::List(elements);
                        Ok(Added::Ended(JsonValue { kind, position: Some(position) }))
                    }
                    _ => Err(cursor.unexpected("a comma or \"]\"")),
                }
            }
            Self::Object { mut fields, position, name, name_position } => {
                fields.push(JsonField { name, position: Some(name_position), value });
                match next {
                    Some(',') => {
                        cursor.take(1);
                        let (name, name_position) = begin_field(cursor)?;
                        Ok(Added::More(Self::Object { fields, position, name, name_position }))
                    }
                    Some('}') => {
                        cursor.take(1);
                        let kind = JsonKind::Object(fields);
                        Ok(Added::Ended(JsonValue { kind, position: Some(position) }))
                    }
                    _ => Err(cursor.unexpected("a comma or \"}\"")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: &JsonValue) -> String {
        match &value.kind {
            JsonKind::Null => "null".to_owned(),
            JsonKind::Bool(flag) => flag.to_string(),
            JsonKind::Number(text) => text.clone(),
            JsonKind::Text(text) => format!("{text:?}"),
            JsonKind::List(elements) => format!("[{}]", elements.iter().map(write).collect::<Vec<_>>().join(",")),
            JsonKind::Object(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|field| format!("{:?}:{}", field.name, write(&field.value))).collect();
                format!("{{{}}}", fields.join(","))
            }
        }
    }

    #[test]
    fn a_document_is_kept_as_it_is() {
        for (text, expected) in [
            ("{\"b\": 1.50, \"a\" : [ ], \"b\":\t{ }\r\n}", r#"{"b":1.50,"a":[],"b":{}}"#),
            (" [true,false , null,[[1],-0e0]] ", "[true,false,null,[[1],-0e0]]"),
            (r#""a\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\uDE00é""#, "\"a\\\"\\\\/\\u{8}\\u{c}\\n\\r\\tAé😀é\""),
        ] {
            assert_eq!(write(&parse(text, "a.json").unwrap()), expected);
        }
    }

    #[test]
    fn mistakes_are_told_by_their_place() {
        for (text, expected) in [
            ("", "a.json:1:1: expected a value, found the end"),
            ("\n  {\"é\": 1,}", "a.json:2:11: expected the name of a field in quotation marks, found \"}\""),
            ("[1,]", "a.json:1:4: expected a value, found \"]\""),
            ("[1 2]", "a.json:1:4: expected a comma or \"]\", found \"2\""),
            ("[01]", "a.json:1:3: expected a comma or \"]\", found \"1\""),
            ("[1.]", "a.json:1:2: expected a number, found \"1.\""),
            ("{\"a\" 1}", "a.json:1:6: expected a colon, found \"1\""),
            ("{a: 1}", "a.json:1:2: expected the name of a field in quotation marks, found \"a\""),
            ("{} {}", "a.json:1:4: expected the end, found \"{\""),
            ("nul", "a.json:1:1: expected a value, found \"nul\""),
            ("nullify", "a.json:1:1: expected a value, found \"nullify\""),
            ("[1", "a.json:1:3: expected a comma or \"]\", found the end"),
            ("\"a", "a.json:1:3: a text is not ended"),
            ("\"a\nb\"", "a.json:1:3: a text has the control character U+000A, which must be escaped"),
            ("\"\\x\"", "a.json:1:2: the escape \"\\x\" is unknown"),
            ("\"\\u12g4\"", "a.json:1:2: the escape \"\\u12g4\" is unknown"),
            ("\"\\ud800\"", "a.json:1:2: the escape \"\\ud800\" is half of a character"),
            ("\"\\ude00\\ud83d\"", "a.json:1:2: the escape \"\\ude00\" is half of a character"),
            ("\u{feff}{}", "a.json:1:1: expected a value, found a byte order mark"),
            ("// a\n{}", "a.json:1:1: expected a value, found \"/\": JSON has no comments"),
        ] {
            assert_eq!(parse(text, "a.json").unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn depth_takes_no_stack_and_has_a_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH), "").is_ok());
        let fault = parse(&nested(MAX_DEPTH + 1), "a.json").unwrap_err().to_string();
        assert_eq!(fault, "a.json:1:501: more than 500 lists and objects lie in each other");
        assert!(parse(&"[".repeat(1 << 20), "").is_err());
        assert!(parse(&"{\"a\":".repeat(1 << 20), "").is_err());
    }
}
