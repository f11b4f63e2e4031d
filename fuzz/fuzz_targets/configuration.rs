//! Configurations as JSON and as protobuf bytes. What is read can be written, and is then read as the same.
#![no_main]

use blobaccess_config::Document;
use libfuzzer_sys::fuzz_target;

const MESSAGES: [&str; 2] = [
    "buildbarn.configuration.bb_storage.ApplicationConfiguration",
    "buildbarn.configuration.blobstore.BlobAccessConfiguration",
];

fuzz_target!(|bytes: &[u8]| {
    let text = str::from_utf8(bytes).ok();
    let json = text.and_then(|text| Document::from_json(text, "fuzz.json").ok());
    for document in json.into_iter().chain([Document::from_bytes(bytes)]) {
        for message in MESSAGES {
            if let Ok(written) = document.to_bytes(message) {
                assert_eq!(Document::from_bytes(written.clone()).to_bytes(message), Ok(written));
            }
        }
    }
});
