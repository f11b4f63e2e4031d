//! A store of fixed size in memory or on one disk, which cleans itself and whose sync is a promise.

#![forbid(unsafe_code)]
#![expect(dead_code, reason = "the store that uses the map is being built")]

mod key;
mod key_location_map;
mod location;
mod width;
