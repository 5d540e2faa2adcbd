//! What makes scrapes cheap, as far as it can be counted: bytes are made once, kept in one place, and sent from there.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use fake_pinpoint::world::{Job, World};
use pinpoint_exporter::web::Exporter as _;

use crate::support::house::{APP, House, Plan, run};

/// Beyond the default `CACHE_TTL`.
const LATER: Duration = Duration::from_mins(1);

/// Segments with so many jobs that each family is a piece of its own.
fn plan() -> Plan {
    let fill = |world: &mut World| {
        *world = World::default();
        for segment in ["a", "b", "c"] {
            let jobs = &mut world.segment(APP, segment).jobs;
            jobs.extend((0..100).map(|n| job(segment, n)));
        }
    };
    Plan::new()
        .set("TARGETS", &format!("{APP}/a {APP}/b {APP}/c"))
        .set("FINISHED_JOBS_PER_SEGMENT", "0")
        .set("FINISHED_JOB_MAX_AGE", "0s")
        .world(fill)
}

fn job(segment: &str, n: usize) -> Job {
    job_with(segment, n, n)
}

fn job_with(segment: &str, n: usize, processed: usize) -> Job {
    let json = format!(
        r#"{{"Id":"{segment}-{n:03}","JobStatus":"COMPLETED","TotalPieces":24,"TotalProcessed":{processed}}}"#
    );
    Job::Verbatim { item: serde_json::from_str(&json).unwrap() }
}

async fn chunks(house: &House, gzip: bool) -> Vec<Bytes> {
    house.exporter.scrape(Duration::from_secs(20), gzip).await
}

/// How many bytes of an answer are in places of their own, and not where they were in the one before it.
fn made_anew(before: &[Bytes], after: &[Bytes]) -> usize {
    let places: BTreeSet<_> = before.iter().map(|chunk| chunk.as_ptr()).collect();
    after.iter().filter(|chunk| !places.contains(&chunk.as_ptr())).map(Bytes::len).sum()
}

fn length(chunks: &[Bytes]) -> usize {
    chunks.iter().map(Bytes::len).sum()
}

#[test]
fn an_answer_from_the_cache_is_the_very_bytes_of_the_one_before_it() {
    run(async {
        let house = plan().build().await;
        for gzip in [false, true] {
            let (before, after) = (chunks(&house, gzip).await, chunks(&house, gzip).await);
            let anew = made_anew(&before, &after);
            // The counters of the exporter itself, which change with each scrape.
            assert!(anew < 40_000, "{anew} of {} bytes were made anew", length(&after));
        }
    });
}

#[test]
fn a_refresh_makes_anew_the_bytes_of_what_has_changed_and_no_others() {
    run(async {
        let house = plan().build().await;
        let first = chunks(&house, false).await;
        let jobs = length(&first) - 60_000;

        house.turn(LATER);
        let second = chunks(&house, false).await;
        let anew = made_anew(&first, &second);
        assert!(anew < 60_000, "nothing has changed, and {anew} of {} bytes were made anew", length(&second));

        house.fake.world().segment(APP, "b").jobs[7] = job_with("b", 7, 1_000_000);
        house.turn(LATER);
        let third = chunks(&house, false).await;
        let shown = third.iter().any(|chunk| contains(chunk, b"job_id=\"b-007\"} 1000000\n"));
        assert!(shown, "the change is shown");
        let anew = made_anew(&second, &third);
        let third_of_it = jobs / 3;
        assert!(
            (third_of_it..third_of_it + 60_000).contains(&anew),
            "one segment of three has changed, and {anew} of {} bytes were made anew",
            length(&third)
        );
        assert_eq!(house.listings(), 9);
    });
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
