//! Our client and AWS's, side by side on the same bytes: they return the same jobs, but for the differences that have a test
//! of their own here.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_sdk_pinpoint::{
    Client as Sdk,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    types::{ApplicationResponse, ExportJobResponse, SegmentResponse, SegmentType},
};
use aws_smithy_types::{DateTime, date_time::Format};
use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Options,
    world::{End, Life, World},
};
use pinpoint_exporter::{
    config::proxy::Proxies,
    model::{
        clock::SystemClock,
        exception::Exception,
        job::ExportJob,
        job_status::JobStatus,
        names::{NamedResource, TagLabels, bounded},
        timestamp::Timestamp,
    },
    pinpoint::{self, CredentialsCache, Http, Observer, Operation},
};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{FileFailurePersistence, TestCaseError, TestRunner},
};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

const APPLICATION: &str = "an app/lication";
const SEGMENT: &str = "a segment";
/// The keys of the tags that our client reads.
const TAGS: [&str; 2] = ["team", "cost centre"];

/// Both clients of one server, and what drives them.
struct Clients {
    runtime: Runtime,
    ours: pinpoint::Client,
    theirs: Sdk,
    counts: Arc<Counts>,
}

/// What our client told its observer.
#[derive(Default)]
struct Counts(Mutex<Vec<Exception>>);

impl Observer for Counts {
    fn attempt(&self, _: Operation, _: bool) {}
    fn attempt_ended(&self, _: Operation, _: Duration) {}
    fn error(&self, _: Operation, exception: Exception) {
        self.0.lock().unwrap().push(exception);
    }
    fn skipped_items(&self, _: Operation, _: u64) {}
    fn rate_limit_wait(&self, _: Duration) {}
    fn clock_skew(&self, _: f64) {}
}

async fn serve(mut socket: TcpStream, pages: Arc<Mutex<Vec<Vec<u8>>>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let request = String::from_utf8_lossy(&head).into_owned();
        head.clear();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let token = path.split_once("token=").map_or("0", |(_, token)| token);
        let page = token.parse().ok().and_then(|page: usize| pages.lock().unwrap().get(page).cloned());
        let body = page.unwrap_or_default();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        socket.write_all(&[head.as_bytes(), &body].concat()).await?;
    }
}

