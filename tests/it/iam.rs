//! The policies of `deploy/iam`: with each of them its targets work, nothing in them can be spared, and `check` prints what is
//! missing as it stands there.

use std::{collections::BTreeSet, fs, path::Path};

use fake_pinpoint::{FakePinpoint, Key, Options, world::World};
use pinpoint_exporter::pinpoint::Operation;
use serde_json::{Value, json};

use crate::support::{
    harness::{APP, Plan, REGION, SEGMENT, run},
    program::command_async,
};

const ACCOUNT: &str = "123456789012";

/// Each policy that reads Pinpoint, with the targets that it is for: the resource of their ARN.
const POLICIES: [(&str, &str); 5] = [
    ("segment", "apps/APP/segments/SEGMENT"),
    ("segments-of-an-application", "apps/APP/segments/*"),
    ("all-segments", "apps/*/segments/*"),
    ("application", "apps/APP"),
    ("all-applications", "apps/*"),
];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/iam"))
}

/// A file's text.
fn read(name: &str) -> String {
    let file = folder().join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// With the values of these tests in place of the words that stand for them.
fn filled(text: &str) -> String {
    text.replace("REGION", REGION).replace("ACCOUNT", ACCOUNT).replace("APP", APP).replace("SEGMENT", SEGMENT)
}

fn policy(name: &str) -> Value {
    serde_json::from_str(&filled(&read(&format!("{name}.json")))).unwrap()
}

fn targets(resource: &str) -> String {
    filled(&format!("arn:aws:mobiletargeting:REGION:ACCOUNT:{resource}"))
}

fn world() -> World {
    let mut world = World::default();
    for (application, segment) in [(APP, SEGMENT), (APP, "another"), ("another", "third")] {
        world.segment(application, segment);
    }
    world.applications.get_mut(APP).unwrap().name = "The shop".into();
    world
}

fn key(policy: &Value) -> Key {
    let policies = Some(vec![serde_json::from_value(policy.clone()).unwrap()]);
    Key { policies, ..Options::default_key() }
}

/// The exit status of `check` under a policy, and what it found.
async fn check(fake: &FakePinpoint, targets: &str, policy: &Value) -> (Option<i32>, Value) {
    check_with_names(fake, targets, policy, "discovered").await
}

async fn check_with_names(
    fake: &FakePinpoint,
    targets: &str,
    policy: &Value,
    names: &str,
) -> (Option<i32>, Value) {
    fake.set_keys(vec![key(policy)]);
    let Key { access_key_id, secret_access_key, .. } = Options::default_key();
    let url = fake.url();
    let variables = [
        ("AWS_ACCESS_KEY_ID", access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &secret_access_key),
        ("AWS_ENDPOINT_URL_PINPOINT", &url),
        ("PINPOINT_EXPORTER_TARGETS", targets),
        ("PINPOINT_EXPORTER_NAMES", names),
    ];
    let output = command_async(&["check", "--json"], &variables).await;
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), found)
}

/// The policy less what the change takes away.
fn without(policy: &Value, change: impl FnOnce(&mut Vec<Value>)) -> Value {
    let mut policy = policy.clone();
    change(policy["Statement"].as_array_mut().unwrap());
    policy
}

fn statements(policy: &Value) -> &[Value] {
    policy["Statement"].as_array().unwrap()
}

/// Whether a statement allows a list, which the statements after it build on.
fn is_list(statement: &Value) -> bool {
    ["GetApps", "GetSegments"]
        .iter()
        .any(|operation| statement["Action"] == format!("mobiletargeting:{operation}"))
}

#[test]
fn with_exactly_the_policy_of_a_form_of_target_its_targets_are_read() {
    run(async {
        for (name, resource) in POLICIES {
            let harness = Plan::new()
                .set("TARGETS", &targets(resource))
                .world(|it| *it = world())
                .fake(|options| options.keys = vec![key(&policy(name))])
                .build()
                .await;
            let scrape = harness.scrape().await;
            let expected = match name {
                "segment" | "application" => 1,
                "segments-of-an-application" | "all-applications" => 2,
                _ => 3,
            };
            assert_eq!(scrape.sum("pinpoint_target_up", &[]), expected, "{name}");
            assert_eq!(scrape.sum("pinpoint_api_errors_total", &[]), 0, "{name}");
            harness.close().await;
        }
    });
}

#[test]
fn check_says_that_all_is_well_under_it_and_prints_the_statement_that_is_removed_as_it_stands_there() {
    run(async {
        let fake = FakePinpoint::start(world()).await.unwrap();
        for (name, resource) in POLICIES {
            let (policy, targets) = (policy(name), targets(resource));
            let (status, found) = check(&fake, &targets, &policy).await;
            assert_eq!((status, &found["missing"]), (Some(0), &Value::Null), "{name}: {found}");
            for (at, statement) in statements(&policy).iter().enumerate() {
                let rest = without(&policy, |statements| drop(statements.remove(at)));
                let (status, found) = check(&fake, &targets, &rest).await;
                assert_eq!(status, Some(1));
                // What a denied list would have named could not be tried, so that is printed too.
                let expected = if is_list(statement) {
                    &statements(&policy)[at..]
                } else {
                    std::slice::from_ref(statement)
                };
                assert_eq!(
                    found["missing"],
                    json!({"Version": "2012-10-17", "Statement": expected}),
                    "{name}"
                );
                // As it was printed, it mends it.
                let mended = without(&rest, |statements| {
                    statements.extend(found["missing"]["Statement"].as_array().unwrap().iter().cloned());
                });
                assert_eq!(check(&fake, &targets, &mended).await.0, Some(0), "{name}");
            }
        }
    });
}

