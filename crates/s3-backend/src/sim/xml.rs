//! The documents that S3 answers with, and the one that it is sent.

use std::fmt::Write;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn error(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>")
}

pub(super) fn begun(key: &str, id: &str) -> String {
    let key = escaped(key);
    format!(
        "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>\
         </InitiateMultipartUploadResult>"
    )
}

pub(super) fn completed(key: &str, e_tag: &str) -> String {
    let (key, e_tag) = (escaped(key), escaped(e_tag));
    format!(
        "<CompleteMultipartUploadResult><Location>sim</Location><Bucket>bucket</Bucket><Key>{key}</Key>\
         <ETag>{e_tag}</ETag></CompleteMultipartUploadResult>"
    )
}

pub(super) fn listing(keys: &[(String, u64, String)], folders: &[String], next: Option<&str>) -> String {
    let mut xml = format!("<ListBucketResult><KeyCount>{}</KeyCount>", keys.len() + folders.len());
    for (key, size, e_tag) in keys {
        let (key, e_tag) = (escaped(key), escaped(e_tag));
        // A string takes whatever is written to it.
        let _: std::fmt::Result = write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{e_tag}</ETag>\
             <Size>{size}</Size></Contents>"
        );
    }
    for folder in folders {
        let _: std::fmt::Result = write!(xml, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(folder));
    }
    if let Some(next) = next {
        let _: std::fmt::Result = write!(
            xml,
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
            escaped(next)
        );
    }
    xml.push_str("</ListBucketResult>");
    xml
}

/// Reads the parts that a completion names, by number and `ETag`.
pub(super) fn parts(document: &str) -> Vec<(usize, String)> {
    let within = |text: &str, tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        let (value, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(value.replace("&quot;", "\""))
    };
    let parts = document.split("<Part>").skip(1);
    parts.filter_map(|part| Some((within(part, "PartNumber")?.parse().ok()?, within(part, "ETag")?))).collect()
}