/// Both clients of a server that answers page N to token N.
struct Bench {
    clients: Clients,
    pages: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Bench {
    fn new() -> Self {
        let runtime = runtime();
        let pages = Arc::new(Mutex::new(Vec::new()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::clone(&pages);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&served)));
            }
        });
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        Self { clients: Clients::of(runtime, &url, credentials), pages }
    }

    fn offer(&self, pages: Vec<Vec<u8>>) {
        *self.pages.lock().unwrap() = pages;
    }

    fn ours(&self, of_segment: bool) -> (Result<Vec<ExportJob>, Exception>, Vec<Exception>) {
        self.clients.ours(of_segment)
    }

    fn theirs(&self, of_segment: bool) -> Result<Vec<ExportJobResponse>, String> {
        self.clients.theirs(of_segment)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Clients {
    fn of(runtime: Runtime, url: &str, credentials: Credentials) -> Self {
        let theirs = Sdk::from_conf(
            aws_sdk_pinpoint::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .region(Region::new("eu-west-1"))
                .endpoint_url(url)
                .retry_config(RetryConfig::disabled())
                .credentials_provider(credentials.clone())
                .build(),
        );
        let counts = Arc::new(Counts::default());
        let own = pinpoint::Source::new(move |_| Box::pin(std::future::ready(Ok(credentials.clone()))));
        let source = CredentialsCache::new(own, Arc::new(SystemClock), Duration::from_secs(1), None);
        let ours = pinpoint::Client::new(
            pinpoint::Settings {
                region: "eu-west-1".to_owned(),
                endpoint: url.parse().unwrap(),
                page_size: 3,
                max_pages: 1000,
                max_concurrent_requests: 8,
                max_requests_per_second: None,
                request_timeout: HANG_LIMIT,
                refresh_timeout: HANG_LIMIT,
                max_attempts: 1,
                tags: Some(Arc::new(TagLabels { keys: TAGS.map(str::to_owned).into(), labels: Vec::new() })),
                failures: true,
                random: || 0.0,
            },
            Http::new(None, &Proxies::default()).unwrap(),
            Arc::new(source),
            Arc::new(SystemClock),
            Arc::clone(&counts) as _,
        );
        Self { runtime, ours, theirs, counts }
    }

    /// What our client reads, and what it counted.
    fn ours(&self, of_segment: bool) -> (Result<Vec<ExportJob>, Exception>, Vec<Exception>) {
        self.counts.0.lock().unwrap().clear();
        let mut jobs = Vec::new();
        let mut sink = |job| jobs.push(job);
        let result = self.runtime.block_on(async {
            if of_segment {
                self.ours.segment_export_jobs(APPLICATION, SEGMENT, self.ours.permit(), &mut sink).await
            } else {
                self.ours.export_jobs(APPLICATION, self.ours.permit(), &mut sink).await
            }
        });
        let counted = std::mem::take(&mut *self.counts.0.lock().unwrap());
        (result.map(|_read| jobs).map_err(|error| error.failure.exception), counted)
    }

    /// What AWS's client reads, page by page as far as it gets. (The API models no paginator.)
    fn theirs(&self, of_segment: bool) -> Result<Vec<ExportJobResponse>, String> {
        let (mut jobs, mut token) = (Vec::new(), None);
        loop {
            let page = self.runtime.block_on(async {
                if of_segment {
                    let call = self.theirs.get_segment_export_jobs().application_id(APPLICATION);
                    let answer = call.segment_id(SEGMENT).set_token(token.take()).send().await;
                    answer.map(|a| a.export_jobs_response).map_err(|e| format!("{e:?}"))
                } else {
                    let call = self.theirs.get_export_jobs().application_id(APPLICATION);
                    let answer = call.set_token(token.take()).send().await;
                    answer.map(|a| a.export_jobs_response).map_err(|e| format!("{e:?}"))
                }
            })?;
            let Some(page) = page else { return Ok(jobs) };
            jobs.extend(page.item.unwrap_or_default());
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(jobs);
            }
        }
    }
}

impl Clients {
    /// The applications, or the segments of the application, that our client reads, and what it counted.
    fn our_resources(&self, are_segments: bool) -> (Result<Vec<NamedResource>, Exception>, Vec<Exception>) {
        self.counts.0.lock().unwrap().clear();
        let result = self.runtime.block_on(async {
            if are_segments {
                self.ours.segments(APPLICATION, self.ours.permit()).await
            } else {
                self.ours.applications(self.ours.permit()).await
            }
        });
        let counted = std::mem::take(&mut *self.counts.0.lock().unwrap());
        (result.map(|(resources, _)| resources).map_err(|error| error.failure.exception), counted)
    }

    /// The same as AWS's client reads them.
    fn their_resources(&self, are_segments: bool) -> Result<Vec<NamedResource>, String> {
        let (mut all, mut token) = (BTreeMap::new(), None);
        loop {
            let (page, next) = self.runtime.block_on(async {
                if are_segments {
                    let call = self.theirs.get_segments().application_id(APPLICATION).set_token(token.take());
                    let page = call.send().await.map_err(|e| format!("{e:?}"))?.segments_response.unwrap();
                    let items = page.item().iter().map(named_segment).collect::<Vec<_>>();
                    Ok::<_, String>((items, page.next_token))
                } else {
                    let call = self.theirs.get_apps().set_token(token.take());
                    let page =
                        call.send().await.map_err(|e| format!("{e:?}"))?.applications_response.unwrap();
                    let items = page.item().iter().map(named_application).collect::<Vec<_>>();
                    Ok((items, page.next_token))
                }
            })?;
            all.extend(page.into_iter().map(|resource| (resource.id.clone(), resource)));
            token = next.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(all.into_values().collect());
            }
        }
    }
}

fn named_segment(segment: &SegmentResponse) -> NamedResource {
    NamedResource {
        id: segment.id().unwrap_or_default().to_owned(),
        name: segment.name().map(bounded),
        segment_type: segment
            .segment_type()
            .map(SegmentType::as_str)
            .filter(|it| !it.is_empty())
            .map(bounded),
        tags: TAGS.map(|key| segment.tags()?.get(key).map(|value| bounded(value))).into(),
    }
}

