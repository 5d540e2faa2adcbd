//! A world in which every instant looks different: jobs that live, end, come and age out within seconds, and items that no reader
//! can understand whole.

use fake_pinpoint::world::{End, Job, Life, Segment, World};
use fastrand::Rng;
use serde_json::json;

/// Read by two segments that are named.
pub(crate) const FIXED: &str = "app-fixed";
/// Read by all of its segments.
pub(crate) const ALL: &str = "app-all";
/// Read as a whole.
pub(crate) const WHOLE: &str = "app-whole";
/// What the exporter is to watch.
pub(crate) const TARGETS: &str = "app-fixed/plain app-fixed/odd app-all/* app-whole";

/// What is listed as segments, and would be another path of the API.
const NO_IDS: [&str; 2] = [".", ".."];

/// A target, as its series name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) application: &'static str,
    /// `None` for a whole application.
    pub(crate) segment: Option<String>,
}

/// A world whose jobs began half a minute before `start`.
pub(crate) fn world(rng: &mut Rng, start: i64) -> World {
    let mut world = World::default();
    let mut fill = |application: &str, segment: &str, rows: std::ops::Range<usize>| {
        let jobs = (0..rng.usize(rows)).map(|row| life(rng, &format!("{segment}-{row}-"), start).into());
        let segment_of_it = Segment { name: name(segment, 0), jobs: jobs.collect(), ..Segment::default() };
        *world.segment(application, segment) = segment_of_it;
    };
    fill(FIXED, "plain", 1..3);
    fill(FIXED, "odd", 1..2);
    for segment in ["empty", "one", "two", "three", "quote\" back\\slash\nnew line é"] {
        fill(ALL, segment, if segment == "empty" { 0..1 } else { 1..3 });
    }
    for segment in NO_IDS {
        fill(ALL, segment, 1..2);
    }
    fill(WHOLE, "left", 1..3);
    fill(WHOLE, "right", 1..2);
    if let Some(application) = world.applications.get_mut(WHOLE) {
        application.jobs.push(life(rng, "everyone-", start).into());
    }
    let odd = &mut world.segment(FIXED, "odd").jobs;
    for item in [
        json!("no object"),
        json!({"JobStatus": "COMPLETED"}),
        json!({"Id": 7, "JobStatus": "COMPLETED"}),
        json!({"Id": "twice", "JobStatus": "CREATED", "TotalPieces": 1}),
        json!({"Id": "wrong-members", "JobStatus": ["FAILED"], "TotalPieces": "many", "CreationDate": "yesterday",
            "Failures": [1], "Definition": "none"}),
        json!({"Id": "nulls", "JobStatus": null, "CompletedPieces": null, "CreationDate": null, "Failures": null}),
        json!({"Id": "cancelling", "JobStatus": "CANCELLING", "CreationDate": "2026-01-01T00:00:00Z"}),
        json!({"Id": "cancelled", "JobStatus": "CANCELLED", "CompletionDate": "2026-01-15T09:25:00Z"}),
        json!({"Id": "ancient", "JobStatus": "FAILED", "CreationDate": "0001-01-01T00:00:00Z"}),
        json!({"Id": "last", "JobStatus": "COMPLETED", "CreationDate": "9999-12-31T23:59:59.999Z",
            "CompletionDate": "9999-12-31T23:59:59Z"}),
        json!({"Id": "future", "JobStatus": "ARCHIVING", "TotalProcessed": 5_000_000_000_i64, "Failures": []}),
        json!({"Id": "twice", "JobStatus": "FAILED", "TotalPieces": 2, "CompletionDate": "2026-01-15T09:25:00.456Z"}),
    ] {
        odd.push(Job::Verbatim { item });
    }
    world
}

/// How many names a segment has in the course of a run.
pub(crate) const NAMES: usize = 4;

/// One of the names of a segment.
pub(crate) fn name(segment: &str, number: usize) -> String {
    format!("Name {number} of \"{segment}\"")
}

/// A row of jobs.
fn life(rng: &mut Rng, id: &str, start: i64) -> Life {
    let mut life = Life::new(id, start - 30_000 - rng.i64(0..2_000), rng.i64(2_000..9_000));
    let every = rng.i64(2_000..6_000);
    life.every = Some(every);
    // Until half a minute after the start.
    life.times = Some(60_000 / every);
    life.end = [End::Completed, End::Failed, End::Stuck][rng.usize(..3)];
    life.endpoints = rng.i64(1_000..9_000_000_000);
    life.pieces = rng.i64(1..5_000);
    life.failed_endpoints = rng.i64(0..200);
    life.failed_pieces = rng.i64(0..2);
    life.segment_version = rng.i64(1..9);
    life
}

/// Every target of the world, with the segments that `ALL` can have.
pub(crate) fn targets(world: &World) -> Vec<Target> {
    let of = |application: &'static str| {
        let segments = world.applications.get(application).into_iter().flat_map(|it| it.segments.keys());
        let segments = segments.filter(|segment| !NO_IDS.contains(&segment.as_str()));
        segments.map(move |segment| Target { application, segment: Some(segment.clone()) })
    };
    of(FIXED).chain(of(ALL)).chain([Target { application: WHOLE, segment: None }]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_but_the_empty_one_has_jobs_of_many_kinds_and_they_change() {
        let now = fake_pinpoint::Clock::default().now();
        let world = world(&mut Rng::with_seed(1), now);
        let mut states = std::collections::BTreeSet::new();
        for target in targets(&world) {
            let items = |at| world.items(target.application, target.segment.as_deref(), at).unwrap();
            let jobs = items(now);
            if target.segment.as_deref() != Some("empty") {
                assert!(jobs.len() > 4, "{target:?} has {} jobs", jobs.len());
                assert!(jobs != items(now + 6_000), "{target:?} does not change");
            }
            states.extend(jobs.iter().map(|job| job["JobStatus"].to_string()));
        }
        assert!(states.len() > 6, "{states:?}");
    }
}
