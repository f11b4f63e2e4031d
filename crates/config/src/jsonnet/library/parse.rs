//! Values from strings.

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::number::from_integer;
use super::super::operators::checked;
use super::super::source::At;
use super::super::syntax::Visibility;
use super::super::value::{Native, ThunkId, Value};
use super::{arguments, native};
use crate::json::{self, JsonKind, JsonValue};

pub(super) const NATIVES: &[Native] = &[
    native("parseInt", &["str"], parse_int),
    native("parseOctal", &["str"], |machine, given, at| parse_digits(machine, given, at, 8)),
    native("parseHex", &["str"], |machine, given, at| parse_digits(machine, given, at, 16)),
    native("parseJson", &["str"], parse_json),
    native("parseYaml", &["str"], refuse_yaml),
];

fn parse_int(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    let number = text.parse().map_err(|_| Failure::at(at, format!("{text:?} is not an integer")))?;
    Ok(Value::Number(from_integer(number)))
}

fn parse_digits(machine: &mut Machine<'_>, given: &[ThunkId], at: At, radix: u32) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    let mut number = 0.0;
    for character in text.chars() {
        let digit = character.to_digit(radix);
        let digit = digit.ok_or_else(|| Failure::at(at, format!("{text:?} is not a number of base {radix}")))?;
        number = number * f64::from(radix) + f64::from(digit);
    }
    if text.is_empty() {
        return Err(Failure::at(at, "a number has at least one digit"));
    }
    checked(number, at)
}

fn parse_json(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    machine.charge_many(text.len(), 64, at)?;
    let parsed = json::parse(&text, "the string")
        .map_err(|faults| Failure::at(at, format!("the string is not JSON: {faults}")))?;
    from_json(machine, parsed, at)
}

/// Refuses YAML. No two implementations of Jsonnet read it alike.
fn refuse_yaml(_machine: &mut Machine<'_>, _given: &[ThunkId], at: At) -> Outcome<Value> {
    Err(Failure::at(at, "std.parseYaml is not supported: keep the data as JSON, and read it with std.parseJson"))
}

/// Makes a value of JSON. Of fields with the same name the last counts.
fn from_json(machine: &mut Machine<'_>, value: JsonValue, at: At) -> Outcome<Value> {
    machine.work(1, at)?;
    Ok(match value.kind {
        JsonKind::Null => Value::Null,
        JsonKind::Bool(value) => Value::Bool(value),
        JsonKind::Number(text) => checked(text.parse().unwrap_or(f64::NAN), at)?,
        JsonKind::Text(text) => machine.text(&text, at)?,
        JsonKind::List(values) => {
            let mut elements = Vec::with_capacity(values.len());
            for value in values {
                let value = machine.in_level(at, |machine| from_json(machine, value, at))?;
                elements.push(machine.done(value, at)?);
            }
            machine.array(elements, at)?
        }
        JsonKind::Object(fields) => {
            let mut entries = Vec::with_capacity(fields.len());
            for field in fields {
                let value = machine.in_level(at, |machine| from_json(machine, field.value, at))?;
                entries.push((field.name.into(), machine.done(value, at)?, Visibility::Inherited));
            }
            machine.object_of(entries, at)?
        }
    })
}