fn named_application(application: &ApplicationResponse) -> NamedResource {
    NamedResource {
        id: application.id().unwrap_or_default().to_owned(),
        name: application.name().filter(|name| !name.is_empty()).map(bounded),
        segment_type: None,
        tags: TAGS.map(|key| application.tags()?.get(key).map(|value| bounded(value))).into(),
    }
}

/// A job of AWS's client as ours would have it. The client fills required members that are absent with `""`, which is
/// taken for absent here on both sides.
fn translated(job: &ExportJobResponse, of_segment: bool) -> ExportJob {
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Into::into);
    let date = |text: Option<&str>| {
        let date = DateTime::from_str(text?, Format::DateTimeWithOffset).ok()?;
        date.to_millis().ok().map(Timestamp)
    };
    let definition = job.definition.as_ref();
    let listed_segment = definition.and_then(|d| d.segment_id()).unwrap_or_default();
    ExportJob {
        id: job.id().unwrap_or_default().into(),
        segment_id: if of_segment { SEGMENT } else { listed_segment }.into(),
        status: JobStatus::from_name(job.job_status().map_or("", |status| status.as_str())),
        total_pieces: job.total_pieces().map(i64::from),
        completed_pieces: job.completed_pieces().map(i64::from),
        failed_pieces: job.failed_pieces().map(i64::from),
        total_processed: job.total_processed().map(i64::from),
        total_failures: job.total_failures().map(i64::from),
        failure_samples: job.failures.as_ref().map(Vec::len),
        failures: job.failures().to_vec(),
        creation_date: date(job.creation_date()),
        completion_date: date(job.completion_date()),
        job_type: text(job.r#type()),
        segment_version: definition
            .and_then(aws_sdk_pinpoint::types::ExportJobResource::segment_version)
            .map(i64::from),
        s3_url_prefix: text(definition.and_then(|d| d.s3_url_prefix())),
        role_arn: text(definition.and_then(|d| d.role_arn())),
    }
}

/// Ours with `""` taken for absent.
fn emptied(mut job: ExportJob) -> ExportJob {
    for text in [&mut job.job_type, &mut job.s3_url_prefix, &mut job.role_arn] {
        *text = text.take().filter(|text| !text.is_empty());
    }
    job
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof!["[a-z0-9]{1,8}", "\\PC{0,12}", Just("quote\" back\\slash \n \u{7f}é日".to_owned())]
        .prop_map(Value::from)
}

fn count() -> impl Strategy<Value = Value> {
    prop_oneof![(0..100_000).prop_map(Value::from), (0..=i32::MAX).prop_map(Value::from)]
}

fn date() -> impl Strategy<Value = Value> {
    (0..4_000_000_000_i64, 0..1000_u32, select(vec!["", "ms", "offset"])).prop_map(|(seconds, ms, form)| {
        let date = DateTime::from_secs(seconds).fmt(Format::DateTime).unwrap();
        let bare = date.trim_end_matches('Z');
        Value::from(match form {
            "ms" => format!("{bare}.{ms:03}Z"),
            "offset" => format!("{bare}.{ms:03}+05:30"),
            _ => date,
        })
    })
}

fn status() -> impl Strategy<Value = Value> {
    let names: Vec<Value> =
        JobStatus::ALL.iter().map(|s| s.as_str().into()).chain(["RESTING".into()]).collect();
    select(names)
}

fn failures() -> impl Strategy<Value = Value> {
    proptest::collection::vec(text(), 0..4).prop_map(Value::from)
}

/// A member with one of these values, or `null`, or nothing.
fn member(
    name: &'static str,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Option<(String, Value)>> {
    prop_oneof![
        6 => value.prop_map(move |value| Some((name.to_owned(), value))),
        1 => Just(Some((name.to_owned(), Value::Null))),
        2 => Just(None),
    ]
}

fn object(members: Vec<Option<(String, Value)>>) -> Value {
    Value::Object(members.into_iter().flatten().collect::<Map<_, _>>())
}

fn definition() -> impl Strategy<Value = Value> {
    let members = (
        member("RoleArn", text()),
        member("S3UrlPrefix", text()),
        member("SegmentId", text()),
        member("SegmentVersion", count()),
    );
    members.prop_map(|(a, b, c, d)| object(vec![a, b, c, d]))
}

