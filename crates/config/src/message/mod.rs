//! Messages of a configuration as trees, with the place of each field.
//!
//! Trees rather than generated types, for three reasons. They know the place of each field, and which fields have been
//! read, so that none is ignored silently. And they may be as deep as Buildbarn's: generated types are decoded up to 100
//! levels deep, and raising that would raise it for what peers send too.

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
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
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) descriptor: MessageDescriptor,
    /// The fields that are set, in the order of their numbers, each at most once.
    pub(crate) fields: Vec<Field>,
    /// The place of the message.
    pub(crate) position: Option<Position>,
}

/// A field that is set.
#[derive(Debug)]
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

impl Message {
    /// Returns the field with the name `name` of the descriptor, such as `backend_a`, if it is set.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        debug_assert!(self.descriptor.get_field_by_name(name).is_some(), "{}.{name}", self.descriptor.full_name());
        self.fields.iter().find(|field| field.descriptor.name() == name)
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
