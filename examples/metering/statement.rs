//! The table that is printed, customer by customer.

use std::fmt::Write as _;

use blobaccess_accounting::{Class, DriftReport, DriftSubject, FootprintRow, Tally, Total};

use crate::customers::CUSTOMERS;

/// The words of the request, and the classes that each is for.
const STATUSES: [(&str, &[Class]); 4] = [
    ("created", &[Class::Created]),
    ("already_exists", &[Class::AlreadyExists]),
    ("error", &[Class::Rejected, Class::Ambiguous, Class::Cancelled, Class::Panicked, Class::Deadline]),
    ("dropped", &[Class::QueueFull, Class::SourceUnavailable, Class::Shutdown, Class::Disabled]),
];

/// Prints the uploads of each customer, and its footprint.
pub(crate) fn uploads(totals: &[Total], footprints: &[FootprintRow]) -> String {
    let mut table = format!("  {:<10}", "customer");
    for (status, _) in STATUSES {
        push(&mut table, format_args!("{status:>16}"));
    }
    push(&mut table, format_args!("{:>18}\n", "footprint"));
    for customer in CUSTOMERS {
        let mut sum = Tally::new();
        for total in totals.iter().filter(|total| total.account.account_name().as_str() == customer) {
            for (class, amounts) in total.tally.iter() {
                sum.add(class, amounts);
            }
        }
        push(&mut table, format_args!("  {customer:<10}"));
        for (_, classes) in STATUSES {
            let objects: u64 = classes.iter().map(|class| sum.get(*class).objects).sum();
            push(&mut table, format_args!("{objects:>16}"));
        }
        push(&mut table, format_args!("{:>12} bytes\n", footprint(footprints, customer)));
    }
    table
}

/// Prints what each customer was told that it stores, and what the bucket has. Returns also whether they are equal.
pub(crate) fn comparison(report: &DriftReport, footprints: &[FootprintRow]) -> (String, bool) {
    let mut table = format!("  {:<10}{:>16}{:>16}\n", "customer", "reported", "actual");
    let mut are_equal = (report.total.interval.low_bytes, report.total.interval.high_bytes) == (0, 0);
    for customer in CUSTOMERS {
        let of_customer = report.worst.iter().filter(|finding| {
            matches!(&finding.subject, DriftSubject::Account(account) if account.account_name().as_str() == customer)
        });
        let actual: u64 = of_customer.map(|finding| finding.interval.actual_bytes).sum();
        let reported = footprint(footprints, customer);
        are_equal &= i128::from(reported) == i128::from(actual);
        push(&mut table, format_args!("  {customer:<10}{reported:>16}{actual:>16}\n"));
    }
    (table, are_equal)
}

fn footprint(footprints: &[FootprintRow], customer: &str) -> i64 {
    footprints.iter().find(|row| row.name == customer).map_or(0, |row| row.footprint_bytes)
}

fn push(table: &mut String, piece: std::fmt::Arguments<'_>) {
    // A string takes whatever is written to it.
    let _: std::fmt::Result = table.write_fmt(piece);
}
