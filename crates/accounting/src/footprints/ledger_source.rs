//! A ledger as the source of footprints, where there are no rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{AccountName, Result};

use super::{IngestionTime, RowSource, RowSum};
use crate::{Ledger, Total};

/// The number of namespaces up to which the ledger is asked for each by itself.
const ASKED_SINGLY: usize = 32;

/// A [`RowSource`] over the totals of a [`Ledger`], for a site whose only database is the ledger itself.
///
/// The footprint of a namespace is the sum of those of its accounts: with what was deleted, replaced and adjusted, which rows
/// of uploads do not have.
///
/// It [keeps totals](RowSource::is_cumulative), so it needs no lag, and nothing is ever too late. Its watermark is the time of
/// the latest report, which decides nothing.
#[derive(Clone, Debug)]
pub struct LedgerSource {
    ledger: Arc<dyn Ledger>,
}

impl LedgerSource {
    /// Reads the totals of `ledger`.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger }
    }

    /// Returns the namespaces that the ledger knows, in their order: the rows that a table of footprints should have.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be read now.
    pub async fn namespaces(&self) -> Result<Vec<String>> {
        let totals = self.ledger.totals(None).await?;
        let names = totals.iter().map(|total| total.account.account_name().as_str().to_owned());
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }
}

#[async_trait]
impl RowSource for LedgerSource {
    async fn watermark(&self, _lag: Duration) -> Result<IngestionTime> {
        let lives = self.ledger.lives().await?;
        let latest = lives.iter().map(|life| IngestionTime::from_time(life.taken_at)).max();
        Ok(latest.unwrap_or_default().rounded_down(Duration::from_secs(1)))
    }

    async fn sum(
        &self,
        namespaces: &[String],
        _after: IngestionTime,
        _until: IngestionTime,
    ) -> Result<BTreeMap<String, RowSum>> {
        let mut sums: BTreeMap<String, RowSum> =
            namespaces.iter().map(|name| (name.clone(), RowSum::default())).collect();
        let mut add = |total: &Total| {
            if let Some(sum) = sums.get_mut(total.account.account_name().as_str()) {
                sum.rows = sum.rows.saturating_add(total.tally.get(crate::Class::Created).objects);
                sum.bytes = sum.bytes.saturating_add(total.footprint_bytes());
            }
        };
        if namespaces.len() <= ASKED_SINGLY {
            for name in namespaces {
                self.ledger.totals(Some(&AccountName::new(name.as_str()))).await?.iter().for_each(&mut add);
            }
        } else {
            self.ledger.totals(None).await?.iter().for_each(&mut add);
        }
        Ok(sums)
    }

    fn is_cumulative(&self) -> bool {
        true
    }
}
