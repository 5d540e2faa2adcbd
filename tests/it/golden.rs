//! A whole scrape against a committed file: every family and state, odd label values, absent members, suppressed jobs.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it golden` writes the file anew: read the difference.

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use fake_pinpoint::{
    Options,
    world::{Job, World},
};
use pinpoint_exporter::metrics::catalogue::FAMILIES;
use serde_json::{Value, json};

use crate::support::{
    harness::{Plan, credentials, run},
    pki::{Pki, TLS, trusting},
    text_format,
};

/// 2026-01-15T12:00:00Z
const NOW: u64 = 1_768_478_400_000;

const ODD: &str = "quote\" back\\slash\nnew line 日本 é";

fn item(segment: &mut Vec<Job>, item: Value) {
    segment.push(Job::Verbatim { item });
}

fn fill(world: &mut World) {
    let statuses = &mut world.segment("app-1", "statuses").jobs;
    for (n, status) in [
        "CREATED",
        "PREPARING_FOR_INITIALIZATION",
        "INITIALIZING",
        "PROCESSING",
        "PENDING_JOB",
        "COMPLETING",
        "FAILING",
        "CANCELLING",
        "CANCELLED",
        "A_STATE_OF_THE_FUTURE",
    ]
    .into_iter()
    .enumerate()
    {
        let created = format!("2026-01-15T10:00:0{n}.000Z");
        item(statuses, json!({"Id": format!("active-{n}"), "JobStatus": status, "CreationDate": created}));
    }
    item(
        statuses,
        json!({
            "ApplicationId": "app-1", "Id": "completed", "JobStatus": "COMPLETED", "Type": "EXPORT",
            "CreationDate": "2026-01-15T09:00:00.123Z", "CompletionDate": "2026-01-15T09:25:00.456Z",
            "CompletedPieces": 7, "FailedPieces": 1, "TotalPieces": 8, "TotalProcessed": 5_000_000_000_i64,
            "TotalFailures": 2, "Failures": ["one", "two"],
            "Definition": {"RoleArn": "arn:aws:iam::123456789012:role/export", "S3UrlPrefix": "s3://bucket/prefix/",
                "SegmentId": "statuses", "SegmentVersion": 3},
        }),
    );
    item(
        statuses,
        json!({
            "Id": "failed", "JobStatus": "FAILED", "Type": "EXPORT", "CreationDate": "2026-01-15T08:00:00Z",
            "CompletionDate": "2026-01-15T08:10:00Z", "CompletedPieces": 0, "FailedPieces": 8, "TotalPieces": 8,
            "TotalProcessed": 0, "TotalFailures": 0, "Failures": [], "Definition": {},
        }),
    );

    let odd = &mut world.segment(ODD, ODD).jobs;
    item(
        odd,
        json!({
            "Id": ODD, "JobStatus": "COMPLETED", "Type": ODD,
            "Definition": {"RoleArn": ODD, "S3UrlPrefix": ODD, "SegmentVersion": -1},
        }),
    );
    item(odd, json!({"Id": "nothing but an id"}));

    let long = &mut world.segment("app-1", "suppressed").jobs;
    for day in 1..=14 {
        let date = format!("2026-01-{day:02}T03:00:00.000Z");
        item(
            long,
            json!({"Id": format!("night-{day:02}"), "JobStatus": "COMPLETED", "CompletionDate": date}),
        );
    }
    world.segment("app-1", "never-ran");
    world.segment("app-1", "statuses").name = "Every state".into();
    world.segment("app-1", "statuses").tags =
        [("team".to_owned(), "marketing".to_owned()), ("not shown".to_owned(), "x".to_owned())].into();
    world.applications.get_mut("app-1").unwrap().name = "Shop".into();
    let odd = world.applications.get_mut(ODD).unwrap();
    (odd.name, odd.tags) = (ODD.to_owned(), [("cost centre".to_owned(), ODD.to_owned())].into());
    let odd = world.segment(ODD, ODD);
    (odd.name, odd.tags, odd.imported) = (ODD.to_owned(), [("team".to_owned(), ODD.to_owned())].into(), true);

    // Found, and an application that is not there.
    item(&mut world.segment("app-3", "found").jobs, json!({"Id": "j", "JobStatus": "COMPLETING"}));

    let whole = &mut world.segment("app-2", "one").jobs;
    item(
        whole,
        json!({"Id": "j1", "JobStatus": "PROCESSING", "TotalPieces": 4, "Definition": {"SegmentId": "one"}}),
    );
    let of_all = json!({"Id": "j2", "JobStatus": "FAILED", "CompletionDate": "2026-01-15T11:59:59.999Z"});
    world.applications.get_mut("app-2").unwrap().jobs.push(Job::Verbatim { item: of_all });
}

