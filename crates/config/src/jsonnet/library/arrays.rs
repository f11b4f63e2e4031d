//! Functions on arrays.

use std::cmp::Ordering;
use std::rc::Rc;

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::number::{from_integer, from_length, truncate};
use super::super::source::At;
use super::super::value::{Native, Thunk, ThunkId, Value};
use super::{arguments, mismatch, native};

pub(super) const NATIVES: &[Native] = &[
    native("makeArray", &["sz", "func"], make_array),
    native("map", &["func", "arr"], map),
    native("mapWithIndex", &["func", "arr"], map_with_index),
    native("flatMap", &["func", "arr"], flat_map),
    native("filter", &["func", "arr"], filter),
    native("foldl", &["func", "arr", "init"], fold_left),
    native("foldr", &["func", "arr", "init"], fold_right),
    native("range", &["from", "to"], range),
    native("reverse", &["arr"], reverse),
    native("repeat", &["what", "count"], repeat),
    native("join", &["sep", "arr"], join),
    native("slice", &["indexable", "index", "end", "step"], slice),
    native("member", &["arr", "x"], member),
    native("sortBy", &["arr", "keyF"], sort_by),
    native("combineSets", &["a", "b", "keyF", "kind"], combine_sets),
    native("extremeBy", &["arr", "keyF", "sign"], extreme_by),
];

fn make_array(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [size, function] = arguments(given, at)?;
    let (size, function) = (machine.force_length(size, at)?, machine.force_function(function, at)?);
    let mut elements = Vec::new();
    for index in 0..size {
        machine.work(1, at)?;
        let index = machine.done(Value::Number(from_length(index)), at)?;
        elements.push(machine.thunk(Thunk::Call(Rc::clone(&function), Rc::new([index])), at)?);
    }
    machine.array(elements, at)
}

fn map(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [function, array] = arguments(given, at)?;
    let (function, array) = (machine.force_function(function, at)?, machine.force_elements(array, at)?);
    let mut elements = Vec::new();
    for element in array.iter() {
        let place = machine.place(*element).unwrap_or(at);
        machine.work(1, at)?;
        elements.push(machine.thunk(Thunk::Call(Rc::clone(&function), Rc::new([*element])), place)?);
    }
    machine.array(elements, at)
}

fn map_with_index(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [function, array] = arguments(given, at)?;
    let (function, array) = (machine.force_function(function, at)?, machine.force_elements(array, at)?);
    let mut elements = Vec::new();
    for (index, element) in array.iter().enumerate() {
        let place = machine.place(*element).unwrap_or(at);
        machine.work(1, at)?;
        let index = machine.done(Value::Number(from_length(index)), at)?;
        elements.push(machine.thunk(Thunk::Call(Rc::clone(&function), Rc::new([index, *element])), place)?);
    }
    machine.array(elements, at)
}

fn flat_map(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [function, array] = arguments(given, at)?;
    let function = machine.force_function(function, at)?;
    let is_text = matches!(machine.force(array, at)?, Value::Text(_));
    let array = machine.force_elements(array, at)?;
    let (mut text, mut elements) = (String::new(), Vec::new());
    for element in array.iter() {
        match machine.apply(&function, &[*element], at)? {
            Value::Null if is_text => {}
            Value::Text(part) if is_text => {
                machine.charge(part.len(), at)?;
                text.push_str(&part);
            }
            Value::Array(part) if !is_text => {
                machine.charge_many(part.len(), size_of::<ThunkId>(), at)?;
                elements.extend_from_slice(&part);
            }
            other => return Err(mismatch(if is_text { "a string" } else { "an array" }, &other, at)),
        }
    }
    if is_text { machine.text(&text, at) } else { machine.array(elements, at) }
}

fn filter(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [function, array] = arguments(given, at)?;
    let (function, array) = (machine.force_function(function, at)?, machine.force_array(array, at)?);
    let mut elements = Vec::new();
    for element in array.iter() {
        match machine.apply(&function, &[*element], at)? {
            Value::Bool(true) => elements.push(*element),
            Value::Bool(false) => {}
            other => return Err(mismatch("a boolean", &other, at)),
        }
    }
    machine.array(elements, at)
}

