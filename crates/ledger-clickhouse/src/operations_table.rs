//! The table of operations: its name, its columns, and the words of its statuses.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use blobaccess::{Error, Result};
use blobaccess_accounting::Class;

/// The greatest length of an identifier, in bytes.
const MAX_IDENTIFIER_BYTES: usize = 128;

/// The name of the table in the documents that describe the pipeline.
const DEFAULT_TABLE: &str = "remote_build_cache_operations";

/// A field of an operation: a column of the table, if the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OperationsField {
    /// The reporter: a string. A part of the key.
    Reporter,
    /// The life of the reporter: a string of 32 hexadecimal digits. A part of the key.
    Epoch,
    /// The number of the batch in its life: an unsigned number. A part of the key.
    Seq,
    /// The account name: a string. A part of the key.
    Namespace,
    /// The kind of store, such as `cas` or `ac`: a string. A part of the key.
    Kind,
    /// The status, such as `created`: a string. A part of the key.
    Status,
    /// The reason of a status, such as `queue_full`; empty where a status has none. A string, and a part of the key.
    Reason,
    /// The number of uploads: a number.
    Objects,
    /// The bytes in the store, as far as they are known: a number.
    StoredBytes,
    /// The bytes by the sizes in the digests: a number.
    LogicalBytes,
    /// The part of the logical bytes whose stored size is not known: a number.
    UnsizedBytes,
    /// The minute in which the batch was made, by the clock of the reporter: a time.
    CreatedAt,
    /// The time at which the row was inserted, by the clock of the server: a time with a default. It is never written.
    IngestedAt,
}

impl OperationsField {
    /// Every field, in the order of the columns of a table that is made here.
    pub const ALL: [Self; 13] = [
        Self::Reporter,
        Self::Epoch,
        Self::Seq,
        Self::Namespace,
        Self::Kind,
        Self::Status,
        Self::Reason,
        Self::Objects,
        Self::StoredBytes,
        Self::LogicalBytes,
        Self::UnsizedBytes,
        Self::CreatedAt,
        Self::IngestedAt,
    ];

    /// The fields that identify a row. A row comes once for each value of them.
    pub const KEY: [Self; 7] =
        [Self::Reporter, Self::Epoch, Self::Seq, Self::Namespace, Self::Kind, Self::Status, Self::Reason];

    /// Returns the name of the column by default.
    #[must_use]
    pub const fn default_column(self) -> &'static str {
        match self {
            Self::Reporter => "reporter",
            Self::Epoch => "epoch",
            Self::Seq => "seq",
            Self::Namespace => "namespace",
            Self::Kind => "kind",
            Self::Status => "status",
            Self::Reason => "reason",
            Self::Objects => "objects",
            Self::StoredBytes => "bytes",
            Self::LogicalBytes => "logical_bytes",
            Self::UnsizedBytes => "unsized_bytes",
            Self::CreatedAt => "created_at",
            Self::IngestedAt => "ingested_at",
        }
    }
}

/// The bytes that a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WrittenBytes {
    /// The bytes in the store.
    Stored,
    /// The bytes in the store beyond those of the replaced value. They are negative where values have shrunk.
    Growth,
}

/// The way in which a class is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WrittenClass {
    /// The status.
    pub status: String,
    /// The bytes.
    pub bytes: WrittenBytes,
}

