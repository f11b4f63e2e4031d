//! Names of fields and of values, and those that look like them.

use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor};

use super::super::mistakes::Mistakes;
use super::super::trail::Trail;
use super::{describe, shorten};
use crate::json::{JsonField, JsonValue};

/// The longest name that others are compared with.
const MAX_COMPARED: usize = 64;

/// Returns the field with one of the two names `name`: `maximumSizeBytes` or `maximum_size_bytes`.
pub(super) fn find_field(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name))
}

/// Notes that there is no field of this name.
pub(super) fn note_unknown_field(
    json: &JsonField,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) {
    let name = &json.name;
    let is_word = !name.is_empty() && name.len() <= MAX_COMPARED && name.bytes().all(is_of_word);
    let mut message = format!("is not a field of {}", descriptor.name());
    if is_word {
        let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        let names = fields.iter().flat_map(|field| {
            let other = field.name() != field.json_name() && name.contains('_');
            [Some(field.json_name()), other.then_some(field.name())]
        });
        if let Some(nearest) = find_nearest(name, names.flatten()) {
            message.push_str("; did you mean ");
            message.push_str(nearest);
            message.push('?');
        }
    }
    let shown = shorten(name);
    let trail = if is_word { trail.field(name) } else { trail.key(&shown) };
    mistakes.note(&trail, json.position.as_ref(), message);
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Notes that there is no value of this name or number.
pub(super) fn note_unknown_value(
    json: &JsonValue,
    name: Option<&str>,
    descriptor: &EnumDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) {
    let values: Vec<_> = descriptor.values().collect();
    let names = values.iter().map(prost_reflect::EnumValueDescriptor::name);
    let nearest = name.filter(|name| name.len() <= MAX_COMPARED).and_then(|name| find_nearest(name, names.clone()));
    let hint = match nearest {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None if values.len() <= 12 => format!(", which are {}", names.collect::<Vec<_>>().join(", ")),
        None => String::new(),
    };
    let message = format!("must be one of the values of {}, not {}{hint}", descriptor.name(), describe(json));
    mistakes.note(trail, json.position.as_ref(), message);
}

/// Returns that of `names` that is most like `name`, if it is like it.
fn find_nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let distances = names.map(|other| (count_edits(name, other), other));
    let (edits, nearest) = distances.min_by_key(|(edits, _)| *edits)?;
    (edits * 3 <= name.len().max(nearest.len()).min(12)).then_some(nearest)
}

/// Counts the letters that have to be put in, left out, replaced or swapped with their neighbour. Case does not count.
fn count_edits(one: &str, other: &str) -> usize {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let (mut before, mut row) = (Vec::new(), (0..=other.len()).collect::<Vec<usize>>());
    let mut previous = None;
    for (index, left) in one.bytes().enumerate() {
        let mut next = vec![index + 1];
        let mut previous_right = None;
        for (at, right) in other.bytes().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let replaced = get(&row, at) + usize::from(left != right);
            let mut edits = replaced.min(get(&row, at + 1) + 1).min(get(&next, at) + 1);
            if let (Some(at), true) = (at.checked_sub(1), previous == Some(right) && previous_right == Some(left)) {
                edits = edits.min(get(&before, at) + 1);
            }
            next.push(edits);
            previous_right = Some(right);
        }
        before = std::mem::replace(&mut row, next);
        previous = Some(left);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (one, other, edits) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "acb", 1),
            ("grcp", "grpc", 1),
            ("Shard", "shards", 1),
            ("ab", "xy", 2),
        ] {
            assert_eq!(count_edits(one, other), edits, "{one} {other}");
        }
    }

    #[test]
    fn only_a_name_that_is_alike_is_near() {
        let names = ["readCaching", "readFallback", "grpc"];
        assert_eq!(find_nearest("readcachin", names.into_iter()), Some("readCaching"));
        assert_eq!(find_nearest("redis", names.into_iter()), None);
        assert_eq!(find_nearest("http", names.into_iter()), None);
    }
}
