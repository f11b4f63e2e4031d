//! Configurations as JSON, as Jsonnet and as protobuf bytes. What is read can be written, and is then read as the same.
#![no_main]

use blobaccess_config::{Document, Environment, EvaluationLimits};
use libfuzzer_sys::fuzz_target;

const MESSAGES: [&str; 2] = [
    "buildbarn.configuration.bb_storage.ApplicationConfiguration",
    "buildbarn.configuration.blobstore.BlobAccessConfiguration",
];

/// Evaluates Jsonnet, within small limits so that many texts are tried in little time.
fn evaluate(text: &str) -> Option<Document> {
    // The files of this machine are not what is tested.
    if text.contains("import") {
        return None;
    }
    let limits = EvaluationLimits::default().with_frames(100).with_steps(10_000).with_memory(16 << 20);
    let environment = Environment::default().with_limits(limits).with_variable("a", "b");
    Document::from_jsonnet(text, "fuzz.jsonnet", &environment).ok()
}

fuzz_target!(|bytes: &[u8]| {
    let text = str::from_utf8(bytes).ok();
    let json = text.and_then(|text| Document::from_json(text, "fuzz.json").ok());
    let jsonnet = text.and_then(evaluate);
    for document in json.into_iter().chain(jsonnet).chain([Document::from_bytes(bytes)]) {
        for message in MESSAGES {
            if let Ok(written) = document.to_bytes(message) {
                assert_eq!(Document::from_bytes(written.clone()).to_bytes(message), Ok(written));
            }
        }
    }
});
