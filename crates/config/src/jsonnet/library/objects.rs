//! Functions on objects, and on values of any type.

use std::collections::BTreeMap;

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::number::from_length;
use super::super::source::At;
use super::super::syntax::Visibility;
use super::super::value::{Field, FieldBody, Function, Native, ThunkId, Value};
use super::{arguments, mismatch, native};

pub(super) const NATIVES: &[Native] = &[
    native("objectFieldsEx", &["obj", "hidden"], object_fields),
    native("objectHasEx", &["obj", "fname", "hidden"], object_has),
    native("objectRemoveKey", &["obj", "key"], object_remove_key),
    native("type", &["x"], type_of),
    native("length", &["x"], length),
    native("toString", &["a"], to_string),
    native("equals", &["x", "y"], equals),
    native("primitiveEquals", &["x", "y"], equals),
    native("extVar", &["x"], ext_var),
    native("native", &["x"], |_, _, _| Ok(Value::Null)),
    native("trace", &["str", "rest"], trace),
];

fn object_fields(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [object, hidden] = arguments(given, at)?;
    let (object, hidden) = (machine.force_object(object, at)?, machine.force_bool(hidden, at)?);
    machine.work(object.size(), at)?;
    let names = object.shown_names(hidden);
    machine.array_of(names.into_iter().map(Value::Text), at)
}

fn object_has(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [object, name, hidden] = arguments(given, at)?;
    let object = machine.force_object(object, at)?;
    let (name, hidden) = (machine.force_text(name, at)?, machine.force_bool(hidden, at)?);
    machine.work(1 + object.layers.len() / 8, at)?;
    Ok(Value::Bool(object.is_shown(&name).is_some_and(|is_shown| is_shown || hidden)))
}

fn object_remove_key(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [object, name] = arguments(given, at)?;
    let (object, name) = (machine.force_object(object, at)?, machine.force_text(name, at)?);
    let removed = Field { body: FieldBody::Removed, adds: false, visibility: Visibility::Inherited, at, env: None };
    let place = object.at().unwrap_or(at);
    let mut layers = object.layers.clone();
    layers.push(machine.layer_of(BTreeMap::from([(name, removed)]), place));
    machine.object(layers, at)
}

fn type_of(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [value] = arguments(given, at)?;
    Ok(Value::text(machine.force(value, at)?.type_name()))
}

fn length(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [value] = arguments(given, at)?;
    let length = match machine.force(value, at)? {
        Value::Text(text) => {
            machine.work(text.len() / 16, at)?;
            text.chars().count()
        }
        Value::Array(elements) => elements.len(),
        Value::Object(object) => {
            machine.work(object.size(), at)?;
            object.shown_names(false).len()
        }
        Value::Function(function) => match &*function {
            Function::Closure(function, _) => function.parameters.len(),
            Function::Native(native) => native.parameters.len(),
        },
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => {
            return Err(mismatch("a string, an array, an object or a function", &other, at));
        }
    };
    Ok(Value::Number(from_length(length)))
}

fn to_string(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [value] = arguments(given, at)?;
    let value = machine.force(value, at)?;
    Ok(Value::Text(machine.text_of(&value, at)?))
}

fn equals(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [left, right] = arguments(given, at)?;
    let (left, right) = (machine.force(left, at)?, machine.force(right, at)?);
    Ok(Value::Bool(machine.equals(&left, &right, at)?))
}

fn ext_var(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [name] = arguments(given, at)?;
    let name = machine.force_text(name, at)?;
    match machine.environment.variable(&name) {
        Some(value) => machine.text(value, at),
        None => Err(Failure::at(at, format!("the external variable {name} is not set in the environment"))),
    }
}

fn trace(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [message, value] = arguments(given, at)?;
    let message = machine.force_text(message, at)?;
    if let Some(position) = machine.sources.position(at) {
        tracing::info!(%position, "std.trace: {message}");
    } else {
        tracing::info!("std.trace: {message}");
    }
    machine.force(value, at)
}
