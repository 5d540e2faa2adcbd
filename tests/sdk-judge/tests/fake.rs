//! AWS's Rust SDK reads the fake Pinpoint, with its verification of signatures on.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{collections::BTreeMap, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_pinpoint::{
    Client, Config,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata as _, SdkError},
    operation::get_segment_export_jobs::GetSegmentExportJobsError,
    types::{ExportJobRequest, JobStatus},
};
use fake_pinpoint::{
    FakePinpoint, Key, Options,
    fault::{Fault, Place},
    world::{End, Life, World},
};

const APP: &str = "6e0b7591a90841d2b5d93fa11143e5a7";
const ODD: &str = "odd/id +%2F é日";

fn key() -> Key {
    Key { session_token: Some("session/token+==".to_owned()), ..Options::default_key() }
}

fn world() -> World {
    let mut world = World::default();
    for n in 0..7 {
        world.segment(APP, &format!("segment-{n}"));
    }
    let mut whole = Life::new("whole", 1_000_250, 600_000);
    (whole.endpoints, whole.pieces, whole.failed_endpoints, whole.failed_pieces) = (1_000, 4, 3, 1);
    whole.segment_version = 7;
    let jobs = &mut world.segment(APP, "jobs").jobs;
    jobs.push(whole.into());
    for n in 0..9 {
        let mut life = Life::new(format!("job-{n}"), 2_000_000, 1_000_000);
        life.end = if n == 0 { End::Stuck } else { End::Failed };
        jobs.push(life.into());
    }
    world.segment(ODD, ODD).jobs.push(Life::new(ODD, 0, 1).into());
    world.applications.get_mut(APP).unwrap().jobs.push(Life::new("of-all", 0, 1).into());
    world
}

async fn fake() -> FakePinpoint {
    let options = Options { keys: vec![key()], regions: vec!["eu-west-1".to_owned()], ..Options::default() };
    let fake = FakePinpoint::start_with(world(), options).await.unwrap();
    // Every job but the first is half done.
    fake.clock().stop_at(2_500_000);
    fake
}

fn client_with(fake: &FakePinpoint, key: Key) -> Client {
    let credentials =
        Credentials::new(key.access_key_id, key.secret_access_key, key.session_token, None, "test");
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("eu-west-1"))
            .endpoint_url(fake.url())
            .retry_config(RetryConfig::disabled())
            .credentials_provider(credentials)
            .build(),
    )
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await });
    assert!(ended.is_ok(), "the test did not end");
}

/// Reads every page of two items; gives the items and the number of pages.
macro_rules! pages {
    ($call:expr, $body:ident) => {{
        let (mut items, mut pages, mut token) = (Vec::new(), 0, None);
        loop {
            let page = $call.page_size("2").set_token(token.take()).send().await.unwrap().$body.unwrap();
            items.extend(page.item.unwrap());
            pages += 1;
            match page.next_token {
                None => break (items, pages),
                next => token = next,
            }
        }
    }};
}

#[test]
fn all_pages_of_all_listings_are_read() {
    run(async {
        let fake = fake().await;
        let client = client_with(&fake, key());
        let (apps, count) = pages!(client.get_apps(), applications_response);
        assert_eq!(
            (apps.iter().map(|app| app.id().unwrap()).collect::<Vec<_>>(), count),
            (vec![APP, ODD], 1)
        );
        let (segments, count) = pages!(client.get_segments().application_id(APP), segments_response);
        assert_eq!((segments.len(), count), (8, 4));
        let call = || client.get_segment_export_jobs().application_id(APP).segment_id("jobs");
        let (jobs, count) = pages!(call(), export_jobs_response);
        assert_eq!((jobs.len(), count), (10, 5));
        let (jobs, count) = pages!(client.get_export_jobs().application_id(APP), export_jobs_response);
        assert_eq!((jobs.len(), count), (11, 6));
        assert!(jobs.iter().any(|job| job.id() == Some("of-all")));
        let (jobs, _) = pages!(
            client.get_segment_export_jobs().application_id(ODD).segment_id(ODD),
            export_jobs_response
        );
        assert_eq!((jobs[0].id(), jobs[0].application_id()), (Some(ODD), Some(ODD)));
    });
}

