//! The hit rate in the hours after a change of shards, with and without reads that fall back.

use blobaccess::decorators::Rendezvous;
use blobaccess_testkit::Numbers;

use crate::figure::{Line, Panel};
use crate::number::{Zipf, real};
use crate::topology::{blobs, choice};
use crate::{SEED, Scale};

/// The hours after the change.
const HOURS: usize = 24;

/// The share of requests for blobs that nobody has ever asked for: what has been edited, and what depends on it.
const NEW: f64 = 0.05;

/// The exponent of popularity.
const EXPONENT: f64 = 0.9;

/// A site after a change.
struct Site {
    name: &'static str,
    /// The shard that each blob belongs to now.
    homes: Vec<usize>,
    /// The shard that each blob is in; `None` if it is in none.
    places: Vec<Option<usize>>,
    falls_back: bool,
    hits: [usize; HOURS],
}

impl Site {
    fn new(name: &'static str, before: &[usize], after: &Rendezvous, numbers: &[u64], falls_back: bool) -> Self {
        let places = before.iter().map(|shard| Some(*shard)).collect();
        Self { name, homes: after.select_all(numbers), places, falls_back, hits: [0; HOURS] }
    }

    /// Forgets the blobs of a shard whose disk is lost.
    fn lose(mut self, shard: usize) -> Self {
        for place in &mut self.places {
            *place = place.filter(|place| *place != shard);
        }
        self
    }

    /// Asks for a blob, and stores it if it is not found.
    fn ask(&mut self, hour: usize, blob: usize) {
        let (home, place) = (self.homes[blob], &mut self.places[blob]);
        self.hits[hour] += usize::from(*place == Some(home) || self.falls_back && place.is_some());
        *place = Some(home);
    }
}

pub(crate) fn run(scale: Scale, panels: &mut Vec<Panel>) {
    let (known, requests) = (scale.of(1_000_000, 1000), scale.of(200_000, 200));
    let mut numbers = Numbers::new(SEED);
    let blobs = blobs(&mut numbers, known);
    let ten = choice((0..10).map(|shard| (shard, 1)));
    let nine = choice((0..9).map(|shard| (shard, 1)));
    let twenty = choice((0..20).map(|shard| (shard, 1)));
    let before = ten.select_all(&blobs);
    // By the remainder of a division by the number of shards, as simple clients place blobs.
    let shift = |shards: u64| blobs.iter().map(move |blob| usize::try_from(blob % shards).unwrap());
    let remainder = Site {
        name: "one of 10 removed, placed by remainder",
        homes: shift(9).collect(),
        places: shift(10).map(Some).collect(),
        falls_back: false,
        hits: [0; HOURS],
    };
    let mut sites = [
        Site::new("no change", &before, &ten, &blobs, true),
        Site::new("one of 10 drained, falling back", &before, &nine, &blobs, true),
        Site::new("one of 10 replaced by an empty one", &before, &ten, &blobs, true).lose(9),
        Site::new("one of 10 removed", &before, &nine, &blobs, false),
        Site::new("10 added to 10, falling back", &before, &twenty, &blobs, true),
        Site::new("10 added to 10", &before, &twenty, &blobs, false),
        remainder,
    ];
    let popularity = Zipf::new(known, EXPONENT);
    for hour in 0..HOURS {
        for _ in 0..requests {
            if numbers.unit() < NEW {
                continue;
            }
            let blob = popularity.draw(&mut numbers);
            for site in &mut sites {
                site.ask(hour, blob);
            }
        }
    }
    println!("{known} known blobs, {requests} requests an hour, of which {:.0} % for new blobs\n", 100.0 * NEW);
    println!("| hits in % of requests, in hour | 1 | 2 | 4 | 8 | 24 | misses due to the change, in 24 hours |");
    println!("|---|---|---|---|---|---|---|");
    let total = |site: &Site| site.hits.iter().sum::<usize>();
    let unchanged = total(&sites[0]);
    let mut lines = Vec::new();
    for site in &sites {
        print!("| {} |", site.name);
        let percent = |hour: usize| 100.0 * real(site.hits[hour]) / real(requests);
        for hour in [1, 2, 4, 8, 24] {
            print!(" {:.1} |", percent(hour - 1));
        }
        println!(" {} |", unchanged - total(site));
        let points = (0..HOURS).map(|hour| (real(hour + 1), percent(hour))).collect();
        lines.push(Line { name: site.name.to_owned(), points });
    }
    assert_eq!(total(&sites[1]), unchanged);
    assert_eq!(total(&sites[4]), unchanged);
    panels.push(Panel {
        title: "Hit rate after a change".to_owned(),
        x: "hours after the change".to_owned(),
        y: "hits, %".to_owned(),
        lines,
        logarithmic: false,
    });
}