/// The settings of the table of operations: its name, its columns, and the words of its statuses.
///
/// The default is the table `remote_build_cache_operations`, with a column for each [`OperationsField`] and these statuses:
///
/// | status | classes |
/// |---|---|
/// | `created`, `already_exists` | [`Class::Created`], [`Class::AlreadyExists`] |
/// | `rejected` | [`Class::Rejected`] |
/// | `error` | the other errors; `reason` tells them apart |
/// | `dropped` | all that were dropped; `reason` tells them apart |
///
/// Other classes are left out: beginnings, as each has its outcome; deletions; puts that a store could not classify; and
/// replaced values. So a consumer that adds up the bytes of `created` does not see that an action result has grown, which
/// matters little where action results are small. [`with_growth_of_replaced`](Self::with_growth_of_replaced) adds the
/// difference to a status of the site's choice.
///
/// Classes with equal status and reason are one row, with the sum of their amounts.
///
/// # Columns that a table does not have
///
/// A field [without a column](Self::without_column) is not written. Fields of the key that are left out make fewer rows: with
/// no column for the kind, one row has the sum of all kinds. Without reporter, epoch or number, a batch that is sent again
/// cannot be looked for in the table, and only the server's own deduplication keeps its rows from coming twice.
///
/// # Examples
///
/// ```
/// use blobaccess_accounting::Class;
/// use blobaccess_ledger_clickhouse::{OperationsField, OperationsTable};
///
/// # fn main() -> blobaccess::Result<()> {
/// let table = OperationsTable::default()
///     .with_database("telemetry")
///     .with_column(OperationsField::Namespace, "repository_id")
///     .without_column(OperationsField::UnsizedBytes)
///     .with_status(Class::Rejected, "error");
/// table.check()?;
/// assert_eq!(table.qualified_name(), "`telemetry`.`remote_build_cache_operations`");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationsTable {
    database: Option<String>,
    table: String,
    columns: BTreeMap<OperationsField, String>,
    classes: BTreeMap<Class, WrittenClass>,
}

impl Default for OperationsTable {
    fn default() -> Self {
        let columns = OperationsField::ALL.map(|field| (field, field.default_column().to_owned()));
        let classes = Class::OUTCOMES
            .iter()
            .filter(|class| ![Class::Replaced, Class::Unclassified].contains(class))
            .map(|class| {
                let status = if *class == Class::Rejected { class.reason() } else { class.status() };
                (*class, WrittenClass { status: status.to_owned(), bytes: WrittenBytes::Stored })
            });
        Self {
            database: None,
            table: DEFAULT_TABLE.to_owned(),
            columns: columns.into_iter().collect(),
            classes: classes.collect(),
        }
    }
}

impl OperationsTable {
    /// Sets the database: by default that of the connection.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Sets the table: `remote_build_cache_operations` by default.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the column of a field.
    #[must_use]
    pub fn with_column(mut self, field: OperationsField, column: impl Into<String>) -> Self {
        self.columns.insert(field, column.into());
        self
    }

    /// Leaves a field out.
    #[must_use]
    pub fn without_column(mut self, field: OperationsField) -> Self {
        self.columns.remove(&field);
        self
    }

    /// Writes a class under `status`, with its bytes in the store.
    #[must_use]
    pub fn with_status(mut self, class: Class, status: impl Into<String>) -> Self {
        self.classes.insert(class, WrittenClass { status: status.into(), bytes: WrittenBytes::Stored });
        self
    }

    /// Leaves a class out.
    #[must_use]
    pub fn without_class(mut self, class: Class) -> Self {
        self.classes.remove(&class);
        self
    }

    /// Writes the growth of replaced values under `status`, such as `created`: their bytes beyond those of the values before,
    /// and no objects. So the sum of `created` is what the uploads left in the store.
    ///
    /// Where values have shrunk, the bytes of a row can be negative. The column of the bytes must be signed then, as it is in
    /// a table that is made here.
    #[must_use]
    pub fn with_growth_of_replaced(mut self, status: impl Into<String>) -> Self {
        self.classes.insert(Class::Replaced, WrittenClass { status: status.into(), bytes: WrittenBytes::Growth });
        self
    }

    /// Returns the database; `None` if it is that of the connection.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Returns the table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Returns the column of a field; `None` if the table has none.
    #[must_use]
    pub fn column(&self, field: OperationsField) -> Option<&str> {
        self.columns.get(&field).map(String::as_str)
    }

    /// Returns how a class is written; `None` if it is left out.
    #[must_use]
    pub fn written(&self, class: Class) -> Option<&WrittenClass> {
        self.classes.get(&class)
    }

    /// Returns whether the bytes of a row can be negative.
    #[must_use]
    pub fn has_growth(&self) -> bool {
        self.classes.values().any(|written| written.bytes == WrittenBytes::Growth)
    }

