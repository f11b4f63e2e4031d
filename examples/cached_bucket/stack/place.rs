//! Where a bucket is, from how it is called.

use blobaccess::{Error, Result};
use blobaccess_s3_backend::object_store::aws::AmazonS3Builder;
use blobaccess_s3_backend::{Bucket, Connection};

/// The bucket that is called so: `s3://NAME/PREFIX?endpoint=URL&region=REGION`, of which all but the name may be left
/// out, or the path of a directory.
///
/// Credentials come from the environment, as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or wherever else the
/// client library finds them.
pub(crate) fn bucket(called: &str) -> Result<Bucket> {
    let Some(place) = called.strip_prefix("s3://") else {
        return match called.split_once("://") {
            None => Bucket::directory(called, false),
            Some(("file", path)) => Bucket::directory(path, false),
            Some((scheme, _)) => Err(Error::invalid_argument(format!("{called:?}: {scheme} is neither s3 nor file"))),
        };
    };
    let (place, query) = place.split_once('?').unwrap_or((place, ""));
    let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
    if name.is_empty() {
        return Err(Error::invalid_argument(format!("{called:?} names no bucket")));
    }
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(name);
    let mut connection = Connection::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        builder = match pair.split_once('=') {
            Some(("endpoint", endpoint)) => {
                connection = connection.with_allow_http(endpoint.starts_with("http://"));
                builder.with_endpoint(endpoint)
            }
            Some(("region", region)) => builder.with_region(region),
            Some(_) | None => {
                let message = format!("{called:?}: {pair:?} is neither endpoint=URL nor region=REGION");
                return Err(Error::invalid_argument(message));
            }
        };
    }
    Bucket::s3(builder, &connection)?.with_prefix(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_called_by_url_or_by_the_path_of_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bucket");
        assert!(bucket(path.to_str().unwrap()).unwrap().to_string().contains("bucket"));
        let there = bucket("s3://builds/team/a?endpoint=http://127.0.0.1:7480&region=eu").unwrap().to_string();
        assert!(there.contains("builds") && there.ends_with("/team/a"), "{there}");
        for wrong in ["s3://", "s3://builds?endpoint", "s3://builds?size=3", "http://builds"] {
            assert!(bucket(wrong).is_err(), "{wrong} was taken");
        }
    }
}