#[test]
fn no_resource_of_a_policy_can_be_spared() {
    run(async {
        let fake = FakePinpoint::start(world()).await.unwrap();
        for (name, resource) in POLICIES {
            let policy = policy(name);
            for (at, statement) in statements(&policy).iter().enumerate() {
                for spared in 0..statement["Resource"].as_array().unwrap().len() {
                    let rest = without(&policy, |statements| {
                        drop(statements[at]["Resource"].as_array_mut().unwrap().remove(spared));
                    });
                    let (status, found) = check(&fake, &targets(resource), &rest).await;
                    let missing = &found["missing"]["Statement"];
                    let expected = if is_list(statement) {
                        &statements(&policy)[at..]
                    } else {
                        std::slice::from_ref(statement)
                    };
                    assert_eq!((status, missing), (Some(1), &json!(expected)), "{name}: {spared}");
                }
            }
        }
    });
}

#[test]
fn names_are_optional_and_the_policy_of_names_is_what_they_need() {
    run(async {
        let fake = FakePinpoint::start(world()).await.unwrap();
        let of_names = policy("names");
        for (name, resource) in POLICIES.into_iter().filter(|(_, resource)| !resource.contains('*')) {
            let targets = targets(resource);
            let both = without(&policy(name), |all| all.extend(statements(&of_names).iter().cloned()));
            let (status, found) = check_with_names(&fake, &targets, &both, "all").await;
            assert_eq!((status, &found["missing_names"]), (Some(0), &Value::Null), "{name}: {found}");
            let named: Vec<_> = found["names"].as_array().unwrap().iter().map(|list| &list["ok"]).collect();
            assert_eq!(named, [true, true], "{name}");
            assert_eq!(found["targets"][0]["application_name"], "The shop", "{name}");
            // Without a permission, or one of its resources, it is told what is missing, and nothing has failed.
            for (at, statement) in statements(&of_names).iter().enumerate() {
                let at = statements(&policy(name)).len() + at;
                let resources = statement["Resource"].as_array().unwrap().len();
                let rest = without(&both, |all| drop(all.remove(at)));
                let fewer = (0..resources).map(|spared| {
                    without(&both, |all| drop(all[at]["Resource"].as_array_mut().unwrap().remove(spared)))
                });
                for rest in fewer.chain([rest]) {
                    let (status, found) = check_with_names(&fake, &targets, &rest, "all").await;
                    assert_eq!((status, &found["missing"]), (Some(0), &Value::Null), "{name}");
                    assert_eq!(found["missing_names"]["Statement"], json!([statement]), "{name}");
                }
            }
            // Nothing is asked for where no name is read for itself.
            let (status, found) = check(&fake, &targets, &policy(name)).await;
            assert_eq!(
                (status, &found["names"], &found["missing_names"]),
                (Some(0), &json!([]), &Value::Null)
            );
        }
    });
}

#[test]
fn an_application_that_alone_is_denied_is_named_alone() {
    run(async {
        let fake = FakePinpoint::start(world()).await.unwrap();
        let mut policy = policy("all-segments");
        policy["Statement"].as_array_mut().unwrap().push(json!({
            "Effect": "Deny", "Action": "mobiletargeting:GetSegments", "Resource": targets("apps/another"),
        }));
        let (status, found) = check(&fake, &targets("apps/*/segments/*"), &policy).await;
        assert_eq!(status, Some(1));
        let lists: Vec<_> =
            found["lists"].as_array().unwrap().iter().filter(|list| list["ok"] == false).collect();
        assert_eq!(lists.len(), 1);
        assert_eq!(lists[0]["target"], "another/*");
        assert!(lists[0]["error"]["message"].as_str().unwrap().contains("explicit deny"), "{found}");
        assert_eq!(found["missing"]["Statement"][0]["Resource"], json!([targets("apps/another")]));
    });
}

#[test]
fn the_policies_allow_the_calls_that_the_client_makes_and_no_others() {
    let mut actions = BTreeSet::new();
    for (name, _) in POLICIES {
        for statement in statements(&policy(name)) {
            actions.insert(statement["Action"].as_str().unwrap().to_owned());
        }
    }
    let made = Operation::ALL.iter().map(|operation| format!("mobiletargeting:{}", operation.name()));
    assert_eq!(actions, made.collect());
    let assuming = policy("assume-roles");
    let actions: Vec<_> = statements(&assuming).iter().map(|statement| &statement["Action"]).collect();
    assert_eq!(actions, ["sts:AssumeRole"]);
}

#[test]
fn the_pages_name_every_policy_and_the_policy_they_show_is_one_of_them() {
    let index = read("README.md");
    let links = index.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let named: BTreeSet<_> = links.filter_map(|link| link.strip_suffix(".json").map(str::to_owned)).collect();
    let mut there = BTreeSet::new();
    for prefix in ["", "trust/"] {
        let entries = fs::read_dir(folder().join(prefix)).unwrap().map(|entry| entry.unwrap().file_name());
        let paths = entries.map(|entry| format!("{prefix}{}", entry.into_string().unwrap()));
        there.extend(paths.filter_map(|path| path.strip_suffix(".json").map(str::to_owned)));
    }
    assert_eq!(named, there);

    let page = include_str!("../../docs/PERMISSIONS.md");
    let (_, after) = page.split_once("```json\n").unwrap();
    let (shown, _) = after.split_once("```").unwrap();
    assert_eq!(shown, read("segments-of-an-application.json"));
}
