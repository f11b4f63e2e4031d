//! Messages of a configuration as trees, with the place of each field.
//!
//! Trees rather than generated types, for three reasons. They know the place of each field, and which fields have been
//! read, so that none is ignored silently. And they may be as deep as Buildbarn's: generated types are decoded up to 100
//! levels deep, and raising that would raise it for what peers send too.

#[cfg(test)]
mod agreement;
mod from_bytes;
mod from_json;
mod mistakes;
mod to_bytes;
mod trail;
mod wire_input;
mod wire_type;

#[cfg(test)]
pub(crate) use self::agreement::Generator;
pub(crate) use self::from_bytes::from_bytes;
pub(crate) use self::from_json::from_json;
pub(crate) use self::to_bytes::to_bytes;

use std::cell::Cell;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

use crate::Position;

/// The most messages that may lie in each other. 240 nested read caches, which Buildbarn loads, are 481.
pub(crate) const MAX_DEPTH: usize = 500;

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let encoded = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    DescriptorPool::decode(encoded.as_slice()).unwrap_or_default()
});

/// Returns the descriptor of the message with the full name `name`, such as
/// `buildbarn.configuration.blobstore.BlobAccessConfiguration`.
pub(crate) fn descriptor(name: &str) -> Option<MessageDescriptor> {
    DESCRIPTORS.get_message_by_name(name)
}

/// A message: the fields that are set, by number. Fields of well-known types are messages like all others.
pub(crate) struct Message {
    pub(crate) descriptor: MessageDescriptor,
    /// The fields that are set, in the order of their numbers, each at most once.
    pub(crate) fields: Vec<Field>,
    /// The place of the message.
    pub(crate) position: Option<Position>,
}

/// A field that is set.
pub(crate) struct Field {
    pub(crate) descriptor: FieldDescriptor,
    pub(crate) value: FieldValue,
    /// The place of the field's name.
    pub(crate) position: Option<Position>,
    /// Whether a reader has asked for the field.
    pub(crate) was_read: Cell<bool>,
}

/// The value of a field.
#[derive(Debug)]
pub(crate) enum FieldValue {
    One(Value),
    List(Vec<Value>),
    /// The entries, in the order of their keys.
    Map(Vec<(MapKey, Value)>),
}

/// A value of a field, an element of a list, or a value of a map.
#[derive(Debug)]
pub(crate) enum Value {
    Bool(bool),
    /// A number of the types `int32`, `int64`, `sint32`, `sint64`, `sfixed32` and `sfixed64`.
    Int(i64),
    /// A number of the types `uint32`, `uint64`, `fixed32` and `fixed64`.
    Uint(u64),
    /// A number of the types `float` and `double`.
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// The number of a value of an enumeration, which may be unknown.
    Enum(i32),
    Message(Message),
}

/// The key of an entry of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MapKey {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Text(String),
}

impl Display for MapKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(key) => Display::fmt(key, f),
            Self::Int(key) => Display::fmt(key, f),
            Self::Uint(key) => Display::fmt(key, f),
            Self::Text(key) => f.write_str(key),
        }
    }
}

impl Value {
    /// Returns whether this is the default of its type in proto3. A message never is.
    fn is_default(&self) -> bool {
        match self {
            Self::Bool(flag) => !flag,
            Self::Int(number) => *number == 0,
            Self::Uint(number) => *number == 0,
            // Zero with a minus is a value of its own.
            Self::Double(number) => number.to_bits() == 0,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Enum(number) => *number == 0,
            Self::Message(_) => false,
        }
    }
}

// The debug texts of descriptors are those of the whole schema.

impl Debug for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.descriptor.name())?;
        f.write_str(" ")?;
        f.debug_set().entries(&self.fields).finish()
    }
}

impl Debug for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.descriptor.name(), self.value)
    }
}

impl Message {
    /// Makes a message without fields.
    fn empty(descriptor: &MessageDescriptor, position: Option<Position>) -> Self {
        Self { descriptor: descriptor.clone(), fields: Vec::new(), position }
    }

    /// Makes a duration or a time.
    fn of_seconds(descriptor: &MessageDescriptor, position: Option<Position>, seconds: i64, nanos: i64) -> Self {
        let mut message = Self::empty(descriptor, position);
        for (name, value) in [("seconds", seconds), ("nanos", nanos)] {
            if let Some(field) = descriptor.get_field_by_name(name).filter(|_| value != 0) {
                message.set(field, FieldValue::One(Value::Int(value)), message.position.clone());
            }
        }
        message
    }

    /// Returns the value of a field, if it is set.
    fn value_mut(&mut self, descriptor: &FieldDescriptor) -> Option<&mut FieldValue> {
        let number = descriptor.number();
        let index = self.fields.binary_search_by_key(&number, |field| field.descriptor.number()).ok()?;
        self.fields.get_mut(index).map(|field| &mut field.value)
    }

    /// Sets a field, and replaces a value that it has.
    fn set(&mut self, descriptor: FieldDescriptor, value: FieldValue, position: Option<Position>) {
        let place = self.fields.binary_search_by_key(&descriptor.number(), |field| field.descriptor.number());
        let field = Field { descriptor, value, position, was_read: Cell::new(false) };
        match place {
            Ok(index) => {
                if let Some(before) = self.fields.get_mut(index) {
                    *before = field;
                }
            }
            Err(index) => self.fields.insert(index, field),
        }
    }

    /// Returns the field with the name `name` of the descriptor, such as `backend_a`, if it is set.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        debug_assert!(self.descriptor.get_field_by_name(name).is_some(), "{}.{name}", self.descriptor.full_name());
        self.fields.iter().find(|field| field.descriptor.name() == name)
    }
}

impl Message {
    /// Returns whether a field with the name `name` of a descriptor is set in this message or in one below it.
    pub(crate) fn has_anywhere(&self, name: &str) -> bool {
        let mut messages = vec![self];
        while let Some(message) = messages.pop() {
            for field in &message.fields {
                if field.descriptor.name() == name {
                    return true;
                }
                messages.extend(field.messages());
            }
        }
        false
    }
}

impl Field {
    /// Returns the messages in this field.
    fn messages(&self) -> impl Iterator<Item = &Message> {
        let values: Vec<&Value> = match &self.value {
            FieldValue::One(value) => vec![value],
            FieldValue::List(values) => values.iter().collect(),
            FieldValue::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        };
        values.into_iter().filter_map(|value| if let Value::Message(message) = value { Some(message) } else { None })
    }

    /// Marks this field and all fields below it as read.
    pub(crate) fn take_over(&self) {
        let mut fields = vec![self];
        while let Some(field) = fields.pop() {
            field.was_read.set(true);
            fields.extend(field.messages().flat_map(|message| &message.fields));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_buildbarn_are_known() {
        for name in ["blobstore.BlobAccessConfiguration", "bb_storage.ApplicationConfiguration"] {
            assert!(descriptor(&format!("buildbarn.configuration.{name}")).is_some(), "{name}");
        }
    }
}