fn fold_left(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [function, array, initial] = arguments(given, at)?;
    let (function, array) = (machine.force_function(function, at)?, machine.force_elements(array, at)?);
    machine.force(initial, at)?;
    let mut result = initial;
    for element in array.iter() {
        let value = machine.apply(&function, &[result, *element], at)?;
        result = machine.done(value, at)?;
    }
    machine.force(result, at)
}

fn fold_right(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [function, array, initial] = arguments(given, at)?;
    let (function, array) = (machine.force_function(function, at)?, machine.force_elements(array, at)?);
    machine.force(initial, at)?;
    let mut result = initial;
    for element in array.iter().rev() {
        let value = machine.apply(&function, &[*element, result], at)?;
        result = machine.done(value, at)?;
    }
    machine.force(result, at)
}

fn range(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [from, to] = arguments(given, at)?;
    let (from, to) = (machine.force_number(from, at)?, machine.force_number(to, at)?);
    if from.fract() != 0.0 || to.fract() != 0.0 {
        return Err(Failure::at(at, "std.range needs whole numbers"));
    }
    let mut elements = Vec::new();
    for number in truncate(from)..=truncate(to) {
        machine.work(1, at)?;
        elements.push(machine.done(Value::Number(from_integer(number)), at)?);
    }
    machine.array(elements, at)
}

fn reverse(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [array] = arguments(given, at)?;
    let elements = machine.force_elements(array, at)?.iter().rev().copied().collect();
    machine.array(elements, at)
}

fn repeat(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [what, count] = arguments(given, at)?;
    let count = machine.force_length(count, at)?;
    match machine.force(what, at)? {
        Value::Text(text) => {
            machine.charge_many(text.len(), count, at)?;
            machine.work(text.len().saturating_mul(count) / 16, at)?;
            machine.text(&text.repeat(if text.is_empty() { 0 } else { count }), at)
        }
        Value::Array(elements) => {
            machine.charge_many(elements.len().saturating_mul(count), size_of::<ThunkId>(), at)?;
            let count = if elements.is_empty() { 0 } else { count };
            machine.array(elements.repeat(count), at)
        }
        other => Err(mismatch("a string or an array", &other, at)),
    }
}

fn join(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [separator, array] = arguments(given, at)?;
    let (separator, array) = (machine.force(separator, at)?, machine.force_array(array, at)?);
    let mut parts = Vec::new();
    for id in array.iter() {
        machine.work(1, at)?;
        match machine.force(*id, at)? {
            Value::Null => {}
            part => parts.push(part),
        }
    }
    match separator {
        Value::Text(separator) => {
            let mut text = String::new();
            for (index, part) in parts.iter().enumerate() {
                let Value::Text(part) = part else { return Err(mismatch("a string", part, at)) };
                machine.charge(separator.len() + part.len(), at)?;
                text.push_str(if index == 0 { "" } else { &separator });
                text.push_str(part);
            }
            machine.text(&text, at)
        }
        Value::Array(separator) => {
            let mut elements = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let Value::Array(part) = part else { return Err(mismatch("an array", part, at)) };
                machine.charge_many(separator.len() + part.len(), size_of::<ThunkId>(), at)?;
                elements.extend_from_slice(if index == 0 { &[] } else { &separator });
                elements.extend_from_slice(part);
            }
            machine.array(elements, at)
        }
        other => Err(mismatch("a string or an array", &other, at)),
    }
}

fn slice(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [target, from, to, step] = arguments(given, at)?;
    let target = machine.force(target, at)?;
    let bounds = [machine.force(from, at)?, machine.force(to, at)?, machine.force(step, at)?];
    machine.slice(&target, &bounds, at)
}