/// An item that both clients understand whole.
fn item() -> impl Strategy<Value = Value> {
    let texts = (member("ApplicationId", text()), member("Type", text()), member("JobStatus", status()));
    let dates = (member("CreationDate", date()), member("CompletionDate", date()));
    let counts = (
        member("CompletedPieces", count()),
        member("FailedPieces", count()),
        member("TotalFailures", count()),
        member("TotalPieces", count()),
        member("TotalProcessed", count()),
    );
    let rest = (
        "[a-zA-Z0-9/+% é]{1,12}",
        member("Failures", failures()),
        member("Definition", definition()),
        member("SomethingNew", json_value()),
    );
    (texts, dates, counts, rest).prop_map(|(t, d, c, (id, failures, definition, new))| {
        let id = Some(("Id".to_owned(), Value::from(id)));
        object(vec![id, t.0, t.1, t.2, d.0, d.1, c.0, c.1, c.2, c.3, c.4, failures, definition, new])
    })
}

/// Any JSON, not deep.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6).prop_map(|n: f64| json!(n)),
        text(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[A-Za-z]{1,6}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An item of which one member may be anything.
fn odd_item() -> impl Strategy<Value = Value> {
    let names = [
        "ApplicationId",
        "CompletedPieces",
        "CompletionDate",
        "CreationDate",
        "Definition",
        "FailedPieces",
        "Failures",
        "Id",
        "JobStatus",
        "TotalFailures",
        "TotalPieces",
        "TotalProcessed",
        "Type",
    ];
    let odd_member = (item(), select(names.to_vec()), json_value()).prop_map(|(mut item, name, value)| {
        item[name] = value;
        item
    });
    prop_oneof![3 => odd_member, 1 => json_value(), 1 => item()]
}

fn bodies(pages: &[Vec<Value>]) -> Vec<Vec<u8>> {
    let last = pages.len() - 1;
    let body = |(number, items): (usize, &Vec<Value>)| {
        let token = if number < last { json!((number + 1).to_string()) } else { Value::Null };
        json!({"Item": items, "NextToken": token}).to_string().into_bytes()
    };
    pages.iter().enumerate().map(body).collect()
}

fn config(cases: u32) -> ProptestConfig {
    let seeds = FileFailurePersistence::WithSource("proptest-regressions");
    let failure_persistence = Some(Box::new(seeds) as _);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::with_source_file(file!()) }
}

#[test]
fn both_clients_read_the_same_jobs_from_1000_generated_listings() {
    let bench = Bench::new();
    let listing = proptest::collection::vec(proptest::collection::vec(item(), 0..5), 1..4);
    TestRunner::new(config(1000))
        .run(&(listing, any::<bool>()), |(pages, of_segment)| {
            bench.offer(bodies(&pages));
            let theirs = bench.theirs(of_segment).map_err(TestCaseError::fail)?;
            let theirs: Vec<_> = theirs.iter().map(|job| translated(job, of_segment)).collect();
            let (ours, counted) = bench.ours(of_segment);
            let ours: Vec<_> = ours.unwrap().into_iter().map(emptied).collect();
            prop_assert_eq!(ours.len(), pages.iter().map(Vec::len).sum::<usize>());
            prop_assert_eq!(ours, theirs);
            prop_assert_eq!(counted, []);
            Ok(())
        })
        .unwrap();
}

/// A job that lives, somewhere in its life.
fn life() -> impl Strategy<Value = Life> {
    let times =
        ("[a-z0-9]{1,12}", 0..2_000_000_i64, 1..2_000_000_i64, proptest::option::of(1_000..100_000_i64));
    let end = select(vec![End::Completed, End::Failed, End::Cancelled, End::Stuck]);
    let counts = (0..100_000_i64, 0..50_i64, 0..500_i64, 0..50_i64);
    (times, end, counts, "\\PC{0,12}").prop_map(|((id, created, lasts, every), end, counts, prefix)| {
        let mut life = Life::new(id, created, lasts);
        (life.every, life.times, life.end, life.s3_url_prefix) = (every, Some(5), end, prefix);
        (life.endpoints, life.pieces, life.failed_endpoints, life.failed_pieces) = counts;
        // Otherwise fewer than none would be completed, which AWS's client takes for a number.
        life.pieces += life.failed_pieces;
        life
    })
}

