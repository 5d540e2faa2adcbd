//! What makes scrapes cheap, as far as it can be counted: bytes are made once, kept in one place, and sent from there.

use std::{collections::BTreeSet, future::pending, time::Duration};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fake_pinpoint::{
    HANG_LIMIT,
    world::{Job, World},
};
use futures_util::FutureExt as _;
use pinpoint_exporter::web::{Content, Exporter as _};

use crate::support::harness::{APP, Harness, Plan, run, run_in_virtual_time};

/// Beyond the default `CACHE_TTL`.
const LATER: Duration = Duration::from_mins(1);

/// So few that the plain text is kept after it was asked for.
const FEW_JOBS: usize = 10;
/// Enough for the compressed text of some families to be a chunk of its own.
const JOBS: usize = 100;
/// Enough for all compressed text to be such chunks, and for plain text to be rendered while it is sent.
const MANY_JOBS: usize = 2_500;

/// Three segments with so many jobs each.
fn plan(jobs: usize) -> Plan {
    let fill = move |world: &mut World| {
        *world = World::default();
        for segment in ["a", "b", "c"] {
            let list = &mut world.segment(APP, segment).jobs;
            list.extend((0..jobs).map(|n| job(segment, n)));
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

async fn chunks(harness: &Harness, gzip: bool) -> Vec<Bytes> {
    match harness.exporter.scrape(HANG_LIMIT, pending(), gzip).await {
        Content::Chunks(chunks) => chunks,
        Content::Rendered(text) => text.pieces.collect(),
    }
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
        for (gzip, jobs) in [(false, FEW_JOBS), (true, JOBS)] {
            let harness = plan(jobs).build().await;
            let (before, after) = (chunks(&harness, gzip).await, chunks(&harness, gzip).await);
            let anew = made_anew(&before, &after);
            // The counters of the exporter itself, which change with each scrape.
            assert!(anew < 40_000, "{anew} of {} bytes were made anew", length(&after));
        }
    });
}

#[test]
fn a_refresh_makes_anew_the_bytes_of_what_has_changed_and_no_others() {
    run(async {
        let harness = plan(MANY_JOBS).build().await;
        let first = chunks(&harness, true).await;
        let of_jobs = length(&first) - 60_000;

        harness.turn(LATER);
        let second = chunks(&harness, true).await;
        let anew = made_anew(&first, &second);
        let all = length(&second);
        assert!(anew < 60_000, "nothing has changed, and {anew} of {all} bytes were made anew");

        harness.fake.world().segment(APP, "b").jobs[7] = job_with("b", 7, 1_000_000);
        harness.turn(LATER);
        let third = chunks(&harness, true).await;
        let anew = made_anew(&second, &third);
        let third_of_it = of_jobs / 3;
        assert!(
            (third_of_it..third_of_it + 60_000).contains(&anew),
            "one segment of three has changed, and {anew} of {} bytes were made anew",
            length(&third)
        );
        assert_eq!(harness.listings(), 3 * 3 * MANY_JOBS.div_ceil(100));
        let plain = chunks(&harness, false).await;
        assert!(
            plain.iter().any(|chunk| contains(chunk, b"job_id=\"b-007\"} 1000000\n")),
            "the change is shown"
        );
    });
}

#[test]
fn a_large_plain_answer_is_rendered_while_it_is_sent_and_kept_only_if_it_is_asked_for_again() {
    run_in_virtual_time(async {
        let harness = plan(MANY_JOBS).build().await;
        let Content::Rendered(text) = harness.exporter.scrape(HANG_LIMIT, pending(), false).await else {
            panic!("it is kept");
        };
        let announced = text.length;
        assert!(announced > 1_000_000, "{announced} bytes");
        let mut sent = 0;
        let allocated = measure(|| sent = text.pieces.map(|piece| piece.len()).sum::<usize>());
        assert_eq!(sent, announced);
        assert!(allocated.bytes_max < 50_000 && allocated.bytes_current <= 0, "{allocated:?}");

        let (before, after) = (chunks(&harness, false).await, chunks(&harness, false).await);
        let anew = made_anew(&before, &after);
        assert!(anew < 60_000, "{anew} of {} bytes were made anew", length(&after));
    });
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// What a scrape of what is cached allocates.
fn allocated(harness: &Harness, gzip: bool) -> AllocationInfo {
    measure(|| {
        let scrape = harness.exporter.scrape(HANG_LIMIT, pending(), gzip).now_or_never();
        assert!(scrape.is_some(), "nothing is due, and it waits");
    })
}

#[test]
fn a_scrape_of_what_is_cached_allocates_as_little_for_three_hundred_jobs_as_for_none() {
    run_in_virtual_time(async {
        let none = Plan::new().set("TARGETS", APP).build().await;
        for (gzip, jobs) in [(false, FEW_JOBS), (true, JOBS)] {
            let many = plan(jobs).build().await;
            let mut allocations = Vec::new();
            for harness in [&many, &none] {
                chunks(harness, gzip).await;
                // The first of a text that is kept makes it.
                allocated(harness, gzip);
                allocations.push(allocated(harness, gzip));
            }
            let bytes = |n: usize| allocations[n].bytes_total;
            assert_eq!(allocations[0].count_total, allocations[1].count_total, "{allocations:?}");
            assert!(
                allocations[0].count_total <= if gzip { 4 } else { 3 } && bytes(0) < 3_500,
                "{allocations:?}"
            );
            assert_eq!(allocations[0].bytes_current, 0, "nothing is kept: {allocations:?}");
            // The list of the chunks, and no byte of what is in them.
            assert!(bytes(0) - bytes(1) < 1_000, "{allocations:?}");
        }
    });
}
