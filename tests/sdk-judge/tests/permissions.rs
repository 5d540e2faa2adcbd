//! Permissions of the fake as AWS's own client meets them: a call is answered if the policies allow its action on each of its
//! resources, and is refused as IAM refuses it otherwise.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use aws_credential_types::Credentials;
use aws_sdk_pinpoint::{
    Client as Sdk,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::ProvideErrorMetadata,
    types::ExportJobRequest,
};
use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Key, Options, Policy,
    world::{Life, World},
};
use serde_json::{Value, json};

const OPERATIONS: [&str; 8] = [
    "GetApps",
    "GetApp",
    "GetSegments",
    "GetSegment",
    "GetSegmentExportJobs",
    "GetExportJobs",
    "GetExportJob",
    "CreateExportJob",
];

fn policy(statements: &Value) -> Policy {
    serde_json::from_value(json!({"Version": "2012-10-17", "Statement": statements})).unwrap()
}

fn statement(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource})
}

/// A fake, and AWS's client of a region.
async fn started() -> FakePinpoint {
    let mut world = World::default();
    world.segment("app", "seg").jobs.push(Life::new("job", 0, 1).into());
    FakePinpoint::start(world).await.unwrap()
}

fn client(fake: &FakePinpoint, region: &'static str) -> Sdk {
    let Key { access_key_id, secret_access_key, .. } = Options::default_key();
    Sdk::from_conf(
        aws_sdk_pinpoint::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new(region))
            .endpoint_url(fake.url())
            .retry_config(RetryConfig::disabled())
            .credentials_provider(Credentials::new(access_key_id, secret_access_key, None, None, "test"))
            .build(),
    )
}

/// The name and the message of the refusal, if it was one.
async fn refusal(sdk: &Sdk, operation: &str) -> Option<(String, String)> {
    fn of<T, E: ProvideErrorMetadata + std::fmt::Debug>(result: Result<T, E>) -> Option<(String, String)> {
        let error = result.err()?;
        Some((error.code().unwrap().to_owned(), error.message().unwrap().to_owned()))
    }
    let (app, seg) = ("app", "seg");
    match operation {
        "GetApps" => of(sdk.get_apps().send().await),
        "GetApp" => of(sdk.get_app().application_id(app).send().await),
        "GetSegments" => of(sdk.get_segments().application_id(app).send().await),
        "GetSegment" => of(sdk.get_segment().application_id(app).segment_id(seg).send().await),
        "GetSegmentExportJobs" => {
            of(sdk.get_segment_export_jobs().application_id(app).segment_id(seg).send().await)
        }
        "GetExportJobs" => of(sdk.get_export_jobs().application_id(app).send().await),
        "GetExportJob" => of(sdk.get_export_job().application_id(app).job_id("job").send().await),
        "CreateExportJob" => {
            let request = ExportJobRequest::builder().role_arn("r").s3_url_prefix("s3://b/").build();
            of(sdk.create_export_job().application_id(app).export_job_request(request).send().await)
        }
        _ => unreachable!(),
    }
}

