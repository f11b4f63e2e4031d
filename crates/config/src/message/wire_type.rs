//! The ways in which values are written as bytes.

use prost_reflect::Kind;

/// The way in which a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    /// A length, and so many bytes.
    Length,
    Fixed32,
}

impl WireType {
    /// Returns how values of the type `kind` are written.
    pub(super) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Self::Fixed64,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Self::Fixed32,
            Kind::String | Kind::Bytes | Kind::Message(_) => Self::Length,
            Kind::Bool
            | Kind::Enum(_)
            | Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64 => Self::Varint,
        }
    }

    /// Returns the type that `number` stands for. Groups are not taken.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        [Self::Varint, Self::Fixed64, Self::Length, Self::Fixed32].into_iter().find(|of| of.number() == number)
    }

    /// Returns the number that stands for this behind the number of a field.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Length => 2,
            Self::Fixed32 => 5,
        }
    }
}