fn member(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [array, wanted] = arguments(given, at)?;
    let wanted = machine.force(wanted, at)?;
    if let (Value::Text(text), Value::Text(part)) = (machine.force(array, at)?, &wanted) {
        machine.work(text.len(), at)?;
        return Ok(Value::Bool(text.contains(&**part)));
    }
    for id in machine.force_elements(array, at)?.iter() {
        let element = machine.force(*id, at)?;
        if machine.equals(&element, &wanted, at)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// An element with the key that it is compared by.
type Keyed = (Value, ThunkId);

fn keyed(machine: &mut Machine<'_>, array: ThunkId, key: ThunkId, at: At) -> Outcome<Vec<Keyed>> {
    let (array, key) = (machine.force_elements(array, at)?, machine.force_function(key, at)?);
    machine.charge_many(array.len(), size_of::<Keyed>(), at)?;
    let mut elements = Vec::with_capacity(array.len());
    for id in array.iter() {
        elements.push((machine.apply(&key, &[*id], at)?, *id));
    }
    Ok(elements)
}

fn sort_by(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [array, key] = arguments(given, at)?;
    let elements = keyed(machine, array, key, at)?;
    let sorted = sort(machine, elements, at)?;
    machine.array(sorted.into_iter().map(|(_, id)| id).collect(), at)
}

/// Sorts by merging, as a comparison may fail.
fn sort(machine: &mut Machine<'_>, mut elements: Vec<Keyed>, at: At) -> Outcome<Vec<Keyed>> {
    if elements.len() < 2 {
        return Ok(elements);
    }
    let right = elements.split_off(elements.len() / 2);
    let mut left = sort(machine, elements, at)?.into_iter().peekable();
    let mut right = sort(machine, right, at)?.into_iter().peekable();
    let mut sorted = Vec::with_capacity(left.len() + right.len());
    while let (Some((first, _)), Some((second, _))) = (left.peek(), right.peek()) {
        let takes_right = machine.compare(first, second, at)? == Ordering::Greater;
        sorted.extend(if takes_right { right.next() } else { left.next() });
    }
    sorted.extend(left);
    sorted.extend(right);
    Ok(sorted)
}

fn combine_sets(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [left, right, key, kind] = arguments(given, at)?;
    let kind = machine.force_text(kind, at)?;
    let (keeps_left, keeps_right, keeps_both) = match &*kind {
        "union" => (true, true, true),
        "intersection" => (false, false, true),
        _ => (true, false, false),
    };
    let mut left = keyed(machine, left, key, at)?.into_iter().peekable();
    let mut right = keyed(machine, right, key, at)?.into_iter().peekable();
    let mut chosen = Vec::new();
    while let (Some((first, _)), Some((second, _))) = (left.peek(), right.peek()) {
        match machine.compare(first, second, at)? {
            Ordering::Less => chosen.extend(left.next().filter(|_| keeps_left)),
            Ordering::Greater => chosen.extend(right.next().filter(|_| keeps_right)),
            Ordering::Equal => {
                chosen.extend(left.next().filter(|_| keeps_both));
                drop(right.next());
            }
        }
    }
    chosen.extend(left.filter(|_| keeps_left));
    chosen.extend(right.filter(|_| keeps_right));
    machine.array(chosen.into_iter().map(|(_, id)| id).collect(), at)
}

/// Returns the first element whose key is the smallest, or the largest if the sign is positive.
fn extreme_by(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [array, key, sign] = arguments(given, at)?;
    let wanted = if machine.force_number(sign, at)? > 0.0 { Ordering::Greater } else { Ordering::Less };
    let mut best: Option<Keyed> = None;
    for (key, id) in keyed(machine, array, key, at)? {
        let is_better = match &best {
            None => true,
            Some((best, _)) => machine.compare(&key, best, at)? == wanted,
        };
        if is_better {
            best = Some((key, id));
        }
    }
    match best {
        Some((_, id)) => machine.force(id, at),
        None => Err(Failure::at(at, "there are no elements")),
    }
}
