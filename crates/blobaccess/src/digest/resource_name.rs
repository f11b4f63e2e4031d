//! The resource names of the byte stream.

use std::fmt::{self, Display, Formatter};

use super::quoted::Quoted;
use super::{Digest, DigestFunction, InstanceName};
use crate::{Compressor, Error, Result};

/// The name that a blob is read by: `[instance/]{blobs|compressed-blobs/<compressor>}/[<function>/]<hash>/<size>`.
///
/// The function is there if it [appears in resource names](DigestFunction::appears_in_resource_names); otherwise the
/// length of the hash implies it. The name prints without redundant slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadResource {
    /// The blob.
    pub digest: Digest,
    /// The compressor of the requested form; `None` for the contents themselves.
    pub compressor: Option<Compressor>,
}

impl ReadResource {
    /// Parses a name. Redundant slashes are tolerated.
    ///
    /// # Errors
    ///
    /// `Unimplemented` if the compressor is unknown; `InvalidArgument` if anything else about the name is wrong, also
    /// if there is more after the size.
    pub fn parse(name: &str) -> Result<Self> {
        let components = components(name);
        let begin = components
            .iter()
            .position(|component| matches!(*component, "blobs" | "compressed-blobs"))
            .ok_or_else(|| invalid(name, "neither blobs nor compressed-blobs"))?;
        let (instance_name, path) = components.split_at(begin);
        let path = Path::new(path).ok_or_else(|| invalid(name, "no hash and size"))?;
        let (digest, compressor) = path.resolve(instance_name)?;
        if !path.rest.is_empty() {
            return Err(invalid(name, "more after the size"));
        }
        Ok(Self { digest, compressor })
    }
}

impl Display for ReadResource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_instance_name(f, &self.digest)?;
        write_path(f, &self.digest, self.compressor)
    }
}

/// The name that a blob is written by:
/// `[instance/]uploads/<uuid>/{blobs|compressed-blobs/<compressor>}/[<function>/]<hash>/<size>[/anything]`.
///
/// The function is there if it [appears in resource names](DigestFunction::appears_in_resource_names); otherwise the
/// length of the hash implies it. Text that a client adds after the size, such as the name of a file, has no meaning
/// and is not kept. The name prints without redundant slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteResource {
    /// The identifier that distinguishes this upload from others of the same blob: one component, without slashes. It
    /// need not be a UUID.
    pub uuid: String,
    /// The blob.
    pub digest: Digest,
    /// The compressor of the sent form; `None` for the contents themselves.
    pub compressor: Option<Compressor>,
}

impl WriteResource {
    /// Parses a name. Redundant slashes are tolerated.
    ///
    /// # Errors
    ///
    /// `Unimplemented` if the compressor is unknown; `InvalidArgument` if anything else about the name is wrong.
    pub fn parse(name: &str) -> Result<Self> {
        let components = components(name);
        let begin = components
            .iter()
            .position(|component| *component == "uploads")
            .ok_or_else(|| invalid(name, "no uploads"))?;
        let (instance_name, upload) = components.split_at(begin);
        let [_uploads, uuid, path @ ..] = upload else { return Err(invalid(name, "nothing after uploads")) };
        if !matches!(path, ["blobs" | "compressed-blobs", ..]) {
            return Err(invalid(name, "neither blobs nor compressed-blobs after the UUID"));
        }
        let path = Path::new(path).ok_or_else(|| invalid(name, "no hash and size"))?;
        let (digest, compressor) = path.resolve(instance_name)?;
        Ok(Self { uuid: String::from(*uuid), digest, compressor })
    }
}

impl Display for WriteResource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_instance_name(f, &self.digest)?;
        write!(f, "uploads/{}/", self.uuid)?;
        write_path(f, &self.digest, self.compressor)
    }
}

/// The part that both kinds of names end with, in pieces.
struct Path<'a> {
    compressor: Option<&'a str>,
    /// The function, if it is spelled out.
    function: Option<DigestFunction>,
    hash: &'a str,
    size: &'a str,
    rest: &'a [&'a str],
}

impl<'a> Path<'a> {
    /// Makes the part from `blobs` or `compressed-blobs` on.
    fn new(components: &'a [&'a str]) -> Option<Self> {
        let (compressor, blob) = match components {
            ["blobs", blob @ ..] => (None, blob),
            ["compressed-blobs", compressor, blob @ ..] => (Some(*compressor), blob),
            _ => return None,
        };
        let (first, after_first) = blob.split_first()?;
        let function = DigestFunction::from_name(first).filter(|function| function.appears_in_resource_names());
        let [hash, size, rest @ ..] = (if function.is_some() { after_first } else { blob }) else { return None };
        Some(Self { compressor, function, hash, size, rest })
    }

    fn resolve(&self, instance_name: &[&str]) -> Result<(Digest, Option<Compressor>)> {
        let instance_name = instance_name.join("/");
        let instance_name = InstanceName::new(&instance_name).map_err(|error| {
            let message = format!("invalid instance name {}: {}", Quoted(&instance_name), error.message());
            Error::invalid_argument(message)
        })?;
        let compressor = self.compressor.map(compressor).transpose()?;
        let function = self
            .function
            .or_else(|| DigestFunction::infer(self.hash.len()))
            .ok_or_else(|| Error::invalid_argument(format!("unsupported digest function {}", Quoted(self.hash))))?;
        let size_bytes = self
            .size
            .parse()
            .map_err(|_| Error::invalid_argument(format!("invalid blob size {}", Quoted(self.size))))?;
        Ok((Digest::parse(instance_name, function, self.hash, size_bytes)?, compressor))
    }
}

fn components(name: &str) -> Vec<&str> {
    name.split('/').filter(|component| !component.is_empty()).collect()
}

fn compressor(name: &str) -> Result<Compressor> {
    Compressor::from_name(name)
        .ok_or_else(|| Error::unimplemented(format!("unsupported compression scheme {}", Quoted(name))))
}

fn invalid(name: &str, what: &str) -> Error {
    Error::invalid_argument(format!("invalid resource naming scheme: {what}, in {}", Quoted(name)))
}

fn write_instance_name(f: &mut Formatter<'_>, digest: &Digest) -> fmt::Result {
    match digest.instance_name() {
        name if name.is_empty() => Ok(()),
        name => write!(f, "{name}/"),
    }
}

fn write_path(f: &mut Formatter<'_>, digest: &Digest, compressor: Option<Compressor>) -> fmt::Result {
    match compressor {
        None => f.write_str("blobs/")?,
        Some(compressor) => write!(f, "compressed-blobs/{compressor}/")?,
    }
    if digest.function().appears_in_resource_names() {
        write!(f, "{}/", digest.function())?;
    }
    write!(f, "{}/{}", digest.hash(), digest.size_bytes())
}

#[cfg(test)]
mod tests;
