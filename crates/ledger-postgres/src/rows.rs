//! The rows of the database, and their meaning.

use blobaccess::{AccountName, Error, Result};
use blobaccess_accounting::{
    Account, Adjustment, Amounts, Class, Correction, Epoch, InFlight, Life, Reporter, from_unix_millis,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| {
        Error::data_loss(format!("the ledger in postgresql has a row that is none of its own: {error}"))
    })
}

pub(crate) fn unsigned(row: &Row, column: usize) -> Result<u64> {
    Ok(u64::try_from(get::<i64>(row, column)?).unwrap_or(0))
}

/// Converts a number into what fits into a column.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads the account in this column and the next one.
pub(crate) fn account(row: &Row, column: usize) -> Result<Account> {
    let name = get::<&str>(row, column)?;
    let storage_type = Account::storage_type_from_name(name)
        .ok_or_else(|| Error::data_loss(format!("the ledger in postgresql has a kind of store {name:?}")))?;
    Ok(Account::new(AccountName::new(get::<&str>(row, column + 1)?), storage_type))
}

pub(crate) fn class(row: &Row, column: usize) -> Result<Class> {
    let code = get::<i16>(row, column)?;
    u8::try_from(code)
        .ok()
        .and_then(Class::from_code)
        .ok_or_else(|| Error::data_loss(format!("the ledger in postgresql has a class {code}")))
}

/// Reads the amounts in this column and the next four.
pub(crate) fn amounts(row: &Row, column: usize) -> Result<Amounts> {
    let mut columns = [0; 5];
    for (number, place) in columns.iter_mut().zip(column..) {
        *number = unsigned(row, place)?;
    }
    Ok(Amounts::from_columns(columns))
}

pub(crate) fn epoch(row: &Row, column: usize) -> Result<Epoch> {
    let bytes = get::<&[u8]>(row, column)?;
    let bytes = <[u8; 16]>::try_from(bytes)
        .map_err(|_| Error::data_loss(format!("the ledger in postgresql has an epoch of {} bytes", bytes.len())))?;
    Ok(Epoch::from_bytes(bytes))
}

pub(crate) fn life(row: &Row) -> Result<Life> {
    let taken_at = from_unix_millis(unsigned(row, 3)?);
    let life = Life::new(Reporter::new(get::<&str>(row, 0)?), epoch(row, 1)?, unsigned(row, 2)?, taken_at);
    Ok(life.with_closed(get(row, 4)?).with_retired_seq(unsigned(row, 5)?))
}

pub(crate) fn in_flight(row: &Row) -> Result<InFlight> {
    let reporter = Reporter::new(get::<&str>(row, 0)?);
    Ok(InFlight::new(reporter, epoch(row, 1)?, account(row, 2)?, unsigned(row, 4)?, unsigned(row, 5)?))
}

pub(crate) fn adjustment(row: &Row) -> Result<Adjustment> {
    let drift = (get(row, 4)?, get(row, 5)?);
    let made_at = from_unix_millis(unsigned(row, 6)?);
    Ok(Adjustment::new(get::<&str>(row, 0)?, account(row, 1)?, get(row, 3)?, drift, made_at))
}

/// Reads the integral in this column, which is a number as text.
pub(crate) fn byte_millis(row: &Row, column: usize) -> Result<i128> {
    let number = get::<&str>(row, column)?.parse();
    number.map_err(|error| Error::data_loss(format!("the ledger in postgresql has a bad integral: {error}")))
}

pub(crate) fn correction(row: &Row) -> Result<Correction> {
    let made_at = from_unix_millis(unsigned(row, 4)?);
    Ok(Correction::new(get::<&str>(row, 0)?, account(row, 1)?, byte_millis(row, 3)?, made_at))
}
