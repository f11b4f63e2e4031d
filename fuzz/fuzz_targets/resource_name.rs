//! Resource names of the byte stream: a parsed name that is printed is parsed again as the same.
#![no_main]

use blobaccess::{ReadResource, WriteResource};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    if let Ok(resource) = ReadResource::parse(name) {
        assert_eq!(ReadResource::parse(&resource.to_string()).ok(), Some(resource));
    }
    if let Ok(resource) = WriteResource::parse(name) {
        assert_eq!(WriteResource::parse(&resource.to_string()).ok(), Some(resource));
    }
});
