//! AWS's own client against our fake, which verifies every signature: it reads what the world says, knows the errors as its
//! own, and is refused as AWS would refuse it.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::collections::BTreeSet;

use aws_credential_types::Credentials;
use aws_sdk_pinpoint::{
    Client as Sdk,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::ProvideErrorMetadata as _,
    types::{
        ApplicationResponse, ExportJobRequest, ExportJobResource, ExportJobResponse, JobStatus,
        SegmentResponse, SegmentType,
    },
};
use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Key, Operation, Options,
    fault::{Fault, Place, Rule},
    world::{Application, End, Job, Life, World},
};
use serde_json::json;

/// When the jobs of these tests begin: 2023-11-14T22:13:20Z.
const BEGIN: i64 = 1_700_000_000_000;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEEXAMPLE/+token==";

/// Ids that a careless client or server would mix up.
const IDS: [&str; 8] = ["a/b", "a%2Fb", "a+b", "a b", "a%20b", "Zürich-東京", "?a=b&c#d", "a:b;c,d'e\"f~"];

/// A test may not hang.
async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG_LIMIT, test).await.expect("the test ends in time")
}

/// AWS's client as it is, but for its retries.
fn client(fake: &FakePinpoint, credentials: Credentials) -> Sdk {
    Sdk::from_conf(
        aws_sdk_pinpoint::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("eu-west-1"))
            .endpoint_url(fake.url())
            .retry_config(RetryConfig::disabled())
            .credentials_provider(credentials)
            .build(),
    )
}

fn credentials(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new(id, secret, token.map(str::to_owned), None, "test")
}

/// A fake that asks for the session token too, and a client that has it.
async fn started(world: World) -> (FakePinpoint, Sdk) {
    let key = Key { session_token: Some(TOKEN.to_owned()), ..Options::default_key() };
    let options = Options { keys: vec![key], regions: vec!["eu-west-1".to_owned()], ..Options::default() };
    let fake = FakePinpoint::start_with(world, options).await.unwrap();
    fake.clock().stop_at(BEGIN + 2000 * SECOND);
    let sdk = client(&fake, credentials(ID, SECRET, Some(TOKEN)));
    (fake, sdk)
}

fn job(id: &str) -> Life {
    Life::new(id, BEGIN, 1000 * SECOND)
}

/// One application with one segment and one job.
fn small_world() -> World {
    let mut world = World::default();
    world.segment("app", "seg").jobs.push(job("job").into());
    world
}

/// All items of a listing, read two by two, and how many pages there were.
macro_rules! all_pages {
    ($call:expr, $response:ident) => {{
        let (mut items, mut token, mut pages) = (Vec::new(), None, 0);
        loop {
            let call = $call.page_size("2").set_token(token.take());
            let page = call.send().await.unwrap().$response.unwrap();
            pages += 1;
            items.extend(page.item.unwrap());
            token = page.next_token;
            if token.is_none() {
                break (items, pages);
            }
        }
    }};
}

