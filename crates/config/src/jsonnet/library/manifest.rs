//! Values as JSON and YAML, in strings.

use std::rc::Rc;

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::number;
use super::super::source::At;
use super::super::syntax::Name;
use super::super::value::{Native, Object, ThunkId, Value};
use super::{arguments, native, toml};

pub(super) const NATIVES: &[Native] = &[
    native("writeJson", &["value", "indent", "newline", "key_val_sep"], write_json),
    native("writeYaml", &["value", "indent_array_in_object", "quote_keys"], write_yaml),
    native("writeToml", &["value", "indent"], toml::write_toml),
    native("escapeStringJson", &["str_"], escape_string),
];

impl Machine<'_> {
    /// Writes a value as JSON on one line.
    pub(in super::super) fn write_line(&mut self, value: &Value, text: &mut String, at: At) -> Outcome<()> {
        self.in_frame(at, |machine| machine.in_level(at, |machine| machine.write_line_parts(value, text, at)))
    }

    fn write_line_parts(&mut self, value: &Value, text: &mut String, at: At) -> Outcome<()> {
        let start = text.len();
        match value {
            Value::Null => text.push_str("null"),
            Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => text.push_str(&number::render(*number)),
            Value::Text(part) => {
                self.charge_text(part, at)?;
                write_quoted(part, text);
            }
            Value::Function(_) => return Err(Failure::at(at, "a function cannot be rendered")),
            Value::Array(elements) if elements.is_empty() => text.push_str("[ ]"),
            Value::Array(elements) => {
                for (index, id) in elements.iter().enumerate() {
                    text.push_str(if index == 0 { "[" } else { ", " });
                    let element = self.force(*id, at)?;
                    self.write_line(&element, text, at)?;
                }
                text.push(']');
            }
            Value::Object(object) => {
                let names = self.names_to_write(object, at)?;
                for (index, name) in names.iter().enumerate() {
                    text.push_str(if index == 0 { "{" } else { ", " });
                    self.charge_text(name, at)?;
                    write_quoted(name, text);
                    text.push_str(": ");
                    let value = self.field(object, name, at)?;
                    self.write_line(&value, text, at)?;
                }
                text.push_str(if names.is_empty() { "{ }" } else { "}" });
            }
        }
        self.charge_many(1, (text.len() - start).min(64), at)
    }

    /// Returns the names of the fields that are rendered. The assertions of the object are checked first.
    pub(super) fn names_to_write(&mut self, object: &Rc<Object>, at: At) -> Outcome<Vec<Name>> {
        self.check_assertions(object, at)?;
        self.work(object.size(), at)?;
        let names = object.shown_names(false);
        Ok(names)
    }

    /// Counts the memory of a string that is about to be written, with its escapes, and the work of it.
    pub(super) fn charge_text(&mut self, text: &str, at: At) -> Outcome<()> {
        let escapes =
            text.chars().filter(|character| character.is_control() || "\"\\\u{2028}\u{2029}".contains(*character));
        self.charge(text.len() + 5 * escapes.count(), at)?;
        self.work(text.len() / 64, at)
    }

    /// Writes the part of a document that is a line or more of its own, with what is in front of it.
    pub(super) fn write(&mut self, text: &mut String, parts: &[&str], at: At) -> Outcome<()> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        self.charge(length, at)?;
        self.work(1 + length / 16, at)?;
        text.extend(parts.iter().copied());
        Ok(())
    }
}

/// Writes a string as JSON, with escapes for control characters only.
pub(super) fn write_quoted(part: &str, text: &mut String) {
    write_escaped(part, text, char::is_control);
}

/// Writes a string as Go's encoder of JSON does.
fn write_encoded(part: &str, text: &mut String) {
    write_escaped(part, text, |character| matches!(character, '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}'));
}

