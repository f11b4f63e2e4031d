//! The text of a configuration.

use std::path::Path;

use crate::field_path::FieldPath;
use crate::json::{self, JsonValue};
use crate::jsonnet::{self, Source};
use crate::message::{self, Message};
use crate::reading::Reading;
use crate::{Environment, Fault, Faults, Position};

/// A configuration as it was written, before its fields are looked at.
///
/// # Examples
///
/// ```
/// use blobaccess_config::Document;
///
/// let faults = Document::from_json("{\"grpcServers\": [}", "storage.json").unwrap_err();
/// assert_eq!(faults.to_string(), "storage.json:1:18: expected a value, found \"}\"");
/// ```
#[derive(Clone, Debug)]
pub struct Document {
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Json(JsonValue),
    Bytes(Vec<u8>),
}

impl Document {
    /// Evaluates a file of Jsonnet, which may be JSON. The path `-` is standard input.
    ///
    /// It is evaluated as Buildbarn does: imports begin beside the file that imports, or in the working directory for
    /// standard input. There is no search path, and `JSONNET_PATH` is not read. A function is called without arguments.
    /// Numbers are floating-point numbers of 64 bits, in files of JSON too: write integers beyond 2^53 as strings.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or its evaluation fails or takes more than `environment` allows. There is one fault, with
    /// its place.
    pub fn from_jsonnet_file(path: impl AsRef<Path>, environment: &Environment) -> Result<Self, Faults> {
        let path = path.as_ref();
        let source = if path == Path::new("-") { Source::StandardInput } else { Source::File(path) };
        jsonnet::evaluate(source, environment).map(Self::from_value)
    }

    /// Evaluates Jsonnet, with `name` as the name of the file in faults. Imports begin beside a file with this name.
    ///
    /// # Errors
    ///
    /// The evaluation fails, or takes more than `environment` allows. There is one fault, with its place.
    ///
    /// # Examples
    ///
    /// ```
    /// use blobaccess_config::{Document, Environment};
    ///
    /// let environment = Environment::default().with_variable("PORT", "8980");
    /// let text = "{\n  grpcServers: [{ listenAddresses: [':' + std.extVar('PORTS')] }],\n}";
    /// let faults = Document::from_jsonnet(text, "storage.jsonnet", &environment).unwrap_err();
    /// assert_eq!(
    ///     faults.to_string(),
    ///     "storage.jsonnet:2:47: grpcServers[0].listenAddresses[0]: the external variable PORTS is not set in the environment"
    /// );
    /// ```
    pub fn from_jsonnet(text: &str, name: &str, environment: &Environment) -> Result<Self, Faults> {
        jsonnet::evaluate(Source::Text { name, text }, environment).map(Self::from_value)
    }

    /// Reads JSON, with `name` as the name of the file in faults.
    ///
    /// The grammar is that of Go's `protojson`: there are no comments, no commas behind the last element, and no byte order
    /// mark. A name that is there twice is a fault where its field is read. Up to 500 lists and objects may lie in each
    /// other, as in Buildbarn, whose Jsonnet ends there; `protojson` alone takes 10,000. Of these, 500 may be messages.
    ///
    /// # Errors
    ///
    /// The first mistake of the grammar.
    pub fn from_json(text: &str, name: &str) -> Result<Self, Faults> {
        json::parse(text, name).map(Self::from_value)
    }

    /// Takes the bytes of a protobuf message, which are looked at where their fields are read.
    ///
    /// Fields with numbers that are not known, and groups, are faults. Up to 500 messages may lie in each other.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { content: Content::Bytes(bytes.into()) }
    }

    /// Returns the message with the full name `message` as protobuf bytes, which [`from_bytes`](Self::from_bytes) takes.
    ///
    /// A site can so render its files in one place, and give servers bytes that depend on no environment. Equal messages
    /// are equal bytes.
    ///
    /// # Errors
    ///
    /// All fields that the message has not got, or that have values of other types. What the fields mean together is not
    /// looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// use blobaccess_config::Document;
    ///
    /// let store = "buildbarn.configuration.blobstore.BlobAccessConfiguration";
    /// let document = Document::from_json("{\"label\": \"a\"}", "store.json")?;
    /// let bytes = document.to_bytes(store)?;
    /// assert_eq!(Document::from_bytes(bytes.clone()).to_bytes(store)?, bytes);
    ///
    /// let faults = Document::from_json("{\"labels\": 5}", "store.json")?.to_bytes(store).unwrap_err();
    /// let expected = "store.json:1:2: labels: is not a field of BlobAccessConfiguration; did you mean label?";
    /// assert_eq!(faults.to_string(), expected);
    /// # Ok::<(), blobaccess_config::Faults>(())
    /// ```
    pub fn to_bytes(&self, message: &str) -> Result<Vec<u8>, Faults> {
        let (message, malformed) = self.message(message)?;
        match Faults::of(malformed.into_iter().map(|(_, fault)| fault).collect()) {
            Some(faults) => Err(faults),
            None => Ok(message::to_bytes(&message)),
        }
    }

    /// Returns the document with the value `json`.
    pub(crate) fn from_value(json: JsonValue) -> Self {
        Self { content: Content::Json(json) }
    }

    /// Reads the message with the full name `name`, and begins a reading that has the mistakes of the text.
    ///
    /// # Errors
    ///
    /// There is no such message.
    pub(crate) fn read_as(&self, name: &str) -> Result<(Message, Reading), Faults> {
        let (message, malformed) = self.message(name)?;
        Ok((message, Reading::new(malformed)))
    }

    fn message(&self, name: &str) -> Result<(Message, Vec<(FieldPath, Fault)>), Faults> {
        let unknown = || Faults::one(None::<Position>, format!("{name} is not a message that is known here"));
        let descriptor = message::descriptor(name).ok_or_else(unknown)?;
        Ok(match &self.content {
            Content::Json(json) => message::from_json(json, &descriptor),
            Content::Bytes(bytes) => message::from_bytes(bytes, &descriptor),
        })
    }
}
