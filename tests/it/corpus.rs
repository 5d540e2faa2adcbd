//! The inputs that fuzzing kept, through the properties that it holds them to.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::select};

#[path = "../../fuzz/properties/mod.rs"]
mod properties;

#[test]
fn every_property_has_a_fuzz_target() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    assert_eq!(manifest.matches("[[bin]]").count(), properties::ALL.len());
    for (name, _) in properties::ALL {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/targets/{name}.rs"));
        assert!(fs::read_to_string(target).unwrap().contains(&format!("check(\"{name}\", input)")), "{name}");
    }
}

#[test]
fn every_input_that_was_kept_holds_its_property() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut broken = Vec::new();
    for (name, property) in properties::ALL {
        let files: Vec<_> =
            fs::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 10, "{name} has {} inputs", files.len());
        for file in files {
            let input = fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| property(&input)).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "inputs that break their property, as said above: {broken:#?}");
}

/// What files of AWS are made of, and what breaks them.
const PARTS: &[&str] = &[
    "[default]",
    "[profile a]",
    "[profile \"b c\"]",
    "[profile default]",
    "[a]",
    "[services s]",
    "[sso-session s]",
    "[",
    "]",
    "[]",
    "region",
    "services",
    "endpoint_url",
    "pinpoint",
    "use_fips_endpoint",
    "credential_process",
    "aws_access_key_id",
    "hush7zQ",
    "=",
    " = ",
    ":",
    " ",
    "  ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\n  ",
    "\n\t",
    "#",
    " # ",
    ";",
    "\"",
    "'",
    "\\",
    "\u{feff}",
    "\u{85}",
    "\u{130}",
    "\0",
    "eu-west-1",
    "http://u:hush7zQ@h/?q",
    "true",
    "s",
    "é",
];

proptest! {
    #[test]
    fn files_of_aws_that_are_put_together_at_random_hold_their_property(
        kind in select(vec!["c", "k"]),
        parts in vec(select(PARTS), 0..60),
    ) {
        properties::aws_files::check(format!("{kind}{}", parts.concat()).as_bytes());
    }
}