#[test]
fn both_clients_read_the_same_jobs_from_200_generated_worlds() {
    let runtime = runtime();
    let fake = runtime.block_on(FakePinpoint::start(World::default())).unwrap();
    let key = Options::default_key();
    let credentials = Credentials::new(key.access_key_id, key.secret_access_key, None, None, "test");
    let clients = Clients::of(runtime, &fake.url(), credentials);
    let lives = || proptest::collection::vec(life(), 0..4);
    let world = (lives(), lives(), lives(), 0..3_000_000_i64, any::<bool>());
    TestRunner::new(config(200))
        .run(&world, |(of_segment, of_another, of_all, now, one_segment)| {
            {
                let jobs = |lives: Vec<Life>| lives.into_iter().map(Into::into).collect();
                let mut world = fake.world();
                *world = World::default();
                world.segment(APPLICATION, SEGMENT).jobs = jobs(of_segment);
                world.segment(APPLICATION, "another").jobs = jobs(of_another);
                world.applications.get_mut(APPLICATION).unwrap().jobs = jobs(of_all);
            }
            fake.clock().stop_at(now);
            let theirs = clients.theirs(one_segment).map_err(TestCaseError::fail)?;
            let theirs: Vec<_> = theirs.iter().map(|job| translated(job, one_segment)).collect();
            let (ours, counted) = clients.ours(one_segment);
            prop_assert_eq!(ours.unwrap().into_iter().map(emptied).collect::<Vec<_>>(), theirs);
            prop_assert_eq!(counted, []);
            Ok(())
        })
        .unwrap();
}

/// A name, or a value of a tag: any text, and one that is too long to be kept whole.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,12}", Just("quote\" back\\slash \n \u{202e}é日".to_owned()), "x{250,300}"]
}

