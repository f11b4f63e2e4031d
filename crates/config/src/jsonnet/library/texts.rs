//! Functions on strings.

use std::rc::Rc;

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::number::{from_length, to_length, truncate};
use super::super::source::At;
use super::super::value::{Native, ThunkId, Value};
use super::{arguments, native};

pub(super) const NATIVES: &[Native] = &[
    native("char", &["n"], char_of),
    native("codepoint", &["str"], code_point),
    native("substr", &["str", "from", "len"], sub_string),
    native("strReplace", &["str", "from", "to"], replace),
    native("splitLimit", &["str", "c", "maxsplits"], split_limit),
    native("splitLimitR", &["str", "c", "maxsplits"], split_limit_from_right),
    native("stringChars", &["str"], string_chars),
    native("findSubstr", &["pat", "str"], find_sub_string),
    native("lstripChars", &["str", "chars"], |machine, given, at| strip(machine, given, at, true, false)),
    native("rstripChars", &["str", "chars"], |machine, given, at| strip(machine, given, at, false, true)),
    native("stripChars", &["str", "chars"], |machine, given, at| strip(machine, given, at, true, true)),
    native("asciiLower", &["str"], |machine, given, at| change(machine, given, at, str::to_ascii_lowercase)),
    native("asciiUpper", &["str"], |machine, given, at| change(machine, given, at, str::to_ascii_uppercase)),
    native("trim", &["str"], |machine, given, at| change(machine, given, at, |text| text.trim().to_owned())),
    native("isEmpty", &["str"], is_empty),
    native("startsWith", &["a", "b"], |machine, given, at| compare(machine, given, at, |a, b| a.starts_with(b))),
    native("endsWith", &["a", "b"], |machine, given, at| compare(machine, given, at, |a, b| a.ends_with(b))),
    native("equalsIgnoreCase", &["str1", "str2"], |machine, given, at| {
        compare(machine, given, at, |a, b| a.to_lowercase() == b.to_lowercase())
    }),
    native("format", &["str", "vals"], format),
];

fn change(machine: &mut Machine<'_>, given: &[ThunkId], at: At, function: fn(&str) -> String) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    let text = function(&machine.force_text(text, at)?);
    machine.text(&text, at)
}

fn compare(machine: &mut Machine<'_>, given: &[ThunkId], at: At, function: fn(&str, &str) -> bool) -> Outcome<Value> {
    let [a, b] = arguments(given, at)?;
    let (a, b) = (machine.force_text(a, at)?, machine.force_text(b, at)?);
    Ok(Value::Bool(function(&a, &b)))
}

fn is_empty(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    Ok(Value::Bool(machine.force_text(text, at)?.is_empty()))
}

fn char_of(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [code] = arguments(given, at)?;
    let code = machine.force_number(code, at)?;
    let valid = to_length(code.trunc()).and_then(|code| u32::try_from(code).ok()).filter(|code| *code <= 0x0010_ffff);
    let Some(code) = valid else { return Err(Failure::at(at, format!("{code} is not the code of a character"))) };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    machine.text(character.encode_utf8(&mut [0; 4]), at)
}

fn code_point(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(Value::Number(f64::from(u32::from(character)))),
        _ => Err(Failure::at(at, "std.codepoint needs a string of one character")),
    }
}

fn sub_string(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text, from, length] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    let (from, length) = (machine.force_length(from, at)?, machine.force_length(length, at)?);
    let part: String = text.chars().skip(from).take(length).collect();
    machine.text(&part, at)
}

fn replace(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text, from, to] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    let (from, to) = (machine.force_text(from, at)?, machine.force_text(to, at)?);
    if from.is_empty() {
        return Err(Failure::at(at, "std.strReplace needs something to replace"));
    }
    machine.charge(text.matches(&*from).count().saturating_mul(to.len()), at)?;
    machine.text(&text.replace(&*from, &to), at)
}

/// Returns the text, the separator, and how often the text may be split.
fn split_arguments(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<(Rc<str>, Rc<str>, usize)> {
    let [text, separator, limit] = arguments(given, at)?;
    let (text, separator) = (machine.force_text(text, at)?, machine.force_text(separator, at)?);
    let limit = machine.force_number(limit, at)?;
    if separator.is_empty() {
        return Err(Failure::at(at, "the separator must not be empty"));
    }
    let limit = match truncate(limit) {
        -1 => usize::MAX - 1,
        limit => usize::try_from(limit).map_err(|_| Failure::at(at, "the number of splits must be at least -1"))?,
    };
    Ok((text, separator, limit))
}

fn make_texts<'t>(machine: &mut Machine<'_>, parts: impl Iterator<Item = &'t str>, at: At) -> Outcome<Vec<Value>> {
    let mut values = Vec::new();
    for part in parts {
        machine.work(1, at)?;
        values.push(machine.text(part, at)?);
    }
    Ok(values)
}

fn split_limit(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let (text, separator, limit) = split_arguments(machine, given, at)?;
    let parts = make_texts(machine, text.splitn(limit + 1, &*separator), at)?;
    machine.array_of(parts, at)
}

fn split_limit_from_right(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let (text, separator, limit) = split_arguments(machine, given, at)?;
    let mut parts = make_texts(machine, text.rsplitn(limit + 1, &*separator), at)?;
    parts.reverse();
    machine.array_of(parts, at)
}

fn string_chars(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    machine.force_text(text, at)?;
    let elements = machine.force_elements(text, at)?;
    machine.array(elements.to_vec(), at)
}

fn find_sub_string(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [pattern, text] = arguments(given, at)?;
    let (pattern, text) = (machine.force_text(pattern, at)?, machine.force_text(text, at)?);
    let mut found = Vec::new();
    if !pattern.is_empty() {
        machine.work(text.len().saturating_mul(1 + pattern.len() / 16), at)?;
        for (index, (offset, _)) in text.char_indices().enumerate() {
            if text.get(offset..).is_some_and(|rest| rest.starts_with(&*pattern)) {
                found.push(Value::Number(from_length(index)));
            }
        }
    }
    machine.array_of(found, at)
}

fn strip(machine: &mut Machine<'_>, given: &[ThunkId], at: At, left: bool, right: bool) -> Outcome<Value> {
    let [text, chars] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    let mut stripped = Vec::new();
    for id in machine.force_elements(chars, at)?.iter() {
        let character = machine.force_text(*id, at)?;
        stripped.extend(character.chars().next().filter(|_| character.chars().count() == 1));
    }
    machine.work(text.len().saturating_mul(stripped.len()) / 16, at)?;
    let mut text = &*text;
    if left {
        text = text.trim_start_matches(stripped.as_slice());
    }
    if right {
        text = text.trim_end_matches(stripped.as_slice());
    }
    machine.text(text, at)
}

fn format(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [format, values] = arguments(given, at)?;
    let (format, values) = (machine.force_text(format, at)?, machine.force(values, at)?);
    machine.format(&format, &values, at)
}