/// Writes a string as JSON. Characters that `needs_code` names become their numbers, unless they have shorter escapes.
fn write_escaped(part: &str, text: &mut String, needs_code: impl Fn(char) -> bool) {
    text.push('"');
    for character in part.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            _ if needs_code(character) => {
                let code = format!("{:04x}", u32::from(character));
                text.extend(["\\u", &code]);
            }
            _ => text.push(character),
        }
    }
    text.push('"');
}

fn escape_string(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [value] = arguments(given, at)?;
    let value = machine.force(value, at)?;
    let value = machine.text_of(&value, at)?;
    machine.charge_text(&value, at)?;
    let mut text = String::new();
    write_quoted(&value, &mut text);
    machine.text(&text, at)
}

/// How JSON is laid out.
struct JsonLayout {
    indent: Rc<str>,
    newline: Rc<str>,
    separator: Rc<str>,
}

fn write_json(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [value, indent, newline, separator] = arguments(given, at)?;
    let layout = JsonLayout {
        indent: machine.force_text(indent, at)?,
        newline: machine.force_text(newline, at)?,
        separator: machine.force_text(separator, at)?,
    };
    let value = machine.force(value, at)?;
    let mut text = String::new();
    json(machine, &layout, &value, "", &mut text, at)?;
    machine.text(&text, at)
}

fn json(
    machine: &mut Machine<'_>,
    layout: &JsonLayout,
    value: &Value,
    indent: &str,
    text: &mut String,
    at: At,
) -> Outcome<()> {
    machine.charge(indent.len() + layout.indent.len(), at)?;
    let inner = format!("{indent}{}", layout.indent);
    match value {
        Value::Array(elements) => {
            machine.write(text, &["[", &layout.newline], at)?;
            for (index, id) in elements.iter().enumerate() {
                let separator = if index == 0 { [""; 2] } else { [",", &layout.newline] };
                machine.write(text, &[separator[0], separator[1], &inner], at)?;
                let element = machine.force(*id, at)?;
                machine.in_frame(at, |machine| {
                    machine.in_level(at, |machine| json(machine, layout, &element, &inner, text, at))
                })?;
            }
            machine.write(text, &[&layout.newline, indent, "]"], at)
        }
        Value::Object(object) => {
            machine.write(text, &["{", &layout.newline], at)?;
            for (index, name) in machine.names_to_write(object, at)?.iter().enumerate() {
                let separator = if index == 0 { [""; 2] } else { [",", &layout.newline] };
                machine.write(text, &[separator[0], separator[1], &inner], at)?;
                machine.charge_text(name, at)?;
                write_encoded(name, text);
                machine.write(text, &[&layout.separator], at)?;
                let value = machine.field(object, name, at)?;
                machine.in_frame(at, |machine| {
                    machine.in_level(at, |machine| json(machine, layout, &value, &inner, text, at))
                })?;
            }
            machine.write(text, &[&layout.newline, indent, "}"], at)
        }
        Value::Text(part) => {
            machine.charge_text(part, at)?;
            write_encoded(part, text);
            Ok(())
        }
        Value::Number(number) => machine.write(text, &[&number.to_string()], at),
        Value::Null | Value::Bool(_) | Value::Function(_) => machine.write_line(value, text, at),
    }
}

fn write_yaml(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [value, indents_arrays, quotes_keys] = arguments(given, at)?;
    let layout = YamlLayout {
        indents_arrays: machine.force_bool(indents_arrays, at)?,
        quotes_keys: machine.force_bool(quotes_keys, at)?,
    };
    let value = machine.force(value, at)?;
    let mut text = String::new();
    yaml(machine, &layout, &value, "", &mut text, at)?;
    machine.text(&text, at)
}

/// How YAML is laid out.
struct YamlLayout {
    indents_arrays: bool,
    quotes_keys: bool,
}

