//! Buckets from one line of a configuration: a URL, or the path of a directory.

use blobaccess::{Error, Result};

use super::Bucket;
#[cfg(feature = "_cloud")]
use super::Connection;

impl Bucket {
    /// Makes the bucket that `url` describes.
    ///
    /// | URL | bucket | keys |
    /// |---|---|---|
    /// | `s3://bucket/prefix` | S3 or a compatible server; feature `aws` | `endpoint`, `region`, `virtual_hosted`, `allow_http` |
    /// | `gs://bucket/prefix` | Google Cloud Storage; feature `gcp` | `endpoint`, `allow_http` |
    /// | `az://container/prefix` | Azure Blob Storage; feature `azure` | `account`, `endpoint`, `allow_http` |
    /// | `file:///folder` | a [directory](Self::directory) | `durable` (yes unless `false`) |
    /// | `/folder`, `./folder`, `../folder` | the same, durable; the path is taken as it is | |
    /// | `memory:` | [in memory](Self::memory), another for each call | |
    ///
    /// Keys follow a `?`, as in `s3://builds/cas?endpoint=http://127.0.0.1:9000&allow_http=true`. In a URL, `%` escapes
    /// what is not ASCII, and `%`, `?`, `#` and `&` themselves.
    ///
    /// Credentials come from the environment, in the variables that [`object_store`] reads (`AWS_*`, `GOOGLE_*` and
    /// `AZURE_*`), or else from instance metadata. The URL takes precedence over the environment. Timeouts and retries are
    /// those of a default connection.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the URL is not one of these. The error names a key that is unknown, repeated or has a wrong
    /// value. It does not quote the URL, which may hold secrets. `Unimplemented` for a provider whose feature is off. The
    /// errors of the bucket's own constructor.
    ///
    /// # Examples
    ///
    /// ```
    /// use blobaccess_s3_backend::Bucket;
    ///
    /// assert_eq!(Bucket::from_url("memory:")?.to_string(), "memory");
    /// let error = Bucket::from_url("memory:?size=5").unwrap_err();
    /// assert_eq!(error.message(), "the URL of a memory bucket has no key \"size\"");
    /// # Ok::<(), blobaccess::Error>(())
    /// ```
    pub fn from_url(url: &str) -> Result<Self> {
        if ["/", "./", "../"].iter().any(|beginning| url.starts_with(beginning)) {
            return Self::directory(url, true);
        }
        let url = ParsedUrl::read(url)?;
        match url.scheme {
            "s3" => s3(&url),
            "gs" => gs(&url),
            "az" => az(&url),
            "file" => file(&url),
            "memory" => memory(&url),
            scheme => Err(Error::invalid_argument(format!(
                "no bucket has a URL of scheme {scheme:?}; the schemes are s3, gs, az, file and memory"
            ))),
        }
    }
}

/// The parts of a URL, unescaped.
struct ParsedUrl<'a> {
    scheme: &'a str,
    name: String,
    path: String,
    keys: Vec<(String, String)>,
}

impl<'a> ParsedUrl<'a> {
    fn read(url: &'a str) -> Result<Self> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| {
            Error::invalid_argument("a bucket is a URL such as s3://NAME, or a path that begins with / or .")
        })?;
        if rest.contains('#') {
            return Err(Error::invalid_argument("the URL of a bucket has a fragment; write %23 for #"));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (name, path) = match place.strip_prefix("//") {
            Some(place) => place.split_at(place.find('/').unwrap_or(place.len())),
            None => ("", place),
        };
        if name.contains('@') {
            return Err(Error::invalid_argument("the URL of a bucket holds credentials; give them by the environment"));
        }
        let mut keys: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (unescaped(key)?, unescaped(value)?);
            if keys.iter().any(|(known, _)| *known == key) {
                return Err(Error::invalid_argument(format!("the URL of a bucket has key {key:?} twice")));
            }
            keys.push((key, value));
        }
        Ok(Self { scheme, name: unescaped(name)?, path: unescaped(path)?, keys })
    }

    /// Refuses keys other than `known`, and a URL with a bucket's name or without one, as `named` demands.
    fn check(&self, named: bool, known: &[&str]) -> Result<()> {
        let scheme = self.scheme;
        if let Some((key, _)) = self.keys.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            return Err(Error::invalid_argument(format!("the URL of a {scheme} bucket has no key {key:?}")));
        }
        match (named, self.name.is_empty()) {
            (true, true) => Err(Error::invalid_argument(format!("the URL of a {scheme} bucket names no bucket"))),
            (false, false) => Err(Error::invalid_argument(format!(
                "the URL of a {scheme} bucket has a host; write three slashes before the path"
            ))),
            (true, false) | (false, true) => Ok(()),
        }
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn flag(&self, key: &str, otherwise: bool) -> Result<bool> {
        match self.value(key) {
            None => Ok(otherwise),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Error::invalid_argument(format!("key {key:?} of a bucket's URL must be true or false"))),
        }
    }

    #[cfg(feature = "_cloud")]
    fn connection(&self) -> Result<Connection> {
        let allow_http = self.flag("allow_http", false)?;
        if !allow_http && self.value("endpoint").is_some_and(|endpoint| endpoint.starts_with("http://")) {
            return Err(Error::invalid_argument(
                "key \"endpoint\" of a bucket's URL is plain HTTP, which takes allow_http=true",
            ));
        }
        Ok(Connection::default().with_allow_http(allow_http))
    }

    #[cfg(feature = "_cloud")]
    fn below_prefix(&self, bucket: Bucket) -> Result<Bucket> {
        bucket.with_prefix(self.path.trim_matches('/'))
    }
}

