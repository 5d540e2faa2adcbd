//! The README's tables are those of the code, and what SECURITY.md claims has its tests.

use std::{fs, path::Path};

use pinpoint_exporter::{config::SETTINGS, metrics::catalogue::FAMILIES};

const README: &str = include_str!("../../README.md");

/// Labels that the README explains once, above the table.
const COMMON: [&str; 5] = ["aws_account_id", "aws_region", "application_id", "segment_id", "job_id"];

fn assert_table(name: &str, expected: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let table = README.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(table, _)| table);
    assert!(table == Some(expected), "the README's table of {name} should be:\n{expected}");
}

#[test]
fn the_table_of_metrics_is_the_catalogue() {
    let mut table = "| name | type | labels of its own | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for family in FAMILIES {
        let labels: Vec<_> = family.labels.iter().filter(|label| !COMMON.contains(label)).collect();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let help = family.help.strip_suffix(" Cached.").unwrap_or(family.help);
        let row =
            format!("| `{}` | {} | {} | {help} |\n", family.name, family.kind.as_str(), labels.join(", "));
        table.push_str(&row);
    }
    assert_table("metrics", &table);
}

#[test]
fn the_table_of_settings_is_the_codes() {
    let mut table = "| `PINPOINT_EXPORTER_…` | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        let default =
            if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        table.push_str(&format!("| `{}` | {default} | {} |\n", setting.name, setting.meaning));
    }
    assert_table("settings", &table);
}

#[test]
fn the_end_of_pinpoint_stands_near_the_top() {
    let top: String = README.lines().take(25).collect();
    assert!(top.contains("30 October 2026") && top.contains("AWS_ENDPOINT_URL_PINPOINT"));
}

#[test]
fn every_metric_and_setting_that_the_readme_names_exists() {
    let words = README.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words.filter(|word| word.starts_with("pinpoint_") && *word != "pinpoint_exporter") {
        let known = FAMILIES.iter().any(|family| family.name == word);
        assert!(known, "the README names {word}, which is no metric");
    }
    for name in README.split("PINPOINT_EXPORTER_").skip(1) {
        let name: String = name.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        let known = name.is_empty() || SETTINGS.iter().any(|setting| setting.name == name);
        assert!(known, "the README names PINPOINT_EXPORTER_{name}, which is no setting");
    }
}

/// The code of a folder's files, one after the other.
fn code(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let code = entries.filter(|path| !path.ends_with("target")).map(|path| {
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        if path.is_dir() {
            code(&path)
        } else if is_code {
            fs::read_to_string(path).unwrap()
        } else {
            String::new()
        }
    });
    code.collect()
}

#[test]
fn every_claim_about_security_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = ["src", "tests"].map(|folder| code(&root.join(folder))).concat();
    let targets = include_str!("../../Makefile");
    let claims = include_str!("../../SECURITY.md").lines().filter(|line| line.starts_with("| "));
    let claims = claims.filter(|line| !line.starts_with("| claim") && !line.starts_with("| ---"));
    let mut claimed = 0;
    for claim in claims {
        let (_, kept_by) = claim.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        let names: Vec<_> = kept_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing keeps: {claim}");
        for name in names {
            if let Some(target) = name.strip_prefix("make ") {
                assert!(targets.contains(&format!("\n{target}: ")), "there is no target {target}");
                continue;
            }
            let (before, _) =
                code.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("no test {name}"));
            let attribute = before.lines().rev().take_while(|line| !line.starts_with('}')).take(4);
            assert!(attribute.into_iter().any(|line| line.contains("test")), "{name} is no test");
        }
        claimed += 1;
    }
    assert!(claimed > 20, "{claimed} claims");
}
