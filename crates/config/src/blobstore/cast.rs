//! Values of generic types, as the types that they are.

use std::any::Any;

use blobaccess::{Error, Result};

/// Returns `value` as the type that it is known to be.
///
/// # Errors
///
/// `Internal` if it is of another type. Plans rule that out.
pub(super) fn cast<A: 'static, B: 'static>(value: A) -> Result<B> {
    let mut value = Some(value);
    let any: &mut dyn Any = &mut value;
    let cast = any.downcast_mut::<Option<B>>().and_then(Option::take);
    cast.ok_or_else(|| Error::internal("a store of one kind is used as one of another"))
}