#[cfg(feature = "aws")]
fn s3(url: &ParsedUrl<'_>) -> Result<Bucket> {
    url.check(true, &["endpoint", "region", "virtual_hosted", "allow_http"])?;
    let mut builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(&url.name);
    if let Some(endpoint) = url.value("endpoint") {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = url.value("region") {
        builder = builder.with_region(region);
    }
    if url.value("virtual_hosted").is_some() {
        builder = builder.with_virtual_hosted_style_request(url.flag("virtual_hosted", false)?);
    }
    url.below_prefix(Bucket::s3(builder, &url.connection()?)?)
}

#[cfg(feature = "gcp")]
fn gs(url: &ParsedUrl<'_>) -> Result<Bucket> {
    url.check(true, &["endpoint", "allow_http"])?;
    let mut builder = object_store::gcp::GoogleCloudStorageBuilder::from_env().with_bucket_name(&url.name);
    if let Some(endpoint) = url.value("endpoint") {
        builder = builder.with_base_url(endpoint);
    }
    url.below_prefix(Bucket::gcs(builder, &url.connection()?)?)
}

#[cfg(feature = "azure")]
fn az(url: &ParsedUrl<'_>) -> Result<Bucket> {
    url.check(true, &["account", "endpoint", "allow_http"])?;
    let mut builder = object_store::azure::MicrosoftAzureBuilder::from_env().with_container_name(&url.name);
    if let Some(account) = url.value("account") {
        builder = builder.with_account(account);
    }
    if let Some(endpoint) = url.value("endpoint") {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    url.below_prefix(Bucket::azure(builder, &url.connection()?)?)
}

fn file(url: &ParsedUrl<'_>) -> Result<Bucket> {
    url.check(false, &["durable"])?;
    if !url.path.starts_with('/') {
        return Err(Error::invalid_argument("the URL of a file bucket has no absolute path; write file:///folder"));
    }
    Bucket::directory(&url.path, url.flag("durable", true)?)
}

fn memory(url: &ParsedUrl<'_>) -> Result<Bucket> {
    url.check(false, &[])?;
    if url.path.is_empty() {
        Ok(Bucket::memory())
    } else {
        Err(Error::invalid_argument("the URL of a memory bucket has a path; write memory:"))
    }
}

macro_rules! without {
    ($($function:ident $feature:literal;)*) => {
        $(
            #[cfg(not(feature = $feature))]
            fn $function(url: &ParsedUrl<'_>) -> Result<Bucket> {
                Err(not_built_in(url.scheme, $feature))
            }
        )*
    };
}

#[cfg(any(test, not(all(feature = "aws", feature = "gcp", feature = "azure"))))]
fn not_built_in(scheme: &str, feature: &str) -> Error {
    Error::unimplemented(format!("a bucket of scheme {scheme} needs feature {feature} of blobaccess-s3-backend"))
}

without! {
    s3 "aws";
    gs "gcp";
    az "azure";
}

fn unescaped(text: &str) -> Result<String> {
    let wrong =
        || Error::invalid_argument("the URL of a bucket has a % that is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid_argument("the URL of a bucket is not UTF-8 once unescaped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> ParsedUrl<'_> {
        ParsedUrl::read(url).unwrap()
    }

    #[test]
    fn a_url_is_read_in_its_parts() {
        let read = url("gs://builds/a%2Fb/c?endpoint=http://127.0.0.1:9&allow_http=true&a%20b");
        assert_eq!((read.scheme, read.name.as_str(), read.path.as_str()), ("gs", "builds", "/a/b/c"));
        assert_eq!(read.value("endpoint"), Some("http://127.0.0.1:9"));
        assert!(read.flag("allow_http", false).unwrap() && read.flag("virtual_hosted", true).unwrap());
        assert_eq!((read.value("a b"), read.value("region")), (Some(""), None));
    }

    #[test]
    fn keys_are_checked_before_names() {
        let error = url("az:?acount=x").check(true, &["account"]).unwrap_err();
        assert_eq!(error.message(), "the URL of a az bucket has no key \"acount\"");
        let error = url("az:").check(true, &["account"]).unwrap_err();
        assert_eq!(error.message(), "the URL of a az bucket names no bucket");
    }

    #[test]
    fn a_provider_that_is_not_built_in_is_named_with_its_feature() {
        let error = not_built_in("gs", "gcp");
        assert_eq!(error.kind(), blobaccess::ErrorKind::Unimplemented);
        assert_eq!(error.message(), "a bucket of scheme gs needs feature gcp of blobaccess-s3-backend");
    }
}
