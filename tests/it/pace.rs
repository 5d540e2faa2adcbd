//! Many targets and few requests: who goes first, and what is said when not everything can be done in time.

use std::time::Duration;

use fake_pinpoint::{
    FakePinpoint, Operation, Options,
    fault::{Fault, Rule},
    world::{Life, World},
};

use crate::support::{
    house::{APP, House, Plan, client, run},
    program::Program,
    raw::within,
};

const UP: &str = "pinpoint_target_up";

fn segments(names: &'static [&'static str]) -> impl FnOnce(&mut World) {
    move |world| {
        *world = World::default();
        for name in names {
            world.segment(APP, name);
        }
    }
}

/// The segments whose jobs were asked for, in turn.
fn asked(house: &House) -> Vec<String> {
    let requests = house.fake.requests();
    let listings = requests.iter().filter(|it| it.operation == Some(Operation::GetSegmentExportJobs));
    listings.filter_map(|request| request.segment.clone()).collect()
}

#[test]
fn the_target_that_waits_longest_goes_first() {
    run(async {
        let plan = Plan::new().set("TARGETS", &format!("{APP}/*")).set("MAX_CONCURRENT_REQUESTS", "1");
        let house = plan.world(segments(&["a", "b", "c", "d"])).build().await;
        house.fake.fault(Rule {
            segment: Some("c".to_owned()),
            times: Some(1),
            ..Fault::Delay { milliseconds: 500 }.always()
        });
        house.scrape_within(Some("0.6")).await;
        assert_eq!(asked(&house), ["a", "b", "c"]);
        // While the third is being read: the fourth starts, and its data age, from now on.
        house.turn(Duration::from_secs(20));
        house.scrape().await;
        house.turn(Duration::from_secs(40));
        house.scrape().await;
        assert_eq!(asked(&house)[3..], ["d", "a", "b", "c"]);
        house.turn(Duration::from_mins(1));
        house.scrape().await;
        assert_eq!(asked(&house)[7..], ["d", "a", "b", "c"]);
    });
}

#[test]
fn a_long_listing_is_not_overtaken_at_its_pages_by_all_who_wait() {
    run(async {
        let plan = Plan::new()
            .set("TARGETS", &format!("{APP}/*"))
            .set("MAX_CONCURRENT_REQUESTS", "2")
            .set("PAGE_SIZE", "1");
        let house = plan
            .world(|world| {
                *world = World::default();
                for idle in 0..30 {
                    world.segment(APP, &format!("idle-{idle:02}"));
                }
                let active = world.segment(APP, "active");
                active.jobs.extend((0..6).map(|job| Life::new(format!("job-{job}"), 0, i64::MAX / 2).into()));
            })
            .build()
            .await;
        assert_eq!(house.scrape().await.sum(UP, &[]), 31);
        let asked = asked(&house);
        let last_page = asked.iter().rposition(|segment| segment == "active").unwrap();
        assert_eq!(asked.iter().filter(|segment| *segment == "active").count(), 6);
        assert!(last_page < 15, "its last page was request {last_page} of {}: {asked:?}", asked.len());
    });
}

#[test]
fn lists_of_segments_go_before_targets() {
    run(async {
        let plan =
            Plan::new().set("TARGETS", &format!("{APP}/* other/*")).set("MAX_CONCURRENT_REQUESTS", "1");
        let house = plan
            .world(|world| {
                segments(&["a", "b", "c", "d", "e"])(world);
                world.segment("other", "x");
            })
            .build()
            .await;
        house.scrape().await;
        house.fake.world().segment("other", "y");
        house.turn(Duration::from_mins(5));
        let before = house.fake.requests().len();
        house.scrape().await;
        let requests = house.fake.requests();
        let lists =
            requests[before..].iter().filter(|it| it.operation == Some(Operation::GetSegments)).count();
        let first: Vec<_> = requests[before..].iter().take(2).filter_map(|it| it.operation).collect();
        assert_eq!((lists, first), (2, vec![Operation::GetSegments; 2]));
    });
}

#[test]
fn no_more_is_under_way_at_once_than_allowed_and_a_slow_region_holds_up_no_other() {
    run(async {
        let arn = |region: &str, app: &str| {
            format!("arn:aws:mobiletargeting:{region}:123456789012:apps/{app}/segments/*")
        };
        let plan = Plan::new()
            .set("TARGETS", &[arn("eu-west-1", "slow"), arn("us-east-1", "fast")].join(","))
            .set("MAX_CONCURRENT_REQUESTS", "3");
        let house = plan
            .world(|world| {
                *world = World::default();
                for segment in 0..8 {
                    world.segment("slow", &segment.to_string());
                    world.segment("fast", &segment.to_string());
                }
            })
            .build()
            .await;
        house.fake.fault(Rule {
            application: Some("slow".to_owned()),
            operation: Some(Operation::GetSegmentExportJobs),
            ..Fault::Delay { milliseconds: 4_000 }.always()
        });
        let scrape = house.scrape_within(Some("2.5")).await;
        assert_eq!(scrape.sum(UP, &[("application_id", "fast")]), 8);
        assert_eq!(scrape.sum(UP, &[("application_id", "slow")]), 0);
        let slow =
            house.fake.requests().iter().filter(|it| it.application.as_deref() == Some("slow")).count();
        assert_eq!(slow, 1 + 3, "the list and three at once");
        assert!(house.fake.most_in_flight() <= 6, "{}", house.fake.most_in_flight());
    });
}

#[test]
fn the_log_says_once_that_the_ttl_cannot_be_held_and_when_it_can_again() {
    run(async {
        let mut world = World::default();
        for segment in 0..30 {
            world.segment(APP, &format!("segment-{segment:02}"));
        }
        let fake = FakePinpoint::start_with(world, Options::default()).await.unwrap();
        let key = Options::default_key();
        let targets = format!("{APP}/*");
        let program = Program::start(&[
            ("AWS_ACCESS_KEY_ID", &key.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
            ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
            ("PINPOINT_EXPORTER_TARGETS", &targets),
            ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "20"),
            ("PINPOINT_EXPORTER_CACHE_TTL", "1s"),
            ("PINPOINT_EXPORTER_DISCOVERY_TTL", "1s"),
        ]);
        let scrape = || async {
            client().get(format!("{}/metrics", program.url)).send().await.unwrap().text().await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let cannot = "CACHE_TTL=1s cannot be held: refreshing every target once takes 30 requests and, at \
                      MAX_REQUESTS_PER_SECOND=20, 2s; raise that to 30, or CACHE_TTL to 2s, or share the targets \
                      among 2 exporters";
        for _ in 0..4 {
            scrape().await;
        }
        assert_eq!(program.log().matches(cannot).count(), 1, "{}", program.log());
        fake.world().applications.get_mut(APP).unwrap().segments.retain(|id, _| id.ends_with('0'));
        within("the list to be read again", async {
            while !program.log().contains("CACHE_TTL can be held again") {
                scrape().await;
            }
        })
        .await;
        // Longer listings count too.
        for segment in fake.world().applications.get_mut(APP).unwrap().segments.values_mut() {
            segment.jobs.extend((0..900).map(|job| Life::new(format!("job-{job}"), 0, 1).into()));
        }
        within("the pages to be counted", async {
            while !program.log().contains("takes 27 requests") {
                scrape().await;
            }
        })
        .await;
    });
}
