//! The file of `TARGETS_FILE`: what is read from it, what is refused, and what becomes of a change.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use fake_pinpoint::{FakePinpoint, world::World};
use pinpoint_exporter::config::{Config, SettingErrors};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    harness::{APP, Harness, Plan, run},
    program::{Program, command},
    text_format::Scrape,
};

const ARN: &str = "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/";

/// A folder with a file of targets.
struct Folder(TempDir);

impl Folder {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(text);
        folder
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("targets")
    }

    fn name(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        let half = self.0.path().join("half");
        fs::write(&half, text).unwrap();
        fs::rename(&half, self.path()).unwrap();
    }
}

fn read_with(file: &Path, variables: &[(&str, &str)]) -> Result<Config, SettingErrors> {
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("AWS_REGION".into(), "eu-west-1".into()),
        ("PINPOINT_EXPORTER_TARGETS_FILE".into(), file.into()),
    ];
    for (name, value) in variables {
        environment.retain(|(known, _)| known != name);
        environment.push((name.into(), value.into()));
    }
    Config::read(environment).map(|(config, _)| config)
}

fn targets(config: &Config) -> Vec<String> {
    config.targets.iter().map(ToString::to_string).collect()
}

/// What is wrong with the file, without the variable and its value, which each problem must begin with.
fn problems(file: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let begin = format!("PINPOINT_EXPORTER_TARGETS_FILE={:?}: ", file.display().to_string());
    let problems = read_with(file, variables).expect_err("the file is wrong").problems;
    let lines = problems.iter().map(ToString::to_string);
    lines.map(|line| line.strip_prefix(&begin).map(str::to_owned).unwrap_or(line)).collect()
}

#[test]
fn a_line_holds_any_number_of_targets_and_a_comment() {
    for (text, expected) in [
        ("a/1\na/2\n", &["a/1", "a/2"][..]),
        ("a/1 a/2, b\r\n\tc/*", &["a/1", "a/2", "b", "c/*"]),
        ("# all of them\n\n  a/1 # the first\na/2#the second # b\n#a/3", &["a/1", "a/2"]),
        ("\u{feff}a/1\na/1\n", &["a/1"]),
        ("a/%231", &["a/%231"]),
    ] {
        let folder = Folder::new(text);
        assert_eq!(targets(&read_with(&folder.path(), &[]).unwrap()), expected, "{text:?}");
    }
}

