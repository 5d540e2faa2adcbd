//! Targets that change while the exporter runs, as a re-read `TARGETS_FILE` changes them.

use std::{sync::Arc, time::Duration};

use fake_pinpoint::{Operation, Options, fault::Fault, world::Life};
use pinpoint_exporter::{
    Exporter, SetupError,
    config::Config,
    model::{
        clock::SystemClock,
        target::{IdPattern, TargetPattern},
    },
    pinpoint::Http,
    web::Exporter as _,
};

use crate::support::{
    harness::{APP, Harness, Plan, SEGMENT, Source, credentials, run},
    raw::within,
    text_format::Scrape,
};

const UP: &str = "pinpoint_target_up";
const DISCOVERY: &str = "pinpoint_discovery_up";
const EXPIRY: &str = "pinpoint_exporter_credentials_expiry_timestamp_seconds";

/// Segments `a`, `b` and `c` with a job each, besides the usual one.
fn plan(targets: &str) -> Plan {
    Plan::new().set("TARGETS", targets).set("FINISHED_JOB_MAX_AGE", "0s").world(|world| {
        for segment in ["a", "b", "c"] {
            world.segment(APP, segment).jobs.push(Life::new(format!("job-{segment}"), 0, 1).into());
        }
    })
}

fn in_app(segments: &[&str]) -> String {
    segments.iter().map(|segment| format!("{APP}/{segment}\n")).collect()
}

fn arn(account: &str, segment: &str) -> String {
    format!("arn:aws:mobiletargeting:eu-west-1:{account}:apps/{APP}/segments/{segment}")
}

/// The segments of the targets that are shown, and how many series mention each.
fn shown(scrape: &Scrape) -> Vec<String> {
    scrape.samples(UP, &[]).iter().map(|sample| sample.labels["segment_id"].clone()).collect()
}

fn mentions(scrape: &Scrape, segment: &str) -> usize {
    let samples = scrape.families.iter().flat_map(|family| &family.samples);
    samples.filter(|sample| sample.labels.get("segment_id").is_some_and(|id| id == segment)).count()
}

fn listings_of(harness: &Harness, segment: &str) -> usize {
    harness.fake.requests().iter().filter(|request| request.segment.as_deref() == Some(segment)).count()
}

#[test]
fn targets_come_and_go_without_a_restart_and_those_that_stay_keep_their_data() {
    run(async {
        let harness = plan(&in_app(&["a", "b"])).build().await;
        let before = harness.scrape().await;
        assert_eq!(shown(&before), ["a", "b"]);
        harness.turn(Duration::from_secs(10));
        harness.set_targets(&in_app(&["b", "c"])).unwrap();
        assert_eq!(harness.listings(), 2, "a change asks for nothing");
        let after = harness.scrape().await;
        assert_eq!((shown(&after), mentions(&after, "a")), (vec!["b".into(), "c".into()], 0));
        assert_eq!(["a", "b", "c"].map(|segment| listings_of(&harness, segment)), [1, 1, 1]);
        let success = |scrape: &Scrape| {
            scrape.value("pinpoint_target_last_success_timestamp_seconds", &[("segment_id", "b")])
        };
        assert_eq!(success(&after), success(&before));
        assert!(!harness.exporter.jobs("").unwrap().contains("job-a"), "the page and its JSON follow");
        harness.assert_equation(3).await;
    });
}

#[test]
fn a_removed_target_loses_its_series_at_once_and_has_none_of_them_when_it_comes_back() {
    run(async {
        let harness = plan(&in_app(&["a", "b"])).build().await;
        harness.scrape().await;
        harness.fake.fault(Fault::Hang.always());
        harness.set_targets(&in_app(&["b"])).unwrap();
        assert_eq!(mentions(&harness.scrape_within(Some("0.6")).await, "a"), 0);
        harness.set_targets(&in_app(&["a", "b"])).unwrap();
        assert_eq!(mentions(&harness.scrape_within(Some("0.6")).await, "a"), 0);
        within("the new listing", harness.fake.wait_for_requests(3)).await;
        assert_eq!(listings_of(&harness, "a"), 2, "it is read anew");
    });
}

