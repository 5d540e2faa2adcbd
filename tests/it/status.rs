//! The status page and its JSON, over sockets, against the fake. Chromium looks at the page in `tests/judges/page`, and holds
//! the JSON against its schema.

use std::{collections::BTreeSet, time::Duration};

use aws_smithy_types::base64;
use fake_pinpoint::{
    fault::{Fault, Place},
    world::{Job, World},
};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{
    harness::{APP, Harness, Plan, SEGMENT, run, run_within},
    program::{Program, command_async},
};

/// 2026-01-15T12:00:00Z
const NOW: u64 = 1_768_478_400_000;
const SCRIPT: &str = "<script>alert(\"1\")</script>&amp;'";

/// A section of the page, as the texts of its cells by row.
fn rows(page: &str, section: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(&format!("<section aria-labelledby=\"{section}\">")).unwrap();
    let (section, _) = rest.split_once("</section>").unwrap();
    let rows = section.split("<tr").skip(1).filter(|row| row.contains("<td"));
    rows.map(|row| row.split("<td").skip(1).map(text_of).collect()).collect()
}

/// What a reader sees of markup, which may begin within a tag.
fn text_of(markup: &str) -> String {
    let (mut text, mut in_tag) = (String::new(), !markup.starts_with('<'));
    for (at, c) in markup.char_indices() {
        match c {
            '<' => {
                in_tag = true;
                let begins_anew =
                    ["<br", "<div", "<li", "<small"].iter().any(|tag| markup[at..].starts_with(tag));
                text.extend(begins_anew.then_some(' '));
            }
            '>' if in_tag => in_tag = false,
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
    let text = entities.iter().fold(text, |text, (entity, c)| text.replace(entity, c));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Harness {
    async fn ask(&self, method: Method, path: &str, tag: Option<&str>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(tag) = tag {
            request = request.header("If-None-Match", tag);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.ask(Method::GET, path, None).await;
        (answer.status(), answer.text().await.unwrap())
    }

    async fn page(&self, query: &str) -> String {
        let (status, page) = self.get(&format!("/{query}")).await;
        assert_eq!(status, 200, "{page}");
        page
    }

    async fn json(&self, query: &str) -> Value {
        let (status, text) = self.get(&format!("/api/v1/jobs{query}")).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The ids of the jobs of a page, in their order.
    async fn job_ids(&self, query: &str) -> Vec<String> {
        let of_json: Vec<String> = items(&self.json(query).await, "jobs")
            .iter()
            .map(|job| job["job_id"].as_str().unwrap().to_owned())
            .collect();
        let of_page: Vec<String> = rows(&self.page(query).await, "jobs")
            .iter()
            .map(|row| row[1].split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(of_json, of_page, "the page and its JSON show the same");
        of_json
    }
}

fn items<'a>(document: &'a Value, part: &str) -> &'a Vec<Value> {
    document[part]["items"].as_array().unwrap()
}

fn item(world: &mut World, application: &str, segment: &str, item: Value) {
    world.segment(application, segment).jobs.push(Job::Verbatim { item });
}

/// Two applications, three segments, five jobs.
fn shops(world: &mut World) {
    world.applications.clear();
    item(
        world,
        "shop",
        "news",
        json!({"Id": "n1", "JobStatus": "COMPLETED", "CreationDate": "2026-01-15T10:00:00Z",
            "CompletionDate": "2026-01-15T10:25:00Z", "TotalPieces": 8, "CompletedPieces": 7, "FailedPieces": 1,
            "TotalProcessed": 1_234_567, "TotalFailures": 2, "Type": "EXPORT",
            "Definition": {"S3UrlPrefix": "s3://bucket/prefix/", "RoleArn": "role", "SegmentVersion": 3}}),
    );
    item(
        world,
        "shop",
        "news",
        json!({"Id": "n2", "JobStatus": "PROCESSING", "CreationDate": "2026-01-15T11:59:30Z",
            "TotalPieces": 8, "CompletedPieces": 2, "TotalProcessed": 100}),
    );
    item(
        world,
        "shop",
        "club",
        json!({"Id": "c1", "JobStatus": "FAILED", "CreationDate": "2026-01-14T12:00:00Z",
            "CompletionDate": "2026-01-14T13:00:00Z", "TotalFailures": 9}),
    );
    item(
        world,
        "blog",
        "news",
        json!({"Id": "b1", "JobStatus": "PAUSED", "CreationDate": "2026-01-15T11:00:00Z"}),
    );
    item(world, "blog", "news", json!({"Id": "b2", "JobStatus": "CREATED"}));
}

async fn shops_harness() -> Harness {
    let harness = Plan::new().world(shops).set("TARGETS", "*/*").at(NOW).build().await;
    harness.scrape().await;
    harness
}

#[test]
fn a_target_shows_its_state_the_age_of_its_data_and_its_next_refresh() {
    run(async {
        let harness = Plan::new().world(shops).set("TARGETS", "shop/news").at(NOW).build().await;
        let state = async || rows(&harness.page("").await, "targets")[0].clone();
        assert_eq!(state().await[1..], ["not read yet", "-", "-", "with the next scrape"]);
        harness.scrape().await;
        let [_, outcome, as_of, _, next] = &state().await[..] else { panic!() };
        assert_eq!((&**outcome, &**as_of, &**next), ("ok, 2 jobs", "2026-01-15 12:00:00 now", "in 50s"));
        harness.turn(Duration::from_secs(30));
        let [target, _, as_of, _, next] = &state().await[..] else { panic!() };
        assert_eq!((&**target, &**as_of, &**next), ("shop news", "2026-01-15 12:00:00 30s ago", "in 20s"));
        harness.turn(Duration::from_secs(30));
        assert_eq!(state().await[4], "with the next scrape");
        harness.close().await;
    });
}

#[test]
fn data_that_are_too_old_are_not_shown_and_it_says_so() {
    run(async {
        let harness = Plan::new().world(shops).set("TARGETS", "shop/news").at(NOW).build().await;
        harness.scrape().await;
        harness.turn(Duration::from_mins(10));
        assert_eq!(harness.job_ids("").await, ["n2", "n1"]);
        harness.turn(Duration::from_millis(1));
        assert_eq!(harness.job_ids("").await, [""; 0]);
        let row = &rows(&harness.page("").await, "targets")[0];
        assert_eq!(row[1], "Timeout: the data are older than MAX_STALENESS and not shown Runbook");
        assert_eq!(row[2], "2026-01-15 12:00:00 10m ago");
        let document = harness.json("").await;
        let target = &items(&document, "targets")[0];
        assert_eq!((&target["up"], &target["error"]["exception"]), (&json!(false), &json!("Timeout")));
        assert_eq!(target["data_as_of"], "2026-01-15T12:00:00.000Z");
        assert!(items(&document, "segments").is_empty());
        harness.close().await;
    });
}

fn refusal() -> Fault {
    Fault::Error {
        name: "AccessDeniedException".to_owned(),
        status: None,
        place: Place::Header,
        message: Some("not authorized to perform <this>".to_owned()),
        headers: [].into(),
    }
}

impl Harness {
    /// AWS's ids of the requests that it refused.
    fn refused(&self) -> Vec<String> {
        let refused = self.fake.requests().into_iter().filter(|request| request.status == Some(403));
        refused.map(|request| request.request_id).collect()
    }
}

#[test]
fn check_and_the_page_use_the_same_words_for_the_same_state() {
    run(async {
        let harness = Plan::new().world(shops).set("TARGETS", "shop/* blog/*").build().await;
        harness.fake.fault(refusal().always().of_segment("club"));
        let key = fake_pinpoint::Options::default_key();
        let variables = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", &key.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
            ("AWS_ENDPOINT_URL_PINPOINT", &harness.fake.url()),
            ("PINPOINT_EXPORTER_TARGETS", "shop/* blog/*"),
            ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "1"),
        ];
        let output = command_async(&["check"], &variables).await;
        let table = String::from_utf8(output.stdout).unwrap();
        let unwrapped = table.split_whitespace().collect::<Vec<_>>().join(" ");
        harness.scrape().await;
        let page = harness.page("").await;
        let shown = |section: &str| -> BTreeSet<String> {
            let states = rows(&page, section).into_iter().map(|row| row[1].clone());
            states.map(|state| state.trim_end_matches(" Runbook").to_owned()).collect()
        };
        let [of_check, of_page] = &harness.refused()[..] else { panic!() };
        let states = |id: &str| {
            let refused = format!("AccessDeniedException: not authorized to perform <this> (request {id})");
            BTreeSet::from([refused, "ok, 2 jobs".to_owned()])
        };
        assert_eq!(shown("targets"), states(of_page));
        for state in states(of_check).union(&shown("lists")) {
            assert!(unwrapped.contains(state), "{state}: {table}");
        }
        assert!(page.contains("deploy/runbooks/PinpointAccessDenied.md"));
        let document = harness.json("").await;
        let error = json!({"exception": "AccessDeniedException", "message": "not authorized to perform <this>",
            "request_id": of_page});
        // What fails comes first.
        assert_eq!(items(&document, "targets")[0]["error"], error);
        assert_eq!(items(&document, "targets")[1]["error"], Value::Null);
        harness.close().await;
    });
}

#[test]
fn a_refresh_that_failed_leaves_the_jobs_and_shows_why() {
    run(async {
        let harness = Plan::new().world(shops).set("TARGETS", "shop/news").at(NOW).build().await;
        harness.scrape().await;
        harness.fake.fault(refusal().always());
        harness.turn(Duration::from_mins(1));
        harness.scrape().await;
        let page = harness.page("").await;
        let row = &rows(&page, "targets")[0];
        assert!(row[1].starts_with("AccessDeniedException: ") && row[2].ends_with("1m ago"), "{row:?}");
        assert_eq!(row[4], "in 50s");
        assert!(text_of(&page).contains("1 target fails 0 targets are up"), "{}", text_of(&page));
        assert_eq!(harness.job_ids("").await, ["n2", "n1"]);
        harness.close().await;
    });
}

#[test]
fn segments_show_their_newest_job_and_those_whose_newest_failed_come_first() {
    run(async {
        let harness = shops_harness().await;
        let segments = rows(&harness.page("").await, "segments");
        assert_eq!(
            segments,
            [
                [
                    "shop club",
                    "FAILED",
                    "2026-01-14 12:00:00 1d ago",
                    "-",
                    "2026-01-14 13:00:00 23h ago",
                    "1"
                ],
                ["blog news", "UNKNOWN", "2026-01-15 11:00:00 1h ago", "-", "-", "2"],
                [
                    "shop news",
                    "PROCESSING",
                    "2026-01-15 11:59:30 30s ago",
                    "2026-01-15 10:25:00 1h 35m ago",
                    "-",
                    "2"
                ],
            ]
        );
        harness.close().await;
    });
}

#[test]
fn jobs_show_status_progress_counts_and_dates_with_their_age() {
    run(async {
        let harness = shops_harness().await;
        let page = harness.page("?segment=news&application=shop").await;
        assert_eq!(
            rows(&page, "jobs"),
            [
                ["shop news", "n2", "PROCESSING", "2 of 8", "100", "-", "2026-01-15 11:59:30 30s ago", "-"],
                [
                    "shop news",
                    "n1 s3://bucket/prefix/",
                    "COMPLETED",
                    "7 of 8 1 failed",
                    "1,234,567",
                    "2",
                    "2026-01-15 10:00:00 2h ago",
                    "2026-01-15 10:25:00 1h 35m ago"
                ],
            ]
        );
        assert!(page.contains("<progress max=\"8\" value=\"2\" aria-label=\"Pieces\"></progress>"));
        let document = harness.json("?segment=news&application=shop").await;
        assert_eq!(
            items(&document, "jobs")[1],
            json!({"account_id": "", "region": "eu-west-1", "application_id": "shop", "segment_id": "news",
                "application_name": "shop", "segment_name": null, "job_id": "n1",
                "status": "COMPLETED", "created": "2026-01-15T10:00:00.000Z", "completed": "2026-01-15T10:25:00.000Z",
                "pieces": 8, "completed_pieces": 7, "failed_pieces": 1, "processed_endpoints": 1_234_567,
                "failed_endpoints": 2, "failure_samples": null, "job_type": "EXPORT", "segment_version": 3,
                "s3_url_prefix": "s3://bucket/prefix/", "role_arn": "role"})
        );
        harness.close().await;
    });
}

#[test]
fn jobs_are_filtered_by_application_segment_and_status() {
    run(async {
        let harness = shops_harness().await;
        for (query, expected) in [
            ("", &["n2", "b1", "n1", "c1", "b2"][..]),
            ("?application=&segment=&status=&sort=", &["n2", "b1", "n1", "c1", "b2"]),
            ("?application=shop", &["n2", "n1", "c1"]),
            ("?segment=news", &["n2", "b1", "n1", "b2"]),
            ("?application=blog&segment=news", &["b1", "b2"]),
            ("?status=FAILED", &["c1"]),
            ("?status=failed&status=Unknown", &["b1", "c1"]),
            ("?status=PROCESSING&application=blog", &[]),
            ("?application=sho", &[]),
            ("?%61pplication=%62log", &["b1", "b2"]),
        ] {
            assert_eq!(harness.job_ids(query).await, expected, "{query}");
        }
        let document = harness.json("?application=shop").await;
        assert_eq!((items(&document, "targets").len(), items(&document, "segments").len()), (2, 2));
        assert_eq!(document["totals"]["targets"], 3, "the summary is of everything");
        harness.close().await;
    });
}

#[test]
fn jobs_are_sorted_either_way_and_those_that_lack_the_value_come_last() {
    run(async {
        let harness = shops_harness().await;
        for (sort, expected) in [
            ("created", ["c1", "n1", "b1", "n2", "b2"]),
            ("-created", ["n2", "b1", "n1", "c1", "b2"]),
            ("completed", ["c1", "n1", "n2", "b1", "b2"]),
            ("-completed", ["n1", "c1", "n2", "b1", "b2"]),
            ("-processed", ["n1", "n2", "b1", "c1", "b2"]),
            ("failed", ["n1", "c1", "n2", "b1", "b2"]),
            ("status", ["b2", "n2", "n1", "c1", "b1"]),
            ("application", ["b1", "b2", "n2", "n1", "c1"]),
            ("segment", ["c1", "n2", "b1", "n1", "b2"]),
        ] {
            assert_eq!(harness.job_ids(&format!("?sort={sort}")).await, expected, "{sort}");
        }
        harness.close().await;
    });
}

#[test]
fn what_a_query_says_wrongly_is_named_with_what_would_be_right() {
    run(async {
        let harness = shops_harness().await;
        for (query, expected) in [
            ("aplication=x", r#"unknown parameter "aplication"; the closest is application"#),
            ("status=FAIL", r#"unknown status "FAIL"; the closest is FAILED"#),
            ("sort=age", "write one of created, completed, application, segment, status, processed, failed"),
            ("page=0", "write one from 1 to 1000000"),
            ("page=1&page=2", "page is given twice; write it once"),
            ("status=%3Cscript%3E", "<script>"),
            ("%E2%80%AE=1", r#"unknown parameter "\u{202e}""#),
        ] {
            let (status, page) = harness.get(&format!("/?{query}")).await;
            assert_eq!(status, 400);
            assert!(text_of(&page).contains(expected) && !page.contains("<script"), "{page}");
            let (status, text) = harness.get(&format!("/api/v1/jobs?{query}")).await;
            let problem: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(status, 400);
            assert!(problem["error"].as_str().unwrap().contains(expected), "{text}");
        }
        harness.close().await;
    });
}

#[test]
fn the_pages_of_ten_thousand_jobs_together_are_all_of_them() {
    run_within(Duration::from_mins(5), async {
        let fill = |world: &mut World| {
            world.applications.clear();
            for n in 0..10_000 {
                let minute = format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + n % 14, n % 24, n % 60);
                let job =
                    json!({"Id": format!("job-{n:05}"), "JobStatus": "COMPLETED", "CreationDate": minute});
                item(world, APP, &format!("segment-{:03}", n % 250), job);
            }
        };
        let harness = Plan::new()
            .world(fill)
            .set("TARGETS", &format!("{APP}/*"))
            .set("FINISHED_JOBS_PER_SEGMENT", "0")
            .set("FINISHED_JOB_MAX_AGE", "0s")
            .at(NOW)
            .build()
            .await;
        harness.scrape().await;
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        for number in 1..=100 {
            let document = harness.json(&format!("?page={number}")).await;
            let jobs = &document["jobs"];
            assert_eq!(
                (&jobs["total"], &jobs["page"], &jobs["pages"]),
                (&json!(10_000), &json!(number), &json!(100))
            );
            assert_eq!(items(&document, "jobs").len(), 100);
            for job in items(&document, "jobs") {
                assert!(seen.insert(job["job_id"].to_string()), "{job} is on two pages");
                order.push(job["created"].to_string());
            }
        }
        assert_eq!(seen.len(), 10_000);
        assert!(order.is_sorted_by(|one, next| one >= next), "the pages follow each other in order");
        assert_eq!(harness.job_ids("?page=100").await.len(), 100);
        assert_eq!(harness.job_ids("?page=101").await.len(), 0);
        let segments: BTreeSet<_> = {
            let mut pages = Vec::new();
            for number in 1..=3 {
                pages.push(rows(&harness.page(&format!("?segments_page={number}")).await, "segments"));
            }
            assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
            pages.into_iter().flatten().map(|row| row[0].clone()).collect()
        };
        assert_eq!(segments.len(), 250);
        let page = harness.page("?page=99&status=COMPLETED").await;
        assert!(page.contains("<a rel=\"next\" href=\"?status=COMPLETED&amp;page=100#jobs\">Next</a>"));
        assert!(page.contains("<a rel=\"prev\" href=\"?status=COMPLETED&amp;page=98#jobs\">Previous</a>"));
        harness.close().await;
    });
}

#[test]
fn who_has_the_json_already_does_not_get_it_again() {
    run(async {
        let harness = Plan::new().world(shops).set("TARGETS", "shop/news").at(NOW).build().await;
        harness.scrape().await;
        let path = "/api/v1/jobs?segment=news";
        let first = harness.ask(Method::GET, path, None).await;
        assert_eq!(first.headers()["content-type"], "application/json");
        assert_eq!(first.headers()["cache-control"], "no-cache");
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert!(tag.len() > 20 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        // Ages are none of its business.
        harness.turn(Duration::from_secs(40));
        for (known, expected) in [
            (tag.as_str(), 304),
            (&format!("\"other\", W/{tag}"), 304),
            ("*", 304),
            ("\"other\"", 200),
            (tag.trim_matches('"'), 200),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let answer = harness.ask(method.clone(), path, Some(known)).await;
                assert_eq!(answer.status(), expected, "{known}");
                assert_eq!(answer.headers()["etag"], tag.as_str());
                let is_whole = expected == 200 && method == Method::GET;
                assert_eq!(!answer.text().await.unwrap().is_empty(), is_whole, "{known}");
            }
        }
        let other_filter = harness.ask(Method::GET, "/api/v1/jobs?segment=none", Some(&tag)).await;
        assert_eq!(other_filter.status(), 200);
        item(&mut harness.fake.world(), "shop", "news", json!({"Id": "n3", "JobStatus": "CREATED"}));
        harness.turn(Duration::from_secs(20));
        harness.scrape().await;
        let answer = harness.ask(Method::GET, path, Some(&tag)).await;
        assert_eq!(answer.status(), 200);
        assert_ne!(answer.headers()["etag"], tag.as_str());
        assert!(answer.text().await.unwrap().contains("\"n3\""));
        harness.close().await;
    });
}

#[test]
fn neither_the_page_nor_its_json_ever_asks_aws() {
    run(async {
        let harness = Plan::new().world(shops).set("TARGETS", "*/*").at(NOW).build().await;
        let look = async || {
            let before = harness.fake.requests().len();
            for query in ["", "?status=FAILED", "?page=7", "?nonsense"] {
                for path in ["/", "/api/v1/jobs"] {
                    for method in [Method::GET, Method::HEAD] {
                        harness.ask(method, &format!("{path}{query}"), None).await.text().await.unwrap();
                    }
                }
            }
            assert_eq!(harness.fake.requests().len(), before);
            assert_eq!(harness.source.asked(), usize::from(before > 0));
            before
        };
        assert_eq!(look().await, 0);
        harness.scrape().await;
        assert!(look().await > 0);
        // Everything is due.
        harness.turn(Duration::from_hours(1));
        look().await;
        harness.close().await;
    });
}

#[test]
fn methods_other_than_get_and_head_are_refused() {
    run(async {
        let harness = Plan::new().build().await;
        for path in ["/", "/api/v1/jobs", "/?page=2"] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
                let answer = harness.ask(method, path, None).await;
                assert_eq!(
                    (answer.status().as_u16(), &answer.headers()["allow"] == "GET, HEAD"),
                    (405, true)
                );
            }
            let whole = harness.ask(Method::GET, path, None).await;
            let head = harness.ask(Method::HEAD, path, None).await;
            assert_eq!(head.status(), 200);
            assert_eq!(head.headers()["content-length"], whole.headers()["content-length"]);
            assert_eq!(head.text().await.unwrap(), "");
        }
        harness.close().await;
    });
}

#[test]
fn a_world_without_anything_is_shown_as_such() {
    run(async {
        let harness =
            Plan::new().world(|world| world.applications.clear()).set("TARGETS", "*").at(NOW).build().await;
        assert!(text_of(&harness.page("").await).contains("applications not read yet"));
        harness.scrape().await;
        let page = harness.page("").await;
        assert_eq!(rows(&page, "lists")[0][..2], ["applications", "ok, 0 applications"]);
        for section in ["targets", "segments", "jobs"] {
            assert!(rows(&page, section).is_empty());
        }
        let document = harness.json("").await;
        assert_eq!(document["jobs"], json!({"total": 0, "page": 1, "pages": 1, "items": []}));
        harness.close().await;
    });
}

/// The world of the shops with names: two segments have the same one.
fn named_shops(world: &mut World) {
    shops(world);
    world.applications.get_mut("shop").unwrap().name = "The Shop".into();
    world.segment("shop", "news").name = "Newsletter".into();
    world.segment("shop", "club").name = "Club ÉLITE".into();
    world.segment("blog", "news").name = "Newsletter".into();
}

#[test]
fn names_stand_beside_the_ids_on_the_page_and_in_its_json() {
    run(async {
        let harness = Plan::new().world(named_shops).set("TARGETS", "*/*").at(NOW).build().await;
        harness.scrape().await;
        let page = harness.page("").await;
        let first = |section: &str| {
            let cells: BTreeSet<_> = rows(&page, section).into_iter().map(|row| row[0].clone()).collect();
            cells.into_iter().collect::<Vec<_>>()
        };
        let expected =
            ["The Shop shop Club ÉLITE club", "The Shop shop Newsletter news", "blog Newsletter news"];
        for section in ["targets", "segments", "jobs"] {
            assert_eq!(first(section), expected, "{section}");
        }
        assert_eq!(first("lists"), ["applications", "segments of The Shop shop", "segments of blog"]);
        let document = harness.json("").await;
        for part in ["targets", "segments", "jobs"] {
            let club = items(&document, part).iter().find(|item| item["segment_id"] == "club").unwrap();
            let names = (&club["application_name"], &club["segment_name"]);
            assert_eq!(names, (&json!("The Shop"), &json!("Club ÉLITE")), "{part}");
        }
        let list = items(&document, "lists").iter().find(|list| list["application_id"] == "shop").unwrap();
        assert_eq!(list["application_name"], "The Shop");
        harness.close().await;
    });
}

#[test]
fn a_part_of_a_name_filters_segments_and_jobs_whatever_its_case() {
    run(async {
        let harness = Plan::new().world(named_shops).set("TARGETS", "*/*").at(NOW).build().await;
        harness.scrape().await;
        for (query, jobs, targets) in [
            ("?name=NEWSLETTER", &["n2", "b1", "n1", "b2"][..], 2),
            ("?name=newsletter&application=blog", &["b1", "b2"], 1),
            ("?name=%C3%A9lite", &["c1"], 1),
            ("?name=the+shop", &["n2", "n1", "c1"], 2),
            ("?name=letter&status=FAILED", &[], 2),
            ("?name=nothing", &[], 0),
            ("?name=", &["n2", "b1", "n1", "c1", "b2"], 3),
        ] {
            assert_eq!(harness.job_ids(query).await, jobs, "{query}");
            assert_eq!(harness.json(query).await["targets"]["total"], targets, "{query}");
        }
        let (status, problem) = harness.get(&format!("/?name={}", "x".repeat(257))).await;
        assert_eq!(status, 400);
        assert!(problem.contains("name has 257 characters"), "{problem}");
        harness.close().await;
    });
}

#[test]
fn what_others_have_named_stays_text() {
    run(async {
        let reversed = "\u{202e}txt\u{202c}\u{200b}";
        let long = "n".repeat(4096);
        let fill = |world: &mut World| {
            world.applications.clear();
            for name in [SCRIPT, reversed, &long, "\" onclick=\"x"] {
                item(
                    world,
                    SCRIPT,
                    name,
                    json!({"Id": name, "JobStatus": SCRIPT, "Failures": [name], "Definition": {"S3UrlPrefix": name}}),
                );
            }
        };
        let harness =
            Plan::new().world(fill).set("TARGETS", "*/*").set("SHOW_FAILURES", "true").at(NOW).build().await;
        harness.scrape().await;
        let page = harness.page("").await;
        assert!(!page.contains("<script") && !page.contains("onclick=\"x"), "{page}");
        assert!(!page.contains(['\u{202e}', '\u{202c}', '\u{200b}']));
        let shown: BTreeSet<String> = rows(&page, "targets").into_iter().map(|row| row[0].clone()).collect();
        let application = SCRIPT.split_whitespace().collect::<Vec<_>>().join(" ");
        for segment in [
            SCRIPT.to_owned(),
            r"\u{202e}txt\u{202c}\u{200b}".to_owned(),
            format!("{}… (4096 characters)", "n".repeat(80)),
            "\" onclick=\"x".to_owned(),
        ] {
            assert!(shown.contains(&format!("{application} {segment}")), "{segment} is not in {shown:?}");
        }
        // A link leads to what it names.
        let links = page.split("<a href=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0);
        let links: BTreeSet<_> = links.filter(|link| link.contains("segment=")).collect();
        assert_eq!(links.len(), 3, "the longest has none: {links:?}");
        for link in links {
            let link = link.replace("&amp;", "&");
            assert_eq!(items(&harness.json(&link).await, "jobs").len(), 1, "{link}");
        }
        let document = harness.json("").await;
        let ids: BTreeSet<_> =
            items(&document, "jobs").iter().map(|job| job["job_id"].as_str().unwrap()).collect();
        assert_eq!(ids, BTreeSet::from([SCRIPT, reversed, &long, "\" onclick=\"x"]));
        harness.close().await;
    });
}

#[test]
fn the_text_of_failures_is_shown_only_when_it_is_asked_for_and_stays_text() {
    run(async {
        for (setting, shown) in [("false", false), ("true", true)] {
            let fill = |world: &mut World| {
                let failures = json!(["jane@example.com: <img src=x onerror=alert(1)>", SCRIPT]);
                item(world, APP, SEGMENT, json!({"Id": "j", "JobStatus": "FAILED", "Failures": failures}));
            };
            let harness = Plan::new().world(fill).set("SHOW_FAILURES", setting).build().await;
            harness.scrape().await;
            let (page, document) = (harness.page("").await, harness.json("").await);
            assert!(!page.contains("<img") && !page.contains("<script"));
            assert_eq!(text_of(&page).contains("jane@example.com: <img src=x onerror=alert(1)>"), shown);
            let job = &items(&document, "jobs")[0];
            assert_eq!(job["failure_samples"], 2);
            assert_eq!(job.get("failures").map(|texts| texts[1].as_str().unwrap()), shown.then_some(SCRIPT));
            assert!(!harness.text(None).await.contains("jane@example.com"), "the metrics never hold it");
            harness.close().await;
        }
    });
}

#[test]
fn the_page_needs_nothing_but_itself_and_its_policy_allows_no_more() {
    run(async {
        let harness = shops_harness().await;
        let answer = harness.ask(Method::GET, "/", None).await;
        let headers = answer.headers().clone();
        let page = answer.text().await.unwrap();
        let (_, style) = page.split_once("<style>").unwrap();
        let (style, rest) = style.split_once("</style>").unwrap();
        assert!(!rest.contains("<style"));
        let hash = base64::encode(Sha256::digest(style));
        assert_eq!(
            headers["content-security-policy"],
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; \
                 frame-ancestors 'none'; base-uri 'none'"
            )
        );
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        for absent in [" style=", "<script", " src=", " onclick=", "@import", "url("] {
            assert!(!page.contains(absent), "{absent}");
        }
        let icon = page.split("<link rel=\"icon\" href=\"data:image/svg+xml;base64,").nth(1).unwrap();
        let icon = base64::decode(icon.split_once('"').unwrap().0).unwrap();
        assert!(icon.starts_with(b"<svg"));
        for link in ["metrics", "api/v1/jobs?", "-/healthy", "-/ready"] {
            assert!(page.contains(&format!("<a href=\"{link}\">")), "{link}");
            assert_ne!(harness.get(&format!("/{link}")).await.0, 404);
        }
        harness.close().await;
    });
}

#[test]
fn the_settings_in_effect_are_shown_with_their_source() {
    run(async {
        let harness = Plan::new().set("CACHE_TTL", "20s").set("SHARD", "").build().await;
        let settings = rows(&harness.page("").await, "settings");
        let of = |name: &str| settings.iter().find(|row| row[0] == name).map(|row| [&*row[1], &*row[2]]);
        assert_eq!(of("PINPOINT_EXPORTER_CACHE_TTL"), Some(["20s", "environment"]));
        assert_eq!(of("PINPOINT_EXPORTER_MAX_STALENESS"), Some(["10m", "default"]));
        assert_eq!(of("PINPOINT_EXPORTER_SHARD"), Some(["-", "default"]));
        assert_eq!(of("AWS_REGION"), Some(["eu-west-1", "environment"]));
        assert_eq!(of("AWS_ENDPOINT_URL_PINPOINT"), Some([&*harness.fake.url(), "environment"]));
        for setting in pinpoint_exporter::config::SETTINGS {
            assert!(of(setting.variable).is_some(), "{}", setting.variable);
        }
        let document = harness.json("").await;
        let of_json = document["settings"].as_array().unwrap();
        let of_json: Vec<_> = of_json.iter().map(|it| it["variable"].as_str().unwrap()).collect();
        assert_eq!(of_json, settings.iter().map(|row| &*row[0]).collect::<Vec<_>>());
        harness.close().await;
    });
}

#[test]
fn the_region_of_the_profile_is_shown_as_such() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "[default]\nregion = eu-north-1\n").unwrap();
        let program = Program::start(&[
            ("AWS_REGION", ""),
            ("AWS_CONFIG_FILE", file.to_str().unwrap()),
            ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
        ]);
        let page =
            crate::support::harness::client().get(&program.url).send().await.unwrap().text().await.unwrap();
        let row = rows(&page, "settings").into_iter().find(|row| row[0] == "AWS_REGION");
        let source = format!("AWS profile default ({}, line 2)", file.display());
        assert_eq!(row.unwrap()[1..], ["eu-north-1", &source]);
    });
}

