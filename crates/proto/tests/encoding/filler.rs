//! Messages with contents that are never the default.

use blobaccess_testkit::Numbers;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use crate::OUTCOME;

/// A generator of messages with values that are never the default. The same seed gives the same values.
pub(crate) struct Filler {
    pub(crate) numbers: Numbers,
    /// Whether every field is to be set, rather than most.
    pub(crate) full: bool,
}

impl Filler {
    pub(crate) fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields().filter(|field| field.number() != OUTCOME) {
            // Of a oneof, the last one set remains.
            if self.full || self.numbers.below(4) > 0 {
                let value = self.field(&field);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            // A single entry: the order of several is free.
            let entry = field.kind().as_message().expect("a message").map_entry_value_field();
            Value::Map([(MapKey::U32(7), self.value(&entry.kind()))].into())
        } else if field.is_list() {
            let count = 1 + self.numbers.below(3);
            Value::List((0..count).map(|_| self.value(&field.kind())).collect())
        } else {
            self.value(&field.kind())
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::as_conversions,
        reason = "any bits do"
    )]
    fn value(&mut self, kind: &Kind) -> Value {
        let bits = self.numbers.draw() | 1;
        match kind {
            Kind::Bool => Value::Bool(true),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(bits as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(bits as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(bits as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(bits),
            Kind::Float => Value::F32(0.25),
            Kind::Double => Value::F64(0.25),
            Kind::String => Value::String(format!("né-{bits:x}")),
            Kind::Bytes => Value::Bytes(bits.to_be_bytes().to_vec().into()),
            Kind::Enum(values) => {
                let named: Vec<_> = values.values().map(|value| value.number()).filter(|number| *number != 0).collect();
                Value::EnumNumber(named[self.numbers.below(named.len())])
            }
            Kind::Message(descriptor) => Value::Message(self.message(descriptor)),
        }
    }
}
