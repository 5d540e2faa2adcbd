//! The log of the program when nobody takes it.

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Operation,
    fault::{Fault, Rule},
    world::World,
};

use crate::support::{house::run, program::Program, raw::within};

#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    run(async {
        let mut world = World::default();
        world.segment("app", "segment");
        let fake = FakePinpoint::start(world).await.unwrap();
        let mut program = Program::start_unread(&[
            ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
            ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
            ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "0"),
            ("PINPOINT_EXPORTER_LOG_LEVEL", "trace"),
        ]);
        // A pipe holds 64 KiB, and each of these makes a kilobyte of log and more.
        for _ in 0..120 {
            let scrape = within("a scrape", program.scrape(60.0, HANG_LIMIT)).await;
            assert_eq!(scrape.value("pinpoint_target_up", &[]), Some(1.0));
        }
        program.terminate();
        assert!(program.end().await.success());
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
        let program = Program::start(&[
            ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("PINPOINT_EXPORTER_TARGETS", "app/*"),
            ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
        ]);
        let scrape = || program.scrape(60.0, HANG_LIMIT);
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
