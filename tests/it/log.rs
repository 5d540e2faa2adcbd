//! The log of the program: what it says of many targets, and when nobody takes it.

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Operation,
    fault::{Fault, Rule},
    world::World,
};

use crate::support::{harness::run, program::Program, raw::within};

/// The variables of an exporter of these targets.
fn variables<'a>(url: &'a str, targets: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut variables = vec![
        ("AWS_ENDPOINT_URL_PINPOINT", url),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("PINPOINT_EXPORTER_TARGETS", targets),
    ];
    variables.extend(more);
    variables
}

#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    run(async {
        let mut world = World::default();
        world.segment("app", "segment");
        let fake = FakePinpoint::start(world).await.unwrap();
        let url = fake.url();
        let mut program = Program::start_unread(&variables(
            &url,
            "app/segment",
            &[
                ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
                ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "0"),
                ("PINPOINT_EXPORTER_LOG_LEVEL", "trace"),
            ],
        ));
        // A pipe holds 64 KiB, and each of these makes a kilobyte of log and more.
        for _ in 0..120 {
            let scrape = within("a scrape", program.scrape()).await;
            assert_eq!(scrape.value("pinpoint_target_up", &[]), Some(1.0));
        }
        program.terminate();
        assert!(program.end().await.success());
    });
}

#[test]
fn data_that_become_too_old_are_logged_once_and_so_is_their_return() {
    run(async {
        let mut world = World::default();
        world.segment("app", "segment");
        let fake = FakePinpoint::start(world).await.unwrap();
        let url = fake.url();
        let program = Program::start(&variables(
            &url,
            "app/segment",
            &[
                ("PINPOINT_EXPORTER_CACHE_TTL", "1s"),
                ("PINPOINT_EXPORTER_MAX_STALENESS", "1s"),
                ("PINPOINT_EXPORTER_REQUEST_TIMEOUT", "2s"),
            ],
        ));
        let scrape = || program.scrape_within(0.6, HANG_LIMIT);
        within("the first data", async { while scrape().await.sum("pinpoint_target_up", &[]) == 0 {} }).await;
        fake.fault(Fault::Hang.always());
        let dropped = "its data are no longer shown: they are older than MAX_STALENESS=1s";
        within("their end", async { while scrape().await.sum("pinpoint_target_up", &[]) == 1 {} }).await;
        scrape().await;
        fake.clear_faults();
        within("their return", async {
            while !program.log().contains("up again") {
                scrape().await;
            }
        })
        .await;
        let log = program.last_words().await;
        assert!(log.matches(dropped).count() >= 1, "{log}");
        assert_eq!(log.split("up again").next().unwrap().matches(dropped).count(), 1, "{log}");
    });
}

#[test]
fn what_is_not_logged_yet_when_the_process_is_asked_to_end_is_logged_then() {
    run(async {
        let mut world = World::default();
        world.segment("app", "hangs");
        let fake = FakePinpoint::start(world).await.unwrap();
        fake.fault(Fault::Hang.always().of_segment("hangs"));
        let url = fake.url();
        let more =
            [("PINPOINT_EXPORTER_REQUEST_TIMEOUT", "10m"), ("PINPOINT_EXPORTER_REFRESH_TIMEOUT", "10m")];
        let program = Program::start(&variables(&url, "app/hangs app/missing", &more));
        within("the failure", async {
            let is_down = [("segment_id", "missing")];
            while program.scrape_within(0.6, HANG_LIMIT).await.value("pinpoint_target_up", &is_down)
                != Some(0.0)
            {}
        })
        .await;
        let log = program.last_words().await;
        assert_eq!(log.matches("not refreshed").count(), 1, "{log}");
    });
}

#[test]
fn one_cause_that_hits_many_targets_is_one_line_and_so_is_their_recovery() {
    run(async {
        let mut world = World::default();
        for segment in 0..40 {
            world.segment("app", &format!("segment-{segment:02}"));
        }
        let fake = FakePinpoint::start(world).await.unwrap();
        let url = fake.url();
        let more =
            [("PINPOINT_EXPORTER_CACHE_TTL", "0s"), ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "0")];
        let program = Program::start(&variables(&url, "app/*", &more));
        let scrape = || program.scrape();
        let logged = async |text: &str| {
            within(text, async {
                while !program.log().contains(text) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        };
        scrape().await;
        logged("read 40 of 40 targets").await;
        fake.fault(Rule {
            operation: Some(Operation::GetSegmentExportJobs),
            ..Fault::error("AccessDeniedException").always()
        });
        scrape().await;
        logged("40 targets were not refreshed").await;
        scrape().await;
        fake.clear_faults();
        scrape().await;
        logged("40 targets are up again").await;
        scrape().await;
        let log = program.log();
        for text in ["not refreshed", "up again", "read 40 of 40"] {
            assert_eq!(log.matches(text).count(), 1, "{text}: {log}");
        }
        assert!(log.contains("segment-"), "the line names the first of them: {log}");
    });
}