#[test]
fn both_clients_read_the_same_names_types_and_tags_from_200_generated_worlds() {
    let runtime = runtime();
    let fake = runtime.block_on(FakePinpoint::start(World::default())).unwrap();
    let key = Options::default_key();
    let credentials = Credentials::new(key.access_key_id, key.secret_access_key, None, None, "test");
    let clients = Clients::of(runtime, &fake.url(), credentials);
    let tags = || {
        let key = prop_oneof![select(TAGS.to_vec()).prop_map(str::to_owned), "[a-z:]{1,8}"];
        proptest::collection::btree_map(key, name(), 0..4)
    };
    let resource = || ("[a-z0-9 /é]{1,12}", name(), tags(), any::<bool>());
    let world = (
        proptest::collection::vec(resource(), 0..8),
        proptest::collection::vec(resource(), 0..8),
        any::<bool>(),
    );
    TestRunner::new(config(200))
        .run(&world, |(applications, segments, are_segments)| {
            {
                let mut world = fake.world();
                *world = World::default();
                world.applications.entry(APPLICATION.to_owned()).or_default();
                for (id, name, tags, _) in applications {
                    let application = world.applications.entry(id).or_default();
                    (application.name, application.tags) = (name, tags);
                }
                for (id, name, tags, imported) in segments {
                    let segment = world.segment(APPLICATION, &id);
                    (segment.name, segment.tags, segment.imported) = (name, tags, imported);
                }
            }
            let theirs = clients.their_resources(are_segments).map_err(TestCaseError::fail)?;
            let (ours, counted) = clients.our_resources(are_segments);
            prop_assert_eq!(ours.unwrap(), theirs);
            prop_assert_eq!(counted, []);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_name_of_a_wrong_type_costs_itself_where_their_client_loses_the_page() {
    let bench = Bench::new();
    for member in [r#""Name":5"#, r#""SegmentType":{}"#, r#""tags":{"team":7}"#, r#""tags":"none""#] {
        bench.offer(vec![format!(r#"{{"Item":[{{"Id":"a","Name":"x"}},{{"Id":"b",{member}}}]}}"#).into()]);
        assert!(bench.clients.their_resources(true).is_err(), "{member}");
        let (ours, counted) = bench.clients.our_resources(true);
        let ours = ours.unwrap();
        assert_eq!((ours[0].name.as_deref(), ours[1].name.as_deref()), (Some("x"), None), "{member}");
        assert_eq!(counted, [Exception::InvalidResponse], "counted once: {member}");
    }
}

#[test]
fn where_a_page_is_odd_and_their_client_reads_it_ours_reads_the_same_jobs() {
    let bench = Bench::new();
    let listing = proptest::collection::vec(odd_item(), 0..3);
    let (refused, both) = (Cell::new(0), Cell::new(0));
    TestRunner::new(config(1000))
        .run(&(listing, any::<bool>()), |(items, of_segment)| {
            bench.offer(bodies(&[items]));
            let (ours, _) = bench.ours(of_segment);
            // Whatever is in the items, ours never loses the page.
            let ours: Vec<_> = ours.unwrap().into_iter().map(emptied).collect();
            match bench.theirs(of_segment) {
                Ok(theirs) => {
                    both.set(both.get() + 1);
                    // Theirs makes `""` of an absent id.
                    let with_id = theirs.iter().filter(|job| job.id().is_some_and(|id| !id.is_empty()));
                    prop_assert_eq!(ours, with_id.map(|job| translated(job, of_segment)).collect::<Vec<_>>());
                }
                Err(_) => refused.set(refused.get() + 1),
            }
            Ok(())
        })
        .unwrap();
    let (refused, both) = (refused.get(), both.get());
    assert!(refused > 100 && both > 100, "their client refused {refused} and read {both}");
}

#[test]
fn a_body_without_item_is_refused_where_their_client_sees_no_jobs() {
    let bench = Bench::new();
    for body in ["", "{}", r#"{"Item":null}"#, r#"{"ExportJobsResponse":{"Item":[]}}"#, r#"{"item":[]}"#] {
        bench.offer(vec![body.into()]);
        assert_eq!(bench.theirs(true).unwrap(), [], "{body}");
        let (ours, counted) = bench.ours(true);
        assert_eq!(ours, Err(Exception::InvalidResponse), "{body}");
        assert_eq!(counted, [Exception::InvalidResponse], "{body}");
    }
}

#[test]
fn a_bad_item_or_member_costs_itself_where_their_client_loses_the_page() {
    let bench = Bench::new();
    for (item, survives) in [
        ("null", false),
        (r#"{"Id":5}"#, false),
        (r#"{"Id":"b","TotalPieces":"3"}"#, true),
        (r#"{"Id":"b","TotalPieces":3.5}"#, true),
        (r#"{"Id":"b","Failures":[null]}"#, true),
        (r#"{"Id":"b","Definition":7}"#, true),
    ] {
        bench.offer(vec![format!(r#"{{"Item":[{{"Id":"a"}},{item},{{"Id":"c"}}]}}"#).into()]);
        assert!(bench.theirs(true).is_err(), "{item}");
        let (ours, counted) = bench.ours(true);
        let ids: Vec<_> = ours.unwrap().iter().map(|job| job.id.to_string()).collect();
        let expected: &[&str] = if survives { &["a", "b", "c"] } else { &["a", "c"] };
        assert_eq!(ids, expected, "{item}");
        assert_eq!(counted, [Exception::InvalidResponse], "counted once: {item}");
    }
}

#[test]
fn counts_beyond_32_bits_are_kept_where_their_client_loses_the_page() {
    let bench = Bench::new();
    bench.offer(vec![br#"{"Item":[{"Id":"a","TotalProcessed":2147483648}]}"#.into()]);
    assert!(bench.theirs(true).is_err());
    assert_eq!(bench.ours(true).0.unwrap()[0].total_processed, Some(2_147_483_648));
}

#[test]
fn the_segment_is_the_requests_where_their_client_gives_the_items() {
    let bench = Bench::new();
    bench.offer(vec![br#"{"Item":[{"Id":"a","Definition":{"SegmentId":"another"}}]}"#.into()]);
    let theirs = bench.theirs(true).unwrap();
    assert_eq!(theirs[0].definition().unwrap().segment_id(), Some("another"));
    assert_eq!(&*bench.ours(true).0.unwrap()[0].segment_id, SEGMENT);
}
