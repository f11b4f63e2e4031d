//! The part of instance names in the identity of a blob.

/// The way in which a store distinguishes its blobs, and by which caches in front of it must key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFormat {
    /// The same hash and size in two instance names are two blobs.
    WithInstanceName,
    /// The same hash and size are one blob in every instance name.
    WithoutInstanceName,
}

impl KeyFormat {
    /// Returns the format of a layer over two stores: without instance names only if both leave them out.
    #[must_use]
    pub const fn combine(self, other: Self) -> Self {
        match (self, other) {
            (Self::WithoutInstanceName, Self::WithoutInstanceName) => Self::WithoutInstanceName,
            (Self::WithInstanceName, _) | (_, Self::WithInstanceName) => Self::WithInstanceName,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeyFormat::{WithInstanceName, WithoutInstanceName};

    #[test]
    fn instance_names_matter_where_they_matter_to_either() {
        assert_eq!(WithInstanceName.combine(WithInstanceName), WithInstanceName);
        assert_eq!(WithInstanceName.combine(WithoutInstanceName), WithInstanceName);
        assert_eq!(WithoutInstanceName.combine(WithInstanceName), WithInstanceName);
        assert_eq!(WithoutInstanceName.combine(WithoutInstanceName), WithoutInstanceName);
    }
}
