//! The name of a blob: the hash of its contents and its size.
