//! The log of the program when nobody takes it.

use fake_pinpoint::{FakePinpoint, HANG_LIMIT, world::World};

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
