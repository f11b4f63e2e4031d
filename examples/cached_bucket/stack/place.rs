//! The bucket that a flag names: a URL, or the path of a directory.

use blobaccess::Result;
use blobaccess_s3_backend::Bucket;

/// Opens the bucket that `place` names: a URL as [`Bucket::from_url`] takes it, or the path of a directory.
///
/// Credentials come from the environment, such as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
pub(crate) fn bucket(place: &str) -> Result<Bucket> {
    if place.contains("://") || place == "memory:" { Bucket::from_url(place) } else { Bucket::directory(place, false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_a_url_or_by_the_path_of_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bucket");
        assert!(bucket(path.to_str().unwrap()).unwrap().to_string().contains("bucket"));
        let url = "s3://builds/team/a?endpoint=http://127.0.0.1:7480&allow_http=true&region=eu";
        let there = bucket(url).unwrap().to_string();
        assert!(there.contains("builds") && there.ends_with("/team/a"), "{there}");
        for wrong in ["s3://", "s3://builds?size", "s3://builds?size=3", "http://builds"] {
            assert!(bucket(wrong).is_err(), "{wrong} was taken");
        }
    }
}
