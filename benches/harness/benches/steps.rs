//! The steps of a refresh and of a scrape, one by one: `cargo bench --bench steps`, with `-- --save-baseline NAME` and
//! `-- --baseline NAME` to compare.

#![expect(clippy::unwrap_used, reason = "what is measured is known to work")]

use std::{hint::black_box, sync::Arc, time::SystemTime};

use aws_credential_types::Credentials;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinpoint_exporter::{
    metrics::{
        block,
        exposition::{self, Exposition, Part},
    },
    model::{
        job::ExportJob,
        snapshot::{FinishedJobLimits, Snapshot, SnapshotBuilder},
        status_series::StatusSeries,
        target::Target,
        timestamp::Timestamp,
    },
    pinpoint::{fuzzing::export_jobs, signed_headers},
};
use url::Url;

use self::world::Shape;

#[path = "../src/world.rs"]
#[expect(dead_code, reason = "the harness uses the rest")]
mod world;

/// What the harness measures as 10,000 jobs.
const SHAPE: Shape = Shape { applications: 10, segments: 10, jobs: 100 };

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn page() -> Bytes {
    SHAPE.pages().into_iter().find(|(path, _)| path.contains("/jobs/")).unwrap().1
}

fn jobs() -> Vec<ExportJob> {
    export_jobs(&page(), Some("segment")).unwrap().items
}

fn snapshot(jobs: Vec<ExportJob>) -> Arc<Snapshot> {
    let mut builder = SnapshotBuilder::begin(FinishedJobLimits::default(), NOW, Some("segment"));
    builder.add(jobs);
    Arc::new(builder.finish())
}

fn target(n: usize) -> Target {
    Target {
        account_id: String::new(),
        region: "eu-west-1".to_owned(),
        application_id: format!("6e0b7591a90841d2b5d93fa1{n:08x}"),
        segment_id: Some("b66c9e42f71444b2aa2e0ffc1df28f60".to_owned()),
    }
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a page of 100 jobs");
    group.throughput(Throughput::Elements(100));

    let url =
        Url::parse("https://pinpoint.eu-west-1.amazonaws.com/v1/apps/a/segments/s/jobs/export?page-size=100");
    let (url, credentials) =
        (url.unwrap(), Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "bench"));
    group.bench_function("sign", |bencher| {
        bencher.iter(|| signed_headers(&url, &credentials, "eu-west-1", SystemTime::UNIX_EPOCH).unwrap());
    });
    let page = page();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| export_jobs(black_box(&page), Some("segment")).unwrap());
    });
    group.bench_function("collect", |bencher| {
        bencher.iter_with_setup(jobs, snapshot);
    });
    let (one, same) = (snapshot(jobs()), snapshot(jobs()));
    group.bench_function("compare", |bencher| bencher.iter(|| assert!(black_box(&one) == black_box(&same))));
    group.bench_function("format and compress", |bencher| {
        bencher.iter(|| block::snapshot(&target(0), &one, StatusSeries::All).compress_ahead());
    });
    group.finish();

    let blocks = (0..100).map(|n| Some(block::snapshot(&target(n), &one, StatusSeries::All)));
    let sections = [blocks.collect()];
    let mut group = criterion.benchmark_group("100 targets of 100 jobs");
    group.bench_function("put together", |bencher| bencher.iter(|| exposition::body(&sections, None)));
    let body = Arc::new(exposition::body(&sections, None));
    for (name, gzip) in [("answer, plain", false), ("answer, gzip", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| match exposition::render(&body, &Part::default(), String::new(), gzip) {
                Exposition::Chunks(chunks) => drop(black_box(chunks)),
                Exposition::Rendered(text) => text.for_each(|piece| drop(black_box(piece))),
            });
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
