//! AWS's shared files: the first byte says which of the two the rest is.

use std::{collections::BTreeMap, ffi::OsString, fmt::Write as _};

use pinpoint_exporter::config::{
    Config,
    profile::{AwsEnvironment, Section, parse},
};

/// What no error of a file may quote.
const HUSH: &str = "hush7zQ";

pub(crate) fn check(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let variable = if *kind == b'k' { "AWS_SHARED_CREDENTIALS_FILE" } else { "AWS_CONFIG_FILE" };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, text).expect("a file");
    let mut variables: Vec<(OsString, OsString)> = vec![
        (variable.into(), path.into_os_string()),
        ("HOME".into(), folder.path().into()),
        ("PINPOINT_EXPORTER_TARGETS".into(), "a".into()),
    ];
    let profiles = AwsEnvironment::of(&variables).read();
    match parse(text) {
        Ok(sections) => {
            written_again_they_are_the_same(&sections);
            let profiles = profiles.expect("the text can be read");
            for (header, section) in &sections {
                let name = if *kind == b'k' { Some(header.as_str()) } else { plain_name(header) };
                if let Some(name) = name {
                    has_all(profiles.get(name).expect("the profile is there"), section);
                }
            }
            let names: Vec<_> = profiles.all().map(|profile| profile.name.clone()).collect();
            for name in names.iter().map(String::as_str).chain([HUSH]) {
                variables.push(("AWS_PROFILE".into(), name.into()));
                let found = AwsEnvironment::of(&variables).read();
                if let Err(errors) = &found {
                    for error in errors {
                        one_line(&error.to_string());
                    }
                }
                let settings = Config::parse(variables.clone(), found.ok().as_ref());
                for problem in settings.err().iter().flat_map(|problems| &problems.problems) {
                    one_line(&problem.to_string());
                }
                variables.pop();
            }
        }
        Err(error) => {
            let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).count();
            assert!((1..=lines).contains(&error.line), "line {} of {lines}", error.line);
            let errors = profiles.expect_err("the text cannot be read");
            let said = errors[0].to_string();
            assert!(said.contains(&format!("file, line {}: ", error.line)), "{said}");
            assert!(["write", "check", "save"].iter().any(|cure| said.contains(cure)), "no cure in: {said}");
            assert!(!said.contains(HUSH), "a part of the file is shown: {said}");
            one_line(&said);
        }
    }
}

/// The name in `[default]` or `[profile NAME]`, if it is written without quotes.
fn plain_name(header: &str) -> Option<&str> {
    let name = if header == "default" { header } else { header.strip_prefix("profile ")? };
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
    is_plain.then_some(name)
}

/// A later section for the same profile may go before this one, but no property is lost.
fn has_all(profile: &pinpoint_exporter::config::profile::Profile, section: &Section) {
    for (name, property) in &section.properties {
        let is_empty = property.value().is_empty();
        assert!(is_empty || profile.get(name).is_some() || profile.name == "default", "{name} is lost");
    }
}

/// Sections written as they are understood are read as the same sections, each line where it was written.
fn written_again_they_are_the_same(sections: &BTreeMap<String, Section>) {
    let mut text = String::new();
    for (header, section) in sections {
        writeln!(text, "[{header}] # text").expect("a string");
        for (name, property) in &section.properties {
            let value = property.verbatim().replace('\n', "\n \t");
            writeln!(text, "{name} = {value}\n# comment\n").expect("a string");
        }
    }
    let Ok(again) = parse(text.as_bytes()) else {
        // What is added may be one byte or line too many.
        return assert!(text.len() > 900_000 || text.lines().count() > 15_000, "{text:?} cannot be read");
    };
    let values = |sections: &BTreeMap<String, Section>| {
        let properties = |section: &Section| {
            let values =
                section.properties.iter().map(|(name, property)| (name.clone(), property.verbatim()));
            values.collect::<Vec<_>>()
        };
        sections.iter().map(|(header, section)| (header.clone(), properties(section))).collect::<Vec<_>>()
    };
    assert_eq!(values(sections), values(&again), "{text:?}");
}

fn one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.chars().count() < 6000, "{} characters", text.chars().count());
}