#[test]
fn a_refresh_of_a_target_that_is_removed_meanwhile_ends_without_effect() {
    run(async {
        let harness = plan(&in_app(&["a", "b"])).set("MAX_CONCURRENT_REQUESTS", "1").build().await;
        // The first is under way and the second waits for it.
        harness.fake.fault(Fault::Delay { milliseconds: 300 }.always().of_segment("a"));
        let change = async {
            harness.fake.wait_for_requests(1).await;
            harness.set_targets(&in_app(&["c"])).unwrap();
        };
        let (first, ()) = tokio::join!(harness.scrape(), change);
        assert_eq!((shown(&first).len(), mentions(&first, "a"), mentions(&first, "b")), (0, 0, 0));
        let second = harness.scrape().await;
        assert_eq!((shown(&second), mentions(&second, "a")), (vec!["c".to_owned()], 0));
        assert_eq!(listings_of(&harness, "b"), 0, "what only waited is not asked for");
        harness.assert_equation(2).await;
    });
}

#[test]
fn lists_follow_the_targets() {
    run(async {
        let harness = plan(&format!("{APP}/*")).build().await;
        let found = harness.scrape().await;
        assert_eq!((shown(&found).len(), found.samples(DISCOVERY, &[]).len()), (4, 1));
        harness.set_targets(&in_app(&["a"])).unwrap();
        let named = harness.scrape().await;
        assert_eq!((shown(&named), named.samples(DISCOVERY, &[]).len()), (vec!["a".to_owned()], 0));
        harness.set_targets(&format!("{APP}/* {APP}/a")).unwrap();
        let again = harness.scrape().await;
        assert_eq!((shown(&again).len(), again.samples(DISCOVERY, &[]).len()), (4, 1));
        assert_eq!(["a", "b", SEGMENT].map(|segment| listings_of(&harness, segment)), [1, 2, 2]);
        assert_eq!(harness.fake.count(Operation::GetSegments), 2);
        harness.set_targets(APP).unwrap();
        let whole = harness.scrape().await;
        assert_eq!(shown(&whole), [""]);
        harness.set_targets("").unwrap();
        assert_eq!(shown(&harness.scrape().await).len(), 0);
    });
}

#[test]
fn accounts_without_a_role_share_the_exporters_own_credentials() {
    run(async {
        let harness = plan(&[arn("111111111111", "a"), arn("222222222222", "b")].join(" ")).build().await;
        let expiry = pinpoint_exporter::model::clock::Clock::now(&*harness.clock) + Duration::from_hours(1);
        harness.source.give(Some(credentials(&Options::default_key(), Some(expiry))));
        let accounts = |scrape: &Scrape| -> Vec<String> {
            scrape.samples(EXPIRY, &[]).iter().map(|sample| sample.labels["aws_account_id"].clone()).collect()
        };
        assert_eq!((accounts(&harness.scrape().await), harness.source.asked()), (vec![String::new()], 1));
        harness.set_targets(&[arn("111111111111", "b"), arn("333333333333", "b")].join(" ")).unwrap();
        let scrape = harness.scrape().await;
        assert_eq!(scrape.sum(UP, &[]), 2);
        assert_eq!((accounts(&scrape), harness.source.asked()), (vec![String::new()], 1));
    });
}

#[test]
fn a_region_that_stays_remembers_how_wrong_the_clock_is() {
    run(async {
        let harness = plan(&in_app(&["a"])).set("MAX_ATTEMPTS", "3").build().await;
        harness.clock.be_wrong_by(-3_600);
        harness.scrape().await;
        assert_eq!(harness.listings(), 2, "once with the wrong date");
        harness.set_targets(&in_app(&["b"])).unwrap();
        assert_eq!(harness.scrape().await.sum(UP, &[]), 1);
        assert_eq!(harness.listings(), 3, "the skew is known");
    });
}

#[test]
fn a_change_that_cannot_be_made_changes_nothing() {
    run(async {
        let variables = [
            ("AWS_REGION", "eu-west-1"),
            ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let (config, _) = Config::parse(variables, None).unwrap();
        let http = Http::new(None, &config.proxies).unwrap();
        let own = Source::default().into_own();
        let exporter = Exporter::new(&config, &http, own, Arc::new(SystemClock)).unwrap();
        let target = |region: &str, id: &str| TargetPattern {
            account_id: String::new(),
            region: region.to_owned(),
            application: IdPattern::Id(id.to_owned()),
            segment: Some(IdPattern::Id("new".to_owned())),
        };
        let refused = exporter.set_targets(vec![target("eu-west-1", "new-app"), target("no host", "other")]);
        assert!(matches!(refused, Err(SetupError::Region { region, .. }) if region == "no host"));
        let json = exporter.jobs("").unwrap();
        assert!(json.contains("\"segment\"") && !json.contains("new-app"), "{json}");
        exporter.set_targets(vec![target("eu-west-1", "new-app")]).unwrap();
        assert!(exporter.jobs("").unwrap().contains("new-app"));
    });
}
