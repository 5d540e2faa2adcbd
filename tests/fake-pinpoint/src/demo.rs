//! The world of the demo. It has a segment for each state that an operator wants to see.

use crate::{
    clock::machine,
    world::{Application, End, Job, Life, Segment, World},
};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The id of the demo's application.
const APPLICATION: &str = "6e0b7591a90841d2b5d93fa11143e5a7";

/// A world at the current time. One segment is exported every night and has a job that is running. One failed, one is stuck,
/// one lost endpoints, one was never exported, and one has a long history. Two segments share a name, and one has none.
pub fn demo_world() -> World {
    let now = machine();
    let night = |ago: i64| now - ago * DAY - 3 * HOUR;
    let id = |segment: u32, job: u32| format!("{segment:08x}{job:024x}");
    let nightly = |segment: u32, nights: u32| -> Vec<Job> {
        (1..=nights)
            .map(|n| {
                let mut life = Life::new(id(segment, nights - n), night(i64::from(n)), 25 * MINUTE);
                life.endpoints = 240_000 + 500 * i64::from(nights - n);
                life.pieces = 24;
                life.into()
            })
            .collect()
    };
    let tags = |team: &str| [("team".to_owned(), team.to_owned())].into();
    let segment = |name: &str, jobs: Vec<Job>| Segment {
        name: name.to_owned(),
        tags: tags("marketing"),
        imported: false,
        jobs,
    };

    // A new job starts every ten minutes and takes five, so the demo always has recent activity.
    let mut running = Life::new("0000000100000000000000000001", now - MINUTE, 5 * MINUTE);
    running.every = Some(10 * MINUTE);
    running.endpoints = 250_000;
    running.pieces = 24;
    let mut newsletter = nightly(1, 14);
    newsletter.push(running.into());

    let mut failed = Life::new(id(2, 99), now - 2 * HOUR, 10 * MINUTE);
    failed.end = End::Failed;
    failed.failed_endpoints = 5_000;
    failed.failed_pieces = 8;
    let mut win_back = nightly(2, 5);
    win_back.push(failed.into());

    let mut stuck = Life::new(id(3, 99), now - 26 * HOUR, HOUR);
    stuck.end = End::Stuck;
    let mut loyal = nightly(3, 5);
    loyal.remove(0);
    loyal.push(stuck.into());

    let mut partly = Life::new(id(4, 99), now - 5 * HOUR, 20 * MINUTE);
    partly.failed_endpoints = 1_234;
    partly.failed_pieces = 1;
    let mut trial = nightly(4, 3);
    trial.push(partly.into());

    let mut history = Life::new("0000000600000000000000000000", now - 400 * DAY - HOUR, 15 * MINUTE);
    history.every = Some(DAY);

    let segments = [
        ("b66c9e42f71444b2aa2e0ffc1df28f60", segment("Newsletter", newsletter)),
        ("0d4a8f0c5e3b4b0f9d7a1c2e3f405162", segment("Win-back", win_back)),
        ("1e5b9a1d6f4c4c1a8e8b2d3f4a516273", segment("Loyal customers", loyal)),
        ("2f6cab2e7a5d4d2b9f9c3e4a5b627384", segment("Trial users", trial)),
        (
            "3a7dbc3f8b6e4e3c8aad4f5b6c738495",
            Segment { imported: true, ..segment("Trial users", Vec::new()) },
        ),
        ("4b8ecd4a9c7f4f4d9bbe5a6c7d8495a6", segment("", vec![history.into()])),
    ];
    let application = Application {
        name: "Shop".to_owned(),
        tags: tags("commerce"),
        segments: segments.into_iter().map(|(id, segment)| (id.to_owned(), segment)).collect(),
        jobs: Vec::new(),
    };
    World { applications: [(APPLICATION.to_owned(), application)].into() }
}
