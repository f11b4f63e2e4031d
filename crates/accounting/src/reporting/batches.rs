//! Reports in batches of bounded size, as ledgers take each batch as a whole.

use std::time::SystemTime;

use crate::Report;

/// The number of accounts in a batch.
const MAX_ACCOUNTS: usize = 2_000;

/// The number of reports in a batch.
const MAX_REPORTS: usize = 200;

/// The life that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This life.
    Own,
    /// An earlier life, by its place in a list.
    Dead(usize),
    /// A store that evicts blobs by itself.
    Evictions,
}

/// Reports that are sent together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) origins: Vec<Origin>,
    pub(super) reports: Vec<Report>,
}

/// Puts reports into batches. A report of many accounts becomes several, of which only the last can close its life.
pub(super) fn batches(reports: Vec<(Origin, Report)>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut batch = Batch::default();
    let mut accounts = 0;
    for (origin, report) in
        reports.into_iter().flat_map(|(origin, report)| pages(report).into_iter().map(move |page| (origin, page)))
    {
        if !batch.reports.is_empty()
            && (accounts + report.accounts.len() > MAX_ACCOUNTS || batch.reports.len() >= MAX_REPORTS)
        {
            batches.push(std::mem::take(&mut batch));
            accounts = 0;
        }
        accounts += report.accounts.len();
        batch.origins.push(origin);
        batch.reports.push(report);
    }
    if !batch.reports.is_empty() {
        batches.push(batch);
    }
    batches
}

fn pages(mut report: Report) -> Vec<Report> {
    let mut pages = Vec::new();
    while report.accounts.len() > MAX_ACCOUNTS {
        let page = report.accounts.drain(..MAX_ACCOUNTS).collect();
        // The number and the time of the life advance with its last page: who sees them knows that all pages are there.
        let before = report.seq.saturating_sub(1);
        pages.push(Report::new(report.reporter.clone(), report.epoch, before, SystemTime::UNIX_EPOCH, page));
    }
    pages.push(report);
    pages
}

#[cfg(test)]
mod tests {
    use blobaccess::{AccountName, StorageType};

    use super::*;
    use crate::{Account, Epoch, Reporter, Tally};

    fn report(accounts: usize) -> Report {
        let account = |number: usize| Account::new(AccountName::new(number.to_string()), StorageType::Cas);
        let accounts = (0..accounts).map(|number| (account(number), Tally::new())).collect();
        Report::new(Reporter::new("host"), Epoch::from_bytes([1; 16]), 1, SystemTime::UNIX_EPOCH, accounts)
    }

    #[test]
    fn no_batch_is_large_and_the_last_page_closes() {
        let all = batches(vec![
            (Origin::Own, report(4_500).closing()),
            (Origin::Dead(0), report(10)),
            (Origin::Dead(1), report(1_990)),
            (Origin::Evictions, report(0)),
        ]);
        let shape: Vec<Vec<_>> = all
            .iter()
            .map(|batch| {
                let reports = batch.reports.iter().map(|report| (report.accounts.len(), report.closed));
                batch.origins.iter().copied().zip(reports).collect()
            })
            .collect();
        assert_eq!(
            shape,
            [
                vec![(Origin::Own, (2_000, false))],
                vec![(Origin::Own, (2_000, false))],
                vec![(Origin::Own, (500, true)), (Origin::Dead(0), (10, false))],
                vec![(Origin::Dead(1), (1_990, false)), (Origin::Evictions, (0, false))],
            ]
        );
        let numbers: Vec<_> = all.iter().map(|batch| batch.reports[0].seq).collect();
        assert_eq!(numbers, [0, 0, 1, 1]);
        assert_eq!(batches(Vec::new()), []);
        assert_eq!(batches((0..500).map(|_| (Origin::Evictions, report(0))).collect()).len(), 3);
    }
}
