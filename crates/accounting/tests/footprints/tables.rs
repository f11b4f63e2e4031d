//! The contract of tables, for those in memory and in a file.

use blobaccess::ErrorKind;
use blobaccess_accounting::{
    Counted, FootprintAddition, FootprintMark, FootprintShard, FootprintTable, IngestionTime, MemoryFootprints,
    RedbFootprints,
};

/// Checks a table whose rows `acme` and `other` have nothing yet.
async fn compares_before_it_adds(table: &dyn FootprintTable) {
    let at = IngestionTime::from_micros;
    let first = FootprintMark::new(at(5_000_000)).with_counted(Counted::new(at(1_000_000), -1, -7));
    let second = FootprintMark::new(at(9_000_000));
    let row = async || {
        let rows = table.active(FootprintShard::ALL, None, 1).await.unwrap();
        (rows[0].name.clone(), rows[0].footprint_bytes, rows[0].mark)
    };
    assert_eq!(row().await, ("acme".to_owned(), 0, None));
    assert!(!table.add("acme", Some(&first), 3, &second).await.unwrap());
    assert!(table.add("acme", None, 3, &first).await.unwrap());
    assert!(!table.add("acme", None, 3, &first).await.unwrap());
    assert_eq!(row().await, ("acme".to_owned(), 3, Some(first)));
    let other_count = first.with_counted(Counted::new(at(1_000_000), 0, -7));
    assert!(!table.add("acme", Some(&other_count), 3, &second).await.unwrap());
    assert!(table.add("acme", Some(&first), -10, &second).await.unwrap());
    assert_eq!(row().await, ("acme".to_owned(), -7, Some(second)));
    assert_eq!(table.add("acme", Some(&second), i64::MIN, &first).await.unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(row().await, ("acme".to_owned(), -7, Some(second)));
    assert_eq!(table.add("nobody", None, 1, &first).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(table.import("other", Some(11), &first).await.unwrap());
    assert!(!table.import("other", Some(12), &second).await.unwrap());
    let rows = table.active(FootprintShard::ALL, Some("acme"), 9).await.unwrap();
    assert_eq!((rows.len(), rows[0].footprint_bytes, rows[0].mark), (1, 11, Some(first)));
    // One that cannot be made keeps no other.
    let addition = |name, expected, delta| FootprintAddition::new(name, expected, delta, first);
    let additions = [
        addition("nobody", None, 1),
        addition("acme", Some(first), 1),
        addition("acme", Some(second), i64::MIN),
        addition("other", Some(first), 9),
        addition("acme", Some(second), 17),
    ];
    let added: Vec<_> =
        table.add_all(&additions).await.into_iter().map(|added| added.map_err(|error| error.kind())).collect();
    let expected = [Err(ErrorKind::NotFound), Ok(false), Err(ErrorKind::OutOfRange), Ok(true), Ok(true)];
    assert_eq!(added, expected);
    let rows = table.active(FootprintShard::ALL, None, 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.footprint_bytes).collect::<Vec<_>>(), [10, 20]);
}

#[tokio::test]
async fn a_table_in_memory_compares_before_it_adds() {
    let table = MemoryFootprints::new();
    assert!(table.insert("acme") && table.insert("other") && !table.insert("acme"));
    compares_before_it_adds(&table).await;
}

#[tokio::test]
async fn a_table_in_a_file_compares_before_it_adds_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("footprints");
    let table = RedbFootprints::open(&path).unwrap();
    assert_eq!(RedbFootprints::open(&path).unwrap_err().kind(), ErrorKind::FailedPrecondition);
    assert_eq!(table.insert(["acme", "other", "acme"]).await.unwrap(), 2);
    compares_before_it_adds(&table).await;
    let rows = table.active(FootprintShard::ALL, None, 9).await.unwrap();
    drop(table);
    let table = RedbFootprints::open(&path).unwrap();
    assert_eq!(table.active(FootprintShard::ALL, None, 9).await.unwrap(), rows);
    assert!(table.remove("acme").await.unwrap());
    assert!(!table.remove("acme").await.unwrap());
    assert_eq!(table.active(FootprintShard::ALL, None, 9).await.unwrap().len(), 1);
}