    /// Returns the name of the table for a statement, quoted, with the database if one is set.
    #[must_use]
    pub fn qualified_name(&self) -> String {
        let database = self.database.as_ref().map(|database| format!("{}.", Quoted(database)));
        format!("{}{}", database.unwrap_or_default(), Quoted(&self.table))
    }

    /// Returns the column of a field for a statement, quoted; `None` if the table has none.
    #[must_use]
    pub fn quoted_column(&self, field: OperationsField) -> Option<String> {
        self.column(field).map(|column| Quoted(column).to_string())
    }

    /// Checks the names: they become parts of statements.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if a name is no identifier: a letter or `_`, then letters, digits and `_`, at most 128 in all, of
    /// ASCII. Also if two fields have one column, if neither namespace nor status is written, or if a status is empty.
    pub fn check(&self) -> Result<()> {
        let names = self.database.iter().chain([&self.table]).chain(self.columns.values());
        for name in names {
            if !is_identifier(name) {
                return Err(Error::invalid_argument(format!("{name:?} is no name of a database, table or column")));
            }
        }
        let mut columns = std::collections::BTreeSet::new();
        for column in self.columns.values() {
            if !columns.insert(column) {
                return Err(Error::invalid_argument(format!("two fields of an operation have the column {column}")));
            }
        }
        for field in [OperationsField::Namespace, OperationsField::Status] {
            if self.column(field).is_none() {
                let column = field.default_column();
                return Err(Error::invalid_argument(format!("the table of operations has no column for the {column}")));
            }
        }
        if self.classes.values().any(|written| written.status.is_empty()) {
            return Err(Error::invalid_argument("a status of operations is empty"));
        }
        Ok(())
    }
}

/// An identifier in a statement. A name that was checked has no character that quotes would have to escape.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.replace(['`', '\\'], "_"))
    }
}

fn is_identifier(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= MAX_IDENTIFIER_BYTES
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn the_default_has_the_words_that_the_request_knows() {
        let table = OperationsTable::default();
        table.check().unwrap();
        let status = |class| table.written(class).map(|written| written.status.as_str());
        let mut words = std::collections::BTreeSet::new();
        for class in Class::ALL {
            words.extend(status(class));
        }
        assert_eq!(
            words.into_iter().collect::<Vec<_>>(),
            ["already_exists", "created", "dropped", "error", "rejected"]
        );
        assert_eq!(status(Class::Rejected), Some("rejected"));
        assert_eq!(status(Class::Ambiguous), Some("error"));
        for class in [Class::Started, Class::Replaced, Class::Unclassified, Class::DeletedOnRequest] {
            assert_eq!(status(class), None, "{class:?}");
        }
        assert_eq!(table.qualified_name(), "`remote_build_cache_operations`");
        assert!(!table.has_growth());
        assert!(table.with_growth_of_replaced("created").has_growth());
    }

    #[test]
    fn a_name_that_is_no_identifier_is_refused() {
        let table = OperationsTable::default;
        let long = "x".repeat(MAX_IDENTIFIER_BYTES + 1);
        for name in ["", "a b", "1a", "a`b", "a;DROP TABLE b", "a.b", "é", "a\\", "a'", &long] {
            for table in [
                table().with_table(name),
                table().with_database(name),
                table().with_column(OperationsField::StoredBytes, name),
            ] {
                assert_eq!(table.check().unwrap_err().kind(), ErrorKind::InvalidArgument, "{name:?}");
                assert!(!table.qualified_name().contains("``b"));
            }
        }
        table().with_table("a1_B").with_database("_").check().unwrap();
    }

    #[test]
    fn a_table_that_means_nothing_is_refused() {
        let table = OperationsTable::default;
        for table in [
            table().with_column(OperationsField::StoredBytes, "objects"),
            table().without_column(OperationsField::Namespace),
            table().without_column(OperationsField::Status),
            table().with_status(Class::Created, ""),
        ] {
            assert_eq!(table.check().unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        OperationsField::ALL
            .into_iter()
            .filter(|field| ![OperationsField::Namespace, OperationsField::Status].contains(field))
            .fold(table(), OperationsTable::without_column)
            .check()
            .unwrap();
    }
}