#[test]
fn the_file_adds_to_the_targets_of_the_variable_and_one_of_the_two_is_enough() {
    let folder = Folder::new("a/1\nb\n");
    let both = read_with(&folder.path(), &[("PINPOINT_EXPORTER_TARGETS", "a/2 a/1")]).unwrap();
    assert_eq!(targets(&both), ["a/1", "a/2", "b"]);
    folder.write("# none yet\n");
    let variable = read_with(&folder.path(), &[("PINPOINT_EXPORTER_TARGETS", "a/2")]).unwrap();
    assert_eq!(targets(&variable), ["a/2"]);
    assert_eq!(
        problems(&folder.path(), &[]),
        ["it names no target; write APP/SEGMENT for a segment or APP for a whole application"]
    );
    let neither = Config::read(vec![("AWS_REGION".into(), "eu-west-1".into())]).unwrap_err();
    let neither = neither.to_string();
    assert!(neither.starts_with("PINPOINT_EXPORTER_TARGETS: it is required and not set; "), "{neither}");
    assert!(neither.contains("PINPOINT_EXPORTER_TARGETS_FILE"), "{neither}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_line_by_every_command() {
    let folder = Folder::new(format!("# head\na/1 a/**\nb/%2\n\nc\n{ARN}d/segments/1\n*/x"));
    let file = folder.name();
    let variables = [
        ("AWS_REGION", "eu-west-1"),
        ("PINPOINT_EXPORTER_TARGETS_FILE", file.as_str()),
        ("PINPOINT_EXPORTER_TARGETS", "c/1 e/1/2"),
        ("PINPOINT_EXPORTER_CACHE_TTL", "soon"),
    ];
    for arguments in [&[][..], &["check"], &["plan"]] {
        let output = command(arguments, &variables);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        let begin = format!("PINPOINT_EXPORTER_TARGETS_FILE=\"{file}\": ");
        for (begin, words) in [
            ("PINPOINT_EXPORTER_TARGETS=\"e/1/2\": ", "more than two parts"),
            (begin.as_str(), "line 2: \"a/**\": the segment id contains a * beside other characters"),
            (&begin, "line 3: \"b/%2\": a % in the segment id is not followed by two hex digits"),
            (
                &begin,
                "line 5: \"c\": it reads the whole application, and \"c/1\" (in TARGETS) reads it by segment",
            ),
            (
                &begin,
                "it is in the configured region eu-west-1, as is \"c/1\" (in TARGETS), which has no ARN",
            ),
            (&begin, "line 7: \"*/x\": a segment belongs to one application"),
            ("PINPOINT_EXPORTER_CACHE_TTL=\"soon\": ", "this is not a valid duration"),
        ] {
            let found = said.lines().filter(|line| line.starts_with(begin) && line.contains(words)).count();
            assert_eq!(found, 1, "{begin}{words}: {said}");
        }
        assert_eq!(said.lines().count(), 8, "{said}");
    }
}

#[test]
fn contradictions_name_both_entries_and_where_they_are() {
    let folder = Folder::new("a/1\n\n a\n");
    assert_eq!(
        problems(&folder.path(), &[]),
        [
            "line 3: \"a\": it reads the whole application, and \"a/1\" (line 1 of TARGETS_FILE) reads it by segment; keep \
          one of the two, because jobs would be shown twice"
        ]
    );
    folder.write("a/1\n");
    let whole = problems(&folder.path(), &[("PINPOINT_EXPORTER_TARGETS", "a")]);
    assert!(
        whole[0].starts_with(
            "PINPOINT_EXPORTER_TARGETS=\"a\": it reads an application whole that \"a/1\" (line 1 of"
        ),
        "{whole:?}"
    );
    let without_region = problems(&folder.path(), &[("AWS_REGION", "")]);
    assert!(
        without_region[0].starts_with(
            "AWS_REGION: it is not set, and the target \"a/1\" (line 1 of TARGETS_FILE) has no ARN"
        ),
        "{without_region:?}"
    );
}

#[test]
fn what_is_no_text_or_too_large_is_refused_at_once() {
    let folder = Folder::new("");
    let path = |name: &str| folder.0.path().join(name);
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    fs::write(path("large"), "#".repeat((16 << 20) + 1)).unwrap();
    fs::write(path("utf-16"), "\u{feff}a/1\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    fs::write(path("utf-16-bare"), "a/1\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    for (path, words) in [
        (path("fifo"), "cannot read it: it is not a regular file"),
        (path(""), "cannot read it: it is not a regular file"),
        ("/dev/zero".into(), "cannot read it: it is not a regular file"),
        (path("large"), "cannot read it: it is larger than 16 MiB"),
        (path("none"), "cannot read it: No such file or directory"),
        (path("utf-16"), "it is not UTF-8; save it as UTF-8"),
        (path("utf-16-bare"), "it is not UTF-8; save it as UTF-8"),
    ] {
        let problems = problems(&path, &[]);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with(words), "{problems:#?}");
    }
}

#[test]
fn the_number_of_targets_their_length_and_what_is_said_of_them_are_bounded() {
    let lines = |count: usize| (0..count).map(|number| format!("{number:x}/a\n")).collect::<String>();
    let folder = Folder::new(lines(100_000));
    assert_eq!(read_with(&folder.path(), &[]).unwrap().targets.len(), 100_000);
    folder.write(lines(100_001));
    let too_many = problems(&folder.path(), &[]);
    assert_eq!(too_many.len(), 1, "{too_many:#?}");
    assert!(
        too_many[0].starts_with("line 100001: \"186a0/a\": there are more than 100000 targets; "),
        "{too_many:#?}"
    );

    folder.write("**\n".repeat(100_000));
    let faults = problems(&folder.path(), &[]);
    assert_eq!(faults.len(), 21);
    assert_eq!(faults[20], "99980 more errors are not shown; correct these first");

    folder.write("a".repeat(16 << 20));
    let long = problems(&folder.path(), &[]);
    assert!(long[0].contains("it is longer than 4096 bytes") && long[0].len() < 300, "{}", long[0].len());
}

/// Segments `a`, `b` and `c`, of which those of the file are watched.
async fn harness(folder: &Folder) -> Harness {
    let world = |world: &mut World| {
        for id in ["a", "b", "c"] {
            world.segment(APP, id);
        }
    };
    Plan::new().set("TARGETS", "").set("TARGETS_FILE", &folder.name()).world(world).build().await
}

fn in_app(segments: &[&str]) -> String {
    segments.iter().map(|segment| format!("{APP}/{segment}\n")).collect()
}

fn shown(scrape: &Scrape) -> Vec<String> {
    let samples = scrape.samples("pinpoint_target_up", &[]);
    samples.iter().map(|sample| sample.labels["segment_id"].clone()).collect()
}

/// Whether the files are in force, and since when.
fn reload(scrape: &Scrape) -> (f64, f64) {
    let value = |name| scrape.value(&format!("pinpoint_exporter_config_last_reload_{name}"), &[]).unwrap();
    (value("successful"), value("success_timestamp_seconds"))
}

#[test]
fn a_change_is_in_force_when_it_has_been_seen_twice_and_targets_that_stay_keep_their_data() {
    run(async {
        let folder = Folder::new(in_app(&["a", "b"]));
        let harness = harness(&folder).await;
        let before = harness.scrape().await;
        assert_eq!(shown(&before), ["a", "b"]);
        folder.write(in_app(&["b", "c"]));
        harness.turn(Duration::from_secs(1));
        harness.exporter.reload_changed_files();
        assert_eq!(shown(&harness.scrape().await), ["a", "b"], "it may be half written");
        harness.exporter.reload_changed_files();
        let after = harness.scrape().await;
        assert_eq!((shown(&after), harness.listings()), (vec!["b".to_owned(), "c".to_owned()], 3));
        let ((1.0, first), (1.0, second)) = (reload(&before), reload(&after)) else { panic!("{after:?}") };
        assert!(second > first);
        harness.close().await;
    });
}

#[test]
fn a_wrong_file_changes_nothing_until_it_is_right() {
    run(async {
        let folder = Folder::new(in_app(&["a"]));
        let harness = harness(&folder).await;
        let (_, first) = reload(&harness.scrape().await);
        for wrong in ["", "# none\n", "a b/**", "a a/1", &format!("{APP}/a {ARN}b"), "\0"] {
            harness.turn(Duration::from_secs(1));
            folder.write(wrong);
            harness.exporter.reload_changed_files();
            harness.exporter.reload_changed_files();
            let scrape = harness.scrape().await;
            assert_eq!((shown(&scrape), reload(&scrape)), (vec!["a".to_owned()], (0.0, first)), "{wrong:?}");
        }
        fs::remove_file(folder.path()).unwrap();
        harness.exporter.reload_files();
        assert_eq!(reload(&harness.scrape().await), (0.0, first));
        folder.write(in_app(&["a"]));
        harness.exporter.reload_changed_files();
        harness.exporter.reload_changed_files();
        let (successful, last) = reload(&harness.scrape().await);
        assert!((successful - 1.0).abs() < f64::EPSILON && last > first);
        harness.close().await;
    });
}

#[test]
fn both_files_must_be_in_force() {
    run(async {
        let folder = Folder::new(in_app(&["a"]));
        let web_config = folder.0.path().join("web.yml");
        fs::write(&web_config, "").unwrap();
        let harness = Plan::new()
            .set("TARGETS_FILE", &folder.name())
            .set("WEB_CONFIG_FILE", web_config.to_str().unwrap())
            .build()
            .await;
        for (targets, web, expected) in [
            ("a/**", "", 0.0),
            ("a/**", "x: 1", 0.0),
            (&in_app(&["a"]), "x: 1", 0.0),
            (&in_app(&["a"]), "", 1.0),
        ] {
            folder.write(targets);
            fs::write(&web_config, web).unwrap();
            harness.exporter.reload_files();
            let (successful, _) = reload(&harness.scrape().await);
            assert!((successful - expected).abs() < f64::EPSILON, "{targets:?} {web:?}");
        }
        harness.close().await;
    });
}

/// Replaces what the file is reached through, as the kubelet does with a `ConfigMap`.
fn mount(folder: &Path, version: &str, text: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("targets"), text).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[test]
fn the_program_follows_a_link_that_changes_and_reads_again_at_sighup() {
    run(async {
        let mut world = World::default();
        for id in ["a", "b", "c"] {
            world.segment("app", id);
        }
        let fake = FakePinpoint::start(world).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        mount(folder.path(), "..1", "app/a\n");
        let file = folder.path().join("targets");
        symlink("..data/targets", &file).unwrap();
        let mut program = Program::start(&[
            ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("PINPOINT_EXPORTER_TARGETS_FILE", file.to_str().unwrap()),
            ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "0"),
        ]);
        let scrape = async || program.scrape().await;
        assert_eq!(shown(&scrape().await), ["a"]);
        mount(folder.path(), "..2", "app/a # and\napp/b\n");
        while shown(&scrape().await) != ["a", "b"] {}
        mount(folder.path(), "..3", "app/a\napp/**\n");
        while reload(&scrape().await).0 > 0.0 {}
        assert_eq!(shown(&scrape().await), ["a", "b"]);
        mount(folder.path(), "..4", "app/c\n");
        program.signal(Signal::HUP);
        while shown(&scrape().await) != ["c"] {}
        assert!(reload(&scrape().await).0 > 0.0);
        program.terminate();
        assert!(program.end().await.success());
        let log = program.log();
        let wrong = log
            .lines()
            .filter(|line| line.contains("line 2: \\\"app/**\\\": the segment id contains a * beside"));
        assert_eq!(wrong.count(), 1, "{log}");
    });
}
