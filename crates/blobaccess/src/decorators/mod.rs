//! Layers around stores, and the order in which they are commonly stacked.

mod completeness_checking;

pub use self::completeness_checking::{CompletenessChecking, CompletenessOptions, CompletenessSnapshot};