fn yaml(
    machine: &mut Machine<'_>,
    layout: &YamlLayout,
    value: &Value,
    indent: &str,
    text: &mut String,
    at: At,
) -> Outcome<()> {
    machine.charge(indent.len(), at)?;
    let deeper = format!("{indent}  ");
    match value {
        Value::Array(elements) if elements.is_empty() => machine.write(text, &["[]"], at),
        Value::Array(elements) => {
            for (index, id) in elements.iter().enumerate() {
                let (newline, margin) = if index == 0 { ("", "") } else { ("\n", indent) };
                let element = machine.force(*id, at)?;
                let is_list = matches!(&element, Value::Array(elements) if !elements.is_empty());
                let lead = if is_list { ["\n", &deeper] } else { [" ", ""] };
                machine.write(text, &[newline, margin, "-", lead[0], lead[1]], at)?;
                let is_nested = matches!(element, Value::Array(_) | Value::Object(_));
                let inner = if is_nested { &deeper } else { indent };
                machine.in_frame(at, |machine| {
                    machine.in_level(at, |machine| yaml(machine, layout, &element, inner, text, at))
                })?;
            }
            Ok(())
        }
        Value::Object(object) => {
            let names = machine.names_to_write(object, at)?;
            if names.is_empty() {
                return machine.write(text, &["{}"], at);
            }
            for (index, name) in names.iter().enumerate() {
                let (newline, margin) = if index == 0 { ("", "") } else { ("\n", indent) };
                machine.write(text, &[newline, margin], at)?;
                machine.charge_text(name, at)?;
                if layout.quotes_keys || !is_bare_safe(name) {
                    write_quoted(name, text);
                } else {
                    text.push_str(name);
                }
                let value = machine.field(object, name, at)?;
                let (lead, inner) = match &value {
                    Value::Array(elements) if !elements.is_empty() => {
                        let inner = if layout.indents_arrays { &*deeper } else { indent };
                        (["\n", inner], inner)
                    }
                    Value::Object(object) if !object.shown_names(false).is_empty() => (["\n", &*deeper], &*deeper),
                    _ => ([" ", ""], indent),
                };
                machine.write(text, &[":", lead[0], lead[1]], at)?;
                machine.in_frame(at, |machine| {
                    machine.in_level(at, |machine| yaml(machine, layout, &value, inner, text, at))
                })?;
            }
            Ok(())
        }
        Value::Text(part) if part.is_empty() => machine.write(text, &["\"\""], at),
        Value::Text(part) => {
            machine.charge_text(part, at)?;
            match part.strip_suffix('\n') {
                Some(lines) => {
                    machine.write(text, &["|"], at)?;
                    for line in lines.split('\n') {
                        machine.write(text, &["\n", &deeper, line], at)?;
                    }
                }
                None => write_quoted(part, text),
            }
            Ok(())
        }
        Value::Number(number) => machine.write(text, &[&number.to_string()], at),
        // A function is passed over, as it is by others.
        Value::Function(_) => Ok(()),
        Value::Null | Value::Bool(_) => machine.write_line(value, text, at),
    }
}

/// Returns whether YAML reads a name without quotation marks as a string.
fn is_bare_safe(name: &str) -> bool {
    const RESERVED: [&str; 15] =
        ["true", "false", "yes", "no", "on", "off", "y", "n", ".nan", "-.inf", "+.inf", ".inf", "null", "-", "---"];
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'.');
    let is_date = name.bytes().filter(|byte| *byte == b'-').count() == 2
        && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let unsigned = name.strip_prefix(['-', '+']).unwrap_or(name);
    let binary = unsigned.strip_prefix("0b");
    let is_binary = binary
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0' | b'1' | b'_')));
    let has_hexadecimal =
        name.split("0x").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit() || c == '_'));
    let is_number = name.parse::<f64>().is_ok();
    let is_reserved = RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved));
    let is_special = is_reserved || is_date || is_binary || has_hexadecimal || is_number;
    !name.is_empty() && name.bytes().all(is_plain) && !is_special
}