#[test]
fn a_job_has_the_fields_it_should() {
    run(async {
        let fake = fake().await;
        let client = client_with(&fake, key());
        let answer =
            client.get_segment_export_jobs().application_id(APP).segment_id("jobs").send().await.unwrap();
        let jobs = answer.export_jobs_response.unwrap().item.unwrap();
        let (whole, stuck, failing) = (&jobs[0], &jobs[1], &jobs[2]);
        assert_eq!(whole.application_id(), Some(APP));
        assert_eq!(
            (whole.completed_pieces(), whole.failed_pieces(), whole.total_pieces()),
            (Some(3), Some(1), Some(4))
        );
        assert_eq!((whole.total_processed(), whole.total_failures()), (Some(1_000), Some(3)));
        assert_eq!(whole.creation_date(), Some("1970-01-01T00:16:40.250Z"));
        assert_eq!(whole.completion_date(), Some("1970-01-01T00:26:40.250Z"));
        assert_eq!((whole.failures().len(), whole.r#type()), (3, Some("EXPORT")));
        assert_eq!((whole.id(), whole.job_status()), (Some("whole"), Some(&JobStatus::Completed)));
        let definition = whole.definition().unwrap();
        assert_eq!((definition.segment_id(), definition.segment_version()), (Some("jobs"), Some(7)));
        assert!(definition.role_arn().unwrap().starts_with("arn:aws:iam::"));
        assert!(definition.s3_url_prefix().unwrap().starts_with("s3://"));
        for job in [stuck, failing] {
            assert_eq!((job.job_status(), job.completion_date()), (Some(&JobStatus::Processing), None));
        }
        // Another day, one is as far as it was, and the other has failed.
        fake.clock().advance(24 * 3_600_000);
        let answer =
            client.get_segment_export_jobs().application_id(APP).segment_id("jobs").send().await.unwrap();
        let later = answer.export_jobs_response.unwrap().item.unwrap();
        assert_eq!(
            (later[1].job_status(), later[2].job_status()),
            (Some(&JobStatus::Processing), Some(&JobStatus::Failed))
        );
        assert_eq!(later[2].completion_date(), Some("1970-01-01T00:50:00.000Z"));
    });
}

#[test]
fn a_job_lives_through_its_states_in_their_order() {
    run(async {
        for (end, last) in
            [(End::Completed, ["COMPLETING", "COMPLETED"]), (End::Failed, ["FAILING", "FAILED"])]
        {
            let mut world = World::default();
            let mut life = Life::new("job", 0, 1_000_000);
            life.end = end;
            world.segment(APP, "one").jobs.push(life.into());
            let fake = FakePinpoint::start_with(world, Options { keys: vec![key()], ..Options::default() })
                .await
                .unwrap();
            let client = client_with(&fake, key());
            let (mut states, mut processed) = (Vec::new(), 0);
            for second in (0..=1_000).step_by(10) {
                fake.clock().stop_at(second * 1_000);
                let call = client.get_segment_export_jobs().application_id(APP).segment_id("one");
                let job = call.send().await.unwrap().export_jobs_response.unwrap().item.unwrap().remove(0);
                let state = job.job_status().unwrap().as_str().to_owned();
                if states.last() != Some(&state) {
                    states.push(state);
                }
                assert!(job.total_processed().unwrap_or(0) >= processed, "counts never shrink");
                processed = job.total_processed().unwrap_or(0);
                assert_eq!(job.completion_date().is_some(), second == 1_000);
            }
            let first =
                ["CREATED", "PREPARING_FOR_INITIALIZATION", "INITIALIZING", "PENDING_JOB", "PROCESSING"];
            assert_eq!(states, first.iter().chain(&last).copied().collect::<Vec<_>>());
        }
    });
}

#[test]
fn the_other_reads_and_the_creation_of_a_job() {
    run(async {
        let fake = fake().await;
        let client = client_with(&fake, key());
        let app = client.get_app().application_id(APP).send().await.unwrap();
        assert_eq!(app.application_response.unwrap().id(), Some(APP));
        let segment = client.get_segment().application_id(APP).segment_id("segment-3").send().await.unwrap();
        assert_eq!(segment.segment_response.unwrap().id(), Some("segment-3"));
        let request = ExportJobRequest::builder().role_arn("arn:aws:iam::1:role/r").s3_url_prefix("s3://x/");
        let request = request.segment_id("segment-3").segment_version(2).build();
        let created =
            client.create_export_job().application_id(APP).export_job_request(request).send().await.unwrap();
        let created = created.export_job_response.unwrap();
        assert_eq!(created.job_status(), Some(&JobStatus::Created));
        let id = created.id().unwrap();
        let read = client.get_export_job().application_id(APP).job_id(id).send().await.unwrap();
        assert_eq!(read.export_job_response.unwrap().definition().unwrap().segment_version(), Some(2));
        let call = client.get_segment_export_jobs().application_id(APP).segment_id("segment-3");
        let jobs = call.send().await.unwrap().export_jobs_response.unwrap().item.unwrap();
        assert_eq!(jobs[0].id(), Some(id));
    });
}

type Failed = SdkError<GetSegmentExportJobsError>;

async fn failure(client: &Client) -> Failed {
    client.get_segment_export_jobs().application_id(APP).segment_id("jobs").send().await.unwrap_err()
}

#[test]
fn each_modelled_exception_is_recognised_as_its_own_type() {
    type Is = fn(&GetSegmentExportJobsError) -> bool;
    let modelled: [(&str, Is); 7] = [
        ("BadRequestException", GetSegmentExportJobsError::is_bad_request_exception),
        ("InternalServerErrorException", GetSegmentExportJobsError::is_internal_server_error_exception),
        ("PayloadTooLargeException", GetSegmentExportJobsError::is_payload_too_large_exception),
        ("ForbiddenException", GetSegmentExportJobsError::is_forbidden_exception),
        ("NotFoundException", GetSegmentExportJobsError::is_not_found_exception),
        ("MethodNotAllowedException", GetSegmentExportJobsError::is_method_not_allowed_exception),
        ("TooManyRequestsException", GetSegmentExportJobsError::is_too_many_requests_exception),
    ];
    run(async move {
        let fake = fake().await;
        let client = client_with(&fake, key());
        for (name, is) in modelled {
            for place in [Place::Header, Place::Type, Place::Code] {
                for written in [name.to_owned(), format!("aws.pinpoint#{name}:http://internal.amazon.com/#x")]
                {
                    let message = Some("as asked".to_owned());
                    let headers = BTreeMap::new();
                    let fault = Fault::Error { name: written, status: None, place, message, headers };
                    fake.fault(fault.times(1));
                    let error = failure(&client).await;
                    let error = error.as_service_error().unwrap();
                    assert!(is(error), "{name} in {place:?}: {error:?}");
                    assert_eq!(modelled.iter().filter(|(_, is)| is(error)).count(), 1);
                    assert_eq!(error.message(), Some("as asked"));
                }
            }
        }
        // And one that nobody asked for.
        let call = client.get_segment_export_jobs().application_id(APP).segment_id("none");
        assert!(call.send().await.unwrap_err().as_service_error().unwrap().is_not_found_exception());
    });
}

#[test]
fn wrong_credentials_are_refused_as_aws_does() {
    run(async {
        let fake = fake().await;
        let change = |change: fn(&mut Key)| {
            let mut key = key();
            change(&mut key);
            key
        };
        for (key, code) in [
            (change(|key| key.secret_access_key.push('x')), "InvalidSignatureException"),
            (change(|key| key.access_key_id.push('X')), "UnrecognizedClientException"),
            (change(|key| key.session_token = Some("another".to_owned())), "UnrecognizedClientException"),
            (change(|key| key.session_token = None), "UnrecognizedClientException"),
        ] {
            let error = failure(&client_with(&fake, key)).await;
            assert_eq!(error.as_service_error().unwrap().code(), Some(code));
        }
        let client = client_with(&fake, key());
        fake.set_keys(vec![Key { expired: true, ..key() }]);
        assert_eq!(failure(&client).await.as_service_error().unwrap().code(), Some("ExpiredTokenException"));
        fake.set_keys(vec![key()]);
        fake.server_clock().advance(6 * 60_000);
        assert_eq!(
            failure(&client).await.as_service_error().unwrap().code(),
            Some("InvalidSignatureException")
        );
        fake.server_clock().reset();
        // The other client has learnt the wrong date from the refusal.
        let client = client_with(&fake, key());
        client.get_segment_export_jobs().application_id(APP).segment_id("jobs").send().await.unwrap();
    });
}