fn golden_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/metrics.txt")
}

/// The part that is compared byte for byte, and the rest by HELP, TYPE and sets of labels.
fn parts(text: &str) -> (&str, Vec<String>) {
    let (exact, rest) = text.split_at(text.find("# HELP pinpoint_api_errors_total").unwrap());
    let bare = |line: &str| {
        let bare = if line.starts_with('#') { line } else { line.rsplit_once(' ').unwrap().0 };
        // What the exporter was built from differs from build to build.
        let bare = if bare.starts_with("pinpoint_exporter_build_info{") {
            "pinpoint_exporter_build_info"
        } else {
            bare
        };
        bare.to_owned()
    };
    (exact, rest.lines().map(bare).collect())
}

#[test]
fn a_scrape_is_the_golden_file() {
    run(async {
        let escaped: String = ODD.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let targets = [
            "app-1/statuses",
            "app-1/suppressed",
            "app-1/never-ran",
            "app-1/missing",
            "app-2",
            "app-3/*",
            "app-4/*",
            &format!("{escaped}/{escaped}"),
        ];
        let pki = Pki::new();
        let web_config = pki.write("web.yml", TLS);
        let mut harness = Plan::new()
            .at(NOW)
            .world(fill)
            .set("WEB_CONFIG_FILE", &web_config)
            .set("TARGETS", &targets.join(" "))
            .set("FINISHED_JOBS_PER_SEGMENT", "3")
            .set("FINISHED_JOB_MAX_AGE", "10d")
            .set("NAMES", "all")
            .set("TAG_LABELS", "team,cost centre")
            .build()
            .await;
        harness.url = harness.url.replace("http://127.0.0.1", "https://localhost");
        harness.client = trusting(&pki.read("ca.pem"));
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW + 3_600_000);
        harness.source.give(Some(credentials(&Options::default_key(), Some(expiry))));
        // No scrape waits for names.
        let text = loop {
            let text = harness.text(None).await;
            let lines = |name: &str| text.matches(&format!("\n{name}{{")).count();
            if (lines("pinpoint_application_info"), lines("pinpoint_segment_info")) == (4, 6) {
                break text;
            }
        };
        text_format::parse(&text).unwrap();

        let gzip = harness.client.get(format!("{}/metrics", harness.url)).header("Accept-Encoding", "gzip");
        let answer = gzip.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let bytes = answer.bytes().await.unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(parts(&unpacked).0, parts(&text).0, "compressed and plain are the same");

        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(golden_file().parent().unwrap()).unwrap();
            fs::write(golden_file(), &text).unwrap();
        }
        let golden = fs::read_to_string(golden_file()).expect("UPDATE_GOLDEN=1 makes the golden file");
        let ((exact, rest), (golden_exact, golden_rest)) = (parts(&text), parts(&golden));
        for (number, (ours, golden)) in exact.lines().zip(golden_exact.lines()).enumerate() {
            assert_eq!(ours, golden, "line {}", number + 1);
        }
        assert_eq!(exact.len(), golden_exact.len());
        assert_eq!(rest, golden_rest);
    });
}

#[test]
fn the_golden_file_holds_every_family_of_the_catalogue() {
    let golden = text_format::parse(&fs::read_to_string(golden_file()).unwrap()).unwrap();
    for family in FAMILIES {
        let found = golden.family(family.name).unwrap_or_else(|| panic!("{} is not there", family.name));
        assert_eq!((found.help.as_str(), found.kind.as_str()), (family.help, family.kind.as_str()));
        for sample in &found.samples {
            let is_tag = |label: &str| family.name.ends_with("_info") && label.starts_with("tag_");
            let known = |label: &&String| {
                *label != "le" && !family.labels.contains(&label.as_str()) && !is_tag(label)
            };
            assert_eq!(
                sample.labels.keys().find(known),
                None,
                "a label of {} that the catalogue lacks",
                family.name
            );
        }
    }
    let missing = golden.families.iter().filter(|family| !family.name.starts_with("process_"));
    assert_eq!(missing.count(), FAMILIES.len());
}