/// The operations that are answered under these statements.
async fn answered(fake: &FakePinpoint, region: &'static str, statements: Value) -> Vec<&'static str> {
    fake.set_keys(vec![Key { policies: Some(vec![policy(&statements)]), ..Options::default_key() }]);
    let sdk = client(fake, region);
    let mut answered = Vec::new();
    for operation in OPERATIONS {
        match refusal(&sdk, operation).await {
            None => answered.push(operation),
            Some((name, _)) => assert_eq!(name, "AccessDeniedException", "{operation}"),
        }
    }
    answered
}

fn arn(resource: &str) -> String {
    format!("arn:aws:mobiletargeting:eu-west-1:123456789012:{resource}")
}

async fn within(test: impl Future<Output = ()>) {
    tokio::time::timeout(HANG_LIMIT, test).await.expect("the test ends in time");
}

#[tokio::test]
async fn a_key_without_policies_may_do_everything_and_one_with_an_empty_list_nothing() {
    within(async {
        let fake = started().await;
        for operation in OPERATIONS {
            assert_eq!(refusal(&client(&fake, "eu-west-1"), operation).await, None, "{operation}");
        }
        fake.set_keys(vec![Key { policies: Some(Vec::new()), ..Options::default_key() }]);
        for operation in OPERATIONS {
            let (name, _) = refusal(&client(&fake, "eu-west-1"), operation).await.unwrap();
            assert_eq!(name, "AccessDeniedException", "{operation}");
        }
    })
    .await;
}

#[tokio::test]
async fn each_action_is_allowed_by_its_own_name_alone() {
    within(async {
        let fake = started().await;
        for operation in OPERATIONS {
            for action in [
                format!("mobiletargeting:{operation}"),
                format!("MobileTargeting:{operation}").to_uppercase(),
            ] {
                let allowed = answered(&fake, "eu-west-1", json!([statement("Allow", &action, "*")])).await;
                assert_eq!(allowed, [operation], "{action}");
            }
        }
        let reading =
            answered(&fake, "eu-west-1", json!(statement("Allow", "mobiletargeting:Get*", "*"))).await;
        assert_eq!(reading, &OPERATIONS[..7]);
        let other = answered(&fake, "eu-west-1", json!([statement("Allow", "s3:*", "*")])).await;
        assert!(other.is_empty(), "{other:?}");
    })
    .await;
}

#[tokio::test]
async fn a_call_needs_every_resource_that_aws_documents_name() {
    within(async {
        let fake = started().await;
        let needed: [(&str, &[&str]); 8] = [
            ("GetApps", &["apps", "apps/*"]),
            ("GetApp", &["apps/app"]),
            ("GetSegments", &["apps/app"]),
            ("GetSegment", &["apps/app", "apps/app/segments/seg"]),
            (
                "GetSegmentExportJobs",
                &["apps/app", "apps/app/segments/seg", "apps/app/segments/seg/jobs/export"],
            ),
            ("GetExportJobs", &["apps/app", "apps/app/jobs/export"]),
            ("GetExportJob", &["apps/app", "apps/app/jobs/export/job"]),
            ("CreateExportJob", &["apps/app"]),
        ];
        for (operation, resources) in needed {
            let action = format!("mobiletargeting:{operation}");
            let allowing = |resources: &[&str]| {
                let arns: Vec<_> = resources.iter().map(|resource| arn(resource)).collect();
                json!([{"Effect": "Allow", "Action": [action], "Resource": arns}])
            };
            assert_eq!(answered(&fake, "eu-west-1", allowing(resources)).await, [operation]);
            for missing in resources {
                let rest: Vec<_> = resources.iter().filter(|it| it != &missing).copied().collect();
                assert!(
                    answered(&fake, "eu-west-1", allowing(&rest)).await.is_empty(),
                    "{operation} without {missing}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn region_account_and_partition_are_part_of_a_resource() {
    within(async {
        let fake = started().await;
        let allowing = |resource: &str| json!([statement("Allow", "mobiletargeting:GetSegments", resource)]);
        for (region, resource, expected) in [
            ("eu-west-1", "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/app", true),
            ("eu-west-1", "arn:aws:mobiletargeting:*:*:apps/a?p", true),
            ("eu-west-1", "arn:aws:mobiletargeting:eu-west-2:123456789012:apps/app", false),
            ("eu-west-1", "arn:aws:mobiletargeting:eu-west-1:210987654321:apps/app", false),
            ("eu-west-1", "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/ap", false),
            ("us-gov-west-1", "arn:aws:mobiletargeting:us-gov-west-1:123456789012:apps/app", false),
            ("us-gov-west-1", "arn:aws-us-gov:mobiletargeting:us-gov-west-1:123456789012:apps/app", true),
            ("cn-north-1", "arn:aws-cn:mobiletargeting:cn-north-1:123456789012:apps/app", true),
        ] {
            let allowed = answered(&fake, region, allowing(resource)).await;
            assert_eq!(allowed, if expected { &["GetSegments"][..] } else { &[] }, "{region} {resource}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_deny_wins_and_each_refusal_says_who_may_not_do_what_and_why() {
    within(async {
        let fake = started().await;
        let allow = statement("Allow", "*", "*");
        let deny = statement("Deny", "mobiletargeting:*Jobs", &arn("apps/app/segments/*"));
        let allowed = answered(&fake, "eu-west-1", json!([allow, deny])).await;
        let expected: Vec<_> = OPERATIONS.into_iter().filter(|it| *it != "GetSegmentExportJobs").collect();
        assert_eq!(allowed, expected);

        let sdk = client(&fake, "eu-west-1");
        let (_, message) = refusal(&sdk, "GetSegmentExportJobs").await.unwrap();
        assert_eq!(
            message,
            "User: arn:aws:iam::123456789012:user/exporter is not authorized to perform: \
             mobiletargeting:GetSegmentExportJobs on resource: \
             arn:aws:mobiletargeting:eu-west-1:123456789012:apps/app/segments/seg with an explicit deny in an \
             identity-based policy"
        );
        let account_id = Some("210987654321".to_owned());
        fake.set_keys(vec![Key { policies: Some(Vec::new()), account_id, ..Options::default_key() }]);
        let (_, message) = refusal(&sdk, "GetApps").await.unwrap();
        assert_eq!(
            message,
            "User: arn:aws:iam::210987654321:user/exporter is not authorized to perform: mobiletargeting:GetApps on \
             resource: arn:aws:mobiletargeting:eu-west-1:210987654321:apps because no identity-based policy allows \
             the mobiletargeting:GetApps action"
        );
    })
    .await;
}

#[tokio::test]
async fn who_may_nothing_does_not_learn_what_exists() {
    within(async {
        let fake = started().await;
        fake.set_keys(vec![Key { policies: Some(Vec::new()), ..Options::default_key() }]);
        let sdk = client(&fake, "eu-west-1");
        let nobody = sdk.get_app().application_id("nobody's").send().await.unwrap_err();
        assert_eq!(nobody.code(), Some("AccessDeniedException"));
    })
    .await;
}

#[test]
fn a_policy_that_is_none_of_iams_or_cannot_be_evaluated_is_refused_with_the_reason() {
    let allow = statement("Allow", "*", "*");
    for (policy, reason) in [
        (json!({"Statement": [allow]}), "missing field `Version`"),
        (json!({"Version": "2008-10-17", "Statement": [allow]}), "unknown variant `2008-10-17`"),
        (json!({"Version": "2012-10-17"}), "missing field `Statement`"),
        (
            json!({"Version": "2012-10-17", "Statement": [allow], "Statements": []}),
            "unknown field `Statements`",
        ),
        (
            json!({"Version": "2012-10-17", "Statement": [statement("allow", "*", "*")]}),
            "unknown variant `allow`",
        ),
        (
            json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*"}}),
            "missing field `Resource`",
        ),
        (
            json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {}}}),
            "unknown field `Condition`",
        ),
        (
            json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": [1], "Resource": "*"}}),
            "invalid type: integer `1`, expected a string",
        ),
    ] {
        let error = serde_json::from_value::<Policy>(policy.clone()).unwrap_err().to_string();
        assert!(error.contains(reason), "{policy}: {error}");
    }
}
