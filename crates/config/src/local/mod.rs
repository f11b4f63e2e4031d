//! Local stores: Buildbarn's `local` as a [`LocalStore`](blobaccess_local_store::LocalStore).

mod block_device;
mod contents;
mod index;
mod integrity;
mod persistence;
mod plan;
mod rotation;
mod space;
#[cfg(test)]
mod tests;

pub(crate) use self::plan::LocalPlan;
