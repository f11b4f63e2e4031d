//! Corrections of statements, and the time set back to which they were billed.

use std::time::SystemTime;

use blobaccess::Result;
use blobaccess_accounting::{Correction, Movement, Tally, unix_millis};
use tokio_postgres::Client;

use crate::ledger::{Sql, adjusted, statements, tallies, time};
use crate::rows::signed;
use crate::schema;

/// Keeps corrections that are not known.
pub(crate) async fn correct(
    client: &Client,
    corrections: &[Correction],
    sql: &Sql,
) -> Result<(), tokio_postgres::Error> {
    let names: Vec<_> = corrections.iter().map(|correction| correction.correction_id.as_str()).collect();
    let storage_types: Vec<_> = corrections.iter().map(|one| one.account.storage_type().name()).collect();
    let account_names: Vec<_> = corrections.iter().map(|one| one.account.account_name().as_str()).collect();
    let integrals: Vec<_> = corrections.iter().map(|one| one.byte_millis.to_string()).collect();
    let times: Vec<_> = corrections.iter().map(|one| signed(unix_millis(one.made_at))).collect();
    let insert = sql.of(schema::INSERT_CORRECTIONS);
    client.execute(&insert, &[&names, &storage_types, &account_names, &integrals, &times]).await?;
    Ok(())
}

/// Sets statements back to `to`, if they are beyond.
pub(crate) async fn rewind(
    client: &mut Client,
    to: SystemTime,
    sql: &Sql,
) -> Result<Result<()>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.query_one(&sql.of(schema::LOCK), &[]).await?;
    let as_of = time(&transaction.query_one(&sql.of(schema::AS_OF), &[]).await?)?;
    let Some(as_of) = as_of.filter(|as_of| *as_of > to) else {
        transaction.rollback().await?;
        return Ok(Ok(()));
    };
    let all = None::<Vec<&str>>;
    let consumed = transaction.query(&sql.of(schema::CONSUMED), &[&all]).await?;
    let adjustments = transaction.query(&sql.of(schema::CONSUMED_ADJUSTMENTS), &[&all]).await?;
    let known = transaction.query(&sql.of(schema::STATEMENTS), &[&all]).await?;
    let read = || statements(&known, &tallies(&consumed)?, &adjusted(&adjustments)?);
    let mut known = match read() {
        Ok(known) => known,
        Err(error) => {
            transaction.rollback().await?;
            return Ok(Err(error));
        }
    };
    for statement in known.values_mut() {
        // A statement that did not move was not written.
        let nothing = Movement::new(statement.account.clone(), Tally::new(), 0);
        statement.advance(as_of, &nothing);
        statement.rewind(to);
    }
    let storage_types: Vec<_> = known.keys().map(|account| account.storage_type().name()).collect();
    let account_names: Vec<_> = known.keys().map(|account| account.account_name().as_str()).collect();
    let integrals: Vec<_> = known.values().map(|statement| statement.byte_millis.to_string()).collect();
    let times: Vec<_> = known.values().map(|statement| signed(unix_millis(statement.as_of))).collect();
    let upsert = sql.of(schema::UPSERT_STATEMENT);
    transaction.execute(&upsert, &[&storage_types, &account_names, &integrals, &times]).await?;
    transaction.execute(&sql.of(schema::SET_AS_OF), &[&signed(unix_millis(to))]).await?;
    transaction.commit().await?;
    Ok(Ok(()))
}