#[test]
fn an_application_that_is_read_whole_is_one_target_of_several_segments() {
    run(async {
        let fill = |world: &mut World| {
            world.applications.clear();
            let of_news = json!({"Id": "w1", "JobStatus": "CREATED", "Definition": {"SegmentId": "news"}});
            item(world, "shop", "news", of_news);
            let of_all = Job::Verbatim { item: json!({"Id": "w2", "JobStatus": "COMPLETED"}) };
            world.applications.get_mut("shop").unwrap().jobs.push(of_all);
        };
        let harness = Plan::new().world(fill).set("TARGETS", "shop").at(NOW).build().await;
        harness.scrape().await;
        let page = harness.page("").await;
        assert_eq!(rows(&page, "targets")[0][..2], ["whole application shop", "ok, 2 jobs"]);
        let segments: Vec<_> = rows(&page, "segments").into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(segments, ["shop all endpoints", "shop news"]);
        for (query, targets, jobs) in [
            ("?segment=news", 1, &["w1"][..]),
            ("?segment=other", 0, &[]),
            ("?application=shop", 1, &["w2", "w1"]),
        ] {
            let document = harness.json(query).await;
            assert_eq!(items(&document, "targets").len(), targets, "{query}");
            let mut expected = jobs.to_vec();
            expected.sort_unstable();
            let mut shown = harness.job_ids(query).await;
            shown.sort_unstable();
            assert_eq!(shown, expected, "{query}");
        }
        harness.close().await;
    });
}

#[test]
fn what_is_in_several_accounts_or_regions_says_in_which() {
    run(async {
        let arn = |region: &str, account: &str| {
            format!("arn:aws:mobiletargeting:{region}:{account}:apps/shop/segments/news")
        };
        let targets = [arn("us-east-1", "123456789012"), arn("eu-west-1", "210987654321")].join(" ");
        let harness = Plan::new().world(shops).set("TARGETS", &targets).at(NOW).build().await;
        harness.scrape().await;
        let page = harness.page("").await;
        for section in ["targets", "segments", "jobs"] {
            let places: BTreeSet<_> = rows(&page, section).into_iter().map(|row| row[0].clone()).collect();
            let expected =
                ["123456789012 us-east-1 shop news", "210987654321 eu-west-1 shop news"].map(str::to_owned);
            assert_eq!(places, BTreeSet::from(expected), "{section}");
        }
        harness.close().await;
    });
}