fn ids<T>(items: &[T], id: impl Fn(&T) -> Option<&str>) -> Vec<String> {
    items.iter().map(|item| id(item).unwrap().to_owned()).collect()
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

#[tokio::test]
async fn it_reads_every_page_of_the_applications_and_segments() {
    within(async {
        let mut world = World::default();
        for id in names("app", 5) {
            world.applications.insert(id, Application::default());
        }
        for (n, id) in names("seg", 7).iter().enumerate() {
            let segment = world.segment("app0", id);
            segment.imported = n % 2 == 1;
            segment.name = if n == 5 { String::new() } else { format!("The {id}") };
            segment.tags = [("team".to_owned(), format!("Team {n}"))].into();
        }
        world.applications.get_mut("app2").unwrap().tags = [("stage".to_owned(), "prod".to_owned())].into();
        let (fake, sdk) = started(world).await;
        let (apps, pages) = all_pages!(sdk.get_apps(), applications_response);
        assert_eq!((ids(&apps, ApplicationResponse::id), pages), (names("app", 5), 3));
        assert_eq!(apps[1].name(), Some("app1"), "the id stands in for a name");
        assert_eq!(apps[2].tags().unwrap()["stage"], "prod");
        assert_eq!(apps[1].tags().map(std::collections::HashMap::len), Some(0));
        assert!(apps[1].arn().unwrap().ends_with(":apps/app1"));
        let (segments, pages) = all_pages!(sdk.get_segments().application_id("app0"), segments_response);
        assert_eq!((ids(&segments, SegmentResponse::id), pages), (names("seg", 7), 4));
        assert_eq!(segments[3].name(), Some("The seg3"));
        assert_eq!(segments[5].name(), None);
        assert_eq!(segments[3].tags().unwrap()["team"], "Team 3");
        assert_eq!(segments[2].segment_type(), Some(&SegmentType::Dimensional));
        assert_eq!(segments[3].segment_type(), Some(&SegmentType::Import));
        assert_eq!((fake.count(Operation::GetApps), fake.count(Operation::GetSegments)), (3, 4));
        let none = sdk.get_segments().application_id("app1").send().await.unwrap();
        let none = none.segments_response.unwrap();
        assert_eq!((none.item().len(), none.next_token()), (0, None));
    })
    .await;
}

#[tokio::test]
async fn it_reads_every_page_of_the_export_jobs() {
    within(async {
        let mut world = World::default();
        for id in names("job", 6) {
            world.segment("app", "seg").jobs.push(job(&id).into());
        }
        world.segment("app", "other").jobs.push(job("of the other").into());
        world.applications.get_mut("app").unwrap().jobs.push(job("of none").into());
        let (fake, sdk) = started(world).await;
        let (jobs, pages) = all_pages!(
            sdk.get_segment_export_jobs().application_id("app").segment_id("seg"),
            export_jobs_response
        );
        assert_eq!((ids(&jobs, ExportJobResponse::id), pages), (names("job", 6), 3), "and no page too many");
        let (jobs, pages) = all_pages!(sdk.get_export_jobs().application_id("app"), export_jobs_response);
        let of_all: BTreeSet<String> = ids(&jobs, ExportJobResponse::id).into_iter().collect();
        let mut expected: BTreeSet<String> = names("job", 6).into_iter().collect();
        expected.extend(["of the other".to_owned(), "of none".to_owned()]);
        assert_eq!((jobs.len(), of_all, pages), (8, expected, 4));
        assert_eq!(fake.count(Operation::GetSegmentExportJobs), 3);
        assert_eq!(
            fake.requests().iter().filter_map(|it| it.page).collect::<Vec<_>>(),
            [1, 2, 3, 1, 2, 3, 4]
        );
        // A page of 100 is the default, and larger ones may be asked for.
        fake.world().segment("app", "seg").jobs =
            names("job", 101).iter().map(|id| Job::from(job(id))).collect();
        let call = || sdk.get_segment_export_jobs().application_id("app").segment_id("seg");
        let page = call().send().await.unwrap().export_jobs_response.unwrap();
        assert_eq!((page.item().len(), page.next_token().is_some()), (100, true));
        let page = call().page_size("1000").send().await.unwrap().export_jobs_response.unwrap();
        assert_eq!((page.item().len(), page.next_token()), (101, None));
    })
    .await;
}

#[tokio::test]
async fn it_reads_single_resources() {
    within(async {
        let (_fake, sdk) = started(small_world()).await;
        let app = sdk.get_app().application_id("app").send().await.unwrap();
        assert_eq!(app.application_response.unwrap().id(), Some("app"));
        let segment = sdk.get_segment().application_id("app").segment_id("seg").send().await.unwrap();
        let segment = segment.segment_response.unwrap();
        assert_eq!((segment.application_id(), segment.id()), (Some("app"), Some("seg")));
        assert_eq!(segment.version(), Some(1));
        let job = sdk.get_export_job().application_id("app").job_id("job").send().await.unwrap();
        assert_eq!(job.export_job_response.unwrap().id(), Some("job"));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    within(async {
        let (_fake, sdk) = started(small_world()).await;
        let error = sdk.get_app().application_id("none").send().await.unwrap_err().into_service_error();
        assert!(error.is_not_found_exception(), "{error:?}");
        let call = sdk.get_segment().application_id("app").segment_id("none");
        assert!(call.send().await.unwrap_err().into_service_error().is_not_found_exception());
        let call = sdk.get_segment_export_jobs().application_id("app").segment_id("none");
        assert!(call.send().await.unwrap_err().into_service_error().is_not_found_exception());
        let call = sdk.get_export_job().application_id("app").job_id("none");
        assert!(call.send().await.unwrap_err().into_service_error().is_not_found_exception());
        let call = sdk.get_export_jobs().application_id("none");
        assert!(call.send().await.unwrap_err().into_service_error().is_not_found_exception());
        let call = sdk.get_export_jobs().application_id("app").token("made up");
        assert!(call.send().await.unwrap_err().into_service_error().is_bad_request_exception());
        for size in ["0", "-1", "many"] {
            let call = sdk.get_export_jobs().application_id("app").page_size(size);
            assert!(call.send().await.unwrap_err().into_service_error().is_bad_request_exception());
        }
    })
    .await;
}

/// A job with a value of its own for every field.
fn telling(id: &str, end: End) -> Life {
    Life {
        end,
        endpoints: 7800,
        pieces: 78,
        failed_endpoints: 3,
        failed_pieces: 39,
        s3_url_prefix: "s3://bucket/prefix/".to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        segment_version: 4,
        ..job(id)
    }
}

fn definition(segment: Option<&str>) -> ExportJobResource {
    ExportJobResource::builder()
        .s3_url_prefix("s3://bucket/prefix/")
        .role_arn("arn:aws:iam::123456789012:role/r")
        .set_segment_id(segment.map(str::to_owned))
        .set_segment_version(segment.map(|_| 4))
        .build()
}

#[tokio::test]
async fn every_field_of_a_job_is_what_the_world_says() {
    within(async {
        let mut world = World::default();
        world.segment("app", "seg").jobs =
            vec![telling("well", End::Completed).into(), telling("badly", End::Failed).into()];
        world.applications.get_mut("app").unwrap().jobs.push(telling("of none", End::Completed).into());
        let (fake, sdk) = started(world).await;
        let failure = |n| format!("endpoint-{n:06}: the endpoint could not be exported");
        let begun = || {
            ExportJobResponse::builder()
                .application_id("app")
                .id("well")
                .creation_date("2023-11-14T22:13:20.000Z")
                .definition(definition(Some("seg")))
                .r#type("EXPORT")
        };
        let done = || {
            begun()
                .completion_date("2023-11-14T22:30:00.000Z")
                .job_status(JobStatus::Completed)
                .total_pieces(78)
                .completed_pieces(39)
                .failed_pieces(39)
                .total_processed(7800)
                .total_failures(3)
                .set_failures(Some((0..3).map(failure).collect()))
        };
        let listed = async |time: i64| {
            fake.clock().stop_at(BEGIN + time * SECOND);
            let answer = sdk.get_segment_export_jobs().application_id("app").segment_id("seg").send().await;
            answer.unwrap().export_jobs_response.unwrap().item.unwrap()
        };
        assert_eq!(listed(0).await[0], begun().job_status(JobStatus::Created).build());
        let half = listed(510).await;
        let processing = begun().job_status(JobStatus::Processing);
        let processing = processing.total_pieces(78).completed_pieces(19).failed_pieces(19);
        let processing = processing.total_processed(3900).total_failures(1).failures(failure(0));
        assert_eq!(half[0], processing.build());
        let end = listed(1000).await;
        assert_eq!(end[0], done().build());
        let failed = done().id("badly").job_status(JobStatus::Failed);
        let failed = failed.completed_pieces(19).failed_pieces(19).total_processed(3900);
        assert_eq!(end[1], failed.total_failures(1).set_failures(Some(vec![failure(0)])).build());
        // The other operations show the same jobs.
        let answer = sdk.get_export_jobs().application_id("app").send().await.unwrap();
        let of_all = answer.export_jobs_response.unwrap().item.unwrap();
        let of_none = done().id("of none").definition(definition(None)).build();
        assert_eq!(of_all, [end[0].clone(), end[1].clone(), of_none.clone()]);
        for expected in of_all {
            let call = sdk.get_export_job().application_id("app").job_id(expected.id().unwrap());
            assert_eq!(call.send().await.unwrap().export_job_response.unwrap(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_verbatim_item_arrives_as_it_is() {
    within(async {
        let mut world = World::default();
        let item = json!({
            "ApplicationId": "another", "CompletedPieces": 1, "CompletionDate": "some day", "CreationDate": "a day",
            "Definition": {"RoleArn": "r", "S3UrlPrefix": "p", "SegmentId": "s", "SegmentVersion": 2},
            "FailedPieces": 3, "Failures": ["x", "é\u{0}\""], "Id": "i/d", "JobStatus": "RESTING",
            "TotalFailures": 4, "TotalPieces": 5, "TotalProcessed": 2_147_483_647, "Type": "t",
        });
        world.segment("app", "seg").jobs = vec![Job::Verbatim { item }];
        let (_fake, sdk) = started(world).await;
        let call = sdk.get_segment_export_jobs().application_id("app").segment_id("seg");
        let item = call.send().await.unwrap().export_jobs_response.unwrap().item.unwrap().remove(0);
        let definition = ExportJobResource::builder().role_arn("r").s3_url_prefix("p");
        let expected = ExportJobResponse::builder()
            .application_id("another")
            .completed_pieces(1)
            .completion_date("some day")
            .creation_date("a day")
            .definition(definition.segment_id("s").segment_version(2).build())
            .failed_pieces(3)
            .failures("x")
            .failures("é\u{0}\"")
            .id("i/d")
            .job_status("RESTING".into())
            .total_failures(4)
            .total_pieces(5)
            .total_processed(i32::MAX)
            .r#type("t");
        assert_eq!(item, expected.build());
    })
    .await;
}

#[tokio::test]
async fn a_created_job_is_seen_by_every_operation() {
    within(async {
        let (fake, sdk) = started(small_world()).await;
        let request = || {
            let request = ExportJobRequest::builder().s3_url_prefix("s3://bucket/prefix/");
            request.role_arn("arn:aws:iam::123456789012:role/r").segment_version(4)
        };
        let create = async |request: ExportJobRequest| {
            let call = sdk.create_export_job().application_id("app").export_job_request(request);
            call.send().await.map(|answer| answer.export_job_response.unwrap())
        };
        let of_segment = create(request().segment_id("seg").build()).await.unwrap();
        assert_eq!(fake.requests()[0].status, Some(202));
        assert_eq!(of_segment.job_status(), Some(&JobStatus::Created));
        assert_eq!(of_segment.definition(), Some(&definition(Some("seg"))));
        assert_eq!(of_segment.creation_date(), Some("2023-11-14T22:46:40.000Z"), "now, by the jobs' clock");
        let of_all = create(request().build()).await.unwrap();
        assert_eq!(of_all.definition(), Some(&definition(None)));
        assert_ne!(of_segment.id(), of_all.id());
        let call = sdk.get_segment_export_jobs().application_id("app").segment_id("seg");
        let jobs = call.send().await.unwrap().export_jobs_response.unwrap().item.unwrap();
        assert_eq!((jobs.len(), &jobs[1]), (2, &of_segment));
        let jobs = sdk.get_export_jobs().application_id("app").send().await.unwrap();
        let jobs = jobs.export_jobs_response.unwrap().item.unwrap();
        assert_eq!((jobs.len(), &jobs[1..]), (3, &[of_segment.clone(), of_all.clone()][..]));
        fake.clock().advance(301 * SECOND);
        for created in [of_segment, of_all] {
            let call = sdk.get_export_job().application_id("app").job_id(created.id().unwrap());
            let later = call.send().await.unwrap().export_job_response.unwrap();
            assert_eq!((later.id(), later.job_status()), (created.id(), Some(&JobStatus::Completed)));
        }
        let bad = ExportJobRequest::builder().s3_url_prefix("s3://bucket/prefix/").build();
        assert!(create(bad).await.unwrap_err().into_service_error().is_bad_request_exception());
        let lost = request().segment_id("none").build();
        assert!(create(lost).await.unwrap_err().into_service_error().is_not_found_exception());
    })
    .await;
}

#[tokio::test]
async fn ids_of_any_characters_lead_to_their_own_resources() {
    within(async {
        let mut world = World::default();
        for application in IDS {
            for segment in IDS {
                let id = format!("{application}|{segment}");
                world.segment(application, segment).jobs = vec![job(&id).into(), job("2nd").into()];
            }
        }
        let (fake, sdk) = started(world).await;
        let (apps, _) = all_pages!(sdk.get_apps(), applications_response);
        let sorted: BTreeSet<&str> = IDS.into();
        assert_eq!(apps.iter().map(|it| it.id().unwrap()).collect::<Vec<_>>(), Vec::from_iter(sorted));
        for application in IDS {
            let app = sdk.get_app().application_id(application).send().await.unwrap();
            assert_eq!(app.application_response.unwrap().id(), Some(application));
            for segment in IDS {
                let call = || sdk.get_segment_export_jobs().application_id(application).segment_id(segment);
                let page = call().page_size("1").send().await.unwrap().export_jobs_response.unwrap();
                let id = format!("{application}|{segment}");
                assert_eq!(ids(page.item(), ExportJobResponse::id), [&*id]);
                let page = call().page_size("1").set_token(page.next_token).send().await.unwrap();
                assert_eq!(ids(page.export_jobs_response.unwrap().item(), ExportJobResponse::id), ["2nd"]);
                let it = sdk.get_segment().application_id(application).segment_id(segment).send().await;
                assert_eq!(it.unwrap().segment_response.unwrap().id(), Some(segment));
                let job = sdk.get_export_job().application_id(application).job_id(&id).send().await.unwrap();
                assert_eq!(job.export_job_response.unwrap().id(), Some(&*id));
            }
        }
        let named: BTreeSet<String> = fake.requests().into_iter().filter_map(|it| it.segment).collect();
        assert_eq!(named, IDS.map(str::to_owned).into());
    })
    .await;
}

const EXCEPTIONS: [&str; 7] = [
    "BadRequestException",
    "InternalServerErrorException",
    "PayloadTooLargeException",
    "ForbiddenException",
    "NotFoundException",
    "MethodNotAllowedException",
    "TooManyRequestsException",
];

/// The typed variants that an error of AWS's client says it is.
macro_rules! variants {
    ($call:expr) => {{
        let error = $call.send().await.unwrap_err().into_service_error();
        let is = [
            error.is_bad_request_exception(),
            error.is_internal_server_error_exception(),
            error.is_payload_too_large_exception(),
            error.is_forbidden_exception(),
            error.is_not_found_exception(),
            error.is_method_not_allowed_exception(),
            error.is_too_many_requests_exception(),
        ];
        let is = EXCEPTIONS.into_iter().zip(is).filter_map(|(name, is)| is.then_some(name));
        (is.collect::<Vec<_>>(), error.message().map(str::to_owned))
    }};
}

#[tokio::test]
async fn each_exception_is_the_clients_own_wherever_and_however_its_name_is_written() {
    within(async {
        let (fake, sdk) = started(small_world()).await;
        for exception in EXCEPTIONS {
            for place in [Place::Header, Place::Type, Place::Code] {
                for name in [
                    exception.to_owned(),
                    format!("com.amazonaws.pinpoint#{exception}"),
                    format!("{exception}:http://internal.amazon.com/coral/com.amazonaws.pinpoint/#x"),
                    format!("com.amazonaws.pinpoint#{exception}:http://internal.amazon.com/"),
                ] {
                    let message = Some("as asked".to_owned());
                    let headers = [].into();
                    fake.fault(
                        Fault::Error { name: name.clone(), status: None, place, message, headers }.times(1),
                    );
                    let call = sdk.get_segment_export_jobs().application_id("app").segment_id("seg");
                    let expected = (vec![exception], Some("as asked".to_owned()));
                    assert_eq!(variants!(call), expected, "{name} in {place:?}");
                }
            }
        }
        let statuses: BTreeSet<u16> = fake.requests().iter().filter_map(|it| it.status).collect();
        assert_eq!(statuses, [400, 403, 404, 405, 413, 429, 500].into());
    })
    .await;
}

#[tokio::test]
async fn each_exception_is_the_clients_own_for_every_operation() {
    within(async {
        let (fake, sdk) = started(small_world()).await;
        for name in EXCEPTIONS {
            fake.clear_faults();
            fake.fault(Fault::error(name).always());
            assert_eq!(variants!(sdk.get_apps()).0, [name]);
            assert_eq!(variants!(sdk.get_app().application_id("app")).0, [name]);
            assert_eq!(variants!(sdk.get_segments().application_id("app")).0, [name]);
            assert_eq!(variants!(sdk.get_segment().application_id("app").segment_id("seg")).0, [name]);
            let call = sdk.get_segment_export_jobs().application_id("app").segment_id("seg");
            assert_eq!(variants!(call).0, [name]);
            assert_eq!(variants!(sdk.get_export_jobs().application_id("app")).0, [name]);
            assert_eq!(variants!(sdk.get_export_job().application_id("app").job_id("job")).0, [name]);
            let request = ExportJobRequest::builder().role_arn("r").s3_url_prefix("p").build();
            let call = sdk.create_export_job().application_id("app").export_job_request(request);
            assert_eq!(variants!(call).0, [name]);
        }
        assert_eq!(fake.requests().len(), 8 * 7, "the client does not retry");
    })
    .await;
}

#[tokio::test]
async fn an_exception_that_the_api_does_not_model_keeps_its_name() {
    within(async {
        let (fake, sdk) = started(small_world()).await;
        fake.fault(Fault::error("ThrottlingException").times(1));
        let error = sdk.get_apps().send().await.unwrap_err();
        let status = error.raw_response().map(|response| response.status().as_u16());
        assert_eq!((error.code(), status), (Some("ThrottlingException"), Some(400)));
        fake.fault(Rule { operation: Some(Operation::GetApp), ..Fault::error("").always() });
        assert_eq!(sdk.get_app().application_id("app").send().await.unwrap_err().code(), None);
    })
    .await;
}

/// What a client with these credentials gets from the fake: nothing, or the name of an error and its message.
async fn refusal(fake: &FakePinpoint, credentials: Credentials) -> Option<(String, String)> {
    let sdk = client(fake, credentials);
    let call = sdk.get_segment_export_jobs().application_id("app").segment_id("seg").page_size("1");
    let error = call.send().await.err()?;
    let (status, text) =
        (error.raw_response().map(|response| response.status().as_u16()), |text: Option<&str>| {
            text.unwrap_or_default().to_owned()
        });
    assert_eq!(status, Some(403));
    Some((text(error.code()), text(error.message())))
}

fn named(name: &str, message: &str) -> (String, String) {
    (name.to_owned(), message.to_owned())
}

fn keys(keys: &[(&str, Option<&str>, bool)]) -> Vec<Key> {
    let key = |&(id, token, expired): &(&str, Option<&str>, bool)| Key {
        access_key_id: id.to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: token.map(str::to_owned),
        expired,
        ..Key::default()
    };
    keys.iter().map(key).collect()
}

const INVALID_TOKEN: &str = "The security token included in the request is invalid.";

#[tokio::test]
async fn a_wrong_key_is_refused_as_aws_refuses_it() {
    within(async {
        let (fake, _) = started(small_world()).await;
        fake.set_keys(keys(&[(ID, None, false)]));
        assert_eq!(refusal(&fake, credentials(ID, SECRET, None)).await, None);
        let (name, message) =
            refusal(&fake, credentials(ID, &SECRET.replace("bPx", "bPy"), None)).await.unwrap();
        assert_eq!(name, "InvalidSignatureException");
        assert!(message.starts_with("The request signature we calculated does not match"), "{message}");
        assert_eq!(
            refusal(&fake, credentials("AKIAUNKNOWN", SECRET, None)).await,
            Some(named("UnrecognizedClientException", INVALID_TOKEN))
        );
        assert_eq!(refusal(&fake, credentials(ID, SECRET, None)).await, None, "the right one still works");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_or_expired_session_token_is_refused_as_aws_refuses_it() {
    within(async {
        let (fake, _) = started(small_world()).await;
        fake.set_keys(keys(&[(ID, Some(TOKEN), false), ("AKIANOTOKEN", None, false)]));
        let unrecognized = || Some(named("UnrecognizedClientException", INVALID_TOKEN));
        let altered = TOKEN.replace('+', "-");
        assert_eq!(refusal(&fake, credentials(ID, SECRET, Some(TOKEN))).await, None);
        assert_eq!(refusal(&fake, credentials(ID, SECRET, None)).await, unrecognized());
        assert_eq!(refusal(&fake, credentials(ID, SECRET, Some(&altered))).await, unrecognized());
        assert_eq!(refusal(&fake, credentials("AKIANOTOKEN", SECRET, None)).await, None);
        assert_eq!(refusal(&fake, credentials("AKIANOTOKEN", SECRET, Some(TOKEN))).await, unrecognized());
        fake.set_keys(keys(&[(ID, Some(TOKEN), true)]));
        assert_eq!(
            refusal(&fake, credentials(ID, SECRET, Some(TOKEN))).await,
            Some(named("ExpiredTokenException", "The security token included in the request is expired"))
        );
        // Nobody learns by a wrong token that the right one has expired.
        assert_eq!(refusal(&fake, credentials(ID, SECRET, Some(&altered))).await, unrecognized());
    })
    .await;
}

#[tokio::test]
async fn a_date_more_than_five_minutes_off_is_refused_as_aws_refuses_it() {
    within(async {
        let (fake, _) = started(small_world()).await;
        for (turn, message) in [
            (4 * MINUTE, None),
            (6 * MINUTE, Some("Signature expired: ")),
            (-4 * MINUTE, None),
            (-6 * MINUTE, Some("Signature not yet current: ")),
        ] {
            fake.server_clock().reset();
            fake.server_clock().advance(turn);
            let refusal = refusal(&fake, credentials(ID, SECRET, Some(TOKEN))).await;
            match message {
                None => assert_eq!(refusal, None, "{turn}"),
                Some(message) => {
                    let (name, text) = refusal.unwrap();
                    assert_eq!(name, "InvalidSignatureException");
                    assert!(text.starts_with(message), "{text}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn another_region_is_refused_and_no_key_accepts_all() {
    within(async {
        let options = Options { regions: vec!["us-east-1".to_owned()], ..Options::default() };
        let fake = FakePinpoint::start_with(small_world(), options).await.unwrap();
        let (name, message) = refusal(&fake, credentials(ID, SECRET, None)).await.unwrap();
        assert_eq!(name, "InvalidSignatureException");
        assert!(message.contains("eu-west-1"), "{message}");
        fake.set_keys(Vec::new());
        assert_eq!(refusal(&fake, credentials("AKIAANYONE", "any", None)).await, None);
    })
    .await;
}
