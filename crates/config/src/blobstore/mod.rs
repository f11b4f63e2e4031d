//! Stores from the messages of `blobstore.proto`: first plans, which are checked, and then stores.

mod any_store;
mod archive;
mod claims;
mod existence_cache;
mod failure;
mod kind_name;
mod node;
mod plan;
mod reader;
mod replicator;
mod scope;

pub(crate) use self::any_store::{AnyStore, Store};
pub(crate) use self::kind_name::name_of_kind;
pub(crate) use self::plan::{StoresPlan, StoresReader};
